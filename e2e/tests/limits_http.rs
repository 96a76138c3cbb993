// SPDX-License-Identifier: Apache-2.0
//! Deadlines, minimum rates and the budgets of HTTP/2: each attack is cut and counted while others are
//! served, and what looks like it but is honest goes on (row A17).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sunbeam_testkit::raw_http2::{
    CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, RawHttp2, SETTINGS,
    WINDOW_UPDATE, frame, header_block, request_fields,
};
use sunbeam_testkit::{RawUpstream, TestProxy, TestUpstream, eventually, eventually_within};

const DOCS: &str = "docs.example.test";

fn hits(proxy: &TestProxy, limit: &str) -> f64 {
    proxy.metric("sunbeam_limit_hits_total", &[("limit", limit)])
}

fn wait_for_hit(proxy: &TestProxy, limit: &str) {
    eventually(&format!("`{limit}` is counted"), || (hits(proxy, limit) > 0.5).then_some(()));
}

fn served(proxy: &TestProxy) {
    assert_eq!(proxy.client().http2().get(DOCS, "/still-here").status, 200);
    assert_eq!(proxy.client().get(DOCS, "/still-here").status, 200);
}

fn docs(limits: &str) -> (TestUpstream, TestProxy) {
    let upstream = TestUpstream::echo();
    let limits = format!("[limits]\n{limits}");
    let proxy = TestProxy::builder().config(&limits).route("docs", &upstream.url()).start();
    (upstream, proxy)
}

#[test]
fn a_flood_of_pings_or_settings_is_cut() {
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[]), (WINDOW_UPDATE, &[0, 0, 0, 1]), (0x2a, &[])]
    {
        let (_upstream, proxy) = docs("");
        let mut client = RawHttp2::connect(&proxy);
        let answers = |frames: &[sunbeam_testkit::raw_http2::RawFrame]| {
            frames.iter().filter(|frame| frame.kind == kind && frame.flags == END_STREAM).count()
        };
        client.send_bytes(&frame(kind, 0, 0, payload).repeat(5000));
        let frames = client.read_to_end();
        assert!(frames.iter().any(|frame| frame.kind == GOAWAY), "{kind}: {} frames", frames.len());
        assert!(answers(&frames) <= 1001, "{kind}: {} were answered", answers(&frames));
        wait_for_hit(&proxy, "http2_control_frames");
        served(&proxy);
    }
}

#[test]
fn a_client_that_gives_window_and_pings_for_each_piece_it_gets_goes_on() {
    const BYTES: usize = 12 * 1024 * 1024;
    let page = Bytes::from(vec![b'x'; BYTES]);
    let upstream = TestUpstream::with(move |_| Response::new(Full::new(page.clone())));
    let proxy = TestProxy::builder().route("docs", &upstream.url()).start();
    let mut client = RawHttp2::connect(&proxy);
    client.get(1, DOCS, "/");
    let (mut length, mut control_frames) = (0, 0);
    while length < BYTES {
        let data = client.read_until(|frame| frame.kind == DATA).expect("more of the answer");
        length += data.payload.len();
        let increment = u32::try_from(data.payload.len()).unwrap().to_be_bytes();
        if data.payload.is_empty() || data.flags & END_STREAM != 0 {
            continue;
        }
        let both = [frame(WINDOW_UPDATE, 0, 0, &increment), frame(WINDOW_UPDATE, 0, 1, &increment)].concat();
        client.send_bytes(&[both, frame(PING, 0, 0, &[0; 8])].concat());
        control_frames += 3;
    }
    assert!(control_frames > 2_000, "only {control_frames}: that proves nothing");
    assert!(hits(&proxy, "http2_control_frames") < 0.5);
}

