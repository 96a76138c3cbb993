// SPDX-License-Identifier: Apache-2.0
//! `@ipMatch`, `@ipMatchFromFile`: whether the value is an address of one of many networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::pm::lines;
use super::{Argument, Captures, Operator, OperatorKind, Resources};

/// `SecRule REMOTE_ADDR "@ipMatch 192.168.1.100,10.10.50.0/24" …`
pub(super) static IP_MATCH: OperatorKind = OperatorKind {
    name: "ipMatch",
    aliases: &[],
    doc: "Whether the value is one of the addresses, or in one of the networks: with commas between them.",
    argument: Argument::Required,
    compile: |argument, _| Networks::compile([argument]),
};

/// `SecRule REMOTE_ADDR "@ipMatchFromFile ips.txt" …`
pub(super) static IP_MATCH_FROM_FILE: OperatorKind = OperatorKind {
    name: "ipMatchFromFile",
    aliases: &["ipMatchF"],
    doc: "Whether the value is one of the addresses of a file, or in one of its networks: one a line, `#` before remarks.",
    argument: Argument::Required,
    compile: from_file,
};

fn from_file(argument: &str, resources: &dyn Resources) -> Result<Box<dyn Operator>, String> {
    let lines = lines(&resources.read(argument.trim())?);
    let lines: Vec<String> = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    Networks::compile(lines.iter().map(|line| line.split('#').next().unwrap_or_default()))
}

/// `::ffff:0:0/96`: addresses of the fourth version.
const MAPPED_BITS: u8 = 96;

/// Ranges in order, none of which meets another, both ends in them.
#[derive(Debug)]
struct Networks(Vec<(IpAddr, IpAddr)>);

impl Networks {
    fn compile<'a>(lists: impl IntoIterator<Item = &'a str>) -> Result<Box<dyn Operator>, String> {
        let texts = lists.into_iter().flat_map(|list| list.split(',')).map(str::trim);
        let mut ranges = texts.filter(|text| !text.is_empty()).map(network).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ok(Box::new(Self(merged)))
    }

    fn contains(&self, address: IpAddr) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

impl Operator for Networks {
    fn holds(&self, value: &[u8], _: Option<&mut Captures>) -> bool {
        let Some(address) = std::str::from_utf8(value).ok().and_then(|text| text.parse::<IpAddr>().ok())
        else {
            return false;
        };
        self.contains(address.to_canonical())
    }
}

fn network(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is no address and no network"))?;
    // An address of the fourth version that is written as one of the sixth is the same address.
    let is_mapped = network.prefix_len() >= MAPPED_BITS;
    let canonical = |address: IpAddr| if is_mapped { address.to_canonical() } else { address };
    Ok((canonical(network.network()), canonical(network.broadcast())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_stand_in_networks() {
        let operator = Networks::compile(["10.0.0.0/8, 127.0.0.1,::1,", "2001:db8::/32"]).unwrap();
        for (value, want) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.1.2.3", true),
            ("2001:DB8::1", true),
            ("2001:db9::", false),
            ("", false),
            ("localhost", false),
            ("127.0.0.1 ", false),
            ("127.0.0.1\n", false),
        ] {
            assert_eq!(operator.holds(value.as_bytes(), None), want, "{value}");
        }
        let mapped = Networks::compile(["::ffff:10.0.0.0/104", "::/80"]).unwrap();
        for (value, want) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("::ffff:11.0.0.0", false), ("::1", true)]
        {
            assert_eq!(mapped.holds(value.as_bytes(), None), want, "{value}");
        }
        assert!(Networks::compile(["10.0.0.256"]).unwrap_err().contains("10.0.0.256"));
        assert!(Networks::compile(["10.0.0.0/33"]).is_err());
    }

    proptest! {
        #[test]
        fn it_is_told_as_the_slow_form_tells_it(
            networks in proptest::collection::vec((any::<u8>(), any::<u8>(), 0..=32_u8), 0..8), value: (u8, u8),
        ) {
            let text: Vec<String> = networks.iter().map(|(a, b, bits)| format!("1.{a}.{b}.3/{bits}")).collect();
            let operator = Networks::compile([text.join(",").as_str()]).unwrap();
            let value = format!("1.{}.{}.9", value.0, value.1);
            let address: IpAddr = value.parse().unwrap();
            let slow = text.iter().any(|text| text.parse::<IpNet>().unwrap().contains(&address));
            prop_assert_eq!(operator.holds(value.as_bytes(), None), slow);
        }
    }
}
