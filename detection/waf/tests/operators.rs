// SPDX-License-Identifier: Apache-2.0
//! Operators against the cases that others wrote, and against the expressions of the Core Rule Set.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sunbeam_waf::byte_set::ByteSet;
use sunbeam_waf::operators::rx::Expression;
use sunbeam_waf::operators::{Captures, Needs, Operator as _, Resources, find};

/// A folder of what others wrote, which is not part of the repository: `SUNBEAM_SHARED` names where it is. Without it
/// the test says that it is skipped; with it the folder must be there.
fn shared(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("SUNBEAM_SHARED") else {
        say(&format!("skipped: SUNBEAM_SHARED is not set, so there is no `{name}`"));
        return None;
    };
    let path = Path::new(&folder).join(name);
    assert!(path.is_dir(), "`{}` is missing", path.display());
    Some(path)
}

fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

struct Folder(PathBuf);

impl Resources for Folder {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(name)).map_err(|error| format!("`{name}`: {error}"))
    }
}

/// The one case that is refused at load.
const REFUSED: (&str, &str) = ("ipMatch", "10.0.0.0/100");

/// Operators of which there are cases and that are not known, and why.
const NOT_KNOWN: &[(&str, usize)] = &[
    // Schemas of XML and JSON would need a validator of their own; no rule of the Core Rule Set asks for one.
    ("validateSchema", 5),
];

#[test]
fn every_case_holds_as_it_says() {
    let Some(folder) = shared("conformance/seclang-vectors/operators") else { return };
    let resources = Folder(folder.join("op"));
    let mut counts = BTreeMap::new();
    let mut not_known = BTreeMap::new();
    let mut failures = Vec::new();
    for case in cases(&folder) {
        let text = |key: &str| case.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").to_owned();
        let Some(kind) = find(&name) else {
            *not_known.entry(name).or_insert(0_usize) += 1;
            continue;
        };
        let operator = match (kind.compile)(text("param"), &resources) {
            Ok(operator) => operator,
            // An operator that can never hold is a mistake of whoever wrote the rule, and said at once.
            Err(why) => {
                assert_eq!((name.as_str(), text("param")), REFUSED, "{why}");
                continue;
            }
        };
        *counts.entry(name).or_insert(0_usize) += 1;
        let want = case.get("ret").and_then(Value::as_i64) == Some(1);
        let input = unescaped(text("input"));
        let mut captures = Captures::default();
        let is_right = operator.holds(&input, None) == want
            && operator.holds(&input, Some(&mut captures)) == want
            && (want || captures.0.is_empty())
            && are_groups_right(&case, &input, &captures);
        if !is_right {
            failures.push(case.clone());
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(not_known.iter().map(|(name, count)| (name.as_str(), *count)).collect::<Vec<_>>(), NOT_KNOWN);
    say(&format!("{} cases of {} operators hold: {counts:?}", counts.values().sum::<usize>(), counts.len()));
    assert_eq!(counts.values().sum::<usize>(), 3_928);
}

fn cases(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    files
        .flat_map(|path| serde_json::from_slice::<Vec<Value>>(&std::fs::read(path).unwrap()).unwrap())
        .collect()
}

/// Some cases write bytes as `\xe4`, and zero as `\u0000`.
fn unescaped(text: &str) -> Vec<u8> {
    if !text.contains(r"\x") {
        return text.as_bytes().to_vec();
    }
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let escaped = |prefix: &str, digits: usize| {
            let text = rest.strip_prefix(prefix)?.get(..digits)?;
            Some((u8::from_str_radix(text, 16).ok()?, prefix.len() + digits))
        };
        let (byte, length) = escaped(r"\x", 2).or_else(|| escaped(r"\u00", 2)).unwrap_or_else(|| {
            assert!(next.is_ascii());
            (rest.as_bytes()[0], 1)
        });
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

fn are_groups_right(case: &Value, input: &[u8], captures: &Captures) -> bool {
    let Some(groups) = case.get("re_groups").and_then(Value::as_array) else { return true };
    let found =
        captures.0.iter().map(|range| range.clone().and_then(|range| input.get(range)).unwrap_or_default());
    found.eq(groups.iter().map(|group| group.as_str().unwrap().as_bytes()))
}

/// The expressions of a folder of rules, with the name of the file of each.
fn expressions(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap().replace("\\\n", "");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in text.lines().map(str::trim_start).filter(|line| line.starts_with("SecRule ")) {
            let begin = [" \"@rx ", " \"!@rx "].iter().find_map(|begin| Some(line.split_once(begin)?.1));
            if let Some(rest) = begin {
                found.push((name.clone(), quoted(rest)));
            }
        }
    }
    found
}

/// What stands before the closing quote.
fn quoted(text: &str) -> String {
    let mut inner = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => match rest.next() {
                Some('"') => inner.push('"'),
                other => inner.extend(std::iter::once('\\').chain(other)),
            },
            other => inner.push(other),
        }
    }
    inner
}