#[test]
fn resets_that_come_one_by_one_are_counted_and_cut() {
    let (upstream, proxy) = docs("max_stream_resets_per_minute = 20");
    let mut good = RawHttp2::connect(&proxy);
    good.get(1, DOCS, "/before");
    assert!(good.read_answer(1).is_some());
    let mut attacker = RawHttp2::connect(&proxy);
    let block = header_block(&request_fields("GET", DOCS, "/"));
    let mut pairs = 0;
    let is_cut = (0..200_u32).any(|number| {
        let stream = number * 2 + 1;
        let pair = [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block),
            frame(RST_STREAM, 0, stream, &CANCEL),
            frame(PING, 0, 0, &[0; 8]),
        ];
        pairs += 1;
        // The next comes when the last was seen: never a burst.
        !attacker.send_bytes(&pair.concat())
            || attacker.read_until(|frame| frame.kind == PING && frame.flags == END_STREAM).is_none()
    });
    assert!(is_cut && pairs <= 25, "{pairs} resets");
    wait_for_hit(&proxy, "max_stream_resets_per_minute");
    assert!(upstream.seen().len() <= 25);
    // From now on the address gets no new connection; the one it has is served.
    good.get(3, DOCS, "/after");
    assert!(good.read_answer(3).is_some());
}

#[test]
fn a_client_that_makes_us_reset_its_requests_is_cut_and_counted() {
    // CVE-2025-8671: a window that becomes too large is an error of the stream, and the reset is ours.
    let (upstream, proxy) = docs("");
    let mut attacker = RawHttp2::connect(&proxy);
    let block = header_block(&request_fields("GET", DOCS, "/"));
    let is_cut = (0..5_000_u32).any(|number| {
        let stream = number * 2 + 1;
        let pair = [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block),
            frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()),
            frame(PING, 0, 0, &[0; 8]),
        ];
        !attacker.send_bytes(&pair.concat())
            || attacker.read_until(|frame| frame.kind == PING && frame.flags == END_STREAM).is_none()
    });
    assert!(is_cut);
    wait_for_hit(&proxy, "http2_library");
    assert!(upstream.seen().len() < 200, "{}", upstream.seen().len());
    served(&proxy);
}

#[test]
fn a_client_that_cancels_fifty_of_a_thousand_requests_gets_the_others() {
    let (_upstream, proxy) = docs("keepalive_requests = 5000");
    let mut client = RawHttp2::connect(&proxy);
    let block = header_block(&request_fields("GET", DOCS, "/page"));
    let mut answered = 0;
    for batch in 0..50_u32 {
        let streams: Vec<u32> = (0..20).map(|number| (batch * 20 + number) * 2 + 1).collect();
        let mut bytes = Vec::new();
        for stream in &streams {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, *stream, &block));
        }
        let (cancelled, wanted) = streams.split_first().unwrap();
        bytes.extend(frame(RST_STREAM, 0, *cancelled, &CANCEL));
        assert!(client.send_bytes(&bytes));
        let mut open = wanted.to_vec();
        while !open.is_empty() {
            let last = client.read_until(|frame| frame.flags & END_STREAM != 0 && frame.kind <= HEADERS);
            let last = last.expect("an answer");
            answered += usize::from(open.contains(&last.stream));
            open.retain(|stream| *stream != last.stream);
            let window = 100_u32.to_be_bytes();
            client.send(WINDOW_UPDATE, 0, 0, &window);
        }
    }
    assert_eq!(answered, 950);
    assert!(hits(&proxy, "max_stream_resets_per_minute") + hits(&proxy, "http2_control_frames") < 0.5);
}

#[test]
fn a_connection_without_a_preface_or_a_first_request_is_closed() {
    let (_upstream, proxy) = docs("header_timeout_secs = 1");
    let begun = Instant::now();
    let frames = RawHttp2::silent(&proxy).read_to_end();
    assert!(frames.iter().all(|frame| frame.kind == SETTINGS), "{frames:?}");
    assert!(begun.elapsed() > Duration::from_millis(900));
    wait_for_hit(&proxy, "http2_preface");
    let frames = RawHttp2::connect(&proxy).read_to_end();
    assert!(frames.iter().any(|frame| frame.kind == GOAWAY), "{frames:?}");
    assert!(hits(&proxy, "http2_preface") > 1.5);
    let mut good = RawHttp2::connect(&proxy);
    good.get(1, DOCS, "/");
    assert!(good.read_answer(1).is_some());
    served(&proxy);
}

