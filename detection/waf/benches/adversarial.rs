// SPDX-License-Identifier: Apache-2.0
//! What bodies cost that are built to be expensive, at 1, 2 and 4 MiB, with all phases and no budget: a line for each
//! shape with its three times in nanoseconds of CPU.
//!
//!     adversarial CRS_FOLDER PARANOIA_LEVEL [SHAPE...]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{Ends, RequestHead, ResponseHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};

const MIB: usize = 1 << 20;
const SIZES: [usize; 3] = [MIB, 2 * MIB, 4 * MIB];
/// The quickest counts: whatever else the machine does only makes it slower.
const ROUNDS: usize = 3;

#[expect(clippy::print_stdout, reason = "its lines are what it is for")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, level, wanted @ ..] = words.as_slice() else { return };
    let options = RuleOptions {
        ruleset: RuleSetKind::Crs(folder.into()),
        paranoia_level: level.parse().expect("a paranoia level"),
        body_max: 8 * MIB,
        responses: true,
        ..RuleOptions::default()
    };
    let rules = Arc::new(load(&options).unwrap_or_else(|errors| panic!("{}", errors[0])));
    let mut transaction = Transaction::new(Arc::clone(&rules));
    for shape in shapes() {
        if !wanted.is_empty() && !wanted.contains(&shape.name.to_owned()) {
            continue;
        }
        let times = SIZES.map(|size| {
            let body = shape.body(size);
            run(&mut transaction, &rules, &shape, &body);
            let rounds = (0..ROUNDS).map(|_| run(&mut transaction, &rules, &shape, &body));
            rounds.min().unwrap_or_default()
        });
        println!("{} {} {} {}", shape.name, times[0], times[1], times[2]);
    }
}

/// A body: what it begins with, what is repeated, what it ends with.
struct Shape {
    name: &'static str,
    kind: &'static str,
    start: &'static [u8],
    unit: Unit,
    end: &'static [u8],
}

