// SPDX-License-Identifier: Apache-2.0
//! Those who are stopped again and again get what time is left.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use sunbeam_testkit::raw_http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, RawFrame, RawHttp2, frame, header_block, request_fields,
};
use sunbeam_testkit::{connect_from, exchange};

use super::*;

const WAITS: &str = "sunbeam_offender_waits_total";

/// Asks as fast as the node takes it, sixteen at a time, until `is_over`.
fn flood(proxy: &TestProxy, is_over: &AtomicBool) {
    let mut stream = TcpStream::connect(proxy.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let one = format!("GET / HTTP/1.1\r\nHost: {SHOP}\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n");
    let mut answers = vec![0; 65_536];
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(one.repeat(16).as_bytes()).unwrap();
        // Not all of the answers may be there yet.
        drop(stream.read(&mut answers));
    }
}

#[test]
fn whoever_is_stopped_again_and_again_waits_while_others_are_served() {
    let backend = shop();
    let config = format!(
        "{NOBODY_IS_SPARED}lists.block = [\"192.0.2.0/24\"]\nlimits.keepalive_requests = 1000000\n\
         rate_limit.enabled = false\n"
    );
    let proxy = node(&backend, &config, "");
    let blocked = from(&proxy, "192.0.2.9");
    let stopped = |times| (0..times).for_each(|_| assert_eq!(blocked.get(SHOP, "/").status, 403));
    stopped(100);
    // Where nobody else asks nobody waits; a moment ago it was like everybody else.
    sleep(Duration::from_millis(200));
    let before = proxy.metric(WAITS, &[]);
    stopped(100);
    assert_eq!(proxy.metric(WAITS, &[]), before);
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| flood(&proxy, &is_over));
        }
        let visitor = from(&proxy, "198.51.100.7");
        eventually("they wait", || {
            assert_eq!(visitor.get(SHOP, "/").status, 200);
            (proxy.metric(WAITS, &[]) > before + 100.0).then_some(())
        });
        is_over.store(true, Ordering::Relaxed);
    });
    eventually("whoever waited is answered", || (blocked.get(SHOP, "/").status == 403).then_some(()));
}

/// Opens connections with as many requests as one may have at a time, until one is ended by the node.
fn flood_http2(proxy: &TestProxy, is_over: &AtomicBool) {
    const STREAMS: u32 = 100;
    let block = header_block(&request_fields("GET", SHOP, "/"));
    let asked = |number: u32| frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &block);
    let all: Vec<u8> = (0..STREAMS).flat_map(asked).collect();
    let begun = Instant::now();
    while !is_over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
        let mut client = RawHttp2::connect(proxy);
        client.send_bytes(&all);
        let is_end = |frame: &RawFrame| frame.kind == DATA && frame.flags & END_STREAM != 0;
        let answered = (0..STREAMS).all(|_| client.read_until(is_end).is_some());
        // Whoever is not hung up on may ask once more.
        client.get(STREAMS * 2 + 1, SHOP, "/");
        if !answered || client.read_answer(STREAMS * 2 + 1).is_none() {
            is_over.store(true, Ordering::Relaxed);
        }
    }
}

/// Somebody else, on a new connection each time: any thread may be the one that serves it.
fn visit(proxy: &TestProxy, is_over: &AtomicBool) {
    let asked = format!("GET / HTTP/1.1\r\nHost: {SHOP}\r\nConnection: close\r\n\r\n");
    let begun = Instant::now();
    while !is_over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
        let answer = exchange(connect_from(IpAddr::from([127, 0, 0, 2]), proxy.http()), asked.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn whoever_sends_more_than_may_wait_is_hung_up_on() {
    let backend = shop();
    let config = "rate_limit.bypass_cidrs = []\nrate_limit.enabled = false\nddos.enabled = false\n\
         lists.block = [\"127.0.0.1/32\"]\n";
    let proxy = node(&backend, config, "");
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| flood_http2(&proxy, &is_over));
        }
        for _ in 0..4 {
            scope.spawn(|| visit(&proxy, &is_over));
        }
    });
    assert!(proxy.metric("sunbeam_limit_hits_total", &[("limit", "offenders_waiting")]) > 0.5);
}
