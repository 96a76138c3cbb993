// SPDX-License-Identifier: Apache-2.0
//! The project's own rules: what they stop, what they let pass, and what each switch takes away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::engine::{Ends, RequestHead, Transaction};
use sunbeam_waf::rules::{RuleOptions, load};

/// Attacks of one class and innocent requests that look a little like them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    /// The tag of the rules that must find them.
    class: String,
    attacks: Vec<Case>,
    innocents: Vec<Case>,
}

/// A request, told by what is not as usual about it.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    name: String,
    path: Option<String>,
    /// As it is sent.
    query: Option<String>,
    header: Option<(String, String)>,
    /// A form, in which only `&`, `=`, `%` and `+` must be escaped.
    form: Option<String>,
    json: Option<String>,
    xml: Option<String>,
    /// XML in two bytes a letter.
    utf16: Option<String>,
    /// The field's name and the file's.
    multipart: Option<(String, String)>,
}

impl Case {
    fn body(&self) -> Option<(&'static str, Vec<u8>)> {
        let text = |text: &String| text.clone().into_bytes();
        let of = |kind, body: &Option<String>| body.as_ref().map(|body| (kind, text(body)));
        of("application/x-www-form-urlencoded", &self.form)
            .or_else(|| of("application/json", &self.json))
            .or_else(|| of("application/xml", &self.xml))
            .or_else(|| {
                let units = self.utf16.as_ref()?.encode_utf16();
                Some(("text/xml", [0xFF, 0xFE].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect()))
            })
            .or_else(|| {
                let (field, file) = self.multipart.as_ref()?;
                let head = format!("Content-Disposition: form-data; name=\"{field}\"; filename=\"{file}\"");
                let body = format!("--b\r\n{head}\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n");
                Some(("multipart/form-data; boundary=b", body.into_bytes()))
            })
    }
}

static CORPORA: LazyLock<Vec<Corpus>> = LazyLock::new(|| {
    [
        include_str!("corpus/sql-injection.toml"),
        include_str!("corpus/cross-site-scripting.toml"),
        include_str!("corpus/path-traversal.toml"),
        include_str!("corpus/command-injection.toml"),
        include_str!("corpus/ldap-injection.toml"),
        include_str!("corpus/template-injection.toml"),
        include_str!("corpus/xml-external-entities.toml"),
        include_str!("corpus/session-fixation.toml"),
        include_str!("corpus/protocol.toml"),
    ]
    .into_iter()
    .map(|text| toml::from_str(text).expect("a corpus"))
    .collect()
});

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| rules(&RuleOptions::default()));

fn rules(options: &RuleOptions) -> Arc<RuleSet> {
    Arc::new(load(options).unwrap_or_else(|errors| panic!("{}", errors[0])))
}

/// What came of a request.
struct Judged {
    is_stopped: bool,
    score: i64,
    /// The tags of the rules that found something, save the one that adds up.
    tags: BTreeSet<String>,
    ids: Vec<u64>,
}

fn judge(rules: &Arc<RuleSet>, case: &Case) -> Judged {
    judge_in(Transaction::new(Arc::clone(rules)), case)
}

fn judge_in(mut transaction: Transaction, case: &Case) -> Judged {
    let body = case.body();
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b"Host", b"shop.example.org")];
    if let Some((name, value)) = &case.header {
        headers.push((name.as_bytes(), value.as_bytes()));
    }
    if let Some((kind, _)) = &body {
        headers.push((b"Content-Type", kind.as_bytes()));
    }
    let mut target = case.path.clone().unwrap_or_else(|| "/shop".to_owned());
    if let Some(query) = &case.query {
        target = format!("{target}?{query}");
    }
    let [client, server] = [Ipv4Addr::new(203, 0, 113, 9), Ipv4Addr::new(192, 0, 2, 1)].map(IpAddr::V4);
    transaction.connection(&Ends { client, client_port: 40_000, server, server_port: 443 });
    transaction.request_head(&RequestHead {
        method: if body.is_some() { b"POST" } else { b"GET" },
        target: target.as_bytes(),
        protocol: b"HTTP/1.1",
        headers: &headers,
        id: "1",
    });
    transaction.request_body(body.as_ref().map_or(&b""[..], |(_, body)| body), false);
    let outcome = transaction.outcome();
    let rules = transaction.rules();
    let found = transaction.findings().iter().map(|finding| &rules.rules()[finding.rule as usize]);
    let found: Vec<_> = found.filter(|rule| rule.id != SCORE).collect();
    Judged {
        is_stopped: outcome.is_interrupted,
        score: outcome.score,
        tags: found.iter().flat_map(|rule| rule.tags.iter().map(ToString::to_string)).collect(),
        ids: found.iter().map(|rule| rule.id).collect(),
    }
}

