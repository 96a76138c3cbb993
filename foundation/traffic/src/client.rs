// SPDX-License-Identifier: Apache-2.0
//! Whose request it is: the peer's address, or what a trusted proxy in front says.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Addresses in `X-Forwarded-For` that are looked at: a client writes that header too.
const MAX_HOPS: usize = 32;

/// The address of the client.
///
/// `forwarded_for` are the values of all `X-Forwarded-For` lines in order; they and
/// `connecting_ip` (`CF-Connecting-IP`) are believed only when `peer` is a trusted proxy. Each proxy
/// appends the address it saw, so the list is read from its end, and the first address that is not a
/// trusted proxy is the client: what stands before it was written by the client itself.
/// `CF-Connecting-IP` counts only without `X-Forwarded-For`: a proxy that does not know it passes on
/// whatever a client wrote.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    connecting_ip: Option<&str>,
    trusted: &[IpNet],
) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut nearest = None;
    for hop in forwarded_for.rev().flat_map(|line| line.rsplit(',')).take(MAX_HOPS) {
        let Some(address) = hop_address(hop) else { break };
        nearest = Some(address);
        if !is_trusted(&address) {
            break;
        }
    }
    nearest.or_else(|| connecting_ip.and_then(hop_address)).unwrap_or(peer)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`
fn hop_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    hop.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| hop.trim_matches(['[', ']']).parse())
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_for_its_own_hop() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        type Case = (&'static str, &'static str, &'static [&'static str], Option<&'static str>, &'static str);
        let cases: [Case; 11] = [
            ("untrusted peer", "192.0.2.9", &["1.2.3.4"], Some("5.6.7.8"), "192.0.2.9"),
            ("one hop", "10.0.0.1", &["1.2.3.4"], None, "1.2.3.4"),
            ("forged first", "10.0.0.1", &["9.9.9.9, 1.2.3.4"], None, "1.2.3.4"),
            ("chain of ours", "10.0.0.1", &["9.9.9.9, 1.2.3.4, 10.1.1.1"], None, "1.2.3.4"),
            ("several lines", "10.0.0.1", &["9.9.9.9", "1.2.3.4,10.2.2.2"], None, "1.2.3.4"),
            ("all trusted", "10.0.0.1", &["10.3.3.3, 10.2.2.2"], None, "10.3.3.3"),
            ("garbage ends it", "10.0.0.1", &["1.1.1.1, junk"], None, "10.0.0.1"),
            ("port and brackets", "10.0.0.1", &["[2a00::7]:443"], None, "2a00::7"),
            ("cloudflare's header", "10.0.0.1", &[], Some("5.6.7.8"), "5.6.7.8"),
            ("list before cloudflare's", "10.0.0.1", &["1.2.3.4"], Some("5.6.7.8"), "1.2.3.4"),
            ("mapped peer", "::ffff:10.0.0.1", &["1.2.3.4"], None, "1.2.3.4"),
        ];
        for (name, peer, lines, cf, want) in cases {
            let got = client_address(peer.parse().unwrap(), lines.iter().copied(), cf, &trusted);
            assert_eq!(got, want.parse::<IpAddr>().unwrap(), "{name}");
        }
    }

    #[test]
    fn a_forged_list_costs_a_bounded_look() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let forged = vec!["10.0.0.2"; 100_000].join(",");
        let got = client_address("10.0.0.1".parse().unwrap(), [forged.as_str()].into_iter(), None, &trusted);
        assert_eq!(got, "10.0.0.2".parse::<IpAddr>().unwrap());
    }
}
