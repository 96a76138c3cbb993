// SPDX-License-Identifier: Apache-2.0
//! Files by path, with ranges and conditions: nothing outside of the root is opened, what a guard protects is
//! not opened under another name, and what is sent is what the answer's head says, of the file's own bytes.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::first_line;
use sunbeam_routing::{match_prefix, normalise};
use sunbeam_static_files::{FileBody, Lookup, StaticRoot};

/// Path below the served directory (or beside it), and what the file holds. No content is part of another.
const FILES: &[(&str, &str)] = &[
    ("www/index.html", "<the root's page>"),
    ("www/page.html", "<a page, 0123456789 0123456789>"),
    ("www/page.html.gz", "<compressed, it is not>"),
    ("www/public/a.txt", "<public>"),
    ("www/admin/secret.txt", "<guarded one>"),
    ("www/admin/index.html", "<guarded two>"),
    ("www/.env", "<hidden>"),
    ("www/.well-known/token", "<well-known>"),
    ("www/100%/a b.txt", "<odd name>"),
    ("outside.txt", "<outside>"),
];

/// Where the files lie: in the crate's own `target`, made once.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/files");

static ROOT: LazyLock<StaticRoot> = LazyLock::new(|| {
    let folder = PathBuf::from(FOLDER);
    for (path, content) in FILES {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        // Another run may be reading it.
        if !fs::read(&path).is_ok_and(|found| found == content.as_bytes()) {
            fs::write(path, content).expect("write a file");
        }
    }
    for (link, to) in [("www/public/link.txt", "../../outside.txt"), ("www/public/up", "../..")] {
        // There already, from the last run.
        drop(std::os::unix::fs::symlink(to, folder.join(link)));
    }
    StaticRoot::open(&folder.join("www"), None).expect("open the root")
});

fuzz_target!(|text: &str| {
    let (path, rest) = first_line(text);
    let headers = headers(rest);
    let Lookup::Found(file) = ROOT.find(path, ["gzip"]) else { return };
    let length = usize::try_from(file.size_bytes()).expect("small");
    let Ok(whole) = file.respond(&Method::GET, &HeaderMap::new()) else { return };
    let content = body(whole);
    assert_eq!(content.len(), length);
    let content = std::str::from_utf8(&content).expect("text");
    let (name, _) = FILES.iter().find(|(_, known)| *known == content).expect("a file that is not ours");
    let name = name.strip_prefix("www").expect("a file outside of the root was opened");
    assert!(!name.starts_with("/.env"), "a hidden file was opened");
    if name.starts_with("/admin/") {
        // The guard stands before the path as routes see it; a path that they refuse is never looked up.
        if let Ok(normal) = normalise(path) {
            assert!(match_prefix(&normal, "/admin").is_some(), "a way around the guard");
        }
    }
    let Lookup::Found(file) = ROOT.find(path, ["gzip"]) else { panic!("it was there") };
    let response = file.respond(&Method::GET, &headers).expect("readable");
    if let Some(wanted) = plain_range(&headers, content.len()) {
        let got =
            response.headers().get(header::CONTENT_RANGE).map(|range| range.to_str().expect("our own text"));
        assert_eq!(got, Some(wanted.as_str()), "another part than was asked for");
    }
    answer(response, content);
});

/// What `Content-Range` answers one plain range without conditions, by the book; `None` for other requests.
fn plain_range(headers: &HeaderMap, length: usize) -> Option<String> {
    let value = headers.get(header::RANGE).filter(|_| headers.len() == 1)?;
    let (first, last) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| digits.parse::<usize>().ok().filter(|_| !digits.starts_with('+'));
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(length - 1)),
        (Some(first), None) if last.is_empty() => (first, length - 1),
        (None, Some(count)) if first.is_empty() && count > 0 => (length.saturating_sub(count), length - 1),
        _ => return None,
    };
    Some(if first < length { format!("bytes {first}-{last}/{length}") } else { format!("bytes */{length}") })
}

fn answer(response: Response<FileBody>, content: &str) {
    let status = response.status();
    let named = |name: HeaderName| {
        response.headers().get(name).map(|value| value.to_str().expect("our own text").to_owned())
    };
    let (length, range) = (named(header::CONTENT_LENGTH), named(header::CONTENT_RANGE));
    let is_multipart =
        named(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/byteranges"));
    let sent = body(response);
    if let Some(length) = length {
        assert_eq!(sent.len(), length.parse::<usize>().expect("a number"));
    }
    match status {
        StatusCode::OK => assert_eq!(sent, content.as_bytes()),
        StatusCode::PARTIAL_CONTENT if is_multipart => {
            assert!(sent.len() <= content.len() + 8 * 300, "ranges multiply a file");
        }
        StatusCode::PARTIAL_CONTENT => {
            let range = range.expect("a single range says which");
            let (part, total) =
                range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).expect("form");
            let (first, last) = part.split_once('-').expect("form");
            let (first, last): (usize, usize) =
                (first.parse().expect("number"), last.parse().expect("number"));
            assert_eq!(total.parse(), Ok(content.len()));
            assert_eq!(sent, &content.as_bytes()[first..=last]);
        }
        StatusCode::RANGE_NOT_SATISFIABLE => assert_eq!(range, Some(format!("bytes */{}", content.len()))),
        StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED => assert!(sent.is_empty()),
        _ => panic!("status {status}"),
    }
}

/// Each line a field; those that are none are left out.
fn headers(text: &str) -> HeaderMap {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    };
    text.lines().filter_map(field).take(16).collect()
}

/// Small files are in memory when the answer is: nothing is ever awaited.
fn body(response: Response<FileBody>) -> Vec<u8> {
    let mut body = pin!(response.into_body());
    let mut sent = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(None) => return sent,
            Poll::Ready(Some(frame)) => {
                sent.extend(frame.expect("readable").into_data().expect("data"));
            }
            Poll::Pending => panic!("a small file is waited for"),
        }
    }
}
