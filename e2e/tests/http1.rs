// SPDX-License-Identifier: Apache-2.0
//! HTTP/1 on the client's side, byte by byte: how answers are framed for whom (RFC 9112 §6 and §9), and what becomes
//! of the connection behind them.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use sunbeam_testkit::{RawUpstream, TestProxy};

const HOST: &str = "docs.example.test";

/// Answers by the path, on connections that are kept.
fn backend() -> RawUpstream {
    RawUpstream::start(|connection| {
        while let Some(request) = connection.read_request() {
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = match path {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
                "/chunks" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
                }
                "/trailers" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                     4\r\nbody\r\n0\r\nX-Sum: 7\r\nX-Odd: 8\r\n\r\n"
                }
                "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/same" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 4\r\n\r\n",
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            };
            connection.write(answer.as_bytes());
        }
    })
}

fn proxy(backend: &RawUpstream) -> TestProxy {
    TestProxy::start(&format!(
        "[limits]\nmax_body_bytes = 100000\n[[routes]]\nhost_prefix = \"docs\"\nbackend = {:?}\n\
         disable_secure_redirection = true\ncompress = false",
        backend.url()
    ))
}

fn connect(proxy: &TestProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads until the text ends so, or the connection does.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) && matches!(stream.read(&mut byte), Ok(1)) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

fn ask(stream: &mut TcpStream, line: &str, fields: &str) {
    write!(stream, "{line}\r\nHost: {HOST}\r\n{fields}\r\n").unwrap();
}

/// Of an answer's head, what frames it: lower-case lines, in order.
fn framing(answer: &str) -> Vec<&str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let is_framing = |line: &&str| {
        ["content-length:", "transfer-encoding:", "connection:"].iter().any(|name| line.starts_with(name))
    };
    head.lines().filter(is_framing).collect()
}

#[test]
fn an_answer_is_framed_so_that_its_client_understands_it_and_the_connection_goes_on_when_it_can() {
    let backend = backend();
    let proxy = proxy(&backend);
    for (line, fields, status, frames, body, is_kept) in [
        ("GET /length HTTP/1.1", "", "HTTP/1.1 200 OK", &["content-length: 4"][..], "body", true),
        (
            "GET /length HTTP/1.0",
            "",
            "HTTP/1.0 200 OK",
            &["content-length: 4", "connection: close"],
            "body",
            false,
        ),
        (
            "GET /length HTTP/1.0",
            "Connection: keep-alive\r\n",
            "HTTP/1.0 200 OK",
            &["content-length: 4", "connection: keep-alive"],
            "body",
            true,
        ),
        (
            "GET /length HTTP/1.1",
            "Connection: close\r\n",
            "HTTP/1.1 200 OK",
            &["content-length: 4", "connection: close"],
            "body",
            false,
        ),
        (
            "GET /chunks HTTP/1.1",
            "",
            "HTTP/1.1 200 OK",
            &["transfer-encoding: chunked"],
            "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
            true,
        ),
        // There is no framing that it knows: its end is the connection's.
        (
            "GET /chunks HTTP/1.0",
            "Connection: keep-alive\r\n",
            "HTTP/1.0 200 OK",
            &["connection: close"],
            "body",
            false,
        ),
        (
            "GET /trailers HTTP/1.1",
            "TE: trailers\r\nConnection: TE\r\n",
            "HTTP/1.1 200 OK",
            &["transfer-encoding: chunked"],
            "4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n",
            true,
        ),
        (
            "GET /trailers HTTP/1.1",
            "",
            "HTTP/1.1 200 OK",
            &["transfer-encoding: chunked"],
            "4\r\nbody\r\n0\r\n\r\n",
            true,
        ),
        ("HEAD /head HTTP/1.1", "", "HTTP/1.1 200 OK", &["content-length: 4"], "", true),
        ("GET /none HTTP/1.1", "", "HTTP/1.1 204 No Content", &[], "", true),
        ("GET /same HTTP/1.1", "", "HTTP/1.1 304 Not Modified", &["content-length: 4"], "", true),
        ("GET /empty HTTP/1.1", "", "HTTP/1.1 200 OK", &["content-length: 0"], "", true),
    ] {
        let name = format!("{line} {fields:?}");
        let mut stream = connect(&proxy);
        ask(&mut stream, line, fields);
        let head = read_until(&mut stream, "\r\n\r\n");
        assert!(head.starts_with(&format!("{status}\r\n")), "{name}: {head}");
        assert_eq!(framing(&head), frames, "{name}");
        assert_eq!(head.matches("\r\ndate: ").count(), 1, "{name}: {head}");
        let mut found = vec![0; body.len()];
        stream.read_exact(&mut found).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), body, "{name}");
        if is_kept {
            ask(&mut stream, "GET /length HTTP/1.1", "");
            assert!(read_until(&mut stream, "body").starts_with("HTTP/1.1 200 "), "{name}: the next one");
        } else {
            assert!(is_closed(&mut stream), "{name}");
        }
    }
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order_and_an_unread_body_is_nobodys_request() {
    let backend = backend();
    let proxy = proxy(&backend);
    let mut stream = connect(&proxy);
    let many = format!(
        "POST /one HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello\
         GET /length HTTP/1.1\r\nHost: {HOST}\r\n\r\n\
         POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 31\r\n\r\nGET /stolen HTTP/1.1\r\nHost: a\r\n\
         POST /two HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         GET /length HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(many.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let statuses: Vec<&str> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| answer.get(..3).unwrap()).collect();
    assert_eq!(statuses, ["200", "200", "421", "200", "200"], "{answers}");
    let asked: Vec<String> = backend
        .requests()
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap_or_default().to_owned())
        // The backend of this test knows no chunks.
        .filter(|path| path.starts_with('/'))
        .collect();
    assert_eq!(asked, ["/one", "/length", "/two", "/length"]);
}

