// SPDX-License-Identifier: Apache-2.0
//! Requests whose body and answer overlap: backends that answer before they have read everything, and bodies that
//! turn out bad after the answer has begun.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use sunbeam_testkit::{RawUpstream, TestProxy, eventually};

const HOST: &str = "docs.example.test";

fn proxy(limits: &str, backends: &[String]) -> TestProxy {
    TestProxy::start(&format!(
        "[limits]\n{limits}\n[[routes]]\nhost_prefix = \"docs\"\nbackend = {backends:?}\ndisable_secure_redirection = true"
    ))
}

fn connect(proxy: &TestProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn hits(proxy: &TestProxy, limit: &str) -> f64 {
    proxy.metric("sunbeam_limit_hits_total", &[("limit", limit)])
}

/// Reads until the connection ends, or holds `text`.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains(text) {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => answer.extend_from_slice(piece.get(..count).unwrap()),
            _ => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_a_backend_said_before_it_hung_up_on_an_upload_is_the_answer() {
    // What it did not read makes the kernel reset the connection.
    let hasty = || {
        RawUpstream::start(|connection| {
            connection.read_bytes();
            connection.write(
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsmall",
            );
        })
    };
    let (one, two) = (hasty(), hasty());
    let proxy = proxy("", &[one.url(), two.url()]);
    for (round, bytes) in [128 * 1024, 1024 * 1024, 4 * 1024 * 1024].repeat(10).into_iter().enumerate() {
        let mut stream = connect(&proxy);
        let head = format!("POST /{round} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut writing = stream.try_clone().unwrap();
        let upload = thread::spawn(move || drop(writing.write_all(&vec![b'x'; bytes])));
        let answer = read_until(&mut stream, "small");
        assert!(answer.starts_with("HTTP/1.1 413 "), "upload {round} of {bytes}: {answer}");
        assert!(answer.ends_with("small"), "upload {round} of {bytes}: {answer}");
        drop(stream);
        upload.join().unwrap();
    }
    for backend in [&one, &two] {
        let up = proxy.metric("sunbeam_backend_up", &[("backend", &backend.url())]);
        assert!(up > 0.5, "an answer is nothing to be left out for");
    }
    assert!(proxy.metric("sunbeam_upstream_errors_total", &[]) < 0.5);
}

#[test]
fn an_answer_that_is_announced_gets_more_time() {
    let backend = RawUpstream::start(|connection| {
        while connection.read_request().is_some() {
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(700));
                connection.write(b"HTTP/1.1 102 Processing\r\n\r\n");
            }
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        }
    });
    let proxy = proxy("backend_timeout_secs = 1", &[backend.url()]);
    let answer = proxy.client().get(HOST, "/slow");
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
}

/// A backend that answers with half of a body at once, and tells when its connection has ended.
fn answers_early() -> RawUpstream {
    RawUpstream::start(|connection| {
        connection.read_bytes();
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe first half");
        while connection.read_bytes().is_some() {}
    })
}

#[test]
fn a_body_that_turns_out_bad_ends_an_answer_that_has_begun() {
    let backend = answers_early();
    let limits = "max_body_bytes = 100000\nmin_body_rate_bytes = 1000";
    let proxy = proxy(limits, &[backend.url()]);
    let large = format!("ffff\r\n{}\r\n", "x".repeat(0xffff));
    thread::scope(|scope| {
        for (name, rest, why) in [
            ("large", large.repeat(2), "is too large"),
            ("broken", "not a size\r\n".to_owned(), "broke off"),
            // The grace is ten seconds.
            ("slow", String::new(), "comes too slowly"),
        ] {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut stream = connect(proxy);
                // Of a type that the WAF does not wait for.
                let head = format!(
                    "POST /{name} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/png\r\n\
                     Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                let begun = read_until(&mut stream, "the first half");
                assert!(begun.starts_with("HTTP/1.1 200 "), "{name}: {begun}");
                drop(stream.write_all(rest.as_bytes()));
                read_until(&mut stream, "never comes");
                let path = format!("/{name}");
                let record = proxy.audit().wait_for(name, |record| record.path == path);
                let error = record.error.unwrap();
                assert!(error.contains(why), "{name}: {error}");
            });
        }
    });
    for limit in ["max_body_bytes", "min_body_rate_bytes"] {
        assert!((hits(&proxy, limit) - 1.0).abs() < 0.1, "{limit}: {}", hits(&proxy, limit));
    }
    eventually("the backend is asked for nothing more", || {
        (proxy.metric("sunbeam_upstream_in_flight", &[]) < 0.5).then_some(())
    });
}