enum Unit {
    /// The same again and again.
    Same(&'static [u8]),
    /// With the number of each instead of its `@`.
    Numbered(&'static [u8]),
    /// These, put together by chance.
    Lumps(&'static [&'static [u8]]),
    /// Any bytes.
    Noise,
}

impl Shape {
    fn body(&self, size: usize) -> Vec<u8> {
        let mut body = self.start.to_vec();
        let (mut chance, mut number) = (0x9e37_79b9_7f4a_7c15_u64, 0_u32);
        while body.len() + self.end.len() < size {
            // Marsaglia's shifts, with the constants 13, 7 and 17.
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let spread = chance.to_le_bytes();
            match &self.unit {
                Unit::Same(unit) => body.extend_from_slice(unit),
                Unit::Numbered(unit) => {
                    number += 1;
                    for byte in *unit {
                        match byte {
                            b'@' => body.extend_from_slice(number.to_string().as_bytes()),
                            other => body.push(*other),
                        }
                    }
                }
                Unit::Lumps(lumps) => {
                    let at = usize::from(u16::from_le_bytes([spread[2], spread[3]])) % lumps.len();
                    body.extend_from_slice(lumps[at]);
                }
                Unit::Noise => body.push(spread[3]),
            }
        }
        body.extend_from_slice(self.end);
        body
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=frontier";
const BLANK: &str = "multipart/form-data; boundary=\" \"";
const BLANKS: &str = "multipart/form-data; boundary=\" b\"";
const SPACED: Unit = Unit::Same(b"                 b");
const PART: &[u8] = b"--frontier\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
const LAST: &[u8] = b"\r\n--frontier--\r\n";

fn shapes() -> Vec<Shape> {
    let value = |name, unit| Shape { name, kind: MULTIPART, start: PART, unit, end: LAST };
    let form = |name, unit| Shape { name, kind: FORM, start: b"a=", unit, end: b"" };
    let json = |name, start, unit, end| Shape { name, kind: "application/json", start, unit, end };
    let xml = |name, start, unit, end| Shape { name, kind: "application/xml", start, unit, end };
    let parts = |name, unit| Shape { name, kind: MULTIPART, start: b"", unit, end: LAST };
    let mut shapes: Vec<Shape> = VALUES.iter().map(|(name, unit)| value(*name, Unit::Same(unit))).collect();
    shapes.extend(FORMS.iter().map(|(name, unit)| form(*name, Unit::Same(unit))));
    shapes.extend([
        value("noise", Unit::Noise),
        value("lumps-of-sql", Unit::Lumps(SQL)),
        value("lumps-of-html", Unit::Lumps(HTML)),
        value("lumps-of-shell", Unit::Lumps(SHELL)),
        value("lumps-of-all", Unit::Lumps(ESCAPES)),
        form("parameters", Unit::Numbered(b"&p@=@")),
        form("parameters-without-values", Unit::Same(b"&a")),
        json("arrays-in-arrays", b"", Unit::Same(b"["), b""),
        json("objects-in-objects", b"", Unit::Same(b"{\"a\":"), b""),
        json("leaves", b"[0", Unit::Same(b",1"), b"]"),
        json("keys", b"{\"a\":1", Unit::Numbered(b",\"k@\":@"), b"}"),
        json("escapes-of-json", b"\"", Unit::Same(b"\\u0027"), b"\""),
        json("one-text", b"\"", Unit::Same(b"<a' or 1=1 "), b"\""),
        xml("elements-in-elements", b"", Unit::Same(b"<a>"), b""),
        xml("elements", b"<r>", Unit::Same(b"<a/>"), b"</r>"),
        xml("attributes", b"<r ", Unit::Numbered(b"a@='@' "), b"/>"),
        xml("entities-of-xml", b"<r>", Unit::Same(b"&amp;"), b"</r>"),
        xml("comments-of-xml", b"<r>", Unit::Same(b"<!---->x"), b"</r>"),
        parts("parts", Unit::Same(b"--frontier\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n")),
        parts("parts-without-anything", Unit::Same(b"--frontier\r\n")),
        parts(
            "parts-that-are-files",
            Unit::Numbered(b"--frontier\r\nContent-Disposition: form-data; name=f@; filename=@\r\n\r\n1\r\n"),
        ),
        parts("headers-of-a-part", Unit::Same(b"a: b\r\n")),
        Shape {
            name: "boundary-of-a-blank",
            kind: BLANK,
            start: b"-- \r\n",
            unit: Unit::Same(b" "),
            end: b"",
        },
        Shape { name: "blanks-before-boundaries", kind: BLANKS, start: b"-- b\r\n", unit: SPACED, end: b"" },
    ]);
    shapes
}

/// In a form: what is written with `%`.
static FORMS: &[(&str, &[u8])] = &[
    ("percent", b"%"),
    ("percent-u", b"%u"),
    ("percent-25", b"%25"),
    ("percent-u0027", b"%u0027"),
    ("percent-00", b"%00"),
    ("pluses", b"+"),
    ("open-form", b"("),
];

/// In a part of a form of parts, where all bytes stand for themselves.
static VALUES: &[(&str, &[u8])] = &[
    ("open", b"("),
    ("close", b")"),
    ("open-braces", b"{"),
    ("open-brackets", b"["),
    ("ands", b"and."),
    ("ands-with-numbers", b"1and.1"),
    ("ors", b"1 or 1 "),
    ("names", b"a."),
    ("long-name", b"a"),
    ("digits", b"1"),
    ("exponents", b"1e"),
    ("commas", b"1,"),
    ("unions", b" union select "),
    ("equals", b"="),
    ("single-quotes", b"'"),
    ("double-quotes", b"\""),
    ("back-quotes", b"`"),
    ("escaped-quotes", b"\\'"),
    ("quotes-and-words", b"' a "),
    ("backslashes", b"\\"),
    ("dollars", b"$"),
    ("dollar-tags", b"$a$b"),
    ("variables", b"@a"),
    ("hashes", b"#\n"),
    ("dashes", b"-"),
    ("line-comments", b"--\n"),
    ("comments-open", b"/*"),
    ("comments", b"/**/"),
    ("comments-of-mysql", b"/*!"),
    ("comments-close", b"*/"),
    ("spaces", b" "),
    ("lines", b"\n"),
    ("line-ends", b"\r\n"),
    ("nulls", b"\0"),
    ("semicolons", b";"),
    ("colons", b":"),
    ("less", b"<"),
    ("tags", b"<a"),
    ("tags-with-attributes", b"<a b="),
    ("tags-closed", b"<a>"),
    ("tags-ending", b"</"),
    ("declarations", b"<!"),
    ("comments-of-html", b"<!--"),
    ("questions", b"<?"),
    ("percents-of-html", b"<%"),
    ("cdata", b"<![CDATA["),
    ("attributes-of-html", b" a=b"),
    ("events", b" onx=1"),
    ("event-names", b"on"),
    ("entities", b"&#"),
    ("entities-whole", b"&#x27;"),
    ("entities-named", b"&lt"),
    ("escapes-u", b"\\u0027"),
    ("escapes-x", b"\\x27"),
    ("escapes-octal", b"\\47"),
    ("escapes-css", b"\\27 "),
    ("base64", b"QUJD"),
    ("base64-of-an-attack", b"PHNjcmlwdD4="),
    ("hex", b"27"),
    ("slashes", b"/"),
    ("dots", b"."),
    ("traversals", b"../"),
    ("traversals-of-windows", b"..\\"),
    ("here", b"./"),
    ("down-and-up", b"a/../"),
    ("carets", b"^"),
    ("pipes", b"|"),
    ("substitutions", b"$("),
    ("expressions", b"${"),
    ("look-ups", b"${jndi:"),
    ("templates", b"{{"),
    ("schemes", b"http://"),
    ("script", b"javascript:"),
    ("calls", b"a("),
    ("calls-of-php", b"$_("),
    ("commands", b";cat "),
    ("utf-8", b"\xc3\xa9"),
    ("wide", b"\xe2\x80\xa8"),
    ("beyond-ascii", b"\xff"),
    ("capitals", b"SELECT FROM "),
    ("wildcards", b"/???"),
    ("ranges", b"{a,"),
    ("zeros", b"0x"),
    ("strings-of-oracle", b"q'("),
    ("words-of-ldap", b"(&(a=*"),
    ("mail", b"\r\na: b"),
];

static SQL: &[&[u8]] = &[
    b" ", b"'", b"\"", b"(", b")", b",", b"=", b"1", b"a", b".", b"and", b"or", b" union ", b"select ",
    b"/*", b"*/", b"--", b"#", b"@", b"`", b"\\", b";", b"$a$", b"0x", b"1e", b" in ", b" like ", b"not ",
    b"null", b"user(",
];

static HTML: &[&[u8]] = &[
    b"<",
    b">",
    b"/",
    b"=",
    b"'",
    b"\"",
    b"`",
    b" ",
    b"a",
    b"on",
    b"onload=",
    b"href=",
    b"javascript:",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"<?",
    b"<%",
    b"&#",
    b"&#x6a;",
    b"\0",
    b"script",
    b"style=",
    b"svg",
    b"!",
];

static SHELL: &[&[u8]] = &[
    b";",
    b"|",
    b"&",
    b"$(",
    b"`",
    b"${",
    b"}",
    b"'",
    b"\"",
    b"\\",
    b" ",
    b"cat",
    b"/etc/passwd",
    b"*",
    b"?",
    b"{a,b}",
    b"$a",
    b"^",
    b"ls",
    b"wget",
    b"\n",
    b"=",
    b"<(",
    b">",
    b"/bin/",
    b"python",
    b"-c",
];

static ESCAPES: &[&[u8]] = &[
    b"%27",
    b"%u0027",
    b"&#39;",
    b"&lt;",
    b"\\u0027",
    b"\\x27",
    b"\\47",
    b"\xc2\xa0",
    b"\0",
    b"/*",
    b"*/",
    b"  ",
    b"A",
    b"\xff",
    b"../",
    b"+",
    b"%",
    b"\\",
    b"QQ==",
    b"<!--",
    b"^",
    b"'",
];

/// All phases. What they took, in nanoseconds of CPU.
fn run(transaction: &mut Transaction, rules: &Arc<RuleSet>, shape: &Shape, body: &[u8]) -> u64 {
    let begun = worked();
    transaction.begin(rules);
    let [client, server] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
    let length = body.len().to_string();
    let headers: [(&[u8], &[u8]); 4] = [
        (b"Host", b"shop.example"),
        (b"Accept", b"*/*"),
        (b"Content-Type", shape.kind.as_bytes()),
        (b"Content-Length", length.as_bytes()),
    ];
    let head =
        RequestHead { method: b"POST", target: b"/", protocol: b"HTTP/1.1", headers: &headers, id: "1" };
    transaction.request_head(&head);
    transaction.request_body(body, false);
    let headers: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"text/html")];
    transaction.response_head(&ResponseHead { status: 200, protocol: b"HTTP/1.1", headers: &headers });
    transaction.response_body(b"<html><body>hello</body></html>", false);
    transaction.end();
    worked() - begun
}

/// What this thread has run, by the kernel's count: not what it waited.
fn worked() -> u64 {
    // The count is brought up to date when a thread gives way.
    std::thread::yield_now();
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    counts.split(' ').next().and_then(|first| first.parse().ok()).expect("a kernel that counts")
}
