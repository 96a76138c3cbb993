// SPDX-License-Identifier: Apache-2.0
//! Address ranges with values, looked up by the most specific one. Made whole, never changed: whoever wants
//! another swaps it.
//!
//! Nested ranges are flattened into a sorted list of where the answer changes. Of that list every sixteenth
//! start is kept in a smaller one, and so on, so that a look-up among a million ranges touches four or
//! five cache lines.

use std::net::IpAddr;

use ipnet::IpNet;

/// Starts that one step of a look-up compares: a cache line of IPv4 addresses.
const FAN: usize = 16;

/// No range is there.
const NONE: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Debug)]
pub struct PrefixMap<V> {
    v4: Changes<u32>,
    v6: Changes<u128>,
    values: Vec<V>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        Self { v4: Changes::default(), v6: Changes::default(), values: Vec::new() }
    }
}

impl<V> PrefixMap<V> {
    /// Of two values for the same range the later one counts. IPv4 ranges written as mapped IPv6
    /// addresses count as IPv4.
    pub fn new(ranges: impl IntoIterator<Item = (IpNet, V)>) -> Self {
        let (mut v4, mut v6, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (network, value) in ranges {
            let index = u32::try_from(values.len()).unwrap_or(NONE);
            if index == NONE {
                break;
            }
            values.push(value);
            match (network.network().to_canonical(), network.broadcast().to_canonical()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((u32::from(first), u32::from(last), index)),
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    v6.push((u128::from(first), u128::from(last), index))
                }
                _ => {}
            }
        }
        Self { v4: Changes::of(v4), v6: Changes::of(v6), values }
    }

    /// The value of the most specific range around an address.
    pub fn find(&self, address: IpAddr) -> Option<&V> {
        let index = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(u32::from(address)),
            IpAddr::V6(address) => self.v6.find(u128::from(address)),
        };
        self.values.get(usize::try_from(index?).ok()?)
    }

    /// Whether there is no range.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Ranges in it.
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

/// Where the answer changes, and to what.
#[derive(Clone, Debug, Default)]
struct Changes<A> {
    /// The starts, then every sixteenth of them, and so on.
    levels: Vec<Vec<A>>,
    /// Of each start.
    values: Vec<u32>,
}

/// An address as a number.
trait Number: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl<A: Number> Changes<A> {
    /// From ranges (first, last, value) that are nested or apart.
    fn of(mut ranges: Vec<(A, A, u32)>) -> Self {
        // Wider ranges first, so that narrower ones lie on top of them; of equal ones the later on top.
        ranges.sort_by_key(|range| (range.0, std::cmp::Reverse(range.1)));
        let mut changes: Vec<(A, u32)> = Vec::with_capacity(ranges.len() * 2);
        let mut around: Vec<(A, u32)> = Vec::new();
        for (first, last, value) in ranges {
            close(&mut around, &mut changes, Some(first));
            change(&mut changes, first, value);
            around.push((last, value));
        }
        close(&mut around, &mut changes, None);
        let (starts, values): (Vec<A>, Vec<u32>) = changes.into_iter().unzip();
        let mut levels = vec![starts];
        while let Some(level) = levels.last().filter(|level| level.len() > FAN * FAN) {
            let sampled = level.iter().step_by(FAN).copied().collect();
            levels.push(sampled);
        }
        Self { levels, values }
    }

    fn find(&self, address: A) -> Option<u32> {
        let (top, lower) = self.levels.split_last()?;
        let mut at = top.partition_point(|start| *start <= address).checked_sub(1)?;
        for level in lower.iter().rev() {
            let from = at * FAN;
            let some = level.get(from..level.len().min(from + FAN))?;
            at = from + some.iter().filter(|start| **start <= address).count().checked_sub(1)?;
        }
        self.values.get(at).copied().filter(|value| *value != NONE)
    }
}

