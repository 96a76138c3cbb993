// SPDX-License-Identifier: Apache-2.0
//! What lying clients send over HTTP/1, by combination. `{H}` is the host, `{T}` the case's number; chars
//! are bytes (latin-1). Unless a case stands alone, [`SMUGGLED`] follows it: a second request where the
//! first ends where we say it ends, and something else to whoever reads otherwise.

/// One connection's worth of lies.
pub(super) struct Case {
    pub(super) name: String,
    template: String,
    pub(super) want: Want,
}

/// What the first answer must be, beyond what the oracle demands of every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Any,
    /// The backend answers: strictness that breaks honest clients is a defect too.
    Passed,
    Status(u16),
}
use Want::{Any, Passed, Status};

const SMUGGLED: &str = "GET /s{T} HTTP/1.1\r\nHost: {H}\r\nX-Smuggled: yes\r\n\r\n";
const CHUNKED_BODY: &str = "5\r\nhello\r\n0\r\n\r\n";

impl Case {
    pub(super) fn bytes(&self, host: &str, number: usize) -> Vec<u8> {
        let text = self.template.replace("{H}", host).replace("{T}", &number.to_string());
        text.chars().map(|c| u8::try_from(u32::from(c)).expect("latin-1")).collect()
    }
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    innocents(&mut cases);
    both_framings(&mut cases);
    lengths(&mut cases);
    line_ends(&mut cases);
    bytes_everywhere(&mut cases);
    chunks(&mut cases);
    request_lines(&mut cases);
    hosts(&mut cases);
    connections(&mut cases);
    cases.0
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, template: impl Into<String>, want: Want) {
        self.0.push(Case { name: name.into(), template: template.into(), want });
    }

    /// A request with these header lines (each with its line end) and this body, and one behind it.
    fn request(&mut self, name: impl Into<String>, line: &str, lines: &str, body: &str, want: Want) {
        self.add(name, format!("{line}\r\nHost: {{H}}\r\n{lines}\r\n{body}{SMUGGLED}"), want);
    }

    fn post(&mut self, name: impl Into<String>, lines: &str, body: &str, want: Want) {
        self.request(name, "POST /c{T} HTTP/1.1", lines, body, want);
    }

    fn get(&mut self, name: impl Into<String>, lines: &str, want: Want) {
        self.request(name, "GET /c{T} HTTP/1.1", lines, "", want);
    }
}

fn innocents(cases: &mut Cases) {
    cases.get("a plain request and another", "", Passed);
    cases.post("a length", "Content-Length: 5\r\n", "hello", Passed);
    cases.post("chunks", "Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", Passed);
    cases.post("no body at all", "", "", Passed);
    cases.post(
        "a body that looks like a request",
        "Content-Length: 24\r\n",
        "GET /x HTTP/1.1\r\nA: b\r\n\r\n",
        Passed,
    );
    cases.request("a query", "GET /c{T}?a=b&c=%2F/../d HTTP/1.1", "", "", Passed);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "PROPFIND"] {
        let line = format!("{method} /c{{T}} HTTP/1.1");
        cases.request(format!("{method} with a length"), &line, "Content-Length: 5\r\n", "hello", Passed);
        cases.request(
            format!("{method} in chunks"),
            &line,
            "Transfer-Encoding: chunked\r\n",
            CHUNKED_BODY,
            Passed,
        );
    }
    cases.add("many in a row", "GET /c{T} HTTP/1.1\r\nHost: {H}\r\n\r\n".repeat(20), Passed);
    cases.post("an empty line between requests", "Content-Length: 5\r\n", "hello\r\n", Passed);
    cases.request("HTTP/1.0", "GET /c{T} HTTP/1.0", "", "", Passed);
    cases.request("HTTP/1.0 kept", "GET /c{T} HTTP/1.0", "Connection: keep-alive\r\n", "", Passed);
    cases.request("HTTP/1.0 with a body", "POST /c{T} HTTP/1.0", "Content-Length: 5\r\n", "hello", Passed);
    cases.add("HTTP/1.0 without a host", format!("GET /c{{T}} HTTP/1.0\r\n\r\n{SMUGGLED}"), Status(421));
    cases.get("bytes past ASCII in a value", "X-Name: J\u{fc}rgen \u{c3}\u{a9}\r\n", Passed);
    cases.get("blanks around a value", "X-Blank: \t a b \t \r\nX-Empty:\r\n", Passed);
    cases.post("half a body", "Content-Length: 5000\r\n", "hello", Any);
    cases.add("half a head", "GET /c{T} HTTP/1.1\r\nHost: {H}\r\nX-Half", Any);
    cases.post("100-continue", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello", Passed);
    cases.post(
        "100-continue in chunks",
        "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n",
        CHUNKED_BODY,
        Passed,
    );
    cases.get("100-continue without a body", "Expect: 100-continue\r\n", Passed);
    cases.post("another expectation", "Expect: 200-ok\r\nContent-Length: 5\r\n", "hello", Status(417));
    cases.post("two expectations", "Expect: 100-continue, x\r\nContent-Length: 5\r\n", "hello", Status(417));
}

