// SPDX-License-Identifier: Apache-2.0
//! What rules found in a request, as it may be told: secrets in it are hidden as in the audit log.

use std::borrow::Cow;
use std::cell::OnceCell;

use sunbeam_pipeline::{Category, Tally};
use sunbeam_traffic::{MASK, RULES_MAX, Redaction, RuleMatch};
use sunbeam_waf::engine::{Finding, Transaction};

/// Bytes that are told of a name or a message, which a client may have made as long as a whole body.
const TEXT_BYTES_MAX: usize = 256;

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
    /// What a transaction has found so far, `body` among what it saw; `None`: nothing.
    pub(crate) fn of(
        transaction: &Transaction,
        redaction: &Redaction,
        session_cookies: &[String],
        body: &[u8],
    ) -> Option<Box<Self>> {
        if transaction.findings().is_empty() {
            return None;
        }
        let (mut found, mut tally) = (Self::default(), Tally::default());
        let names = Names { redaction, session_cookies };
        let (in_body, anywhere) = (OnceCell::new(), OnceCell::new());
        let in_body = || *in_body.get_or_init(|| names.stand_in_body(body));
        let anywhere = || *anywhere.get_or_init(|| names.stand_anywhere(transaction, &in_body));
        let has_secrets = HasSecrets { in_body: &in_body, anywhere: &anywhere };
        for finding in transaction.findings() {
            let Some(rule) = transaction.rules().rules().get(finding.rule as usize) else { continue };
            tally.add(rule.tags.iter().map(AsRef::as_ref));
            if found.rules.len() < RULES_MAX && !found.rules.contains(&rule.id) {
                found.rules.push(rule.id);
            }
            if found.matches.len() < RULES_MAX {
                let (value, data) = names.shown(finding, rule.is_chain(), &has_secrets);
                // With its variables filled in it may quote what is hidden.
                let message = if data == MASK {
                    rule.message()
                } else {
                    redaction.text(cut(&finding.message)).into_owned()
                };
                found.matches.push(RuleMatch {
                    rule: rule.id,
                    message,
                    target: names.target(&finding.target),
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

/// Whether a request has secrets; asked where it is not known what a text is a piece of.
struct HasSecrets<'a> {
    in_body: &'a dyn Fn() -> bool,
    anywhere: &'a dyn Fn() -> bool,
}

/// The names of what is secret.
#[derive(Clone, Copy)]
struct Names<'a> {
    redaction: &'a Redaction,
    session_cookies: &'a [String],
}

impl Names<'_> {
    /// Value and data, without secrets.
    fn shown(&self, finding: &Finding, is_chain: bool, has_secrets: &HasSecrets<'_>) -> (String, String) {
        let hidden = || (MASK.to_owned(), MASK.to_owned());
        let value = String::from_utf8_lossy(&finding.value);
        // A character that was cut in two.
        let value =
            if finding.is_cut { value.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { &*value };
        let (variable, name) = finding.target.split_once(':').unwrap_or((&finding.target, ""));
        // `MATCHED_VARS:ARGS:name`
        let (variable, name) = match variable {
            "MATCHED_VAR" | "MATCHED_VARS" if !name.is_empty() => name.split_once(':').unwrap_or((name, "")),
            _ => (variable, name),
        };
        let is_of_anything = match variable {
            // All text and all attributes of a document, without the names of its elements.
            "XML" => (has_secrets.in_body)(),
            "MATCHED_VAR" | "MATCHED_VARS" => (has_secrets.anywhere)(),
            // Captured from whatever was looked at last.
            "TX" if name.bytes().all(|byte| byte.is_ascii_digit()) => (has_secrets.anywhere)(),
            // With all header fields.
            "FULL_REQUEST" | "SESSIONID" => true,
            _ => false,
        };
        if is_of_anything || self.is_secret(variable, name) {
            return hidden();
        }
        // What stands there is no longer as it was sent: a `&` may be of a value.
        let shown = match variable {
            "REQUEST_HEADERS" if name.eq_ignore_ascii_case("referer") => {
                self.redaction.text(&self.redaction.url(value)).into_owned()
            }
            _ => self.redaction.text(value).into_owned(),
        };
        // What is around a secret may hold a piece of it, and so may what other conditions of a chain have looked at, or
        // what stands behind the cut.
        let is_told = shown == value && !((is_chain || finding.is_cut) && (has_secrets.anywhere)());
        let data = if is_told { self.redaction.text(&finding.data).into_owned() } else { MASK.to_owned() };
        (shown, data)
    }

    /// `ARGS:name`, of which a client may have made the name out of what it likes.
    fn target(&self, target: &str) -> String {
        let target = cut(target);
        match target.split_once(':') {
            Some((variable, name)) => format!("{variable}:{}", self.redaction.text(name)),
            None => target.to_owned(),
        }
    }

    fn is_secret(&self, variable: &str, name: &str) -> bool {
        const HEADERS: [&str; 5] =
            ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"];
        let is_one_of = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let redaction = self.redaction;
        match variable {
            "REQUEST_HEADERS" | "RESPONSE_HEADERS" => {
                is_one_of(&HEADERS)
                    || redaction.hides(name)
                    || name.split('-').any(|word| redaction.hides(word))
            }
            "REQUEST_COOKIES" => {
                redaction.hides(name)
                    || self.session_cookies.iter().any(|known| known.eq_ignore_ascii_case(name))
            }
            // A name under which nothing stands is the value itself.
            _ => !name.is_empty() && !variable.ends_with("_NAMES") && redaction.hides(name),
        }
    }

    fn stand_in_body(&self, body: &[u8]) -> bool {
        self.redaction.names_a_secret(&String::from_utf8_lossy(body))
    }

    fn stand_anywhere(&self, transaction: &Transaction, in_body: &dyn Fn() -> bool) -> bool {
        transaction.values().any(|(variable, name, value)| {
            let variable = variable.as_str();
            let is_named =
                |text: &[u8]| matches!(self.redaction.text(&String::from_utf8_lossy(text)), Cow::Owned(_));
            match variable {
                "XML" => in_body(),
                _ => self.is_secret(variable, &String::from_utf8_lossy(name)) || is_named(value),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_told() {
        let redaction = Redaction::new(&["password".into(), "token".into()]);
        let names = Names { redaction: &redaction, session_cookies: &["session".to_owned()] };
        let has_secrets = HasSecrets { in_body: &|| true, anywhere: &|| true };
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
            ("REQUEST_URI", "/a?token=hunter2&b=1", "/a?token=[redacted]"),
            ("REQUEST_BODY", "password=hunter2", "password=[redacted]"),
            ("ARGS:json.password.v", "hunter2", MASK),
            ("ARGS_POST:password[]", "hunter2", MASK),
            ("ARGS:json.query", "login(password: \"hunter2\")", "login(password:[redacted]"),
            ("ARGS_NAMES:{\"password\":\"hunter2", "{\"password\":\"hunter2", "{\"password\"[redacted]"),
            ("ARGS:{\"password\":\"", "hunter2\"}", MASK),
            ("REQUEST_HEADERS:X-Auth-Token", "hunter2", MASK),
            ("FILES_TMP_CONTENT:password", "hunter2", MASK),
            ("XML:/*", "hunter2", MASK),
            ("TX:1", "hunter2", MASK),
            ("MATCHED_VAR", "hunter2", MASK),
            ("FULL_REQUEST", "Cookie: a=hunter2", MASK),
        ] {
            let finding = Finding {
                rule: 0,
                target: target.to_owned(),
                value: value.as_bytes().to_vec(),
                is_cut: false,
                message: String::new(),
                data: format!("found: {value}"),
                is_outside_texts: false,
            };
            let (shown, data) = names.shown(&finding, false, &has_secrets);
            assert_eq!(shown, want, "{target}");
            assert_eq!(
                data,
                if shown == value { format!("found: {value}") } else { MASK.to_owned() },
                "{target}"
            );
            assert!(!data.contains("hunter2"), "{target}");
            assert!(!names.target(target).contains("hunter2"), "{target}");
            // What it quotes may be of anything.
            for (is_chain, is_cut) in [(true, false), (false, true)] {
                let (_, data) = names.shown(&Finding { is_cut, ..finding.clone() }, is_chain, &has_secrets);
                assert_eq!(data, MASK, "{target}");
            }
        }
    }
}
