// SPDX-License-Identifier: Apache-2.0
//! Lying clients over HTTP/2, frame by frame, in front of the same four backends: what goes down to
//! HTTP/1 is well-formed, or does not go.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sunbeam_testkit::{TestFolder, TestProxy, eventually};

use super::readers::{self, Reader, Seen};
use super::{at_once, host, oracle, records, routes};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Fields = Vec<(String, String)>;

struct Case {
    name: String,
    fields: Fields,
    /// DATA frames; the last ends the stream unless trailers follow.
    data: Vec<&'static str>,
    trailers: Option<Fields>,
    /// What the backend reads: method, target, body. `None`: nothing.
    want: Option<(&'static str, &'static str, &'static str)>,
}

#[test]
fn what_goes_down_from_http_2_is_one_well_formed_request_or_none() {
    let folder = TestFolder::new();
    let readers = readers::start(&folder);
    let proxy = TestProxy::builder().config("waf.enabled = false\n").config(&routes(&readers)).start();
    let cases = cases();
    // What no backend may see is tried with one each; the rest with all.
    let is_tried =
        |place: usize, number: usize| cases[number].want.is_some() || number % readers.len() == place;
    let jobs: Vec<(&Reader, usize)> = readers
        .iter()
        .enumerate()
        .flat_map(|(place, reader)| {
            (0..cases.len())
                .filter(move |number| is_tried(place, *number))
                .map(move |number| (reader, number))
        })
        .collect();
    let mut config = (*proxy.client_config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let results =
        at_once(&jobs, |(reader, number)| exchange(&proxy, &config, &host(reader), &cases[*number], *number));
    let mut faults = Vec::new();
    for reader in &readers {
        faults.extend(reader.complaints());
    }
    let seen: Vec<(&str, Seen)> =
        readers.iter().flat_map(|reader| reader.seen().into_iter().map(|seen| (reader.name, seen))).collect();
    let records = eventually("an audit record of each request that a backend read", || {
        let records = records(proxy.audit().records());
        seen.iter().all(|(_, seen)| records.contains_key(seen.id())).then_some(records)
    });
    for ((reader, number), result) in jobs.iter().zip(results) {
        let case = &cases[*number];
        let mine = |seen: &&Seen| super::strict::value(&seen.headers, "x-case") == Some(&number.to_string());
        let found: Vec<&Seen> =
            seen.iter().filter(|(name, _)| *name == reader.name).map(|(_, seen)| seen).filter(mine).collect();
        let mut fault =
            |what: String| faults.push(format!("{} at {} ({number}): {what}", case.name, reader.name));
        match (&case.want, found.as_slice()) {
            (None, []) if result != Ending::Status200 && result != Ending::Silence => {}
            (Some((method, target, body)), [seen]) => {
                let is_same =
                    seen.method == *method && seen.target == *target && seen.body == body.as_bytes();
                let is_recorded = records.get(seen.id()).is_some_and(|record| {
                    record.method == seen.method
                        && oracle::origin_form(&latin1(&record.target)) == seen.target
                });
                if !is_same || !is_recorded || result != Ending::Status200 {
                    fault(format!("{seen:?}, recorded {:?}, {result:?}", records.get(seen.id())));
                }
                oracle::header_faults(seen).into_iter().for_each(&mut fault);
            }
            (_, found) => fault(format!("{result:?}: {found:?}")),
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    innocents(&mut cases);
    pseudo_fields(&mut cases);
    fields_and_framing(&mut cases);
    cases
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "{H}"), (":path", "/c")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "{H}"), (":path", "/c")];

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn case(
    name: impl Into<String>,
    fields: &[(&str, &str)],
    data: &[&'static str],
    want: Option<(&'static str, &'static str, &'static str)>,
) -> Case {
    Case { name: name.into(), fields: owned(fields), data: data.to_vec(), trailers: None, want }
}

fn innocents(cases: &mut Vec<Case>) {
    let got = Some(("GET", "/c", ""));
    cases.push(case("plain", &GET, &[], got));
    cases.push(case("a body", &POST, &["hel", "lo"], Some(("POST", "/c", "hello"))));
    cases.push(case("a body of a GET", &GET, &["hello"], Some(("GET", "/c", "hello"))));
    cases.push(case("an empty body", &POST, &[""], Some(("POST", "/c", ""))));
    let smuggled = "0\r\n\r\nGET /s HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(case("a body that looks like chunks", &POST, &[smuggled], Some(("POST", "/c", smuggled))));
    for (name, more) in [
        ("te", ("te", "trailers")),
        ("host too", ("host", "{H}")),
        ("scheme http", ("x-a", "b")),
        ("underscores", ("x_real_ip", "1.1.1.1")),
        ("an underscored framing", ("transfer_encoding", "chunked")),
        ("a length of zero", ("content-length", "0")),
        ("an expectation", ("expect", "100-continue")),
        ("bytes past ASCII", ("x-a", "J\u{fc}rgen")),
    ] {
        cases.push(case(name, &[&GET[..], &[more]].concat(), &[], got));
    }
    let crumbs =
        [&GET[..], &[("cookie", "a=b"), ("cookie", "c=d"), ("x-a", "b"), ("cookie", "e=f")]].concat();
    cases.push(case("cookies in crumbs", &crumbs, &[], got));
    let sized = [&POST[..], &[("content-length", "5")]].concat();
    cases.push(case("a length", &sized, &["hello"], Some(("POST", "/c", "hello"))));
    let mut high = GET;
    high[3] = (":path", "/c/\u{c3}\u{a9}?\u{c3}\u{a9}");
    cases.push(case("a path past ASCII", &high, &[], Some(("GET", "/c/%C3%A9?%C3%A9", ""))));
    for trailers in [
        &[("x-t", "1")][..],
        &[("content-length", "9"), ("host", "evil"), ("authorization", "Basic eA=="), ("trailer", "x")],
        &[("x-forwarded-for", "1.1.1.1"), ("x_real_ip", "1.1.1.1"), ("cookie", "a=b")],
        // Malformed (RFC 9113 §8.1); the library drops them, and nobody behind it ever sees one.
        &[(":path", "/s")],
        &[(":status", "200")],
    ] {
        let mut case =
            case(format!("trailers {trailers:?}"), &POST, &["hello"], Some(("POST", "/c", "hello")));
        case.trailers = Some(owned(trailers));
        cases.push(case);
    }
}

/// `fields` with the pseudo-field `name` set to `value`, or gone.
fn with<'a>(fields: &[(&'a str, &'a str)], name: &str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let replace = |(found, old): &(&'a str, &'a str)| {
        if *found == name { value.map(|value| (*found, value)) } else { Some((*found, *old)) }
    };
    fields.iter().filter_map(replace).collect()
}

fn pseudo_fields(cases: &mut Vec<Case>) {
    for name in [":method", ":scheme", ":authority", ":path"] {
        cases.push(case(format!("no {name}"), &with(&GET, name, None), &[], None));
        cases.push(case(format!("empty {name}"), &with(&GET, name, Some("")), &[], None));
        let value = GET.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value);
        cases.push(case(format!("{name} twice"), &[&GET[..], &[(name, value)]].concat(), &[], None));
        cases.push(case(
            format!("{name} behind a field"),
            &[&with(&GET, name, None)[..], &[("x-a", "b"), (name, value)]].concat(),
            &[],
            None,
        ));
        for odd in ["\r\n", "\n", "\r", "\0", "\t", "\x7f"] {
            for value in [format!("{value}{odd}x"), format!("{odd}{value}"), format!("{value}{odd}")] {
                cases.push(case(format!("{name} {value:?}"), &with(&GET, name, Some(&value)), &[], None));
            }
        }
    }
    for path in [
        "c",
        "*",
        "{H}/c",
        "https://{H}/c",
        "/c d",
        " /c",
        "/c ",
        "/c HTTP/1.1\r\nHost: evil\r\n\r\n",
        "\\c",
        "/c/../../d",
    ] {
        cases.push(case(format!("path {path:?}"), &with(&GET, ":path", Some(path)), &[], None));
    }
    cases.push(case("a query alone", &with(&GET, ":path", Some("?c")), &[], Some(("GET", "/?c", ""))));
    // The library cuts a fragment off; nobody behind it ever sees one.
    cases.push(case("a fragment", &with(&GET, ":path", Some("/c#f")), &[], Some(("GET", "/c", ""))));
    for authority in [
        "u@{H}",
        "{H}@evil",
        "{H}/x",
        "{H},evil",
        "{H} evil",
        "{H}:80:80",
        "{H}:x",
        "{H}?x",
        "{H}#x",
        "{H}\\x",
        "[{H}]",
        "[::1",
        "evil{H}\u{e9}",
        "http://{H}",
        "{H}%00",
        "{H}|x",
        "{H};x",
        "<{H}>",
    ] {
        cases.push(case(
            format!("authority {authority:?}"),
            &with(&GET, ":authority", Some(authority)),
            &[],
            None,
        ));
        let fields = [&with(&GET, ":authority", None)[..], &[("host", authority)]].concat();
        cases.push(case(format!("only host {authority:?}"), &fields, &[], None));
    }
    for host in ["evil", "", "{H}:81", "{H},{H}"] {
        cases.push(case(
            format!("authority and host {host:?}"),
            &[&GET[..], &[("host", host)]].concat(),
            &[],
            None,
        ));
    }
    let fields = [&with(&GET, ":authority", None)[..], &[("host", "{H}")]].concat();
    cases.push(case("host alone", &fields, &[], Some(("GET", "/c", ""))));
    cases.push(case("host twice", &[&GET[..], &[("host", "{H}"), ("host", "{H}")]].concat(), &[], None));
    for scheme in ["ftp", "file", "HTTPS ", "https://", "h", "java script", "https\u{e9}", "ws"] {
        cases.push(case(format!("scheme {scheme:?}"), &with(&GET, ":scheme", Some(scheme)), &[], None));
    }
    cases.push(case("scheme http", &with(&GET, ":scheme", Some("http")), &[], Some(("GET", "/c", ""))));
    for method in ["G ET", "GET /s HTTP/1.1\r\n", "G\u{e9}T", "TRACE", "CONNECT", "\"GET\"", "GET:"] {
        cases.push(case(format!("method {method:?}"), &with(&GET, ":method", Some(method)), &[], None));
    }
    cases.push(case(
        "CONNECT as it should be",
        &[(":method", "CONNECT"), (":authority", "{H}:443")],
        &[],
        None,
    ));
    for extra in [
        (":protocol", "websocket"),
        (":status", "200"),
        (":unknown", "x"),
        (":", "x"),
        (":Path", "/s"),
        ("::path", "/s"),
        (":path ", "/s"),
        (":host", "evil"),
    ] {
        cases.push(case(format!("{extra:?} too"), &[&GET[..], &[extra]].concat(), &[], None));
    }
    for protocol in ["websocket", "h2c", "connect-udp", ""] {
        let fields = [&with(&GET, ":method", Some("CONNECT"))[..], &[(":protocol", protocol)]].concat();
        cases.push(case(format!("CONNECT for {protocol:?}"), &fields, &[], None));
    }
}

fn fields_and_framing(cases: &mut Vec<Case>) {
    for field in [
        ("connection", "close"),
        ("connection", "x-a"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("TE", "trailers"),
        ("X-A", "b"),
        ("x a", "b"),
        ("x-a ", "b"),
        (" x-a", "b"),
        ("x-a:", "b"),
        ("x:a", "b"),
        ("x-a\r\nx-b", "c"),
        ("x-a\0", "b"),
        ("x\u{e9}", "b"),
        ("", "b"),
        ("x-a", "b\r\nx-b: c"),
        ("x-a", "b\nx-b: c"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        ("x-a", "\x7f"),
        ("x-a", "\x01"),
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding ", "chunked"),
        ("Host", "evil"),
        ("content-length ", "0"),
    ] {
        cases.push(case(format!("field {field:?}"), &[&GET[..], &[field]].concat(), &[], None));
        cases.push(case(
            format!("field {field:?} and a body"),
            &[&POST[..], &[field]].concat(),
            &["hello"],
            None,
        ));
    }
    for (lengths, data) in [
        (&["6"][..], "hello"),
        (&["4"], "hello"),
        (&["0"], "hello"),
        (&["5", "5"], "hello"),
        (&["5", "6"], "hello"),
        (&["6", "5"], "hello"),
        (&["5, 5"], "hello"),
        (&["+5"], "hello"),
        (&["-5"], "hello"),
        (&["0x5"], "hello"),
        (&["5 "], "hello"),
        (&[""], "hello"),
        (&["5", ""], "hello"),
        (&["18446744073709551621"], "hello"),
        (&["99999999999999999999999"], "hello"),
        (&["0", "0"], ""),
    ] {
        let more: Vec<(&str, &str)> = lengths.iter().map(|length| ("content-length", *length)).collect();
        cases.push(case(
            format!("lengths {lengths:?} of {data:?}"),
            &[&POST[..], &more].concat(),
            &[data],
            None,
        ));
    }
    cases.push(case("a length without a body", &[&POST[..], &[("content-length", "5")]].concat(), &[], None));
    for trailers in [
        &[("transfer-encoding", "chunked")][..],
        &[("connection", "close")],
        &[("X-T", "1")],
        &[("x-t", "1\r\nx-u: 2")],
        &[("x t", "1")],
    ] {
        let mut case = case(format!("trailers {trailers:?}"), &POST, &["hello"], None);
        case.trailers = Some(owned(trailers));
        cases.push(case);
    }
}

/// How the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Status200,
    /// Another status.
    Refused,
    /// Stream or connection were given up.
    Reset,
    Silence,
}

fn exchange(proxy: &TestProxy, config: &Arc<ClientConfig>, host: &str, case: &Case, number: usize) -> Ending {
    let socket = TcpStream::connect(proxy.https()).expect("connect");
    socket.set_read_timeout(Some(Duration::from_secs(3))).expect("set a read timeout");
    let name = ServerName::try_from(host.to_owned()).expect("a server name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a TLS session");
    let mut stream = StreamOwned::new(session, socket);
    drop(stream.write_all(&bytes(case, host, number)));
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(ending) = ending(&received) {
            return ending;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ending::Reset,
            Ok(count) => received.extend(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ending::Silence,
            Err(_) => return Ending::Reset,
        }
    }
}

fn ending(mut bytes: &[u8]) -> Option<Ending> {
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(..length)?;
        bytes = &rest[length..];
        let is_ours = head[5..9] == 1_u32.to_be_bytes();
        match head[3] {
            // `:status: 200` is entry 8 of the static table.
            HEADERS if is_ours && payload.first() == Some(&0x88) => return Some(Ending::Status200),
            HEADERS if is_ours => return Some(Ending::Refused),
            RST_STREAM if is_ours => return Some(Ending::Reset),
            GOAWAY => return Some(Ending::Reset),
            _ => {}
        }
    }
    None
}

fn bytes(case: &Case, host: &str, number: usize) -> Vec<u8> {
    let mut fields: Fields =
        case.fields.iter().map(|(name, value)| (name.clone(), value.replace("{H}", host))).collect();
    fields.push(("x-case".to_owned(), number.to_string()));
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let ends = |is_last: bool| if is_last { END_STREAM } else { 0 };
    let flags = END_HEADERS | ends(case.data.is_empty() && case.trailers.is_none());
    bytes.extend(frame(HEADERS, flags, 1, &block(&fields)));
    for (at, data) in case.data.iter().enumerate() {
        let is_last = at + 1 == case.data.len() && case.trailers.is_none();
        bytes.extend(frame(DATA, ends(is_last), 1, data.as_bytes()));
    }
    if let Some(trailers) = &case.trailers {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)));
    }
    bytes
}

/// RFC 9113 §4.1
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK without its tables: each field a literal (RFC 7541 §6.2.2).
fn block(fields: &Fields) -> Vec<u8> {
    let text = |text: &str| {
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect();
        let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 127).expect("a short field");
        [&[length][..], &bytes].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// UTF-8 as the bytes that it is, one char each: what the strict reader calls text.
fn latin1(text: &str) -> String {
    text.bytes().map(char::from).collect()
}