const SCORE: u64 = 7_390_110;
const OWN: std::ops::Range<u64> = 7_310_000..7_400_000;

#[test]
fn they_load_and_say_what_they_are() {
    assert_eq!(RULES.warnings().map(|(span, text)| format!("{span:?} {text}")).collect::<Vec<_>>(), [""; 0]);
    let mut ids = BTreeSet::new();
    let classes: BTreeSet<&str> = CORPORA.iter().map(|corpus| corpus.class.as_str()).collect();
    for rule in RULES.rules().iter().filter(|rule| OWN.contains(&rule.id)) {
        assert!(ids.insert(rule.id), "{} is there twice", rule.id);
        if rule.logs && rule.id != SCORE {
            assert!(!format!("{:?}", rule.msg).is_empty(), "{}", rule.id);
            assert!(rule.severity.is_some(), "{}", rule.id);
            assert_eq!(rule.tags.len(), 1, "{}", rule.id);
            assert!(classes.contains(&*rule.tags[0]), "{}", rule.id);
        }
    }
}

#[test]
fn there_are_as_many_as_promised() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in RULES.rules().iter().filter(|rule| OWN.contains(&rule.id)) {
        for tag in &rule.tags {
            *counts.entry(tag).or_default() += 1;
        }
    }
    for (class, least) in [
        ("attack-sqli", 30),
        ("attack-xss", 35),
        ("attack-lfi", 21),
        ("attack-rce", 20),
        ("attack-ldap", 5),
        ("attack-xxe", 5),
        ("attack-fixation", 5),
        ("attack-injection-template", 5),
        ("attack-protocol", 5),
    ] {
        assert!(counts.get(class).is_some_and(|count| *count >= least), "{class}: {counts:?}");
    }
}

