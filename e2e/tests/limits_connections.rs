// SPDX-License-Identifier: Apache-2.0
//! The connection guard (row E07) and PROXY headers, seen by clients at several loopback addresses.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sunbeam_listeners::Scheme;
use sunbeam_testkit::{
    TestProxy, TestUpstream, connect_from, eventually, exchange, exchange_tls, try_connect_from,
};

const HOST: &str = "www.example.test";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n";

/// A handshake that began and does not go on.
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abc";

/// Connections that say nothing stay as long as a test takes on a busy machine.
const PATIENT: &str = "[limits]\nheader_timeout_secs = 600\ntls_handshake_timeout_secs = 600\n";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

fn settings(backend: &TestUpstream, more: &str) -> String {
    let open = "disable_secure_redirection = true";
    format!("{more}\n[[routes]]\nhost_prefix = \"www\"\nbackend = \"{}\"\n{open}\n", backend.url())
}

fn hits(proxy: &TestProxy, limit: &str) -> f64 {
    proxy.metric("sunbeam_limit_hits_total", &[("limit", limit)])
}

fn headers_read(proxy: &TestProxy, result: &str) -> f64 {
    proxy.metric("sunbeam_proxy_protocol_headers_total", &[("result", result)])
}

fn is(value: f64, wanted: u32) -> bool {
    (value - f64::from(wanted)).abs() < 0.1
}

fn no_panic(proxy: &TestProxy) {
    assert!(is(proxy.metric("sunbeam_panics_total", &[]), 0));
}

/// Connections that say nothing, once the node has them all.
fn hold(proxy: &TestProxy, source: u8, target: SocketAddr, count: u32) -> Vec<TcpStream> {
    let open = || proxy.metric("sunbeam_active_connections", &[]);
    let wanted = open() + f64::from(count) - 0.5;
    let held = (0..count).map(|_| connect_from(ip(source), target)).collect();
    eventually("the node has the connections", || (open() > wanted).then_some(()));
    held
}

/// Whether the next thing that comes is RST (and not a byte, and not an orderly end).
fn is_reset(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

fn is_served(proxy: &TestProxy, source: u8) -> bool {
    exchange(connect_from(ip(source), proxy.http()), GET).starts_with("HTTP/1.1 200")
}

fn is_served_tls(proxy: &TestProxy, source: u8) -> bool {
    let stream = connect_from(ip(source), proxy.https());
    exchange_tls(stream, proxy.client_config(), HOST, GET).starts_with("HTTP/1.1 200")
}

#[test]
fn the_next_connection_of_a_full_address_is_reset_and_others_are_served() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&settings(&backend, &format!("{PATIENT}max_connections_per_ip = 3")));
    let mut held = hold(&proxy, 1, proxy.http(), 2);
    held.extend(hold(&proxy, 1, proxy.https(), 1));
    assert!(is_reset(&mut connect_from(ip(1), proxy.http())), "all listeners count together");
    assert!(is_reset(&mut connect_from(ip(1), proxy.https())), "before any TLS");
    assert!(is(hits(&proxy, "max_connections_per_ip"), 2));
    assert!(is(proxy.metric("sunbeam_tls_handshakes_total", &[]), 0));
    assert!(is_served(&proxy, 2) && is_served_tls(&proxy, 2));
    drop(held.pop());
    eventually("the place is free again", || is_served(&proxy, 1).then_some(()));
    no_panic(&proxy);
}

#[test]
fn new_connections_of_an_address_are_held_to_their_rate() {
    const TRIES: u32 = 200;
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&settings(&backend, "[limits]\nnew_connections_per_ip = 5"));
    let began = Instant::now();
    let held: Vec<_> = (0..TRIES).map(|_| connect_from(ip(1), proxy.http())).collect();
    let seen = || proxy.metric("sunbeam_connections_total", &[]);
    eventually("the node saw them all", || is(seen(), TRIES).then_some(()));
    let admitted = f64::from(TRIES) - hits(&proxy, "new_connections_per_ip");
    // As many at once as come in a second, and the rate for as long as it took.
    let most = 5.0 + 5.0 * began.elapsed().as_secs_f64() + 1.0;
    assert!((5.0..=most).contains(&admitted), "{admitted} of {TRIES}, at most {most}");
    assert!(is_served(&proxy, 2));
    eventually("the address may connect again", || is_served(&proxy, 1).then_some(()));
    drop(held);
}

