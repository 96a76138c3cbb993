// SPDX-License-Identifier: Apache-2.0
//! Whose request it is: a peer that is not trusted is believed nothing, and what a client writes in front of
//! what a trusted proxy wrote changes nothing.
#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::first_line;
use sunbeam_traffic::{client_address, truncated_address};

static TRUSTED: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().expect("a network")).collect()
});

fuzz_target!(|text: &str| {
    let (connecting, list) = first_line(text);
    let connecting = (!connecting.is_empty()).then_some(connecting);
    let ask = |peer: &str, lines: Vec<&str>, connecting| {
        client_address(peer.parse().expect("an address"), lines.into_iter(), connecting, &TRUSTED)
    };
    let lines: Vec<&str> = list.split('\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(
        ask("192.0.2.9", lines.clone(), connecting),
        IpAddr::from([192, 0, 2, 9]),
        "a stranger is believed"
    );
    let client = ask("10.0.0.1", lines.clone(), connecting);
    assert_eq!(client, client.to_canonical());
    // The same in one line.
    let joined = lines.join(",");
    let one = if lines.is_empty() { Vec::new() } else { vec![joined.as_str()] };
    assert_eq!(client, ask("10.0.0.1", one, connecting), "lines are not a list");
    // A proxy of ours appended 198.51.100.7: whatever the client wrote before stands behind it.
    let mut forged = lines.clone();
    forged.push("198.51.100.7, 10.2.3.4");
    assert_eq!(
        ask("10.0.0.1", forged, connecting),
        IpAddr::from([198, 51, 100, 7]),
        "a client chose its address"
    );
    let cut = truncated_address(client);
    assert_eq!(cut, truncated_address(cut));
});