#[test]
fn a_header_block_or_frame_that_never_ends_is_cut_and_a_request_that_runs_is_not() {
    let (_upstream, proxy) = docs("header_timeout_secs = 1");
    let block = header_block(&request_fields("GET", DOCS, "/"));
    let open_block = frame(HEADERS, END_STREAM, 3, &block);
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 3, &block);
    for (name, bytes) in
        [("no END_HEADERS", &open_block[..]), ("half a frame", &whole[..20]), ("half a head", &whole[..5])]
    {
        let before = hits(&proxy, "header_timeout_secs");
        let mut client = RawHttp2::connect(&proxy);
        client.get(1, DOCS, "/");
        assert!(client.read_answer(1).is_some(), "{name}");
        client.send_bytes(bytes);
        client.read_to_end();
        assert!(hits(&proxy, "header_timeout_secs") > before + 0.5, "{name}");
    }
    served(&proxy);
    let slow = RawUpstream::start(|connection| {
        if connection.read_request().is_some() {
            std::thread::sleep(Duration::from_millis(2500));
            connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let proxy =
        TestProxy::builder().config("[limits]\nheader_timeout_secs = 1").route("docs", &slow.url()).start();
    let mut client = RawHttp2::connect(&proxy);
    client.get(1, DOCS, "/");
    assert_eq!(client.read_answer(1), Some(2), "the deadline is for heads only");
}

#[test]
fn after_so_many_requests_a_connection_is_told_to_go() {
    let (_upstream, proxy) = docs("keepalive_requests = 3");
    let mut client = RawHttp2::connect(&proxy);
    for stream in [1, 3] {
        client.get(stream, DOCS, "/");
        assert!(client.read_answer(stream).is_some());
    }
    client.get(5, DOCS, "/");
    let mut rest = Vec::new();
    while let Some(frame) = client.read_frame() {
        if frame.kind == PING && frame.flags == 0 {
            client.send(PING, END_STREAM, 0, &frame.payload);
        }
        rest.push(frame);
    }
    assert!(rest.iter().any(|frame| frame.kind == GOAWAY), "{rest:?}");
    assert!(rest.iter().any(|frame| frame.stream == 5 && frame.flags & END_STREAM != 0), "{rest:?}");
    served(&proxy);
}

#[test]
fn a_request_that_was_on_its_way_when_the_connection_was_told_to_go_is_served() {
    let (_upstream, proxy) = docs("keepalive_requests = 2");
    let mut client = RawHttp2::connect(&proxy);
    client.get(1, DOCS, "/");
    assert!(client.read_answer(1).is_some());
    client.get(3, DOCS, "/");
    let (mut is_told, mut is_answered, mut bytes) = (false, false, Vec::new());
    while !is_told || !is_answered {
        let told = client.read_frame().expect("an answer, and GOAWAY");
        is_told |= told.kind == GOAWAY;
        is_answered |= told.stream == 3 && told.flags & END_STREAM != 0;
        if told.kind == PING && told.flags == 0 {
            bytes.extend(frame(PING, END_STREAM, 0, &told.payload));
        }
    }
    // A client that has written the next request already answers a ping before it, not behind it.
    let block = header_block(&request_fields("GET", DOCS, "/"));
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 5, &block));
    client.send_bytes(&bytes);
    assert!(client.read_answer(5).is_some());
    served(&proxy);
}