#[test]
fn an_ipv6_client_has_limits_of_its_own() {
    let backend = TestUpstream::echo();
    let listen = "[listen]\nhttp = [\"127.0.0.1:0\", \"[::1]:0\"]\n";
    let limits = format!("{listen}{PATIENT}max_connections_per_ip = 1");
    let proxy = TestProxy::start(&settings(&backend, &limits));
    let http = |is_v6: bool| {
        let listeners = proxy.node().listeners();
        let mine = |(scheme, at): &&(Scheme, SocketAddr)| *scheme == Scheme::Http && at.is_ipv6() == is_v6;
        listeners.iter().find(mine).unwrap().1
    };
    let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let first = connect_from(source, http(true));
    eventually("the node has it", || is(proxy.metric("sunbeam_active_connections", &[]), 1).then_some(()));
    assert!(is_reset(&mut connect_from(source, http(true))));
    assert!(exchange(connect_from(ip(1), http(false)), GET).starts_with("HTTP/1.1 200"));
    drop(first);
    eventually("the place is free again", || {
        exchange(connect_from(source, http(true)), GET).starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn handshakes_that_go_nowhere_leave_room_for_a_good_client() {
    let backend = TestUpstream::echo();
    let limits = format!("{PATIENT}max_tls_handshakes = 8");
    let proxy = TestProxy::start(&settings(&backend, &limits));
    let begun = |source: u8| (0..4).map(|_| connect_from(ip(source), proxy.https())).collect::<Vec<_>>();
    let refused = || proxy.metric("sunbeam_tls_handshakes_total", &[("result", "refused")]);
    let mut silent = begun(3);
    for stream in &silent {
        stream.set_nonblocking(true).unwrap();
    }
    eventually("a quarter is held, the rest reset", || {
        silent.retain_mut(|stream| !is_reset(stream));
        (silent.len() == 2).then_some(())
    });
    assert!(is(refused(), 2));
    silent[0].write_all(HALF_HELLO).unwrap();
    assert!(is_served_tls(&proxy, 2), "another address");
    assert!(is_served(&proxy, 3), "plain HTTP has no handshake");
    let _more: Vec<_> = (4..7).map(begun).collect();
    eventually("four addresses hold the whole", || is(refused(), 8).then_some(()));
    assert!(!is_served_tls(&proxy, 2), "the node is full");
    assert!(is(hits(&proxy, "max_tls_handshakes"), 9));
    drop(silent);
    eventually("the places are free again", || is_served_tls(&proxy, 2).then_some(()));
    no_panic(&proxy);
}

/// A version 2 header for `source`.
fn v2(source: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let (family, mut body) = match source.ip() {
        IpAddr::V4(ip) => (0x11, [&ip.octets()[..], &[192, 0, 2, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [&ip.octets()[..], &[0x20; 16]].concat()),
    };
    body.extend([source.port().to_be_bytes(), 443_u16.to_be_bytes()].concat());
    body.extend(tlvs);
    v2_frame(0x21, family, &body)
}

fn v2_frame(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

fn v1(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 192.0.2.1 51000 443\r\n").into_bytes()
}

/// The peer that is expected to send headers in the tests below.
const BALANCER: u8 = 2;

fn behind_a_balancer(backend: &TestUpstream, more: &str) -> TestProxy {
    let listen = "[listen]\nproxy_protocol_from = [\"127.0.0.2\"]";
    TestProxy::builder().threads(2).config(&settings(backend, &format!("{listen}\n{more}"))).start()
}

#[test]
fn the_address_in_a_proxy_header_is_the_client() {
    let backend = TestUpstream::echo();
    let proxy = behind_a_balancer(&backend, "");
    let v6 = "[2001:db8::7]:51000".parse().unwrap();
    let v4 = "203.0.113.8:51000".parse().unwrap();
    for (name, header, want) in [
        ("v1", v1("203.0.113.7"), "203.0.113.7"),
        ("v1 unknown", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2"),
        ("v2", v2(v4, b""), "203.0.113.8"),
        ("v2 with tlvs", v2(v4, &[4; 900]), "203.0.113.8"),
        ("v2 IPv6", v2(v6, b""), "2001:db8::7"),
        ("v2 local", v2_frame(0x20, 0, b""), "127.0.0.2"),
        ("v2 unspec", v2_frame(0x21, 0, b"abc"), "127.0.0.2"),
    ] {
        for is_tls in [false, true] {
            let target = if is_tls { proxy.https() } else { proxy.http() };
            let mut stream = connect_from(ip(BALANCER), target);
            let answer = if is_tls {
                stream.write_all(&header).unwrap();
                exchange_tls(stream, proxy.client_config(), HOST, GET)
            } else {
                exchange(stream, &[&header[..], GET].concat())
            };
            assert!(answer.starts_with("HTTP/1.1 200"), "{name}, TLS {is_tls}: {answer}");
            let seen = backend.last();
            assert_eq!(seen.header("x-forwarded-for"), Some(want), "{name}, TLS {is_tls}");
            assert_eq!(seen.header("x-real-ip"), Some(want), "{name}, TLS {is_tls}");
            let id = seen.header("x-request-id").unwrap().to_owned();
            let record = proxy.audit().wait_for(name, |record| record.request_id == id);
            assert_eq!(record.client_ip, want, "{name}, TLS {is_tls}");
        }
    }
    assert!(is(headers_read(&proxy, "client"), 8) && is(headers_read(&proxy, "local"), 6));
    // Byte by byte, with the request on its heels.
    let mut stream = connect_from(ip(BALANCER), proxy.http());
    stream.set_nodelay(true).unwrap();
    for byte in v2(v6, &[0; 30]) {
        stream.write_all(&[byte]).unwrap();
    }
    assert!(exchange(stream, GET).starts_with("HTTP/1.1 200"));
    assert_eq!(backend.last().header("x-forwarded-for"), Some("2001:db8::7"));
    no_panic(&proxy);
}

#[test]
fn only_a_trusted_source_behind_the_balancer_is_believed_further() {
    let backend = TestUpstream::echo();
    let proxy = behind_a_balancer(&backend, "trusted_proxies = [\"203.0.113.0/24\"]");
    let get = b"GET / HTTP/1.1\r\nHost: www.example.test\r\nX-Forwarded-For: 198.51.100.9\r\nConnection: close\r\n\r\n";
    for (source, want) in [("203.0.113.7", "198.51.100.9"), ("192.0.2.7", "192.0.2.7")] {
        let stream = connect_from(ip(BALANCER), proxy.http());
        assert!(exchange(stream, &[&v1(source)[..], get].concat()).starts_with("HTTP/1.1 200"));
        assert_eq!(backend.last().header("x-real-ip"), Some(want));
    }
}

#[test]
fn a_proxy_header_from_anyone_else_is_not_read() {
    let backend = TestUpstream::echo();
    let proxy = behind_a_balancer(&backend, "");
    for header in [v1("203.0.113.7"), v2("203.0.113.7:1".parse().unwrap(), b"")] {
        let answer = exchange(connect_from(ip(1), proxy.http()), &[&header[..], GET].concat());
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let mut stream = connect_from(ip(1), proxy.https());
        stream.write_all(&header).unwrap();
        assert_eq!(exchange_tls(stream, proxy.client_config(), HOST, GET), "");
    }
    let failed = || proxy.metric("sunbeam_tls_handshakes_total", &[("result", "failed")]);
    eventually("the handshakes failed", || is(failed(), 2).then_some(()));
    assert!(is(headers_read(&proxy, "client"), 0));
    let record = proxy.audit().wait_for("the refusal", |record| record.status == 400);
    assert_eq!(record.client_ip, "127.0.0.1");
    assert!(backend.seen().is_empty());
}

#[test]
fn a_missing_wrong_or_slow_proxy_header_ends_the_connection() {
    let backend = TestUpstream::echo();
    let proxy = behind_a_balancer(&backend, "[limits]\nheader_timeout_secs = 1");
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 10_240]].concat();
    let huge = [v2("203.0.113.7:1".parse().unwrap(), &[0; 10_240]), GET.to_vec()].concat();
    let hello = [HALF_HELLO, &[0; 600]].concat();
    for (count, (name, bytes)) in (1..).zip([
        ("a request", GET.to_vec()),
        ("a handshake", hello),
        ("a line without end", endless),
        ("10 KiB of TLVs", huge),
        ("a bad port", b"PROXY TCP4 203.0.113.7 192.0.2.1 99999 443\r\n".to_vec()),
        ("a line feed alone", b"PROXY UNKNOWN\n".to_vec()),
        ("an odd command", v2_frame(0x2f, 0x11, &[0; 12])),
        ("too short", v2_frame(0x21, 0x21, &[0; 12])),
    ]) {
        for target in [proxy.http(), proxy.https()] {
            assert_eq!(exchange(connect_from(ip(BALANCER), target), &bytes), "", "{name}");
        }
        assert!(is(headers_read(&proxy, "malformed"), 2 * count), "{name}");
    }
    for bytes in [&b""[..], b"PROXY TC", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00"] {
        let mut stream = connect_from(ip(BALANCER), proxy.http());
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(exchange(stream, b""), "");
    }
    assert!(is(headers_read(&proxy, "ended"), 3));
    let mut slow = connect_from(ip(BALANCER), proxy.http());
    slow.write_all(b"PROXY TCP4 203").unwrap();
    assert!(is_reset(&mut slow));
    assert!(is(headers_read(&proxy, "timeout"), 1) && is(hits(&proxy, "header_timeout_secs"), 1));
    assert!(backend.seen().is_empty());
    assert!(is_served(&proxy, 1), "the node serves on");
    eventually("no connection is left", || {
        is(proxy.metric("sunbeam_active_connections", &[]), 0).then_some(())
    });
    no_panic(&proxy);
}

#[test]
fn limits_of_addresses_apply_to_the_clients_behind_a_balancer() {
    let backend = TestUpstream::echo();
    let limits = format!("{PATIENT}max_connections_per_ip = 2\nmax_tls_handshakes = 4");
    let proxy = behind_a_balancer(&backend, &limits);
    let opened = |source: &str, target| {
        let mut stream = connect_from(ip(BALANCER), target);
        stream.write_all(&v1(source)).unwrap();
        stream
    };
    let read =
        |count| eventually("headers are read", || is(headers_read(&proxy, "client"), count).then_some(()));
    let _held = [opened("203.0.113.7", proxy.http()), opened("203.0.113.7", proxy.http())];
    read(2);
    assert!(is_reset(&mut opened("203.0.113.7", proxy.http())));
    assert!(is(hits(&proxy, "max_connections_per_ip"), 1));
    let other = opened("203.0.113.8", proxy.http());
    assert!(exchange(other, GET).starts_with("HTTP/1.1 200"), "its neighbour is served");
    // A quarter of four handshakes is one.
    let _handshake = opened("203.0.113.9", proxy.https());
    read(5);
    assert!(is_reset(&mut opened("203.0.113.9", proxy.https())));
    assert!(is(hits(&proxy, "max_tls_handshakes"), 1));
}

#[test]
fn a_reload_changes_the_limits_at_once_and_closes_nothing() {
    let backend = TestUpstream::echo();
    let limits = |most: u32| settings(&backend, &format!("{PATIENT}max_connections_per_ip = {most}"));
    let proxy = TestProxy::start(&limits(2));
    let mut held = hold(&proxy, 1, proxy.http(), 2);
    assert!(is_reset(&mut connect_from(ip(1), proxy.http())));
    proxy.reload(&limits(3)).unwrap();
    assert!(is_served(&proxy, 1));
    proxy.reload(&limits(1)).unwrap();
    assert!(is_reset(&mut connect_from(ip(1), proxy.http())));
    assert!(exchange(held.remove(0), GET).starts_with("HTTP/1.1 200"), "what was open stays");
    let listen = settings(&backend, "[listen]\nproxy_protocol_from = [\"127.0.0.2\"]");
    assert!(is_served(&proxy, BALANCER));
    proxy.reload(&listen).unwrap();
    assert!(!is_served(&proxy, BALANCER), "now it has to send a header");
    assert!(is(headers_read(&proxy, "malformed"), 1));
    let whole = settings(&backend, "[limits]\nmax_connections = 1");
    proxy.reload(&whole).unwrap();
    assert!(is_reset(&mut connect_from(ip(3), proxy.http())), "one is open still");
    assert!(is(hits(&proxy, "max_connections"), 1));
}

/// Sends back what comes, to each connection on its own thread, until the process ends.
fn echo_backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

#[test]
fn the_passthrough_counts_with_the_same_guard() {
    const TRIES: u32 = 100;
    let ssh = |limit: &str| {
        format!("[ssh]\nlisten = \"127.0.0.1:0\"\nbackend = \"{}\"\n[limits]\n{limit}", echo_backend())
    };
    let result = |proxy: &TestProxy, result: &str| {
        proxy.metric("sunbeam_tcp_passthrough_connections_total", &[("result", result)])
    };
    let echoes = |source, door| {
        let stream = connect_from(ip(source), door);
        (&stream).write_all(b"hello").unwrap_or_default();
        stream.shutdown(Shutdown::Write).unwrap_or_default();
        exchange(stream, b"") == "hello"
    };
    let proxy = TestProxy::start(&ssh("max_connections_per_ip = 2"));
    let door = proxy.node().passthrough_address().unwrap();
    let _held = hold(&proxy, 1, door, 2);
    assert!(is_reset(&mut connect_from(ip(1), door)));
    assert!(is(hits(&proxy, "max_connections_per_ip"), 1) && is(result(&proxy, "refused"), 1));
    assert!(echoes(2, door));

    let proxy = TestProxy::start(&ssh("new_connections_per_ip = 3"));
    let door = proxy.node().passthrough_address().unwrap();
    let began = Instant::now();
    let _held: Vec<_> = (0..TRIES).map(|_| connect_from(ip(1), door)).collect();
    let counted = || result(&proxy, "refused") + result(&proxy, "ok");
    eventually("the node saw them all", || is(counted(), TRIES).then_some(()));
    let most = 3.0 + 3.0 * began.elapsed().as_secs_f64() + 1.0;
    let admitted = result(&proxy, "ok");
    assert!((3.0..=most).contains(&admitted), "{admitted} of {TRIES}, at most {most}");
    assert!(echoes(2, door), "another address");
    eventually("the address may connect again", || echoes(1, door).then_some(()));
}

#[test]
fn a_flood_from_one_address_leaves_the_others_served() {
    const ROUNDS: u32 = 10;
    let backend = TestUpstream::echo();
    let limits = "[limits]\nmax_connections_per_ip = 50\nmax_tls_handshakes = 64";
    let proxy = TestProxy::start(&settings(&backend, limits));
    let (http, https) = (proxy.http(), proxy.https());
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            for round in 0..ROUNDS {
                let target = if round % 2 == 0 { http } else { https };
                // What is over the bound may be reset before it is ours.
                let tries = (0..200).map(|_| try_connect_from(ip(1), target));
                let mut streams: Vec<_> = tries.filter_map(Result::ok).collect();
                for (index, stream) in streams.iter_mut().enumerate() {
                    // Some are silent, some stop in the middle of a head or a hello.
                    match index % 3 {
                        0 => drop(stream.write_all(b"GET / HT")),
                        1 => drop(stream.write_all(HALF_HELLO)),
                        _ => {}
                    }
                }
                // Closed before the node has looked at them they would be no flood.
                eventually("the node has seen them all", || {
                    let seen = proxy.metric("sunbeam_connections_total", &[]);
                    (seen >= 200.0 * f64::from(round + 1)).then_some(())
                });
            }
        });
        let mut served = 0;
        while !flood.is_finished() || served < 20 {
            let began = Instant::now();
            assert!(is_served(&proxy, 2), "plain, after {served}");
            assert!(is_served_tls(&proxy, 2), "TLS, after {served}");
            assert!(began.elapsed() < Duration::from_secs(10));
            served += 2;
        }
        flood.join().unwrap();
    });
    assert!(hits(&proxy, "max_connections_per_ip") > 100.0);
    eventually("no connection is left", || {
        is(proxy.metric("sunbeam_active_connections", &[]), 0).then_some(())
    });
    assert!(is_served(&proxy, 1), "the flood is over");
    no_panic(&proxy);
}
