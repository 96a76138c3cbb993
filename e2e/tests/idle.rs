// SPDX-License-Identifier: Apache-2.0
//! HTTP/1 connections between two requests: the library's buffers are given back, the client sees nothing.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use sunbeam_testkit::{TestProxy, TestUpstream, eventually};

const DOCS: &str = "docs.example.test";

trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

fn docs(limits: &str) -> (TestUpstream, TestProxy) {
    let upstream = TestUpstream::echo();
    let url = upstream.url();
    let proxy = TestProxy::start(&format!(
        "[limits]\n{limits}\n[[routes]]\nhost_prefix = \"docs\"\nbackend = \"{url}\"\ndisable_secure_redirection = true"
    ));
    (upstream, proxy)
}

fn connect(proxy: &TestProxy, is_tls: bool) -> Box<dyn ReadWrite> {
    let address = if is_tls { proxy.https() } else { proxy.http() };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    if !is_tls {
        return Box::new(stream);
    }
    let session = ClientConnection::new(proxy.client_config(), DOCS.try_into().unwrap()).unwrap();
    Box::new(StreamOwned::new(session, stream))
}

fn head(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {DOCS}\r\n\r\n")
}

/// Reads one answer of the echo, which ends with the request's line.
fn read_answer(stream: &mut dyn ReadWrite, path: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(format!("GET {path}").as_bytes()) {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(answer).unwrap()
}

fn wait_for_idle(proxy: &TestProxy, count: f64) {
    eventually(&format!("{count} idle"), || {
        let idle = proxy.metric("sunbeam_idle_connections", &[]);
        ((idle - count).abs() < 0.5).then_some(())
    });
}

#[test]
fn an_idle_connection_is_served_again_whatever_way_its_next_request_comes() {
    let (upstream, proxy) = docs("");
    for is_tls in [false, true] {
        let mut stream = connect(&proxy, is_tls);
        stream.write_all(head("/first").as_bytes()).unwrap();
        read_answer(&mut stream, "/first");
        wait_for_idle(&proxy, 1.0);

        let text = head("/in-two-pieces");
        let (one, two) = text.split_at(9);
        stream.write_all(one.as_bytes()).unwrap();
        wait_for_idle(&proxy, 0.0);
        stream.write_all(two.as_bytes()).unwrap();
        assert!(read_answer(&mut stream, "/in-two-pieces").starts_with("HTTP/1.1 200 "));
        wait_for_idle(&proxy, 1.0);

        stream.write_all([head("/a"), head("/b")].concat().as_bytes()).unwrap();
        read_answer(&mut stream, "/b");
        drop(stream);
        wait_for_idle(&proxy, 0.0);
    }
    let paths: Vec<_> = upstream.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(paths.len(), 8, "{paths:?}");
    eventually("a record for each", || (proxy.audit().records().len() == 8).then_some(()));
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let (_upstream, proxy) = docs("keepalive_secs = 2");
    let mut stream = connect(&proxy, false);
    stream.write_all(head("/").as_bytes()).unwrap();
    read_answer(&mut stream, "/");
    let begun = Instant::now();
    wait_for_idle(&proxy, 1.0);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    eventually("its place is free", || (proxy.metric("sunbeam_active_connections", &[]) < 0.5).then_some(()));
}

#[test]
fn what_is_no_request_keeps_no_connection() {
    let (_upstream, proxy) = docs("keepalive_secs = 3");
    for is_tls in [false, true] {
        let mut stream = connect(&proxy, is_tls);
        stream.write_all(head("/").as_bytes()).unwrap();
        read_answer(&mut *stream, "/");
        let begun = Instant::now();
        // One at a time, and each of them wakes the connection.
        while stream.write_all(b"\r\n").and_then(|()| stream.flush()).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(15), "blank lines kept it");
            std::thread::sleep(Duration::from_millis(300));
        }
        assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_head_that_begins_after_a_silence_has_its_own_deadline() {
    let (_upstream, proxy) = docs("keepalive_secs = 60\nheader_timeout_secs = 2");
    let mut stream = connect(&proxy, false);
    stream.write_all(head("/").as_bytes()).unwrap();
    read_answer(&mut *stream, "/");
    wait_for_idle(&proxy, 1.0);
    std::thread::sleep(Duration::from_millis(2500));
    stream.write_all(b"GET /half HTTP/1.1\r\nHo").unwrap();
    let begun = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    let record = proxy.audit().wait_for("the half", |record| record.status == 408);
    assert_eq!(record.path, "/half");
}

#[test]
fn a_connection_whose_upgrade_was_refused_is_idle_like_any_other() {
    let (_upstream, proxy) = docs("keepalive_secs = 2");
    let mut stream = connect(&proxy, false);
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {DOCS}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).unwrap();
    assert!(read_answer(&mut *stream, "/").starts_with("HTTP/1.1 200 "), "no tunnel on this route");
    wait_for_idle(&proxy, 1.0);
    stream.write_all(head("/again").as_bytes()).unwrap();
    read_answer(&mut *stream, "/again");
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "closed when its time is over");
}

#[test]
fn a_drain_lets_an_idle_connection_send_the_request_that_is_on_its_way() {
    let (_upstream, mut proxy) = docs("");
    let mut asking = connect(&proxy, false);
    let mut silent = connect(&proxy, false);
    for stream in [&mut asking, &mut silent] {
        stream.write_all(head("/").as_bytes()).unwrap();
        read_answer(stream, "/");
    }
    wait_for_idle(&proxy, 2.0);
    let asked = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        asking.write_all(head("/late").as_bytes()).unwrap();
        read_answer(&mut asking, "/late")
    });
    proxy.drain();
    assert!(asked.join().unwrap().to_ascii_lowercase().contains("connection: close"));
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
}