/// Ends the ranges that end before `first`: what lies around them counts again.
fn close<A: Number>(around: &mut Vec<(A, u32)>, changes: &mut Vec<(A, u32)>, first: Option<A>) {
    while let Some((last, _)) = around.last().copied() {
        if first.is_some_and(|first| last >= first) {
            return;
        }
        around.pop();
        if let Some(next) = last.next() {
            change(changes, next, around.last().map_or(NONE, |(_, value)| *value));
        }
    }
}

fn change<A: Number>(changes: &mut Vec<(A, u32)>, at: A, value: u32) {
    match changes.last_mut() {
        Some((start, known)) if *start == at => *known = value,
        _ => changes.push((at, value)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_most_specific_range_answers() {
        let map = PrefixMap::new([
            (network("10.0.0.0/8"), "ten"),
            (network("10.1.0.0/16"), "inner"),
            (network("10.1.2.3/32"), "one"),
            (network("10.1.2.3/32"), "later"),
            (network("255.255.255.255/32"), "last"),
            (network("2001:db8::/32"), "six"),
            (network("2001:db8:1::/48"), "site"),
            (network("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"), "end"),
        ]);
        for (address, want) in [
            ("10.0.0.0", Some("ten")),
            ("10.255.255.255", Some("ten")),
            ("11.0.0.0", None),
            ("9.255.255.255", None),
            ("10.1.0.0", Some("inner")),
            ("10.1.255.255", Some("inner")),
            ("10.2.0.0", Some("ten")),
            ("10.1.2.3", Some("later")),
            ("10.1.2.4", Some("inner")),
            ("255.255.255.255", Some("last")),
            ("::ffff:10.1.2.3", Some("later")),
            ("2001:db8:1::7", Some("site")),
            ("2001:db8:2::7", Some("six")),
            ("2001:db9::", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("end")),
            ("::", None),
        ] {
            assert_eq!(map.find(address.parse().unwrap()).copied(), want, "{address}");
        }
        let all = PrefixMap::new([(network("0.0.0.0/0"), 4), (network("::/0"), 6)]);
        assert_eq!(all.find("1.2.3.4".parse().unwrap()), Some(&4));
        assert_eq!(all.find("2000::1".parse().unwrap()), Some(&6));
        assert_eq!(PrefixMap::<u8>::default().find("1.2.3.4".parse().unwrap()), None);
    }

    fn networks() -> impl Strategy<Value = IpNet> {
        // Few different bits, so that ranges meet.
        let v4 = (any::<u32>(), 0_u8..=32).prop_map(|(bits, length)| {
            let address = std::net::Ipv4Addr::from(bits & 0x0300_0303);
            IpNet::from(ipnet::Ipv4Net::new(address, length).unwrap().trunc())
        });
        let v6 = (any::<u128>(), 0_u8..=128).prop_map(|(bits, length)| {
            let address = std::net::Ipv6Addr::from(bits & (0x0303 << 112 | 0x0303 << 60 | 0x03));
            IpNet::from(ipnet::Ipv6Net::new(address, length).unwrap().trunc())
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn it_finds_what_a_look_at_every_range_finds(
            ranges in proptest::collection::vec(networks(), 0..700),
            asked in proptest::collection::vec(networks(), 1..50),
        ) {
            // Mapped addresses are IPv4; the slow version below does not know that.
            let mapped = network("::ffff:0:0/96");
            let ranges: Vec<IpNet> = ranges.into_iter().filter(|range| !range.contains(&mapped)).collect();
            let map = PrefixMap::new(ranges.iter().copied().zip(0..));
            for network in asked {
                for address in [network.network(), network.broadcast()] {
                    let around = ranges.iter().enumerate().filter(|(_, range)| range.contains(&address.to_canonical()));
                    let want = around.max_by_key(|(index, range)| (range.prefix_len(), *index));
                    prop_assert_eq!(map.find(address).copied(), want.map(|(index, _)| index));
                }
            }
        }
    }
}