#[test]
fn a_small_rest_of_a_request_is_waited_for_and_a_large_one_ends_the_connection_with_a_word() {
    let hasty = RawUpstream::start(|connection| {
        while connection.read_bytes().is_some() {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
        }
    });
    let proxy = proxy(&hasty);
    let mut stream = connect(&proxy);
    // Of a type that the WAF does not wait for.
    ask(&mut stream, "POST /early HTTP/1.1", "Content-Type: image/png\r\nContent-Length: 10\r\n");
    let answer = read_until(&mut stream, "body");
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("connection: close"), "{answer}");
    stream.write_all(b"0123456789").unwrap();
    ask(&mut stream, "GET /next HTTP/1.1", "");
    assert!(read_until(&mut stream, "body").starts_with("HTTP/1.1 200 "), "the next one");
    // Nobody wants this one, and it is long.
    let unwanted = "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 90000\r\n\r\nabc";
    stream.write_all(unwanted.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn a_body_that_breaks_on_a_rewriting_route_is_the_clients_fault_and_nothing_behind_it_is_read() {
    let hasty = RawUpstream::start(|connection| {
        connection.read_bytes();
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n");
        while connection.read_bytes().is_some() {}
    });
    let proxy = TestProxy::start(&format!(
        "[[routes]]\nhost_prefix = \"docs\"\nbackend = {:?}\ndisable_secure_redirection = true\n\
         [[routes.body_rewrites]]\nfind = \"a\"\nreplace = \"b\"\n",
        hasty.url()
    ));
    let mut stream = connect(&proxy);
    ask(&mut stream, "POST /broken HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    stream.write_all(b"1\r\na").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // To a reader that forgot where it stood: the end of a body with a trailer, and a request.
    write!(stream, "\r\n0x: y\r\n\r\nGET /after HTTP/1.1\r\nHost: {HOST}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[test]
fn who_waits_for_100_continue_gets_it_when_the_body_is_wanted() {
    let backend = backend();
    let proxy = proxy(&backend);
    let mut stream = connect(&proxy);
    ask(&mut stream, "POST /length HTTP/1.1", "Content-Length: 5\r\nExpect: 100-continue\r\n");
    assert_eq!(read_until(&mut stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    assert!(read_until(&mut stream, "body").starts_with("HTTP/1.1 200 "));
    // One that does not wait needs none.
    let expect = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let at_once = format!("POST /length HTTP/1.1\r\nHost: {HOST}\r\n{expect}\r\nhello");
    stream.write_all(at_once.as_bytes()).unwrap();
    assert!(read_until(&mut stream, "body").starts_with("HTTP/1.1 200 "));
    // A body that nobody wants is not asked for, and may come or not: the connection cannot go on.
    ask(&mut stream, "POST /length HTTP/1.1", "Content-Length: 200000\r\nExpect: 100-continue\r\n");
    let answer = read_until(&mut stream, "request id: ");
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && framing(&answer).contains(&"connection: close"),
        "{answer}"
    );
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    // Nobody knows whether the body comes behind an answer that came first.
    let mut stream = connect(&proxy);
    let unknown = "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(unknown.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("connection: close"), "{answer}");
}