/// Transfer-Encoding in all spellings, alone and with each Content-Length before or behind it.
fn both_framings(cases: &mut Cases) {
    const LENGTHS: [&str; 3] = ["Content-Length: 4\r\n", "content-length: 0\r\n", "CONTENT-LENGTH:15\r\n"];
    let plain = [
        ("exact", "Transfer-Encoding: chunked"),
        ("lower case", "transfer-encoding:chunked"),
        ("capitals", "TRANSFER-ENCODING: CHUNKED"),
        ("blanks", "Transfer-Encoding: \t chunked \t"),
    ];
    let odd = [
        ("vertical tab", "Transfer-Encoding: \x0bchunked"),
        ("vertical tab behind", "Transfer-Encoding: chunked\x0b"),
        ("form feed", "Transfer-Encoding:\x0cchunked"),
        ("NUL", "Transfer-Encoding: chunked\0"),
        ("NUL before", "Transfer-Encoding: \0chunked"),
        ("NUL in the name", "Transfer\0-Encoding: chunked"),
        ("no-break space", "Transfer-Encoding: \u{a0}chunked"),
        ("high byte", "Transfer-Encoding: \u{ff}chunked"),
        ("list with identity behind", "Transfer-Encoding: chunked, identity"),
        ("list with identity before", "Transfer-Encoding: identity, chunked"),
        ("gzip too", "Transfer-Encoding: gzip, chunked"),
        ("twice in a list", "Transfer-Encoding: chunked, chunked"),
        ("comma before", "Transfer-Encoding: ,chunked"),
        ("comma behind", "Transfer-Encoding: chunked,"),
        ("prefix", "Transfer-Encoding: xchunked"),
        ("suffix", "Transfer-Encoding: chunkedx"),
        ("double quotes", "Transfer-Encoding: \"chunked\""),
        ("single quotes", "Transfer-Encoding: 'chunked'"),
        ("semicolon", "Transfer-Encoding: chunked;"),
        ("parameter", "Transfer-Encoding: chunked;q=0.5"),
        ("blank inside", "Transfer-Encoding: chun ked"),
        ("brackets", "Transfer-Encoding: [chunked]"),
        ("escaped", "Transfer-Encoding: %63hunked"),
        ("identity", "Transfer-Encoding: identity"),
        ("compress", "Transfer-Encoding: compress"),
        ("empty", "Transfer-Encoding:"),
        ("two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("two lines, identity first", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("two lines, identity last", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("two lines, the second unknown", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow"),
        ("space before the colon", "Transfer-Encoding : chunked"),
        ("tab before the colon", "Transfer-Encoding\t: chunked"),
        ("space in the name", "Transfer Encoding: chunked"),
        ("space before the name", " Transfer-Encoding: chunked"),
        ("line feed before", "X: y\nTransfer-Encoding: chunked"),
        ("carriage return before", "X: y\rTransfer-Encoding: chunked"),
        ("folded away", "X: y\r\n Transfer-Encoding: chunked"),
        ("folded value", "Transfer-Encoding:\r\n chunked"),
        ("folded value with tab", "Transfer-Encoding:\r\n\tchunked"),
        ("folded name", "Transfer-Encoding\r\n : chunked"),
        ("two colons", "Transfer-Encoding:: chunked"),
        ("no colon", "Transfer-Encoding chunked"),
        ("half a name", "Transfer-\r\nEncoding: chunked"),
    ];
    for (name, te) in plain.iter().chain(&odd) {
        let is_plain = plain.iter().any(|(found, _)| found == name);
        let te = format!("{te}\r\n");
        cases.post(format!("TE {name}"), &te, CHUNKED_BODY, if is_plain { Passed } else { Any });
        cases.request(format!("TE {name}, 1.0"), "POST /c{T} HTTP/1.0", &te, CHUNKED_BODY, Any);
        for cl in LENGTHS {
            let shown = cl.trim();
            cases.post(format!("{shown}, TE {name}"), &format!("{cl}{te}"), CHUNKED_BODY, Any);
            cases.post(format!("TE {name}, {shown}"), &format!("{te}{cl}"), CHUNKED_BODY, Any);
        }
    }
    // Names that some backends read as another: dropped, so that the length alone counts.
    for te in [
        "Transfer_Encoding: chunked\r\n",
        "transfer_encoding: chunked\r\n",
        "X-Transfer-Encoding: chunked\r\n",
    ] {
        cases.post(
            format!("a length and {}", te.trim()),
            &format!("Content-Length: 5\r\n{te}"),
            "hello",
            Passed,
        );
        cases.post(format!("only {}", te.trim()), te, "", Passed);
    }
}

