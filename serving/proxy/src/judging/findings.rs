// SPDX-License-Identifier: Apache-2.0
//! What rules found in a request, as it may be told: secrets in it are hidden as in the audit log.

use std::borrow::Cow;

use sunbeam_pipeline::{Category, Tally};
use sunbeam_traffic::{RULES_MAX, Redaction, RuleMatch};
use sunbeam_waf::engine::{Finding, Transaction};

/// Bytes that are told of a name or a message, which a client may have made as long as a whole body.
const TEXT_BYTES_MAX: usize = 256;

/// What stands in place of a secret.
const MASK: &str = "[redacted]";

/// Rules that matched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Their numbers, each once, in order; the first [`RULES_MAX`].
    pub(crate) rules: Vec<u64>,
    /// Where, and what; the first [`RULES_MAX`].
    pub(crate) matches: Vec<RuleMatch>,
    /// What kind of attack they speak of.
    pub(crate) category: Category,
}

impl Findings {
    /// What a transaction has found so far; `None`: nothing.
    pub(crate) fn of(
        transaction: &Transaction,
        redaction: &Redaction,
        session_cookies: &[String],
    ) -> Option<Box<Self>> {
        if transaction.findings().is_empty() {
            return None;
        }
        let (mut found, mut tally) = (Self::default(), Tally::default());
        for finding in transaction.findings() {
            let Some(rule) = transaction.rules().rules().get(finding.rule as usize) else { continue };
            tally.add(rule.tags.iter().map(AsRef::as_ref));
            if found.rules.len() < RULES_MAX && !found.rules.contains(&rule.id) {
                found.rules.push(rule.id);
            }
            if found.matches.len() < RULES_MAX {
                let (value, data) = shown(finding, redaction, session_cookies);
                // With its variables filled in it may quote what is hidden.
                let message = if data == MASK { rule.message() } else { cut(&finding.message).to_owned() };
                found.matches.push(RuleMatch {
                    rule: rule.id,
                    message,
                    target: cut(&finding.target).to_owned(),
                    value,
                    data,
                    at: format!("{}:{}", rule.span.file, rule.span.line),
                });
            }
        }
        found.category = tally.most();
        Some(Box::new(found))
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

/// Value and data, without secrets.
fn shown(finding: &Finding, redaction: &Redaction, session_cookies: &[String]) -> (String, String) {
    let value = String::from_utf8_lossy(&finding.value);
    let (variable, name) = finding.target.split_once(':').unwrap_or((&finding.target, ""));
    // `MATCHED_VARS:ARGS:name`
    let (variable, name) = match variable {
        "MATCHED_VAR" | "MATCHED_VARS" => name.split_once(':').unwrap_or((name, "")),
        _ => (variable, name),
    };
    if is_secret(variable, name, redaction, session_cookies) {
        return (MASK.to_owned(), MASK.to_owned());
    }
    let shown = match variable {
        "REQUEST_URI" | "REQUEST_URI_RAW" | "REQUEST_LINE" => in_query(redaction, &value),
        "QUERY_STRING" | "REQUEST_BODY" | "FULL_REQUEST" => redaction.query(&value),
        "REQUEST_HEADERS" if name.eq_ignore_ascii_case("referer") => redaction.url(&value),
        _ => Cow::Borrowed(&*value),
    };
    // What is around a secret may hold a piece of it.
    let data = if shown == value { finding.data.clone() } else { MASK.to_owned() };
    (shown.into_owned(), data)
}

fn is_secret(variable: &str, name: &str, redaction: &Redaction, session_cookies: &[String]) -> bool {
    const HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"];
    let is_one_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    match variable {
        "REQUEST_HEADERS" | "RESPONSE_HEADERS" => is_one_of(&HEADERS) || redaction.hides(name),
        "REQUEST_COOKIES" => {
            redaction.hides(name) || session_cookies.iter().any(|known| known.eq_ignore_ascii_case(name))
        }
        // A name under which nothing stands is the value itself.
        _ => !name.is_empty() && !variable.ends_with("_NAMES") && redaction.hides(name),
    }
}

/// The value with the query in it redacted.
fn in_query<'a>(redaction: &Redaction, value: &'a str) -> Cow<'a, str> {
    match value.split_once('?') {
        Some((before, query)) => match redaction.query(query) {
            Cow::Borrowed(_) => Cow::Borrowed(value),
            Cow::Owned(query) => Cow::Owned(format!("{before}?{query}")),
        },
        None => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_told() {
        let redaction = Redaction::new(&["password".into(), "token".into()]);
        let cookies = ["session".to_owned()];
        for (target, value, want) in [
            ("ARGS:q", "1 union select", "1 union select"),
            ("ARGS:password", "hunter2", MASK),
            ("ARGS_POST:user[password]", "hunter2", MASK),
            ("ARGS:json.user.token", "hunter2", MASK),
            ("ARGS_NAMES:password", "password", "password"),
            ("MATCHED_VARS:ARGS:password", "hunter2", MASK),
            ("REQUEST_COOKIES:session", "hunter2", MASK),
            ("REQUEST_COOKIES:theme", "dark", "dark"),
            ("REQUEST_HEADERS:Authorization", "Bearer hunter2", MASK),
            ("REQUEST_HEADERS:Cookie", "session=hunter2", MASK),
            ("REQUEST_HEADERS:User-Agent", "sqlmap", "sqlmap"),
            ("REQUEST_HEADERS:Referer", "http://u:p@a/?token=hunter2", "http://a/?token=[redacted]"),
            ("QUERY_STRING", "a=1&token=hunter2", "a=1&token=[redacted]"),
            ("REQUEST_URI", "/a?token=hunter2&b=1", "/a?token=[redacted]&b=1"),
            ("REQUEST_BODY", "password=hunter2", "password=[redacted]"),
        ] {
            let finding = Finding {
                rule: 0,
                target: target.to_owned(),
                value: value.as_bytes().to_vec(),
                message: String::new(),
                data: format!("found: {value}"),
                is_outside_texts: false,
            };
            let (shown, data) = shown(&finding, &redaction, &cookies);
            assert_eq!(shown, want, "{target}");
            assert_eq!(
                data,
                if shown == value { format!("found: {value}") } else { MASK.to_owned() },
                "{target}"
            );
            assert!(!data.contains("hunter2"), "{target}");
        }
    }
}
