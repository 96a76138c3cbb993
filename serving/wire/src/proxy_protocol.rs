// SPDX-License-Identifier: Apache-2.0
//! The header by which a load balancer tells whom it speaks for: PROXY protocol version 1 (one line of
//! text) and 2 (binary), as HAProxy's `proxy-protocol.txt` defines them.
//!
//! Only a peer that is trusted may be read with this: whoever sends the header chooses the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a version 1 header, CRLF included (§2.1).
const V1_BYTES_MAX: usize = 107;

/// Bytes behind the fixed part of a version 2 header: addresses and TLVs. What balancers send stays below
/// a few hundred; the field itself would allow 64 KiB.
const V2_LENGTH_MAX: usize = 4096;

const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;

const NO_HEADER: &str = "the connection does not begin with a PROXY header";

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// The peer's own: a health check (`LOCAL`), or a family that says nothing here (`UNKNOWN`, `UNSPEC`,
    /// UDP, Unix sockets).
    Connection,
    /// A client's at this address.
    Client(SocketAddr),
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many of them belong to the header; what follows is the client's.
    pub used: usize,
    /// Set when the header is whole.
    pub source: Option<ProxySource>,
}

/// Reads one header, in pieces as they come. It holds at most 107 bytes: TLVs are skipped.
#[derive(Clone, Debug)]
pub struct ProxyHeader {
    held: [u8; V1_BYTES_MAX],
    taken: usize,
    /// Of version 2, once its fixed part is there.
    total: usize,
}

impl Default for ProxyHeader {
    fn default() -> Self {
        Self { held: [0; V1_BYTES_MAX], taken: 0, total: 0 }
    }
}

impl ProxyHeader {
    /// Takes what belongs to the header, never a byte more; not to be called again when it is whole.
    ///
    /// # Errors
    /// As soon as the bytes can no longer become a header; the text says why.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Taken, &'static str> {
        for (before, byte) in bytes.iter().enumerate() {
            if let source @ Some(_) = self.step(*byte)? {
                return Ok(Taken { used: before + 1, source });
            }
        }
        Ok(Taken { used: bytes.len(), source: None })
    }

    fn step(&mut self, byte: u8) -> Result<Option<ProxySource>, &'static str> {
        let at = self.taken;
        if let Some(place) = self.held.get_mut(at) {
            *place = byte;
        }
        self.taken += 1;
        if self.held.first() == V2_SIGNATURE.first() {
            self.step_v2(at, byte)
        } else {
            self.step_v1(at, byte)
        }
    }

    fn step_v1(&self, at: usize, byte: u8) -> Result<Option<ProxySource>, &'static str> {
        if let Some(wanted) = V1_START.get(at) {
            return if byte == *wanted { Ok(None) } else { Err(NO_HEADER) };
        }
        let before = self.held.get(at - 1).copied().unwrap_or_default();
        match byte {
            b'\n' if before == b'\r' => {
                let line = self.held.get(V1_START.len()..at - 1).unwrap_or_default();
                v1_source(line).map(Some).ok_or("a version 1 header is not as its grammar says")
            }
            _ if before == b'\r' => Err("a version 1 header holds a CR"),
            _ if at + 1 == V1_BYTES_MAX => Err("a version 1 header is longer than 107 bytes"),
            b'\r' | b' '..=b'~' => Ok(None),
            _ => Err("a version 1 header holds a byte that is not text"),
        }
    }

    fn step_v2(&mut self, at: usize, byte: u8) -> Result<Option<ProxySource>, &'static str> {
        if let Some(wanted) = V2_SIGNATURE.get(at) {
            return if byte == *wanted { Ok(None) } else { Err(NO_HEADER) };
        }
        match at {
            12 if byte != 0x20 && byte != 0x21 => return Err("a version 2 header has an unknown command"),
            13 if !self.is_local() && v2_address_bytes(byte).is_none() => {
                return Err("a version 2 header has an unknown address family");
            }
            15 => {
                let [_, family, high, low] = self.array(12);
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length > V2_LENGTH_MAX {
                    return Err("a version 2 header is longer than 4096 bytes");
                }
                if !self.is_local() && length < v2_address_bytes(family).unwrap_or_default() {
                    return Err("a version 2 header is too short for its addresses");
                }
                self.total = V2_FIXED + length;
            }
            _ => {}
        }
        Ok((self.taken == self.total).then(|| self.v2_source()))
    }

    fn v2_source(&self) -> ProxySource {
        let [family]: [u8; 1] = self.array(13);
        let client =
            |address: IpAddr, port| ProxySource::Client(SocketAddr::new(address, u16::from_be_bytes(port)));
        match family {
            _ if self.is_local() => ProxySource::Connection,
            0x11 => client(Ipv4Addr::from(self.array::<4>(V2_FIXED)).into(), self.array(V2_FIXED + 8)),
            0x21 => client(Ipv6Addr::from(self.array::<16>(V2_FIXED)).into(), self.array(V2_FIXED + 32)),
            _ => ProxySource::Connection,
        }
    }

    /// `LOCAL`: what follows the length is skipped, whatever it is.
    fn is_local(&self) -> bool {
        self.array(12) == [0x20]
    }

    /// Bytes that are held; the callers know that they are.
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.held.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }
}