fn lengths(cases: &mut Cases) {
    for value in ["5", " 5", "\t5 ", "05", "000005"] {
        cases.post(format!("length {value:?}"), &format!("Content-Length:{value}\r\n"), "hello", Passed);
    }
    for value in [
        "+5",
        "-5",
        "--5",
        "0x5",
        "5h",
        "5,5",
        "5, 5",
        "5,6",
        "5 5",
        "5;",
        "\"5\"",
        "5.0",
        "5e0",
        "1_0",
        "",
        " ",
        ",",
        "5\x0b",
        "5\0",
        "\0",
        "\u{b5}",
        "5\u{a0}",
        "99999999999999999999",
        "18446744073709551621",
        "9223372036854775808",
        "00000000000000000005",
        "five",
        "5\r\n 0",
        "\r\n 5",
        "5\n",
        "5\r",
        "%35",
    ] {
        cases.post(format!("length {value:?}"), &format!("Content-Length: {value}\r\n"), "hello", Any);
    }
    for (first, second) in [("5", "5"), ("5", "0"), ("0", "5"), ("5", "6"), ("5", "05"), ("5", ""), ("", "5")]
    {
        for name in
            ["Content-Length", "content-length", "Content-Length ", "Content\tLength", "Content-Length\0"]
        {
            let lines = format!("Content-Length: {first}\r\n{name}: {second}\r\n");
            cases.post(format!("lengths {first:?} and {name:?} {second:?}"), &lines, "hello", Any);
        }
    }
    for name in ["Content_Length", "content_length", "X-Content-Length", "Content-Lengths"] {
        let lines = format!("Content-Length: 5\r\n{name}: 0\r\n");
        cases.post(format!("a length and {name}"), &lines, "hello", Passed);
        cases.post(format!("only {name}"), &format!("{name}: 5\r\n"), "", Passed);
    }
    for name in
        ["Content-Length ", " Content-Length", "Content Length", "Content-Length\x0b", "\u{ef}Content-Length"]
    {
        cases.post(format!("a length as {name:?}"), &format!("{name}: 5\r\n"), "hello", Any);
    }
}

/// Each line end of a request in each wrong form.
fn line_ends(cases: &mut Cases) {
    const LINES: [&str; 4] = ["POST /c{T} HTTP/1.1", "Host: {H}", "X-A: b", "Content-Length: 5"];
    for end in
        ["\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\n\n", "\x0b\r\n", "\0\r\n", "\r\n ", "\r\n\t", " \r\n\r\n"]
    {
        for wrong in 0..=LINES.len() {
            let mut text = String::new();
            for (number, line) in LINES.iter().chain(&[""]).enumerate() {
                text += line;
                text += if number == wrong { end } else { "\r\n" };
            }
            cases.add(format!("line {wrong} ends with {end:?}"), format!("{text}hello{SMUGGLED}"), Any);
        }
    }
    for before in ["\n", "\r", " ", "\t", "\r\n\r\n", "\0", "\n\r\n", "\u{ef}\u{bb}\u{bf}"] {
        let text = format!("{before}GET /c{{T}} HTTP/1.1\r\nHost: {{H}}\r\n\r\n{SMUGGLED}");
        cases.add(format!("{before:?} before a request"), text, Any);
    }
    cases.add(
        "a line before a request",
        format!("\r\nGET /c{{T}} HTTP/1.1\r\nHost: {{H}}\r\n\r\n{SMUGGLED}"),
        Passed,
    );
}

