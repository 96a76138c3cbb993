// SPDX-License-Identifier: Apache-2.0
//! Bodies as rules see them: what is cut off, and what only some backends would take for a file.

use std::sync::{Arc, LazyLock};

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{RequestHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, load};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let before = "SecRule ARGS_POST:a \"@streq 1\" \"id:1,phase:2,pass,log\"\n\
        SecRule FILES:a \"@streq x.txt\" \"id:2,phase:2,pass,log\"\n";
    Arc::new(load(&RuleOptions { before: before.to_owned(), ..RuleOptions::default() }).unwrap())
});

/// The numbers of the rules that matched in a body, of which no more than is looked at is given.
fn found(kind: &str, body: &str) -> Vec<u64> {
    let mut transaction = Transaction::new(Arc::clone(&RULES));
    let headers: [(&[u8], &[u8]); 2] = [(b"Host", b"shop.example.org"), (b"Content-Type", kind.as_bytes())];
    let (method, target, protocol) = (&b"POST"[..], &b"/"[..], &b"HTTP/1.1"[..]);
    transaction.request_head(&RequestHead { method, target, protocol, headers: &headers, id: "1" });
    transaction.request_body(body.as_bytes(), false);
    transaction.findings().iter().map(|finding| RULES.rules()[finding.rule as usize].id).collect()
}

/// What is wrong with a body is wrong as well before more than anybody looks at.
#[test]
fn padding_hides_no_error() {
    let padding = "y".repeat(140_000);
    let part = |name: &str| format!("--y\r\nContent-Disposition: form-data; {name}\r\n\r\n2\r\n");
    let multipart = "multipart/form-data; boundary=y";
    for (name, kind, start, end, want) in [
        ("fine", multipart, part("name=b"), "\r\n--y--\r\n", false),
        (
            "two boundaries",
            "multipart/form-data; boundary=y; boundary=x",
            part("name=b"),
            "\r\n--y--\r\n",
            true,
        ),
        ("no name", multipart, part("nom=b"), "\r\n--y--\r\n", true),
        ("data before", multipart, format!("x\r\n{}", part("name=b")), "\r\n--y--\r\n", true),
        ("JSON", "application/json", "{\"a\": 2, \"b\": \"".to_owned(), "\"}", false),
        ("a word", "application/json", "{\"a\": NaN, \"b\": \"".to_owned(), "\"}", true),
        ("a control character", "application/json", "{\"a\": \"\n\", \"b\": \"".to_owned(), "\"}", true),
        ("XML", "application/xml", "<a><b c='d'>".to_owned(), "</b></a>", false),
        ("XML, within a tag", "application/xml", "<a><b c='".to_owned(), "'/></a>", false),
        ("a wrong tag", "application/xml", "<a><b></c><b c='".to_owned(), "'/></a>", true),
        ("an entity", "application/xml", "<a>&own;<b c='".to_owned(), "'/></a>", true),
    ] {
        let (last, rest) = if kind.starts_with("multi") {
            (part("name=c"), padding.as_str())
        } else {
            (String::new(), padding.as_str())
        };
        for padding in ["", rest] {
            let found = found(kind, &format!("{start}{last}{padding}{end}"));
            let is_refused = found.iter().any(|id| (7_300_000..7_300_100).contains(id));
            assert_eq!(is_refused, want, "{name}, {} bytes more: {found:?}", padding.len());
        }
    }
}

/// Backends that do not know `filename*` take such a part for a field.
#[test]
fn a_part_with_an_extended_file_name_alone_is_a_field_and_a_file() {
    let kind = "multipart/form-data; boundary=y";
    for (parameters, want) in [
        ("", &[1][..]),
        ("; filename=\"x.txt\"", &[2]),
        ("; filename*=UTF-8''x.txt", &[1, 2]),
        ("; filename=\"x.txt\"; filename*=UTF-8''x.txt", &[2]),
    ] {
        let body =
            format!("--y\r\nContent-Disposition: form-data; name=\"a\"{parameters}\r\n\r\n1\r\n--y--\r\n");
        assert_eq!(found(kind, &body), want, "{parameters}");
    }
}

/// RFC 2046 forbids it, and nobody could tell it from space; to read it took time that grew with the square.
#[test]
fn a_boundary_that_ends_in_a_blank_is_refused() {
    let body = format!("-- \r\n{}", " ".repeat(131_000));
    for boundary in ["\" \"", "\"x \"", "\"\t\""] {
        let found = found(&format!("multipart/form-data; boundary={boundary}"), &body);
        assert!(found.contains(&7_300_010), "{boundary}: {found:?}");
    }
}
