// SPDX-License-Identifier: Apache-2.0
//! Forms, whole.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    name: String,
    filename: Option<String>,
    headers: Vec<String>,
    value: Vec<u8>,
}

fn read_as(content_type: &str, body: &[u8], limits: &Limits) -> (Vec<Read>, Outcome) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut parts = Vec::new();
    let outcome = visit(content_type.as_bytes(), body, limits, |part| {
        assert_eq!(body.get(part.range()), Some(part.value()));
        parts.push(Read {
            name: text(part.name()),
            filename: part.filename().map(text),
            headers: part.headers().map(text).collect(),
            value: part.value().into(),
        });
    });
    (parts, outcome)
}

fn read(body: &str) -> (Vec<Read>, Outcome) {
    read_as("multipart/form-data; boundary=b", body.as_bytes(), &Limits::default())
}

/// `name=value` of fields, `name<filename=value` of files.
fn shown(parts: &[Read]) -> String {
    let mut text = String::new();
    for part in parts {
        let filename = part.filename.as_ref().map(|filename| format!("<{filename}")).unwrap_or_default();
        write!(text, "{}{filename}={} ", part.name, part.value.escape_ascii()).unwrap();
    }
    text.trim_end().to_owned()
}

#[test]
fn forms() {
    use MultipartError as E;
    use UnmatchedBoundary::{Matched, None as No, Unmatched};
    let fine = Flags { unmatched_boundary: Matched, ..Flags::default() };
    let a = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    let file = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n2\r\n";
    let empty = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n\r\n--b--\r\n";
    for (name, body, want, flags, error) in [
        ("nothing", String::new(), "", Flags::default(), None),
        ("field", format!("{a}--b--\r\n"), "a=1", fine, None),
        ("no line end behind", format!("{a}--b--"), "a=1", fine, None),
        ("field and file", format!("{a}{file}--b--\r\n"), "a=1 f<x.txt=2", fine, None),
        ("the same name", format!("{a}{a}--b--\r\n"), "a=1 a=1", fine, None),
        ("empty value", empty.into(), "a=", fine, None),
        ("no file chosen", file.replace("x.txt", "") + "--b--\r\n", "f<=2", fine, None),
        ("no parts", "--b--\r\n".into(), "", Flags::default(), None),
        (
            "lines in a value",
            format!("{a}x\r\n\r\n--\r\n--c\r\n--b--\r\n"),
            "a=1\\r\\nx\\r\\n\\r\\n--\\r\\n--c",
            fine,
            None,
        ),
        ("before", format!("x\r\n{a}--b--\r\n"), "a=1", Flags { data_before: true, ..fine }, None),
        ("empty line before", format!("\r\n{a}--b--\r\n"), "a=1", Flags { data_before: true, ..fine }, None),
        ("after", format!("{a}--b--\r\nx"), "a=1", Flags { data_after: true, ..fine }, None),
        (
            "after, a part",
            format!("{a}--b--\r\n{a}--b--\r\n"),
            "a=1",
            Flags { data_after: true, ..fine },
            None,
        ),
        ("LF", a.replace('\r', "") + "--b--\n", "a=1", Flags { lf_line: true, ..fine }, None),
        (
            "LF before a boundary",
            a.replace("1\r", "1") + "--b--\r\n",
            "a=1",
            Flags { lf_line: true, crlf_lf_lines: true, ..fine },
            None,
        ),
        ("LF in a value", a.replace('1', "1\n2") + "--b--\r\n", "a=1\\n2", fine, None),
        (
            "folded",
            a.replace("; name", ";\r\n\t name") + "--b--\r\n",
            "a=1",
            Flags { header_folding: true, ..fine },
            None,
        ),
        (
            "folded otherwise",
            a.replace("; name", ";\r\n\x0bname") + "--b--\r\n",
            "a=1",
            Flags { header_folding: true, invalid_header_folding: true, ..fine },
            None,
        ),
        (
            "folded at once",
            a.replace("--b\r\n", "--b\r\n x\r\n") + "--b--\r\n",
            "a=1",
            Flags { header_folding: true, ..fine },
            Some(E::HeaderFolding),
        ),
        (
            "single quotes",
            a.replace('"', "'") + "--b--\r\n",
            "a=1",
            Flags { invalid_quoting: true, ..fine },
            None,
        ),
        (
            "no value",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--b--\r\n".into(),
            "a=",
            Flags { invalid_part: true, ..fine },
            None,
        ),
        (
            "no empty line",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n--b--\r\n".into(),
            "",
            Flags { invalid_part: true, ..fine },
            None,
        ),
        (
            "no header",
            "--b\r\n\r\n1\r\n--b--\r\n".into(),
            "=1",
            Flags { invalid_part: true, ..fine },
            Some(E::DispositionMissing),
        ),
        (
            "no name",
            a.replace("name", "filename") + "--b--\r\n",
            "<a=1",
            Flags { invalid_part: true, ..fine },
            Some(E::Disposition),
        ),
        (
            "no colon",
            a.replace("Content", "x\r\nContent") + "--b--\r\n",
            "a=1",
            fine,
            Some(E::HeaderColonMissing),
        ),
        (
            "no header name",
            a.replace("Content", ":x\r\nContent") + "--b--\r\n",
            "a=1",
            fine,
            Some(E::HeaderNameMissing),
        ),
        (
            "space in a header name",
            a.replace("n:", "n :") + "--b--\r\n",
            "a=1",
            fine,
            Some(E::HeaderCharacter),
        ),
        (
            "zero",
            a.replace("name", "\0name") + "--b--\r\n",
            "=1",
            Flags { invalid_part: true, ..fine },
            Some(E::HeaderNul),
        ),
        (
            "two dispositions",
            a.replace("\r\n\r\n", "\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n") + "--b--\r\n",
            "a=1",
            fine,
            Some(E::HeaderTwice),
        ),
        (
            "space behind a boundary",
            format!("{a}--b \r\n\r\n--b--\r\n"),
            "a=1 =",
            Flags { invalid_part: true, ..fine },
            Some(E::DelimiterWhitespace),
        ),
        (
            "space before a boundary",
            format!("{a}-- b\r\nx\r\n--b--\r\n"),
            "a=1\\r\\n-- b\\r\\nx",
            fine,
            Some(E::DelimiterWhitespace),
        ),
        (
            "boundary goes on",
            format!("{a}--bc\r\n--b--\r\n"),
            "a=1\\r\\n--bc",
            fine,
            Some(E::DelimiterGoesOn),
        ),
        ("other end", format!("{a}--b-\r\n--b--\r\n"), "a=1\\r\\n--b-", fine, Some(E::DelimiterGoesOn)),
        ("no end", a.into(), "a=1\\r\\n", Flags::default(), Some(E::FinalDelimiterMissing)),
        ("no end of the second", format!("{a}{a}"), "a=1 a=1\\r\\n", fine, Some(E::FinalDelimiterMissing)),
        (
            "unmatched",
            format!("{a}--c\r\n"),
            "a=1\\r\\n--c\\r\\n",
            Flags { unmatched_boundary: Unmatched, ..fine },
            Some(E::FinalDelimiterMissing),
        ),
        (
            "cut in a header",
            "--b\r\nContent-Disp".into(),
            "",
            Flags { invalid_part: true, unmatched_boundary: No, ..fine },
            Some(E::FinalDelimiterMissing),
        ),
        (
            "no boundary",
            "a=1".into(),
            "",
            Flags { data_before: true, ..Flags::default() },
            Some(E::NoDelimiter),
        ),
        (
            "only another boundary",
            a.replace("--b", "--c"),
            "",
            Flags { data_before: true, unmatched_boundary: Unmatched, ..fine },
            Some(E::NoDelimiter),
        ),
    ] {
        let (parts, outcome) = read(&body);
        assert_eq!(shown(&parts), want, "{name}");
        assert_eq!((outcome.flags, outcome.error), (flags, error), "{name}");
        let is_fine = flags == fine || flags == Flags::default() || flags.unmatched_boundary == Unmatched;
        assert_eq!(outcome.strict_error(), !is_fine || error.is_some(), "{name}");
    }
}

