// SPDX-License-Identifier: Apache-2.0
//! Backends that lie: the client gets 502 or one answer that everybody reads alike, and no byte of one
//! answer is ever part of another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sunbeam_testkit::{RawConnection, RawUpstream, TestProxy, eventually, raw_exchange};

use super::strict::{self, Answer, Read};

/// A second answer, for whoever takes it.
const SURPLUS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";

const OPEN: &str = "disable_secure_redirection = true";

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Our own page.
    Refused,
    /// This status and this body.
    Passed(u16, &'static str),
    /// An answer that ends before its end, and a closed connection.
    Broken,
}
use Want::{Broken, Passed, Refused};

struct Lie {
    name: &'static str,
    method: &'static str,
    bytes: String,
    /// The backend hangs up after it.
    closes: bool,
    want: Want,
}

#[test]
fn an_answer_has_one_meaning_or_is_a_502_and_belongs_to_its_request() {
    let lies = lies();
    let backends: Vec<RawUpstream> = lies
        .iter()
        .map(|lie| {
            let (bytes, closes) = (lie.bytes.clone(), lie.closes);
            RawUpstream::start(move |connection| {
                while let Some(request) = next_request(connection) {
                    if request.contains(" /evil ") {
                        connection.write(bytes.as_bytes());
                        if closes {
                            return;
                        }
                    } else {
                        connection.write(honest(&request).as_bytes());
                    }
                }
            })
        })
        .collect();
    let route = |(number, backend): (usize, &RawUpstream)| {
        format!("[[routes]]\nhost_prefix = \"b{number}\"\nbackend = \"{}\"\n{OPEN}\n", backend.url())
    };
    let routes: String = backends.iter().enumerate().map(route).collect();
    let proxy = TestProxy::builder().config(&routes).start();
    let mut faults = Vec::new();
    for round in 0..2 {
        for (number, lie) in lies.iter().enumerate() {
            let host = format!("b{number}.example.test");
            let mut sent = format!("{} /evil HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\n\r\n", lie.method);
            for n in 0..4 {
                sent += &format!("GET /good/{n} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            }
            sent += &format!("GET /last HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let received = raw_exchange(proxy.http(), sent.as_bytes());
            let over_h2 = proxy.client().http2().method(lie.method).try_get(&host, "/evil");
            let h2_status = over_h2.as_ref().map_or(0, |answer| answer.status);
            let wanted = match lie.want {
                Refused => 502,
                Passed(status, _) => status,
                Broken => 0,
            };
            if h2_status != wanted || over_h2.is_ok_and(|answer| answer.text().contains("EVIL")) {
                faults.push(format!("{} ({round}): {h2_status} over HTTP/2", lie.name));
            }
            let good = proxy.client().http2().get(&host, "/good/5").text();
            if good != "GET /good/5" {
                faults.push(format!("{} ({round}): the next one got {good:?}", lie.name));
            }
            if let Some(fault) = fault(lie, &received) {
                faults.push(format!("{} ({round}): {fault}\n{received}\n", lie.name));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
}

/// What is wrong with what came back.
fn fault(lie: &Lie, received: &str) -> Option<String> {
    let mut rest = received.as_bytes();
    let first = match (strict::answer(rest, lie.method, true), lie.want) {
        (Read::Partial | Read::Malformed(_), Broken) => return None,
        (Read::Whole(answer, length), Refused | Passed(..)) => {
            rest = &rest[length..];
            answer
        }
        (read, _) => return Some(format!("{read:?}")),
    };
    match lie.want {
        Passed(status, body) if first.status != status || first.body != body.as_bytes() => {
            return Some("not that answer".to_owned());
        }
        Refused if first.status != 502 => return Some("not refused".to_owned()),
        _ => {}
    }
    if first.trailers.iter().any(|(name, _)| name != "x-t") {
        return Some(format!("trailers {:?}", first.trailers));
    }
    if (lie.method == "HEAD" || [204, 304].contains(&first.status)) && !first.body.is_empty() {
        return Some("a body".to_owned());
    }
    for n in 0..5 {
        let want = if n == 4 { "GET /last".to_owned() } else { format!("GET /good/{n}") };
        match strict::answer(rest, "GET", true) {
            Read::Whole(Answer { status: 200, body, .. }, length) if body == want.as_bytes() => {
                rest = &rest[length..]
            }
            read => return Some(format!("{want} got {read:?}")),
        }
    }
    (!rest.is_empty()).then(|| "bytes behind the last answer".to_owned())
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn lies() -> Vec<Lie> {
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    let ok = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}");
    let get = |name, bytes: String, want| Lie { name, method: "GET", bytes, closes: false, want };
    let mut lies = vec![
        get("an honest answer", ok("Content-Length: 2\r\n", "ok"), Passed(200, "ok")),
        get("honest chunks", ok("Transfer-Encoding: chunked\r\n", chunks), Passed(200, "ok")),
        get("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok".to_owned(), Passed(200, "ok")),
        get(
            "a length and chunks",
            ok("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", chunks),
            Refused,
        ),
        get(
            "chunks and a length",
            ok("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", chunks),
            Refused,
        ),
        get("one length twice", ok("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), Refused),
        get("two lengths", ok("Content-Length: 2\r\nContent-Length: 40\r\n", "ok"), Refused),
        get("a list of lengths", ok("Content-Length: 2, 2\r\n", "ok"), Refused),
        get("a signed length", ok("Content-Length: +2\r\n", "ok"), Refused),
        get("an empty length", ok("Content-Length:\r\n", "ok"), Refused),
        get("a huge length", ok("Content-Length: 18446744073709551618\r\n", "ok"), Refused),
        get("bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned(), Refused),
        get("one bare line feed", ok("X: y\nContent-Length: 2\r\n", "ok"), Refused),
        get(
            "a blank line of a line feed",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok".to_owned(),
            Refused,
        ),
        get("a bare carriage return", ok("X: y\rContent-Length: 2\r\n", "ok"), Refused),
        get("a folded line", ok("X: y\r\n Content-Length: 2\r\n", "ok"), Refused),
        get("a folded length", ok("Content-Length:\r\n 2\r\n", "ok"), Refused),
        get("a NUL", ok("X: a\0b\r\nContent-Length: 2\r\n", "ok"), Refused),
        get("a control character", ok("X: a\x01b\r\nContent-Length: 2\r\n", "ok"), Refused),
        get("a space before a colon", ok("Content-Length : 2\r\n", "ok"), Refused),
        get("a space in a name", ok("X Y: z\r\nContent-Length: 2\r\n", "ok"), Refused),
        get("no colon", ok("X\r\nContent-Length: 2\r\n", "ok"), Refused),
        get("no name", ok(": x\r\nContent-Length: 2\r\n", "ok"), Refused),
        get("another coding", ok("Transfer-Encoding: gzip\r\n", "ok"), Refused),
        get("two codings", ok("Transfer-Encoding: gzip, chunked\r\n", chunks), Refused),
        get("identity", ok("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "ok"), Refused),
        get(
            "chunked twice",
            ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunks),
            Refused,
        ),
        get("xchunked", ok("Transfer-Encoding: xchunked\r\n", chunks), Refused),
        get(
            "chunks in HTTP/1.0",
            format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
            Refused,
        ),
        get("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("HTTP/1.10", "HTTP/1.10 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("lower case", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("an empty line first", format!("\r\n{}", ok("Content-Length: 2\r\n", "ok")), Refused),
        get("a blank first", format!(" {}", ok("Content-Length: 2\r\n", "ok")), Refused),
        get(
            "a carriage return in the reason",
            "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Refused,
        ),
        get("999", "HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("600", "HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("099", "HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("20", "HTTP/1.1 20 X\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get("2000", "HTTP/1.1 2000 X\r\nContent-Length: 2\r\n\r\nok".to_owned(), Refused),
        get(
            "101 unasked",
            format!("HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{SURPLUS}"),
            Refused,
        ),
        get(
            "a few hints",
            format!(
                "{}{}",
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(5),
                ok("Content-Length: 2\r\n", "ok")
            ),
            Passed(200, "ok"),
        ),
        get(
            "a flood of 102",
            format!(
                "{}{}",
                "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000),
                ok("Content-Length: 2\r\n", "ok")
            ),
            Refused,
        ),
        get(
            "hints with a bare line feed",
            format!("HTTP/1.1 103 X\nLink: x\r\n\r\n{}", ok("Content-Length: 2\r\n", "ok")),
            Refused,
        ),
        get(
            "hints, then two lengths",
            format!("HTTP/1.1 103 X\r\n\r\n{}", ok("Content-Length: 2\r\nContent-Length: 2\r\n", "ok")),
            Refused,
        ),
        get(
            "a large head",
            ok(&format!("X: {}\r\nContent-Length: 2\r\n", "x".repeat(70_000)), "ok"),
            Refused,
        ),
        get("many lines", ok(&format!("{}Content-Length: 2\r\n", "X: y\r\n".repeat(200)), "ok"), Refused),
        get(
            "204 with a body",
            format!("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nEVIL{SURPLUS}"),
            Passed(204, ""),
        ),
        get(
            "204 in chunks",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n".to_owned(),
            Passed(204, ""),
        ),
        get(
            "304 with a body",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL".to_owned(),
            Passed(304, ""),
        ),
        get("surplus", format!("{}{SURPLUS}", ok("Content-Length: 2\r\n", "ok")), Passed(200, "ok")),
        get(
            "surplus behind chunks",
            format!("{}{SURPLUS}", ok("Transfer-Encoding: chunked\r\n", chunks)),
            Passed(200, "ok"),
        ),
        get("surplus blanks", format!("{}\r\n\r\n", ok("Content-Length: 2\r\n", "ok")), Passed(200, "ok")),
        get("more than the length", format!("{}EVIL", ok("Content-Length: 2\r\n", "ok")), Passed(200, "ok")),
        get(
            "HTTP/1.0 kept",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Passed(200, "ok"),
        ),
        get(
            "trailers that say too much",
            ok(
                "Transfer-Encoding: chunked\r\nTrailer: X-T, Content-Length, Set-Cookie, Host, Www-Authenticate\r\n",
                "2\r\nok\r\n0\r\nX-T: 1\r\nContent-Length: 99\r\nSet-Cookie: a=b\r\nHost: evil\r\nWWW-Authenticate: Basic\r\n\r\n",
            ),
            Passed(200, "ok"),
        ),
        get("a broken chunk", ok("Transfer-Encoding: chunked\r\n", "2\r\nok\r\nEVIL\r\n0\r\n\r\n"), Broken),
        get("a chunk too long", ok("Transfer-Encoding: chunked\r\n", "2\r\nokEVIL\r\n0\r\n\r\n"), Broken),
    ];
    let head =
        |name, bytes: String| Lie { name, method: "HEAD", bytes, closes: false, want: Passed(200, "") };
    lies.push(head("HEAD with a body", ok("Content-Length: 4\r\n", "EVIL")));
    lies.push(head("HEAD with chunks", ok("Transfer-Encoding: chunked\r\n", "4\r\nEVIL\r\n0\r\n\r\n")));
    lies.push(head("HEAD and another answer", format!("{}{SURPLUS}", ok("Content-Length: 4\r\n", ""))));
    let last = |name, bytes: String, want| Lie { name, method: "GET", bytes, closes: true, want };
    lies.push(last("HTTP/1.0 to the end", "HTTP/1.0 200 OK\r\n\r\nok".to_owned(), Passed(200, "ok")));
    lies.push(last("to the end", ok("", "ok"), Passed(200, "ok")));
    lies.push(last("half a length", ok("Content-Length: 20\r\n", "ok"), Broken));
    lies.push(last("half a chunk", ok("Transfer-Encoding: chunked\r\n", "20\r\nok"), Broken));
    lies.push(last("hints and nothing", "HTTP/1.1 103 X\r\n\r\n".to_owned(), Refused));
    lies.push(last("HTTP/0.9", "ok\r\n".to_owned(), Refused));
    lies.push(last("nothing", String::new(), Refused));
    lies
}

#[test]
fn what_a_backend_says_unasked_is_nobodys_answer() {
    for (name, method, answer) in [
        ("behind a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("behind chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("behind a HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        ("behind a 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("behind a POST", "POST", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let (may_speak, has_spoken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (ask, told) = (Arc::clone(&may_speak), Arc::clone(&has_spoken));
        let backend = RawUpstream::start(move |connection| {
            while let Some(request) = next_request(connection) {
                if request.contains(" /evil ") {
                    connection.write(answer.as_bytes());
                    eventually("the client has its answer", || ask.load(Ordering::SeqCst).then_some(()));
                    connection.write(SURPLUS.as_bytes());
                    told.store(true, Ordering::SeqCst);
                } else {
                    connection.write(honest(&request).as_bytes());
                }
            }
        });
        let proxy = TestProxy::builder().route("www", &backend.url()).config(OPEN).start();
        assert!(
            [200, 204].contains(&proxy.client().method(method).get("www.example.test", "/evil").status),
            "{name}"
        );
        may_speak.store(true, Ordering::SeqCst);
        eventually("the backend has spoken", || has_spoken.load(Ordering::SeqCst).then_some(()));
        for n in 0..3 {
            for method in ["GET", "POST"] {
                let answer = proxy.client().method(method).get("www.example.test", &format!("/good/{n}"));
                let want = format!("{method} /good/{n}");
                assert_eq!((answer.status, answer.text()), (200, want), "{name}");
            }
        }
    }
}

#[test]
fn a_body_of_unknown_length_is_not_lost_behind_an_old_backend() {
    let backend = RawUpstream::start(|connection| {
        let mut bytes = Vec::new();
        while let Some(more) = connection.read_bytes() {
            bytes.extend(more);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.starts_with("GET ") || text.contains("hello") {
                connection.write(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
                bytes.clear();
            }
        }
    });
    let proxy = TestProxy::builder().route("www", &backend.url()).config(OPEN).start();
    let get = "GET /a HTTP/1.1\r\nHost: www.example.test\r\n\r\n";
    let post = "POST /b HTTP/1.1\r\nHost: www.example.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let received = raw_exchange(proxy.http(), format!("{get}{post}").as_bytes());
    assert_eq!(received.matches("HTTP/1.1 200 OK").count(), 2, "each on a connection of its own: {received}");
}

/// The next request's head; these tests send no bodies to lying backends.
fn next_request(connection: &mut RawConnection) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.extend(connection.read_bytes()?);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn honest(request: &str) -> String {
    let line = request.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
    let body = if line.starts_with("HEAD ") { "" } else { line };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", line.len())
}
