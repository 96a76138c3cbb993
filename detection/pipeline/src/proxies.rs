// SPDX-License-Identifier: Apache-2.0
//! A proxy in front that nobody declared: then all visitors share its address, and whoever judges by address
//! would judge them all.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use sunbeam_tables::PrefixMap;

/// Networks from which content networks and proxies of one's own house come: private ranges (RFC 1918, 4193,
/// 6598, loopback), and the ranges that Cloudflare and Fastly publish.
const RANGES: &[&str] = &[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "108.162.192.0/18",
    "131.0.72.0/22",
    "141.101.64.0/18",
    "162.158.0.0/15",
    "172.64.0.0/13",
    "173.245.48.0/20",
    "188.114.96.0/20",
    "190.93.240.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "2400:cb00::/32",
    "2405:8100::/32",
    "2405:b500::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
    "23.235.32.0/20",
    "43.249.72.0/22",
    "103.244.50.0/24",
    "103.245.222.0/23",
    "103.245.224.0/24",
    "104.156.80.0/20",
    "140.248.64.0/18",
    "140.248.128.0/17",
    "146.75.0.0/17",
    "151.101.0.0/16",
    "157.52.64.0/18",
    "167.82.0.0/17",
    "167.82.128.0/20",
    "167.82.160.0/20",
    "167.82.224.0/20",
    "172.111.64.0/18",
    "185.31.16.0/22",
    "199.27.72.0/21",
    "199.232.0.0/16",
    "2a04:4e40::/32",
    "2a04:4e42::/32",
];

static NETWORKS: LazyLock<PrefixMap<()>> = LazyLock::new(|| {
    PrefixMap::new(RANGES.iter().filter_map(|range| range.parse::<IpNet>().ok()).map(|range| (range, ())))
});

/// Whether an address may well be a proxy that others stand behind. What it forwards is still not believed; it is
/// only not blocked for how much comes from it. Anybody else who writes forwarding headers gains nothing.
pub fn is_likely_proxy(address: IpAddr) -> bool {
    NETWORKS.find(address).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_networks_and_the_own_house_are_told_from_strangers() {
        assert_eq!(NETWORKS.len(), RANGES.len(), "every range is one");
        for (address, want) in [
            ("172.70.1.1", true),
            ("151.101.1.1", true),
            ("10.1.2.3", true),
            ("203.0.113.7", false),
            ("2606:4700::1", true),
        ] {
            assert_eq!(is_likely_proxy(address.parse().unwrap()), want, "{address}");
        }
    }
}