/// Each byte that is none of HTTP's, in method, target, version, name and value.
fn bytes_everywhere(cases: &mut Cases) {
    for byte in (0..0x21).chain([0x7f, 0x80, 0xa0, 0xff]).chain(b"()<>@,;\\\"/[]?={}".iter().copied()) {
        let odd = char::from(byte);
        cases.request(
            format!("{byte:#04x} in the method"),
            &format!("GE{odd}T /c{{T}} HTTP/1.1"),
            "",
            "",
            Any,
        );
        cases.request(
            format!("{byte:#04x} in the version"),
            &format!("GET /c{{T}} HTTP/1.{odd}1"),
            "",
            "",
            Any,
        );
        cases.request(
            format!("{byte:#04x} in the target"),
            &format!("GET /c{{T}}/a{odd}b HTTP/1.1"),
            "",
            "",
            Any,
        );
        cases.request(
            format!("{byte:#04x} in the query"),
            &format!("GET /c{{T}}?a{odd}b HTTP/1.1"),
            "",
            "",
            Any,
        );
        cases.get(format!("{byte:#04x} in a name"), &format!("X-{odd}A: b\r\n"), Any);
        cases.get(format!("{byte:#04x} before a name"), &format!("{odd}X-A: b\r\n"), Any);
        cases.get(format!("{byte:#04x} before a colon"), &format!("X-A{odd}: b\r\n"), Any);
        cases.get(format!("{byte:#04x} in a value"), &format!("X-A: a{odd}b\r\n"), Any);
        cases.get(format!("{byte:#04x} before a value"), &format!("X-A:{odd}b\r\n"), Any);
    }
}

fn chunks(cases: &mut Cases) {
    const TE: &str = "Transfer-Encoding: chunked\r\n";
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n00\r\n\r\n",
        "000000000000005\r\nhello\r\n0\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "0\r\n\r\n",
        "0\r\nX-Trailer: a\r\nX-Other: b\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: identity\r\nHost: evil\r\nTrailer: x\r\nAuthorization: Basic eA==\r\n\r\n",
    ] {
        cases.post(format!("chunks {body:?}"), TE, body, Passed);
    }
    for body in [
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "00000000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "\t5\r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;\nxx\r\n4c\r\n0\r\n\r\n",
        "5 ;a=b\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0;a=b\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\n\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\r",
        "5\r\nhello\r\n0\r\r\n",
        "5\r\nhello\r\n0\r\n \r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\n: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\rZ: a\r\n\r\n",
        "5\r\nhello\r\n-0\r\n\r\n",
        "5\r\nhello\r\n0x0\r\n\r\n",
        "5\r\nhello\r\n",
        "",
    ] {
        cases.post(format!("chunks {body:?}"), TE, body, Any);
    }
    let long = format!("5\r\nhello\r\n0\r\n{}\r\n", "X-Trailer: 1\r\n".repeat(1000));
    cases.post("a thousand trailers", TE, &long, Any);
    cases.post(
        "a trailer announced",
        &format!("{TE}Trailer: Content-Length, X-T\r\n"),
        "0\r\nX-T: 1\r\nContent-Length: 9\r\n\r\n",
        Passed,
    );
}