#[test]
fn attacks_are_stopped() {
    let mut missed = Vec::new();
    for corpus in &*CORPORA {
        assert!(corpus.attacks.len() >= 10, "{}", corpus.class);
        for case in &corpus.attacks {
            let judged = judge(&RULES, case);
            if !judged.is_stopped || !judged.tags.contains(&corpus.class) {
                missed.push(format!("{}: {}: {:?}", corpus.class, case.name, judged.ids));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn innocents_pass() {
    let mut stopped = Vec::new();
    for corpus in &*CORPORA {
        assert!(corpus.innocents.len() >= 10, "{}", corpus.class);
        for case in &corpus.innocents {
            let judged = judge(&RULES, case);
            if judged.is_stopped {
                stopped.push(format!("{}: {}: {:?}", corpus.class, case.name, judged.ids));
            }
        }
    }
    assert_eq!(stopped, [""; 0]);
}

#[test]
fn a_switch_takes_away_its_class_and_no_other() {
    for switched in &*CORPORA {
        let class: &'static str = switched.class.clone().leak();
        let reduced = rules(&RuleOptions { left_out: vec![class], ..RuleOptions::default() });
        let mut passed = 0;
        for corpus in &*CORPORA {
            for case in &corpus.attacks {
                let (with, without) = (judge(&RULES, case), judge(&reduced, case));
                let expected: BTreeSet<String> = with.tags.into_iter().filter(|tag| tag != class).collect();
                assert_eq!(without.tags, expected, "without {class}: {}: {}", corpus.class, case.name);
                assert_eq!(
                    without.is_stopped,
                    !expected.is_empty(),
                    "without {class}: {}: {}",
                    corpus.class,
                    case.name
                );
                passed += usize::from(!without.is_stopped);
            }
        }
        assert!(passed >= 2, "without {class} only {passed} attacks pass");
    }
}

#[test]
fn the_filter_changes_nothing() {
    for corpus in &*CORPORA {
        for case in corpus.attacks.iter().chain(&corpus.innocents) {
            let mut transaction = Transaction::new(Arc::clone(&RULES));
            transaction.without_filter();
            let (with, without) = (judge(&RULES, case), judge_in(transaction, case));
            assert_eq!(with.ids, without.ids, "{}: {}", corpus.class, case.name);
            assert_eq!(with.score, without.score, "{}: {}", corpus.class, case.name);
        }
    }
}

#[test]
fn a_second_level_sees_more() {
    let strict = rules(&RuleOptions { paranoia_level: 2, ..RuleOptions::default() });
    let case = Case { query: Some("q=%3Cb%3Ehello%3C/b%3E".to_owned()), ..Case::default() };
    assert!(!judge(&RULES, &case).is_stopped);
    assert!(judge(&strict, &case).is_stopped);
}

#[test]
fn the_threshold_decides() {
    let case = Case { query: Some("q=%3Cscript%3E".to_owned()), ..Case::default() };
    let score = judge(&RULES, &case).score;
    assert!(score >= 5);
    let above = u32::try_from(score).unwrap() + 1;
    let lenient = rules(&RuleOptions { inbound_threshold: above, ..RuleOptions::default() });
    assert!(!judge(&lenient, &case).is_stopped);
}

#[test]
fn a_body_without_a_known_kind_is_read() {
    let mut transaction = Transaction::new(Arc::clone(&RULES));
    for (kind, want) in [(Some("text/plain"), true), (None, true), (Some("image/png"), false)] {
        transaction.begin(&RULES);
        let kind = kind.map(|kind| (&b"Content-Type"[..], kind.as_bytes()));
        let headers: Vec<(&[u8], &[u8])> = kind.into_iter().collect();
        let (method, target, protocol) = (&b"POST"[..], &b"/"[..], &b"HTTP/1.1"[..]);
        transaction.request_head(&RequestHead { method, target, protocol, headers: &headers, id: "1" });
        transaction.request_body(b"{\"q\": \"<script>alert(1)</script>\"}", false);
        assert_eq!(transaction.outcome().is_interrupted, want, "{headers:?}");
    }
}

#[test]
fn what_is_found_in_texts_is_told_apart_from_how_a_request_is_sent() {
    let mut transaction = Transaction::new(Arc::clone(&RULES));
    for (name, method, target, agent, body, want) in [
        ("nothing", "GET", "/shop?q=shoes", "Mozilla/5.0", "", (false, false)),
        ("an argument", "GET", "/shop?q=<script>alert(1)</script>", "Mozilla/5.0", "", (true, true)),
        ("a body", "POST", "/shop", "Mozilla/5.0", "q=<script>alert(1)</script>", (true, true)),
        ("a path", "GET", "/shop/../../etc/passwd", "Mozilla/5.0", "", (true, true)),
        ("a header", "GET", "/shop?q=shoes", "sqlmap/1.8", "", (true, false)),
        ("a method", "TRACE", "/shop?q=shoes", "Mozilla/5.0", "", (true, false)),
    ] {
        transaction.begin(&RULES);
        let headers: [(&[u8], &[u8]); 3] = [
            (b"Host", b"shop.example.org"),
            (b"User-Agent", agent.as_bytes()),
            (b"Content-Type", b"application/x-www-form-urlencoded"),
        ];
        let (method, target, protocol) = (method.as_bytes(), target.as_bytes(), &b"HTTP/1.1"[..]);
        transaction.request_head(&RequestHead { method, target, protocol, headers: &headers, id: "1" });
        transaction.request_body(body.as_bytes(), false);
        assert_eq!((transaction.outcome().score > 0, transaction.finds_in_texts()), want, "{name}");
    }
}

#[test]
fn forms_in_encodings_that_nobody_reads_are_refused() {
    let form = "application/x-www-form-urlencoded";
    let part = |headers: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n{headers}\r\n1\r\n--b--\r\n")
    };
    let multipart = "multipart/form-data; boundary=b".to_owned();
    let plain = format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n{}", part(""));
    let charset = part("").replace("\"a\"", "\"_charset_\"");
    for (name, kind, body, rule) in [
        ("none", form.to_owned(), "a=1".to_owned(), None),
        ("UTF-8", format!("{form}; charset=UTF-8"), "a=1".to_owned(), None),
        ("in quotes", format!("{form};charset=\"utf-8\""), "a=1".to_owned(), None),
        ("Latin", format!("{form}; charset=iso-8859-1"), "a=1".to_owned(), None),
        ("EBCDIC", format!("{form}; charset=ibm037"), "a=1".to_owned(), Some(7_380_200)),
        ("with blanks", format!("{form}; Charset = \"IBM037\""), "a=1".to_owned(), Some(7_380_200)),
        ("the second", format!("{form}; charset=utf-8; charset=ibm037"), "a=1".to_owned(), Some(7_380_200)),
        ("begins well", format!("{form}; charset=utf-8x"), "a=1".to_owned(), Some(7_380_200)),
        ("UTF-16", format!("{form}; charset=utf-16"), "a=1".to_owned(), Some(7_380_200)),
        ("no form", "text/plain; charset=koi8-r".to_owned(), "a=1".to_owned(), None),
        ("parts", multipart.clone(), plain, None),
        ("part in UTF-8", multipart.clone(), part("Content-Type: text/plain; charset=utf-8\r\n"), None),
        (
            "part in EBCDIC",
            multipart.clone(),
            part("Content-Type: text/plain; charset=ibm037\r\n"),
            Some(7_380_210),
        ),
        (
            "the first of two",
            multipart.clone(),
            part("Content-Type: text/plain; charset=utf-7\r\n").replace("--b--\r\n", "")
                + &part("Content-Type: text/plain; charset=utf-8\r\n"),
            Some(7_380_210),
        ),
        ("of all parts", multipart.clone(), charset.replace('1', "utf-7"), Some(7_380_220)),
        ("of all parts, UTF-8", multipart.clone(), charset.replace('1', "UTF-8"), None),
        ("as it is", multipart.clone(), part("Content-Transfer-Encoding: 8BIT\r\n"), None),
        ("binary", multipart.clone(), part("content-transfer-encoding:binary \r\n"), None),
        ("base64", multipart.clone(), part("Content-Transfer-Encoding: base64\r\n"), Some(7_380_230)),
        ("quoted", multipart, part("Content-Transfer-Encoding:\tQuoted-Printable\r\n"), Some(7_380_230)),
    ] {
        let mut transaction = Transaction::new(Arc::clone(&RULES));
        let headers: [(&[u8], &[u8]); 2] =
            [(b"Host", b"shop.example.org"), (b"Content-Type", kind.as_bytes())];
        let (method, target, protocol) = (&b"POST"[..], &b"/"[..], &b"HTTP/1.1"[..]);
        transaction.request_head(&RequestHead { method, target, protocol, headers: &headers, id: "1" });
        let interruption = transaction.request_body(body.as_bytes(), false).cloned();
        let found = interruption.map(|interruption| RULES.rules()[interruption.rule as usize].id);
        assert_eq!(found, rule, "{name}");
    }
}

#[test]
fn a_rule_without_a_number_is_refused() {
    let refused = |text: &str| {
        let options = RuleOptions { before: text.to_owned(), ..RuleOptions::default() };
        load(&options).err().map(|errors| errors[0].to_string()).unwrap_or_default()
    };
    let chained = "SecRule ARGS \"@rx a\" \"id:5,pass,chain\"\nSecRule ARGS \"@rx b\" \"t:none\"";
    assert_eq!(refused(chained), "");
    for text in
        ["SecRule ARGS \"@rx a\" \"pass\"", "SecAction \"pass\"", "SecAction \"id:0,pass\"", "SecRule ARGS a"]
    {
        let error = refused(text);
        // Line 1 is what the configuration says.
        assert!(error.starts_with("builtin:configuration.conf:2: "), "{text}: {error}");
    }
}

/// All files on disk are known, data as well as rules, wherever they are; a folder's name is no pattern.
#[test]
fn files_that_were_read_are_told() {
    let folder = std::env::temp_dir().join(format!("sunbeam-waf-read-{}", std::process::id()));
    let [rules_dir, elsewhere] = ["rules[1]", "elsewhere"].map(|name| folder.join(name));
    for folder in [&rules_dir, &elsewhere] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let [words, more, conf] =
        [elsewhere.join("words.data"), rules_dir.join("more.inc"), rules_dir.join("a.conf")];
    std::fs::write(&words, "badword\n").unwrap();
    let rule = "SecRule ARGS \"@pmFromFile ../elsewhere/words.data\" \"id:1,phase:2,deny\"\n";
    std::fs::write(&more, rule).unwrap();
    std::fs::write(&conf, "Include more.inc\n").unwrap();
    let rules = rules(&RuleOptions { rules_dir: Some(rules_dir.clone()), ..RuleOptions::default() });
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(rules.rules().iter().any(|rule| rule.id == 1));
    let words = rules_dir.join("../elsewhere/words.data");
    assert_eq!(rules.files(), [words, conf, more]);
}
