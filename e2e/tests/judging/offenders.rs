// SPDX-License-Identifier: Apache-2.0
//! Those who are stopped again and again get what time is left.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

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
