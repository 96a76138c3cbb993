// SPDX-License-Identifier: Apache-2.0
//! The whole regression suite of the Core Rule Set 4.28.0: every stage becomes a request, and reading the request as a
//! server does gives back what the stage says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sunbeam_waf_suite::backend;
use sunbeam_waf_suite::expectation::{Outcome, Scope, Verdict, judge};
use sunbeam_waf_suite::format::{Input, Log, Output, Stage};
use sunbeam_waf_suite::load::{Case, Suite};
use sunbeam_waf_suite::overrides::Overrides;
use sunbeam_waf_suite::raw::RawRequest;
use sunbeam_waf_suite::request;

/// A file or folder of the regression suite. `SUNBEAM_SHARED` names the folder of what the project does not hold
/// itself. Without it a test says that it is skipped; with it everything must be there.
fn regression(name: &str) -> Option<PathBuf> {
    let name = format!("conformance/crs-4.28.0/tests/regression/{name}");
    let Some(folder) = std::env::var_os("SUNBEAM_SHARED") else {
        drop(writeln!(std::io::stderr(), "skipped: SUNBEAM_SHARED is not set, so there is no `{name}`"));
        return None;
    };
    let path = Path::new(&folder).join(name);
    assert!(path.exists(), "`{}` is missing", path.display());
    Some(path)
}

/// The suite, read once.
fn suite() -> Option<&'static Suite> {
    static SUITE: OnceLock<Option<Suite>> = OnceLock::new();
    SUITE.get_or_init(|| Some(load(&regression("tests")?))).as_ref()
}

fn load(path: &Path) -> Suite {
    Suite::load(path).unwrap_or_else(|error| panic!("{error}"))
}

fn stages(suite: &Suite) -> impl Iterator<Item = (&str, &Stage)> {
    suite.cases.iter().flat_map(|case| case.test.stages.iter().map(|stage| (case.title.as_str(), stage)))
}

#[test]
fn all_of_it_is_read_in_one_order() {
    let Some(suite) = suite() else { return };
    assert_eq!((suite.files, suite.cases.len(), suite.stages()), (322, 4966, 4972));
    let titles: Vec<_> = suite.cases.iter().map(|case| &case.title).collect();
    let (first, last) = (titles.first().unwrap().as_str(), titles.last().unwrap().as_str());
    assert_eq!((first, last), ("911100-1", "980170-3"));
    let distinct: BTreeSet<_> = titles.iter().collect();
    assert_eq!(distinct.len(), titles.len(), "a title stands twice");
    assert!(suite.cases.is_sorted_by_key(|case| &case.file));

    // The suite's one file of another name is read when it is named.
    let alone = regression("tests/REQUEST-999-COMMON-EXCEPTIONS-AFTER/999999.yml").unwrap();
    assert_eq!(load(&alone).cases.len(), 37);
}

#[test]
fn every_request_is_read_back_as_the_stage_says() {
    let Some(suite) = suite() else { return };
    let mut unlike = Vec::new();
    for (title, stage) in stages(suite) {
        let request = request::delivered(&stage.input).unwrap_or_else(|error| panic!("{title}: {error}"));
        for what in differences(&stage.input, &request) {
            unlike.push(format!("{title} {what}"));
        }
    }
    unlike.dedup();
    assert_eq!(unlike, UNLIKE);
}

/// What reading does not give back as it was written, and why.
const UNLIKE: &[&str] = &[
    // Blanks before the method are no part of it.
    "920100-2 method",
    "920100-12 method",
    // The length is no number, or is less than what is sent, or is not said at all.
    "920160-5 bytes left",
    "920160-5 body",
    "920170-4 bytes left",
    "920170-4 body",
    "920180-1 bytes left",
    "920180-1 body",
    // Chunks beside a length: the length is taken out, and the body comes without its frame.
    "920181-1 headers",
    "920181-1 body",
    // The length is less again.
    "920400-1 bytes left",
    "920640-5 bytes left",
    "920640-5 body",
    // Blanks around a value are no part of it.
    "920660-10 headers",
    "921110-6 bytes left",
    "921110-6 body",
    "932180-14 headers",
    "933110-32 headers",
    "933110-35 headers",
    "944140-11 headers",
];