#[test]
fn header_lines_come_as_they_stand() {
    let body = "--b\r\n\x0eContent-Disposition: form-data; name=\"x\"\r\nX:y\r\n  z \r\n\
        content-disposition:form-data; name=\"a\"\r\nContent-Transfer-Encoding: 8bit\r\nno colon\r\n\r\n1\r\n--b--\r\n";
    let (parts, outcome) = read(body);
    assert_eq!(shown(&parts), "a=1");
    assert_eq!(
        parts[0].headers,
        [
            "\u{e}Content-Disposition: form-data; name=\"x\"",
            "X:y z ",
            "content-disposition:form-data; name=\"a\"",
            "Content-Transfer-Encoding: 8bit",
        ]
    );
    assert_eq!(outcome.error, Some(MultipartError::HeaderCharacter));
}

#[test]
fn content_types_are_told_of() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--\"b\r\n--b--\r\n";
    for (content_type, fields, is_quoted, error) in [
        ("multipart/form-data; boundary=b", 1, false, None),
        ("multipart/form-data; boundary=\"b\"", 1, true, Some(MultipartError::DelimiterQuoted)),
        ("multipart/form-data; charset=x; boundary=b", 1, false, None),
        ("multipart/form-data; x; boundary=b", 1, false, Some(MultipartError::OtherParameters)),
        ("multipart/form-data", 0, false, Some(MultipartError::BoundaryMissing)),
        ("multipart/mixed; boundary=b", 0, false, Some(MultipartError::MediaType)),
    ] {
        let (parts, outcome) = read_as(content_type, body.as_bytes(), &Limits::default());
        assert_eq!((parts.len(), outcome.fields, outcome.error), (fields, fields, error), "{content_type}");
        assert_eq!(outcome.flags.boundary_quoted, is_quoted, "{content_type}");
    }
}