/// Bytes that the addresses of a family take; `None` for a family that is not defined.
const fn v2_address_bytes(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 | 0x12 => Some(12),
        0x21 | 0x22 => Some(36),
        0x31 | 0x32 => Some(216),
        _ => None,
    }
}

/// What stands between `PROXY ` and CRLF: `TCP4 source destination port port`.
fn v1_source(line: &[u8]) -> Option<ProxySource> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let protocol = words.next()?;
    if protocol == "UNKNOWN" {
        return Some(ProxySource::Connection);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, _) = (v1_port(words.next()?)?, v1_port(words.next()?)?);
    let parse = |text: &str| match protocol {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let (source, _) = (parse(source)?, parse(destination)?);
    words.next().is_none().then_some(ProxySource::Client(SocketAddr::new(source, source_port)))
}

/// Decimal, without a sign and without leading zeros.
fn v1_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Taken, &'static str> {
        ProxyHeader::default().take(bytes)
    }

    /// The source of a header that is whole and of which nothing is left.
    fn source(bytes: &[u8]) -> Option<ProxySource> {
        read(bytes).ok().filter(|taken| taken.used == bytes.len()).and_then(|taken| taken.source)
    }

    fn client(text: &str) -> Option<ProxySource> {
        Some(ProxySource::Client(text.parse().unwrap()))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, body].concat()
    }

    fn v2_body(source: SocketAddr, tlvs: &[u8]) -> (u8, Vec<u8>) {
        let port = source.port().to_be_bytes();
        match source.ip() {
            IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[192, 0, 2, 1], &port, &[1, 187], tlvs].concat()),
            IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[9; 16], &port, &[1, 187], tlvs].concat()),
        }
    }

    #[test]
    fn version_1_is_read_by_its_grammar_and_nothing_else() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 16));
        for (line, want) in [
            ("PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", client("203.0.113.7:56324")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", client("[2001:db8::7]:0")),
            ("PROXY UNKNOWN\r\n", Some(ProxySource::Connection)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(ProxySource::Connection)),
            (&longest, Some(ProxySource::Connection)),
        ] {
            assert_eq!(source(line.as_bytes()), want, "{line:?}");
        }
        let too_long = longest.replacen('x', "xx", 1);
        for line in [
            "PROXY TCP4 203.0.113.7 192.0.2.1 56324\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443 \r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443 1\r\n",
            "PROXY TCP4  203.0.113.7 192.0.2.1 56324 443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 +6324 443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 06324 443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 1  443\r\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 1 443\n",
            "PROXY TCP4 203.0.113.7 192.0.2.1 1 443\r \n",
            "PROXY TCP4 203.0.113.07 192.0.2.1 1 443\r\n",
            "PROXY TCP4 203.0.113.7\t192.0.2.1 1 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            "PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n",
            "PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "proxy UNKNOWN\r\n",
            "PROXYUNKNOWN\r\n",
            "GET / HTTP/1.1\r\n",
            &too_long,
        ] {
            assert!(read(line.as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn version_2_is_read_by_command_and_family() {
        let v4 = "203.0.113.7:56324".parse().unwrap();
        let v6 = "[2001:db8::7]:56324".parse().unwrap();
        let tlvs = [0x04, 0, 3, 1, 2, 3];
        for (name, command, (family, body), want) in [
            ("tcp4", 0x21, v2_body(v4, b""), Some(ProxySource::Client(v4))),
            ("tcp4 with tlvs", 0x21, v2_body(v4, &tlvs), Some(ProxySource::Client(v4))),
            ("tcp4, largest", 0x21, v2_body(v4, &[0; 4084]), Some(ProxySource::Client(v4))),
            ("tcp6", 0x21, v2_body(v6, b""), Some(ProxySource::Client(v6))),
            ("tcp6 with tlvs", 0x21, v2_body(v6, &tlvs), Some(ProxySource::Client(v6))),
            ("local", 0x20, v2_body(v4, b""), Some(ProxySource::Connection)),
            ("local, bare", 0x20, (0, Vec::new()), Some(ProxySource::Connection)),
            ("local, any family", 0x20, (0xff, vec![1, 2, 3]), Some(ProxySource::Connection)),
            ("unspec", 0x21, (0, vec![7; 5]), Some(ProxySource::Connection)),
            ("udp", 0x21, (0x12, vec![7; 12]), Some(ProxySource::Connection)),
            ("unix", 0x21, (0x31, vec![7; 216]), Some(ProxySource::Connection)),
            ("tcp4, too large", 0x21, v2_body(v4, &[0; 4085]), None),
            ("tcp4, too short", 0x21, (0x11, vec![0; 11]), None),
            ("tcp6, too short", 0x21, (0x21, vec![0; 35]), None),
            ("unknown family", 0x21, (0x10, vec![0; 12]), None),
            ("unknown command", 0x22, v2_body(v4, b""), None),
            ("version 1 in binary", 0x11, v2_body(v4, b""), None),
        ] {
            assert_eq!(source(&v2(command, family, &body)), want, "{name}");
        }
        assert!(read(b"\r\n\r\n\0\r\nQUIX").is_err());
    }

    #[test]
    fn what_cannot_become_a_header_is_refused_at_its_first_byte() {
        assert!(read(b"G").is_err());
        assert!(read(&[0x16]).is_err());
        assert_eq!(read(b"P"), Ok(Taken { used: 1, source: None }));
        assert_eq!(read(b""), Ok(Taken { used: 0, source: None }));
    }

    fn a_source() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<[u8; 4]>().prop_map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
        let v6 = any::<[u8; 16]>().prop_map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)));
        (prop_oneof![v4, v6], any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
    }

    fn a_header() -> impl Strategy<Value = (Vec<u8>, ProxySource)> {
        let tlvs = proptest::collection::vec(any::<u8>(), 0..300);
        (a_source(), any::<bool>(), tlvs).prop_map(|(source, is_text, tlvs)| {
            let header = if is_text {
                let (word, other) = if source.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "::1") };
                format!("PROXY {word} {} {other} {} 443\r\n", source.ip(), source.port()).into_bytes()
            } else {
                let (family, body) = v2_body(source, &tlvs);
                v2(0x21, family, &body)
            };
            (header, ProxySource::Client(source))
        })
    }

    proptest! {
        #[test]
        fn a_header_comes_back_and_what_follows_is_left(
            (header, want) in a_header(),
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let taken = read(&[&header[..], &rest].concat());
            prop_assert_eq!(taken, Ok(Taken { used: header.len(), source: Some(want) }));
        }

        #[test]
        fn pieces_and_the_whole_read_the_same(
            (mut bytes, _) in a_header(),
            change in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
            cuts in proptest::collection::vec(1usize..40, 1..200),
        ) {
            if let Some((at, byte)) = change {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let mut header = ProxyHeader::default();
            let (mut used, mut result) = (0, Ok(None));
            for cut in cuts.iter().cycle() {
                let end = bytes.len().min(used + cut);
                match header.take(&bytes[used..end]) {
                    Ok(taken) => {
                        used += taken.used;
                        result = Ok(taken.source);
                    }
                    Err(why) => result = Err(why),
                }
                if result != Ok(None) || used == bytes.len() {
                    break;
                }
            }
            let whole = read(&bytes);
            prop_assert_eq!(result, whole.map(|taken| taken.source));
            if let Ok(taken) = whole {
                prop_assert_eq!(used, taken.used);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            start in 0usize..3,
            bytes in proptest::collection::vec(any::<u8>(), 0..6000),
        ) {
            let start = [&b""[..], V1_START, V2_SIGNATURE][start];
            if let Ok(taken) = read(&[start, &bytes].concat()) {
                prop_assert!(taken.used <= start.len() + bytes.len());
                prop_assert!(taken.used <= V2_FIXED + V2_LENGTH_MAX);
            }
        }
    }
}