#[test]
fn every_expression_of_the_core_rule_set_compiles() {
    let Some(folder) = shared("conformance/crs-4.28.0/rules") else { return };
    let expressions = expressions(&folder);
    assert_eq!(expressions.len(), 318);
    for (name, text) in &expressions {
        drop(Expression::new(text).unwrap_or_else(|error| panic!("{name}: {error}: {text}")));
    }
}

/// What the suite's tests send: every value of every line of theirs, as it stands there.
fn payloads(folder: &Path, payloads: &mut BTreeMap<String, Vec<String>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            self::payloads(&entry, payloads);
            continue;
        }
        let family = entry.file_name().unwrap().to_string_lossy().chars().take(3).collect::<String>();
        let lines = payloads.entry(family).or_default();
        for line in std::fs::read_to_string(&entry).unwrap().lines() {
            let value = line.split_once(": ").map_or(line, |(_, value)| value).trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            lines.push(value.to_owned());
            let decoded = decoded(value);
            if decoded != value {
                lines.push(decoded);
            }
        }
    }
}

/// Without `%41`, `+` and `\"`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let hex = rest.strip_prefix('%').and_then(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
        let length = match hex {
            Some(byte) => {
                bytes.push(byte);
                3
            }
            None => {
                bytes.extend(if next == '+' { ' ' } else { next }.to_string().bytes());
                next.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    String::from_utf8_lossy(&bytes).replace("\\\"", "\"")
}

fn hold(needs: &Needs, text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let present = ByteSet::present(text);
    let stands = |literal: &Vec<u8>| lower.windows(literal.len()).any(|window| window == literal.as_slice());
    (needs.any_of.is_empty() || needs.any_of.iter().any(stands))
        && needs.bytes.iter().all(|set| set.meets(&present))
}

/// Whatever an expression finds something in has what it needs. Here: each expression on the tests of its own family;
/// with `SUNBEAM_ALL_PAYLOADS` on those of all.
#[test]
fn what_the_suite_sends_has_what_expressions_need() {
    let Some(folder) = shared("conformance/crs-4.28.0") else { return };
    let mut sent = BTreeMap::new();
    payloads(&folder.join("tests/regression/tests"), &mut sent);
    sent.values_mut().for_each(|lines| {
        lines.sort_unstable();
        lines.dedup();
    });
    let are_all = std::env::var_os("SUNBEAM_ALL_PAYLOADS").is_some();
    let (mut looked_at, mut matched, mut passed) = (0_usize, 0_usize, 0_usize);
    let mut shortest = BTreeMap::new();
    let mut with_bytes = 0;
    for (name, text) in expressions(&folder.join("rules")) {
        let expression = Expression::new(&text).unwrap();
        let needs = expression.needs();
        *shortest.entry(needs.any_of.iter().map(Vec::len).min().unwrap_or(0)).or_insert(0_usize) += 1;
        with_bytes += usize::from(!needs.bytes.is_empty());
        let family = name.split('-').nth(1).unwrap_or_default();
        for line in
            sent.iter().filter(|(of, _)| are_all || of.as_str() == family).flat_map(|(_, lines)| lines)
        {
            let (is_match, may_match) = (expression.is_match(line.as_bytes()), hold(&needs, line.as_bytes()));
            assert!(may_match || !is_match, "{name}: {line:?} {needs:?}\n{text}");
            looked_at += 1;
            matched += usize::from(is_match);
            passed += usize::from(may_match);
        }
    }
    say(&format!(
        "{looked_at} looked at, {matched} match, {passed} have what is needed; \
         expressions by length of their shortest literal: {shortest:?}; with sets of bytes: {with_bytes}"
    ));
    assert!(matched > 1_000);
}

/// Expressions without groups, in values too long for the machines that are asked first.
#[test]
fn a_long_value_is_captured_without_groups() {
    let value = [b"x".repeat(20_000), b"z".to_vec()].concat();
    for expression in ["[a-y]{3000}z", "(?:[a-y]{3000})z|q", "([a-y]{3000})z"] {
        let mut captures = Captures::default();
        assert!(Expression::new(expression).unwrap().holds(&value, Some(&mut captures)), "{expression}");
        assert_eq!(captures.0[0], Some(17_000..20_001), "{expression}");
    }
}