#[test]
fn what_is_past_the_limits_is_told_of() {
    let limits = Limits {
        arguments_max: 2,
        files_max: 1,
        part_headers_max: 2,
        part_header_bytes_max: 60,
        ..Limits::default()
    };
    let field = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    let file = field.replace("name", "filename=\"x\"; name");
    let two = |part: &str| format!("{part}{part}");
    for (name, body, want, error) in [
        ("fields", two(field), "a=1 a=1", None),
        ("too many fields", two(field) + field, "a=1 a=1", Some(MultipartError::TooManyFields)),
        ("files", file.clone(), "a<x=1", None),
        ("too many files", two(&file), "a<x=1", None),
        ("headers", field.replace("Content", "A:\r\nContent"), "a=1", None),
        ("late disposition", field.replace("Content", "A:\r\nB:\r\nContent"), "a=1", None),
        (
            "too many headers",
            field.replace("Content", "A:\r\nB:\r\nC:\r\nContent"),
            "a=1",
            Some(MultipartError::TooManyHeaders),
        ),
        (
            "long header",
            field.replace("Content", &format!("A: {}\r\nContent", "x".repeat(60))),
            "a=1",
            Some(MultipartError::HeaderTooLong),
        ),
    ] {
        let body = body + "--b--\r\n";
        let (parts, outcome) = read_as("multipart/form-data; boundary=b", body.as_bytes(), &limits);
        assert_eq!((shown(&parts).as_str(), outcome.error), (want, error), "{name}");
        assert_eq!(outcome.flags.file_limit_exceeded, name == "too many files", "{name}");
        assert_eq!(outcome.strict_error(), error.is_some() || name == "too many files", "{name}");
    }
    assert_eq!(read_as("multipart/form-data; boundary=b", two(&file).as_bytes(), &limits).1.files_bytes, 4);
}

#[test]
fn bombs_cost_no_more_than_other_bodies() {
    let dashes = "-".repeat(70);
    for boundary in ["b", "--", "- b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", &dashes] {
        for bomb in [
            "\n",
            "-",
            "--b\r\n",
            "\n--b",
            "\r\n--bx",
            "x:\r\n",
            "\t",
            "a",
            "--b\r\n\r\n",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n",
            "-- ",
            " b",
            "\" b",
            "Content-Disposition: form-data; name=\"",
            "\\\"",
            "; name=a",
        ] {
            let body = format!("--{boundary}\r\nContent-Disposition: {}", bomb.repeat(300_000 / bomb.len()));
            for content_type in [
                format!("multipart/form-data; boundary={boundary}"),
                format!("multipart/form-data; boundary=\"{boundary}\""),
            ] {
                read_as(&content_type, body.as_bytes(), &Limits::default());
                read_as(&content_type, bomb.repeat(300_000 / bomb.len()).as_bytes(), &Limits::default());
            }
        }
    }
}

/// With a body of this size, going back over all that stands before at each hit would not end.
#[test]
fn space_before_a_boundary_is_looked_at_once() {
    let body = format!("-- \r\n{}b -- b", " ".repeat(4_000_000));
    for text in [&b" "[..], b"\t", b"b"] {
        let boundary = Boundary { text: text.to_vec(), ..Boundary::default() };
        let mut outcome = Outcome::default();
        Reading {
            body: body.as_bytes(),
            is_cut: false,
            limits: &Limits::default(),
            boundary: &boundary,
            finder: Finder::new(b"\n--"),
            visitor: |_: &Part<'_>| {},
            headers: Headers::default(),
            has_crlf_line: false,
            outcome: &mut outcome,
        }
        .disguised(body.len());
        let is_in = text != b"\t";
        assert_eq!(outcome.error, is_in.then_some(MultipartError::DelimiterWhitespace));
    }
    let (parts, outcome) =
        read_as("multipart/form-data; boundary=\" \"", body.as_bytes(), &Limits::default());
    assert_eq!((parts.len(), outcome.error), (0, Some(MultipartError::BoundaryEndsInSpace)));
    assert!(outcome.strict_error());
}