fn differences(input: &Input, request: &RawRequest) -> Vec<&'static str> {
    // A whole request says nothing of itself to be held against.
    if input.encoded_request.is_some() {
        return Vec::new();
    }
    let words = [
        ("method", input.method.as_deref().unwrap_or("GET"), &request.method),
        ("uri", input.uri.as_deref().unwrap_or("/"), &request.uri),
        ("version", input.version.as_deref().unwrap_or("HTTP/1.1"), &request.version),
    ];
    let mut unlike: Vec<_> =
        words.iter().filter(|(_, want, got)| want.as_bytes() != *got).map(|(what, ..)| *what).collect();
    if !has_headers(input, request) {
        unlike.push("headers");
    }
    if !request.body_is_whole {
        unlike.push("body is short");
    }
    if request.bytes_left > 0 {
        unlike.push("bytes left");
    }
    let data = input.data.as_deref().unwrap_or_default();
    let is_form = request.header("Content-Type") == Some(b"application/x-www-form-urlencoded");
    let body = String::from_utf8_lossy(&request.body).replace("\r\n", "\n");
    let has_body = match data {
        data if data.contains("{{") => body.len() > data.len(),
        data if is_form && input.autocompletes() => decoded(&body) == decoded(data),
        data => body == data.replace("\r\n", "\n"),
    };
    if !has_body {
        unlike.push("body");
    }
    unlike
}

/// Whether the request has the stage's fields, sorted by name, and after them only those that are completed.
fn has_headers(input: &Input, request: &RawRequest) -> bool {
    let mut want = input.headers.clone().unwrap_or_default().0;
    want.sort();
    let got: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let want: Vec<(&[u8], &[u8])> =
        want.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let Some((own, added)) = got.split_at_checked(want.len()) else { return false };
    let is_completion = |(name, _): &(&[u8], &[u8])| {
        [&b"Content-Type"[..], b"Connection", b"Content-Length"].contains(name) && input.autocompletes()
    };
    own == want && added.iter().all(is_completion)
}