#[test]
fn an_address_has_so_many_requests_at_once() {
    const MOST: u32 = 64;
    let upstream = RawUpstream::start(|connection| {
        // Those that hang do so until the proxy hangs up.
        while let Some(request) = connection.read_request() {
            if !request.starts_with("GET /hang") {
                connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    let limits = format!("[limits]\nmax_concurrent_requests_per_ip = {MOST}");
    let proxy = TestProxy::builder().config(&limits).route("docs", &upstream.url()).start();
    let mut client = RawHttp2::connect(&proxy);
    // In one piece: some wait only where many come within milliseconds.
    let block = header_block(&request_fields("GET", DOCS, "/hang"));
    let asked = |number: u32| frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &block);
    assert!(client.send_bytes(&(0..=MOST).flat_map(asked).collect::<Vec<u8>>()));
    assert!(client.read_answer(MOST * 2 + 1).is_some(), "the last one is answered at once");
    wait_for_hit(&proxy, "max_concurrent_requests_per_ip");
    assert!(proxy.metric("sunbeam_fair_share_waits_total", &[]) > 0.5, "all at once: some wait");
    let record = proxy.audit().wait_for("the refusal", |record| record.status == 429);
    assert_eq!((record.path.as_str(), record.host.as_str()), ("/hang", DOCS));
    let text = sunbeam_testkit::raw_exchange(proxy.http(), b"GET /bad HTTP/1.1\r\nHost : x\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 400 "), "what is no request is not one too many: {text}");
    assert_eq!(proxy.audit().wait_for("the bad head", |record| record.status == 400).path, "/bad");
    drop(client);
    eventually("places come back", || (proxy.client().http2().get(DOCS, "/x").status == 200).then_some(()));
}

#[test]
fn one_that_goes_on_after_goaway_is_hung_up_on() {
    let (upstream, proxy) = docs("keepalive_requests = 3");
    let mut client = RawHttp2::connect(&proxy);
    let block = header_block(&request_fields("GET", DOCS, "/"));
    let is_cut = (0..100_u32).any(|number| {
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &block);
        !client.send_bytes(&bytes) || client.read_answer(number * 2 + 1).is_none()
    });
    assert!(is_cut);
    assert!(upstream.seen().len() <= 6, "{}", upstream.seen().len());
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    let (_upstream, proxy) = docs("keepalive_secs = 1");
    let mut client = RawHttp2::connect(&proxy);
    client.get(1, DOCS, "/");
    assert!(client.read_answer(1).is_some());
    let mut pinging = || client.send(PING, 0, 0, &[0; 8]) && client.read_frame().is_some();
    eventually("the connection is closed", || {
        std::thread::sleep(Duration::from_millis(20));
        (!pinging()).then_some(())
    });
    assert!(hits(&proxy, "http2_control_frames") < 0.5);
}

#[test]
fn tiny_windows_and_huge_header_tables_get_their_answer_all_the_same() {
    const HEADER_TABLE_SIZE: u16 = 1;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_upstream, proxy) = docs("");
    let settings = [(HEADER_TABLE_SIZE, u32::MAX), (INITIAL_WINDOW_SIZE, 1)];
    let mut client = RawHttp2::connect_with(&proxy, &settings);
    client.get(1, DOCS, "/one-by-one");
    let mut answer = Vec::new();
    loop {
        let data = client.read_until(|frame| frame.kind == DATA).expect("more of the answer");
        assert!(data.payload.len() <= 1);
        answer.extend(data.payload);
        if data.flags & END_STREAM != 0 {
            break;
        }
        client.send(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    }
    assert_eq!(String::from_utf8(answer).unwrap(), "GET /one-by-one");
}

/// The grace is ten seconds, so this is the slow one. Everything in it happens at the same time.
#[test]
fn after_the_grace_the_slow_are_cut_and_the_steady_and_the_idle_are_not() {
    const BIG: usize = 64 * 1024 * 1024;
    let page = Bytes::from(vec![b'x'; BIG]);
    let big = TestUpstream::with(move |_| Response::new(Full::new(page.clone())));
    let upload = RawUpstream::start(|connection| {
        while connection.read_request().is_some() {
            connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let goes_on = Arc::new(AtomicBool::new(false));
    let events = {
        let goes_on = Arc::clone(&goes_on);
        RawUpstream::start(move |connection| {
            if connection.read_request().is_some() {
                connection.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: one\n\n");
                eventually_within(Duration::from_secs(60), "the others are done", || {
                    goes_on.load(Ordering::Relaxed).then_some(())
                });
                connection.write(b"data: two\n\n");
            }
        })
    };
    let route = |prefix: &str, backend: &str| {
        format!(
            "[[routes]]\nhost_prefix = \"{prefix}\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n"
        )
    };
    let proxy = TestProxy::start(&format!(
        "[limits]\nmin_body_rate_bytes = 1000\nmin_send_rate_bytes = 100000\n{}{}{}",
        route("docs", &big.url()),
        route("upload", &upload.url()),
        route("events", &events.url()),
    ));
    std::thread::scope(|scope| {
        let cut = [
            scope.spawn(|| slow_body_over_http1(&proxy)),
            scope.spawn(|| slow_body_over_http2(&proxy)),
            scope.spawn(|| reader_that_reads_nothing_over_http1(&proxy)),
            scope.spawn(|| reader_without_window_over_http2(&proxy)),
        ];
        let steady =
            [scope.spawn(|| steady_body_over_http1(&proxy)), scope.spawn(|| steady_frame_over_http2(&proxy))];
        let idle =
            [scope.spawn(|| idle_events_over_http1(&proxy)), scope.spawn(|| idle_events_over_http2(&proxy))];
        for attack in cut.into_iter().chain(steady) {
            attack.join().expect("as promised");
        }
        goes_on.store(true, Ordering::Relaxed);
        for stream in idle {
            stream.join().expect("as promised");
        }
    });
    let counted = (hits(&proxy, "min_body_rate_bytes"), hits(&proxy, "min_send_rate_bytes"));
    assert!((counted.0 - 2.0).abs() + (counted.1 - 2.0).abs() < 0.5, "{counted:?}");
    let whole: Vec<String> = upload.requests();
    assert!(
        whole.iter().all(|request| request.contains("steady")),
        "a body that was cut looked whole: {whole:?}"
    );
    assert_eq!(whole.len(), 3);
    let slow = proxy.audit().records().into_iter().filter(|record| record.status == 408).count();
    assert_eq!(slow, 2);
}

fn connect(proxy: &TestProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream
}

fn slow_body_over_http1(proxy: &TestProxy) {
    let mut stream = connect(proxy);
    let head = "POST /slow HTTP/1.1\r\nhost: upload.example.test\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut writing = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while writing.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

fn slow_body_over_http2(proxy: &TestProxy) {
    let mut client = RawHttp2::connect(proxy);
    let mut fields = request_fields("POST", "upload.example.test", "/slow").to_vec();
    fields.push(("content-length", "100000"));
    client.send(HEADERS, END_HEADERS, 1, &header_block(&fields));
    client.send(DATA, 0, 1, b"x");
    assert!(client.read_answer(1).is_some(), "an answer, and then the reset");
    client.get(3, "upload.example.test", "/steady-too");
    assert!(client.read_answer(3).is_some(), "the connection lives on");
}

fn reader_that_reads_nothing_over_http1(proxy: &TestProxy) {
    let mut stream = connect(proxy);
    let before = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: docs.example.test\r\n\r\n").unwrap();
    wait_for_hit(proxy, "min_send_rate_bytes");
    assert!(before.elapsed() > Duration::from_secs(9));
    let record = proxy.audit().wait_for("the slow reader", |record| {
        record.http_version == "HTTP/1.1" && record.error.is_some() && record.host == DOCS
    });
    assert!(record.response_bytes < 64 * 1024 * 1024);
}

fn reader_without_window_over_http2(proxy: &TestProxy) {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let mut client = RawHttp2::connect_with(proxy, &[(INITIAL_WINDOW_SIZE, 0)]);
    client.get(1, DOCS, "/");
    let reset = client.read_until(|frame| frame.kind == RST_STREAM).expect("a reset of the stream alone");
    assert_eq!(reset.stream, 1);
    client.send(PING, 0, 0, &[7; 8]);
    assert!(client.read_until(|frame| frame.kind == PING && frame.payload == [7; 8]).is_some());
}

fn steady_body_over_http1(proxy: &TestProxy) {
    let mut stream = connect(proxy);
    let head = "POST /steady HTTP/1.1\r\nhost: upload.example.test\r\ncontent-length: 39000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..130 {
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(&[b'x'; 300]).unwrap();
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// The library hands on whole frames only, and this one takes longer than the grace.
fn steady_frame_over_http2(proxy: &TestProxy) {
    let mut client = RawHttp2::connect(proxy);
    let mut fields = request_fields("POST", "upload.example.test", "/steady").to_vec();
    fields.push(("content-length", "15600"));
    client.send(HEADERS, END_HEADERS, 1, &header_block(&fields));
    let bytes = frame(DATA, END_STREAM, 1, &[b'x'; 15_600]);
    for piece in bytes.chunks(120) {
        std::thread::sleep(Duration::from_millis(100));
        assert!(client.send_bytes(piece));
    }
    assert_eq!(client.read_answer(1), Some(2), "`ok`, not an error page");
}

fn idle_events_over_http1(proxy: &TestProxy) {
    let mut stream = connect(proxy);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: events.example.test\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("data: one") && answer.contains("data: two"), "{answer}");
}

fn idle_events_over_http2(proxy: &TestProxy) {
    let mut client = RawHttp2::connect(proxy);
    client.get(1, "events.example.test", "/");
    assert_eq!(client.read_answer(1), Some("data: one\n\ndata: two\n\n".len()));
}
