// SPDX-License-Identifier: Apache-2.0
//! What the head check lets in, four readers read alike: the check itself, httparse, the strict reader of these
//! tests, and the strict reader once more, of what another proxy (hyper's server and client) makes of it.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use sunbeam_wire::{HeadLimits, check, header_lines};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::oracle::origin_form;
use super::strict::{self, Read};

const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 8192, max_headers: 64, max_target_bytes: 4096 };

/// A head, with something behind it that fits its framing.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let method =
        prop::sample::select(vec!["GET", "POST", "HEAD", "get", "M-SEARCH", "A!#$%&'*+.^_`|~Z", "OPTIONS"]);
    let path = prop::collection::vec(prop_oneof![9 => 0x21_u8..0x7f, 1 => 0x80_u8..], 0..20);
    let path = path.prop_map(|path| [&b"/"[..], &path].concat());
    let absolute = path.clone().prop_map(|path| [&b"http://a.b"[..], &path].concat());
    let target =
        prop_oneof![8 => path, 1 => absolute, 1 => Just(b"*".to_vec()), 1 => Just(b"http://a.b?x".to_vec())];
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}";
    let value =
        prop::collection::vec(prop_oneof![8 => 0x20_u8..0x7f, 1 => Just(b'\t'), 1 => 0x80_u8..], 0..20);
    let field = (name, "[ \t]{0,2}", value, "[ \t]{0,2}").prop_map(|(name, before, value, after)| {
        [name.as_bytes(), b":", before.as_bytes(), &value, after.as_bytes(), b"\r\n"].concat()
    });
    let framing = prop::sample::select(vec![
        ("", ""),
        ("", ""),
        ("Content-Length: 5\r\n", "hello"),
        ("content-length:\t05 \r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        ("transfer-encoding:CHUNKED\r\n", "0\r\nX-T: y\r\n\r\n"),
    ]);
    let fields = prop::collection::vec(field, 0..6);
    let damage = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (method, target, version, fields, framing, damage).prop_map(
        |(method, target, version, fields, (framing, body), damage)| {
            let line =
                [method.as_bytes(), b" ", &target, b" ", version.as_bytes(), b"\r\nHost: a.b\r\n"].concat();
            let mut head = [line, fields.concat(), framing.as_bytes().to_vec(), b"\r\n".to_vec()].concat();
            if let Some((at, byte)) = damage {
                let at = at.index(head.len());
                head[at] = byte;
            }
            (head, body.as_bytes().to_vec())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_the_check_lets_in_is_read_alike_by_everybody((head, body) in message()) {
        // A head ends where its first blank line is.
        let Ok(Some(end)) = sunbeam_wire::find_end(&head, 0) else { return Ok(()) };
        prop_assume!(end == head.len());
        let Ok(checked) = check(&head, &LIMITS, |_, _| ()) else { return Ok(()) };
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let ours: Vec<(String, String)> =
            header_lines(&head).map(|(name, value)| (text(name).to_ascii_lowercase(), text(value))).collect();

        // Bytes of the target that the URI type refuses are encoded, nothing else changes.
        let rest = head.iter().position(|byte| *byte == b'\r').unwrap();
        let version = if checked.is_http_10 { &b" HTTP/1.0"[..] } else { b" HTTP/1.1" };
        let read_head = [checked.method, b" ", &checked.target, version, &head[rest..]].concat();
        let mut room = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut room);
        let read = parsed.parse(&read_head);
        prop_assert_eq!(read, Ok(httparse::Status::Complete(read_head.len())));
        prop_assert_eq!(parsed.method.map(str::as_bytes), Some(checked.method));
        let encoded: String = origin_form(&text(&checked.target));
        prop_assert_eq!(parsed.path.map(origin_form), Some(encoded.clone()));
        let theirs: Vec<(String, String)> =
            parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
        prop_assert_eq!(&theirs, &ours);

        let whole = [&head[..], &body].concat();
        let read = match strict::request(&whole) {
            Read::Whole(read, _) => read,
            // A length that was damaged asks for more than is there.
            Read::Partial => return Ok(()),
            Read::Malformed(why) => return Err(TestCaseError::fail(why)),
        };
        prop_assert_eq!(read.method.as_bytes(), checked.method);
        prop_assert_eq!(&read.target, &text(first_target(&head)));
        prop_assert_eq!(&read.headers, &ours);

        if read.method == "CONNECT" {
            return Ok(());
        }
        let again = passed_through_hyper(&[&read_head[..], &body].concat());
        let again = again.ok_or_else(|| TestCaseError::fail("hyper refuses what the check lets in"))?;
        let Read::Whole(again, _) = strict::request(&again) else {
            return Err(TestCaseError::fail(format!("hyper wrote {:?}", text(&again))));
        };
        prop_assert_eq!(&again.method, &read.method);
        prop_assert_eq!(origin_form(&again.target), encoded);
        prop_assert_eq!(&again.body, &read.body);
        prop_assert_eq!(sorted(again.headers), sorted(read.headers));
    }
}

fn first_target(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

fn sorted(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.sort();
    headers
}

/// What comes out of hyper's client when its server was given these bytes; `None`: nothing.
fn passed_through_hyper(bytes: &[u8]) -> Option<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = duplex(64 * 1024);
        let (near, mut far) = duplex(64 * 1024);
        client.write_all(bytes).await.expect("room");
        let near = Mutex::new(Some(near));
        let pass_on = service_fn(|request| {
            let near = near.lock().expect("one request at a time").take();
            async move {
                if let Some(near) = near {
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("a handshake");
                    tokio::spawn(connection);
                    // The reader below goes away once it has the request.
                    drop(sender.send_request(request).await);
                }
                Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
            }
        });
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), pass_on);
        let reading = async {
            let mut written = Vec::new();
            while !matches!(strict::request(&written), Read::Whole(..) | Read::Malformed(_)) {
                if far.read_buf(&mut written).await.expect("a pipe") == 0 {
                    return None;
                }
            }
            Some(written)
        };
        tokio::select! {
            written = reading => written,
            _ = serving => None,
            () = tokio::time::sleep(Duration::from_secs(10)) => None,
        }
    })
}