/// What a form's text means, as far as it can be decoded.
fn decoded(form: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = form.trim_end_matches('&').as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| *byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

/// Requests that a server answers by itself: every one for which a test expects a 400, and some more.
#[test]
fn a_server_refuses_what_the_suite_expects_it_to() {
    let Some(suite) = suite() else { return };
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (title, stage) in stages(suite) {
        let refusal = request::delivered(&stage.input).unwrap().refusal;
        assert!(refusal.is_some() || stage.output.status != Some(400), "{title}");
        if let Some(refusal) = refusal {
            let expected =
                if stage.output.status == Some(refusal.status()) { "expected" } else { "of our own" };
            refused.entry(format!("{expected}: {refusal:?}")).or_default().push(title);
        }
    }
    let refused: Vec<_> = refused.iter().map(|(why, titles)| format!("{why} {}", titles.join(" "))).collect();
    assert_eq!(refused, REFUSED);
}

const REFUSED: &[&str] = &[
    "expected: BareCr 921140-1",
    "expected: ContentLength 920160-1 920160-2 920160-3 920160-5",
    "expected: HostMalformed 920270-4 920274-1 920290-1",
    "expected: RequestLine 920100-2 920100-12 920100-15",
    "expected: Target 920100-5 920100-8 920100-11 920610-2",
    "expected: VersionMalformed 920100-13 920280-3 920430-3 920430-6 920430-7 920430-9 920430-10",
    "of our own: HostMalformed 920290-2",
    "of our own: Target 920100-7",
    "of our own: TwoFramings 920181-1",
    "of our own: VersionMissing 920430-5",
    "of our own: VersionUnsupported 920180-4 920430-4 920430-8",
];

#[test]
fn nearly_all_expectations_can_be_judged_without_a_server() {
    let Some(suite) = suite() else { return };
    let silent = Outcome::default();
    let logged = Outcome { log: Some(Vec::new()), ..Outcome::default() };
    let mut not_judged = (0, 0);
    for case in &suite.cases {
        let of = |outcome| {
            let verdicts = case.test.stages.iter().map(|stage| judge(&stage.output, outcome, Scope::Engine));
            verdicts.reduce(Verdict::and) == Some(Verdict::NotJudged)
        };
        not_judged.0 += usize::from(of(&silent));
        not_judged.1 += usize::from(of(&logged));
    }
    // 35 name no rule; 14 of them say something of the log.
    assert_eq!(not_judged, (35, 21));
}

#[test]
fn what_rules_log_decides() {
    let Some(suite) = suite() else { return };
    for (title, stage) in stages(suite) {
        let output = &stage.output;
        let right = Outcome {
            status: output.status.or(Some(200)),
            rules: output.log.expect_ids.clone(),
            error: output.expect_error.and_then(|expected| expected.then(|| "closed".to_owned())),
            ..Outcome::default()
        };
        let has_right = matches!(judge(output, &right, Scope::Wire), Verdict::Passed);
        assert_eq!(has_right, output.match_regex().is_none(), "{title}");
        let wrong =
            Outcome { status: Some(599), rules: output.log.no_expect_ids.clone(), ..Outcome::default() };
        let wants_silence = *output == Output { log: output.log.clone(), ..Output::default() }
            && output.log == Log { no_match_regex: output.log.no_match_regex.clone(), ..Log::default() };
        let verdict = judge(output, &wrong, Scope::Wire);
        assert_eq!(matches!(verdict, Verdict::Failed(_)), !wants_silence, "{title}: {verdict:?}");
        // Every expression compiles.
        let empty = Outcome {
            log: Some(vec![String::new()]),
            rules: output.log.expect_ids.clone(),
            ..Outcome::default()
        };
        if let Verdict::Failed(miss) = judge(output, &empty, Scope::Engine) {
            assert!(!miss.to_string().contains("not a regular expression"), "{title}: {miss}");
        }
    }
}

#[test]
fn the_backend_reflects_what_the_suite_asks_for() {
    let Some(suite) = suite() else { return };
    let (mut reflections, mut kinds) = (0, BTreeMap::new());
    for (title, stage) in stages(suite) {
        let request = request::delivered(&stage.input).unwrap();
        let answer = backend::answer(&request.method, &request.uri, &request.body);
        if !request.uri.starts_with(b"/reflect") {
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{title}");
            continue;
        }
        reflections += 1;
        for (name, value) in answer.headers {
            *kinds.entry(format!("{} {name}: {value}", answer.status)).or_insert(0) += 1;
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    assert_eq!((reflections, kinds.join(", ").as_str()), (87, KINDS));
}

/// The types of reflected bodies: all of them are looked at by the suite's configuration.
const KINDS: &str = "200 Content-Type: text/html; charset=utf-8 11, 200 Content-Type: text/plain; charset=utf-8 73, \
                     400 Content-Type: text/plain; charset=utf-8 1";

#[test]
fn the_overrides_of_three_platforms_are_read() {
    // Of what two of them mean, 934131-5 and 934131-7 are no longer there.
    for (name, overrides, meant) in [("nginx", 24, 62), ("coraza", 9, 8), ("httpd", 2, 2)] {
        let Some(path) = regression(&format!("{name}-overrides.yaml")) else { return };
        let (suite, read) = (suite().unwrap(), Overrides::load(&path).unwrap());
        assert_eq!(read.test_overrides.len(), overrides, "{name}");
        let is_meant = |case: &&Case| read.of(case.rule_id, case.test_id, 0).is_some();
        assert_eq!(suite.cases.iter().filter(is_meant).count(), meant, "{name}");
    }
}
