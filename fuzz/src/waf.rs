// SPDX-License-Identifier: Apache-2.0
//! What the targets of the firewall share.

use std::net::{IpAddr, Ipv4Addr};

use sunbeam_waf::engine::{Ends, RequestHead, ResponseHead, Transaction};

/// Runs all phases over a request with this query and body, and its answer, which is the body.
pub fn ask(transaction: &mut Transaction, query: &[u8], kind: &[u8], body: &[u8]) {
    let [client, server] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
    let target = [b"/shop/item?", query].concat();
    let headers: [(&[u8], &[u8]); 4] =
        [(b"Host", b"shop.example"), (b"Cookie", query), (b"Content-Type", kind), (b"User-Agent", body)];
    transaction.request_head(&RequestHead {
        method: b"POST",
        target: &target,
        protocol: b"HTTP/1.1",
        headers: &headers,
        id: "1",
    });
    transaction.request_body(body, false);
    let headers: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"text/html")];
    transaction.response_head(&ResponseHead { status: 200, protocol: b"HTTP/1.1", headers: &headers });
    transaction.response_body(body, false);
    transaction.end();
}