/// Cut at any place, a form that is as it should be has no error, and what is wrong before the cut is told all the same.
#[test]
fn a_cut_hides_only_what_it_causes() {
    let a = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n";
    let file = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n2\r\n";
    let kind = b"multipart/form-data; boundary=b";
    let whole = format!("{a}{file}{a}--b--\r\n");
    for end in 1..whole.len() {
        let body = &whole.as_bytes()[..end];
        let outcome = visit_beginning(kind, (body, true), &Limits::default(), |_| {});
        assert_eq!((outcome.error, outcome.strict_error()), (None, false), "{}", body.escape_ascii());
        assert_ne!(outcome.flags.unmatched_boundary, UnmatchedBoundary::Unmatched);
        // Whole, it would lack its end, but for the last line's.
        let is_whole = end + 2 >= whole.len();
        assert_eq!(visit(kind, body, &Limits::default(), |_| {}).error.is_none(), is_whole);
    }
    let padding = "y".repeat(1_000);
    for (name, start) in [
        ("before", format!("x\r\n{a}")),
        ("no boundary", "x\r\n".to_owned()),
        ("LF", a.replace('\r', "")),
        ("folded", a.replace("; name", ";\r\n\t name")),
        ("quotes", a.replace('"', "'")),
        ("no value", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n--b\r\n\r\n".to_owned()),
        ("no colon", a.replace("Content", "x\r\nContent")),
        ("space before", format!("{a}-- b\r\n")),
        ("goes on", format!("{a}--bc\r\n")),
        ("no name", a.replace("name", "nom")),
    ] {
        let body = format!("{start}{padding}");
        let outcome = visit_beginning(kind, (body.as_bytes(), true), &Limits::default(), |_| {});
        assert!(outcome.strict_error(), "{name}");
    }
}

/// A part that only some backends take for a file is a field, too, and counts as both.
#[test]
fn an_extended_file_name_alone_makes_no_file_for_everybody() {
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"; filename*=UTF-8''x\r\n\r\n1\r\n--b--\r\n";
    for (name, body, is_file, is_field) in [
        ("extended", part.to_owned(), true, true),
        ("beside an empty one", part.replace("; file", "; filename=\"\"; file"), true, true),
        ("both", part.replace("; file", "; filename=\"y\"; file"), true, false),
        ("empty", part.replace("''x", "''"), false, true),
    ] {
        let mut found = Vec::new();
        let kind = b"multipart/form-data; boundary=b";
        let outcome = visit(kind, body.as_bytes(), &Limits::default(), |part| {
            found.push((part.is_file(), part.is_field()));
        });
        assert_eq!(found, [(is_file, is_field)], "{name}");
        assert_eq!((outcome.files, outcome.fields), (is_file.into(), is_field.into()), "{name}");
    }
}

proptest! {
    #[test]
    fn what_was_written_comes_back(
        parts in prop::collection::vec(("[^\r\n\0]{1,9}", prop::option::of("[^\r\n\0]{1,9}"), any::<Vec<u8>>()), 1..6),
        boundary in "[a-z'()+_,./:=?-]{1,9}[0-9]{9}",
    ) {
        let delimiter = format!("--{boundary}");
        let is_in = |value: &[u8]| value.windows(delimiter.len()).any(|window| window == delimiter.as_bytes());
        prop_assume!(!parts.iter().any(|(_, _, value)| is_in(value)));
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut body = Vec::new();
        let mut want = Vec::new();
        for (name, filename, value) in parts {
            let mut header = format!("Content-Disposition: form-data; name=\"{}\"", escape(&name));
            if let Some(filename) = &filename {
                write!(header, "; filename=\"{}\"", escape(filename)).unwrap();
            }
            body.extend_from_slice(format!("{delimiter}\r\n{header}\r\n\r\n").as_bytes());
            body.extend_from_slice(&value);
            body.extend_from_slice(b"\r\n");
            want.push(Read { name, filename, headers: vec![header], value });
        }
        body.extend_from_slice(format!("{delimiter}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let (found, outcome) = read_as(&content_type, &body, &Limits::default());
        prop_assert_eq!(outcome.error, None);
        prop_assert!(!outcome.strict_error());
        prop_assert_eq!(outcome.files, want.iter().filter(|part| part.filename.is_some()).count());
        prop_assert_eq!(found, want);
    }

    #[test]
    fn any_body_comes_to_an_end(
        body in "(--b|--|-|b|\r\n|\n|\r| |\"|:|;|=|Content-Disposition: form-data; |name=|filename=|a|\0){0,40}",
        arguments_max in 0..3usize,
        files_max in 0..3usize,
    ) {
        let limits = Limits { arguments_max, files_max, ..Limits::default() };
        for content_type in ["multipart/form-data; boundary=b", "multipart/form-data; boundary=\"b\""] {
            let (parts, outcome) = read_as(content_type, body.as_bytes(), &limits);
            prop_assert_eq!(parts.len(), outcome.fields + outcome.files.min(files_max));
            prop_assert!(parts.iter().map(|part| part.value.len()).sum::<usize>() <= body.len());
        }
    }
}