fn request_lines(cases: &mut Cases) {
    for version in [
        "",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/1.10",
        "HTTP/1.01",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3.0",
        "HTTP/1",
        "HTTP/11",
        "http/1.1",
        "Http/1.1",
        "HTTP/1,1",
        "HTTP /1.1",
        "HTTP/ 1.1",
        "HTTP/1.1 ",
        "HTTP/1.1\t",
        "HTTP/+1.1",
        "HTTP/1.1x",
        "HTTP/-1.1",
        "HTTPS/1.1",
        "ICY/1.0",
        "\0",
        "HTTP/\u{b9}.1",
        "HTTP/1.1 HTTP/1.1",
        "XTTP/1.1",
    ] {
        cases.request(format!("version {version:?}"), &format!("GET /c{{T}} {version}"), "", "", Any);
    }
    cases.add("a bare line", format!("GET /c{{T}}\r\n{SMUGGLED}"), Any);
    for target in [
        "http://{H}/c{T}",
        "HTTP://{H}/c{T}?a=b",
        "https://{H}/c{T}",
        "http://{H}",
        "http://{H}?c{T}",
        "/c{T}?http://evil/",
        "/c{T}/a:b@c",
        "/c{T}/a%00b%zz",
        "/c{T}/a<b>\"`",
        "/c{T}/\u{c3}\u{a9}?\u{e9}",
        "/c{T}/a'b(c)",
        "/c{T}?a|b^c{d}",
        "//evil/c{T}",
        "/c{T}?",
        "/c{T}?a?b",
    ] {
        let want = if target.contains("%00") { Any } else { Passed };
        cases.request(format!("target {target:?}"), &format!("GET {target} HTTP/1.1"), "", "", want);
    }
    for target in [
        "http://evil.example/c{T}",
        "http://{H}:81/c{T}",
        "http://u@{H}/c{T}",
        "http://u:p@{H}/c{T}",
        "http://{H}@evil/c{T}",
        "http://evil#{H}/c{T}",
        "http://{H}\\@evil/c{T}",
        "http:///c{T}",
        "http:/c{T}",
        "http:c{T}",
        "ftp://{H}/c{T}",
        "://{H}/c{T}",
        "ws://{H}/c{T}",
        "file:///c{T}",
        "javascript:c{T}",
        "{H}",
        "{H}:80",
        "{H}/c{T}",
        "c{T}",
        "?c{T}",
        "*",
        "*/c{T}",
        "\\c{T}",
        "./c{T}",
        "",
        "/c{T}#f",
        "#",
        "/c{T} /x",
        "/c{T}\t",
        "\t/c{T}",
        " /c{T}",
        "/c{T}  ",
        "/c{T}\\..\\x",
        "/c{T}/../%2e%2e/%2f",
        "@{H}/c{T}",
        "<c{T}>",
        "/c{T}\0",
        "/c{T}\x0b",
        "/c{T}\r",
        "/c{T}\nX: y",
    ] {
        cases.request(format!("target {target:?}"), &format!("GET {target} HTTP/1.1"), "", "", Any);
    }
    for (bytes, want) in [(3000, Passed), (9000, Status(414)), (40_000, Status(414)), (200_000, Status(414))]
    {
        let line = format!("GET /c{{T}}/{} HTTP/1.1", "x".repeat(bytes));
        cases.request(format!("a target of {bytes} bytes"), &line, "", "", want);
    }
    cases.get("many lines", &"X-A: b\r\n".repeat(500), Status(431));
    cases.get("a long line", &format!("X-A: {}\r\n", "b".repeat(100_000)), Status(431));
    for (line, want) in [
        ("TRACE /c{T} HTTP/1.1", Status(405)),
        ("CONNECT {H}:443 HTTP/1.1", Status(405)),
        ("CONNECT {H} HTTP/1.1", Status(405)),
        ("CONNECT /c{T} HTTP/1.1", Status(405)),
        ("CONNECT http://{H}/c{T} HTTP/1.1", Status(400)),
        ("OPTIONS * HTTP/1.1", Status(204)),
        ("GET * HTTP/1.1", Status(400)),
        ("get /c{T} HTTP/1.1", Any),
        ("PRI * HTTP/2.0", Status(505)),
        ("G\u{e9}T /c{T} HTTP/1.1", Status(400)),
        (" GET /c{T} HTTP/1.1", Status(400)),
        ("GET /c{T} HTTP/1.1 GET /s{T} HTTP/1.1", Status(400)),
        ("A-METHOD-THAT-IS-FAR-TOO-LONG-TO-BE-ONE /c{T} HTTP/1.1", Status(400)),
    ] {
        cases.request(format!("line {line:?}"), line, "", "", want);
        cases.request(format!("line {line:?} with a body"), line, "Content-Length: 5\r\n", "hello", Any);
    }
    cases.add(
        "the preface of HTTP/2",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(),
        Status(505),
    );
    cases.add("nothing but line feeds", "\n\n\n\n".to_owned(), Status(400));
    cases.add("a TLS hello", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\n".to_owned(), Status(400));
}

fn hosts(cases: &mut Cases) {
    let line = "GET /c{T} HTTP/1.1\r\n";
    for host in ["{H}", "{H}:80", "{H}:", "  {H}  ", "{H}."] {
        cases.add(format!("host {host:?}"), format!("{line}Host:{host}\r\n\r\n{SMUGGLED}"), Passed);
    }
    for host in [
        "",
        " ",
        "{H}/",
        "{H}/evil",
        "/{H}",
        "evil@{H}",
        "{H}@evil",
        "{H},evil",
        "{H}, {H}",
        "{H} evil",
        "evil {H}",
        "{H}\tevil",
        "{H}#evil",
        "{H}?evil",
        "{H}:80:80",
        "{H}:80evil",
        "{H}:evil",
        "{H}:-1",
        "{H}:999999",
        "{H}\\evil",
        "http://{H}",
        "[{H}]",
        "[::1",
        "::1]",
        "[::1]evil",
        "[]",
        "{H}\0",
        "{H}\x0b",
        "\u{e9}{H}",
        "{H}%00",
        "%77ww",
        "{H};evil",
        "\"{H}\"",
        "{H}|evil",
        "{H}&evil",
        "<{H}>",
        "{H}\r\n evil",
        "\r\n {H}",
        "{H}\nX: y",
        "{H}\rX: y",
    ] {
        cases.add(format!("host {host:?}"), format!("{line}Host: {host}\r\n\r\n{SMUGGLED}"), Any);
    }
    for lines in [
        "",
        "Host: {H}\r\nHost: {H}\r\n",
        "Host: {H}\r\nHost: evil\r\n",
        "Host: evil\r\nHost: {H}\r\n",
        "Host: {H}\r\nhost: evil\r\n",
        "Host: {H}\r\nHOST:\r\n",
        "Host : {H}\r\n",
        "Host: {H}\r\nHost : evil\r\n",
        "Host\t: {H}\r\n",
        " Host: {H}\r\nX: y\r\n",
        "X: y\r\n Host: evil\r\nHost: {H}\r\n",
        "Host\0: {H}\r\n",
        "Host;: {H}\r\n",
        "Ho st: {H}\r\n",
        "Host: {H}\r\n\tHost: evil\r\n",
        "Hosts: {H}\r\n",
    ] {
        cases.add(format!("lines {lines:?}"), format!("{line}{lines}\r\n{SMUGGLED}"), Any);
        let absolute = format!("GET http://{{H}}/c{{T}} HTTP/1.1\r\n{lines}\r\n{SMUGGLED}");
        cases.add(format!("an absolute target and {lines:?}"), absolute, Any);
    }
}

fn connections(cases: &mut Cases) {
    for named in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "X-Request-Id",
        "Cookie",
        "Authorization",
        "close",
        "keep-alive",
        "Connection",
        "x-a, , x-b",
        "Upgrade",
        "TE",
        "\u{e9}",
        "x y",
        "close, keep-alive",
    ] {
        let lines = format!("Connection: {named}\r\nCookie: a=b\r\nContent-Length: 5\r\n");
        cases.post(format!("Connection names {named:?}"), &lines, "hello", Passed);
        let lines = format!("Connection: {named}\r\nTransfer-Encoding: chunked\r\n");
        cases.post(format!("Connection names {named:?}, chunks"), &lines, CHUNKED_BODY, Passed);
    }
    for upgrade in ["h2c", "websocket", "TLS/1.0", "HTTP/2.0", "foo, h2c", "", "websocket, h2c"] {
        let lines = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        );
        cases.get(format!("upgrade to {upgrade:?}"), &lines, Passed);
        let lines = format!("{lines}Content-Length: 5\r\n");
        cases.post(format!("upgrade to {upgrade:?} with a body"), &lines, "hello", Passed);
    }
    for (name, lines) in [
        (
            "hop by hop",
            "Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: trailers, gzip\r\nTrailer: X\r\n",
        ),
        ("proxy credentials", "Proxy-Authorization: Basic eA==\r\nProxy-Authenticate: Basic\r\n"),
        ("underscores", "X_Forwarded_For: 1.1.1.1\r\nx_real_ip: 1.1.1.1\r\nX-A_b: c\r\n_: d\r\n"),
        ("names of CGI", "Proxy: evil\r\nX-HTTP-Method-Override: DELETE\r\n"),
        ("an id of its own", "X-Request-Id: 11111111-1111-4111-8111-111111111111\r\n"),
        ("pseudo-headers' names", "x-method: GET\r\nauthority: evil\r\n"),
    ] {
        cases.get(name, lines, Passed);
    }
    for lines in
        [":authority: evil\r\n", ":path: /s\r\n", ":: x\r\n", ": x\r\n", "X\r\n", "X: y\r\n\r\nZ: a\r\n"]
    {
        cases.get(format!("lines {lines:?}"), lines, Any);
    }
}
