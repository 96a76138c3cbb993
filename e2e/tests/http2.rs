// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 frames that no client library would send (row A17: a burst of resets is bounded).

use std::sync::Arc;

use sunbeam_testkit::{TestProxy, TestUpstream, eventually, raw_exchange_tls};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

/// RFC 9113 §4.1
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /` as HPACK: three entries of the static table, and the authority as a literal.
fn get(authority: &str) -> Vec<u8> {
    let length = u8::try_from(authority.len()).expect("a short name");
    [&[0x82, 0x87, 0x84, 0x41, length], authority.as_bytes()].concat()
}

#[test]
fn a_burst_of_resets_ends_its_connection_and_nobody_elses() {
    const END_HEADERS_AND_STREAM: u8 = 0x5;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let docs = TestUpstream::echo();
    let proxy = TestProxy::builder().route("docs", &docs.url()).start();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    for number in 0..3000_u32 {
        let stream = number * 2 + 1;
        bytes.extend(frame(HEADERS, END_HEADERS_AND_STREAM, stream, &get("docs.example.test")));
        bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    let mut config = (*proxy.client_config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    raw_exchange_tls(proxy.https(), Arc::new(config), "docs.example.test", &bytes);
    let begun = proxy.metric("sunbeam_requests_received_total", &[]);
    assert!(begun < 1000.0 && docs.seen().len() < 1000, "{begun} of 3000 reset requests were begun");
    eventually("the connection is closed", || {
        (proxy.metric("sunbeam_active_connections", &[]) < 0.5).then_some(())
    });
    assert_eq!(proxy.client().http2().get("docs.example.test", "/still-here").status, 200);
}
