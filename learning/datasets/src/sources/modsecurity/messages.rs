// SPDX-License-Identifier: Apache-2.0
//! Which rules fired, out of messages such as `Warning. … [id "942100"] … [severity "CRITICAL"] [tag "attack-sqli"]`.

/// Rules that are named in a label; more say no more.
const RULES_MAX: usize = 8;
/// `ERROR`: severities are numbered from the worst, 0.
const SEVERITY_OF_ATTACKS: u8 = 3;
const SEVERITIES: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fired {
    /// Of rules of attacks, each once.
    ids: Vec<String>,
    /// Their first `attack-…` tag.
    class: String,
}

impl Fired {
    /// Reads a message with its data in brackets.
    pub(super) fn note_message(&mut self, message: &str) {
        let tags: Vec<&str> = values(message, "tag").collect();
        let first = |key| values(message, key).next().unwrap_or_default();
        self.note(first("id"), first("severity"), &tags);
    }

    /// Takes a rule with its severity, as a word or a number, and its tags.
    pub(super) fn note(&mut self, id: &str, severity: &str, tags: &[&str]) {
        let is_attack = number_of(severity).is_some_and(|number| number <= SEVERITY_OF_ATTACKS);
        let is_id = !id.is_empty() && id.len() <= 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        if !is_attack || !is_id {
            return;
        }
        if self.class.is_empty() {
            let kind = tags.iter().find_map(|tag| tag.strip_prefix("attack-"));
            self.class = kind.unwrap_or_default().chars().take(32).collect();
        }
        if self.ids.len() < RULES_MAX && self.ids.iter().all(|known| known != id) {
            self.ids.push(id.to_owned());
        }
    }

    pub(super) fn is_attack(&self) -> bool {
        !self.ids.is_empty()
    }

    /// `941100,942100`
    pub(super) fn rules(&self) -> String {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.join(",")
    }

    /// `sqli`; `waf` where no tag tells.
    pub(super) fn class(&self) -> &str {
        if self.class.is_empty() { "waf" } else { &self.class }
    }
}

fn number_of(severity: &str) -> Option<u8> {
    let by_name = (0_u8..).zip(SEVERITIES).find(|(_, name)| severity.eq_ignore_ascii_case(name));
    by_name.map(|(number, _)| number).or_else(|| severity.parse().ok())
}

/// The values of `[key "value"]`.
fn values<'a>(message: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let opening = format!("[{key} \"");
    let pieces: Vec<&str> = message.split(opening.as_str()).skip(1).collect();
    pieces.into_iter().filter_map(|piece| piece.split_once("\"]").map(|(value, _)| value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_rules_of_attacks_count() {
        for (name, message, want) in [
            (
                "critical",
                r#"Warning. [id "942100"] [severity "CRITICAL"] [tag "OWASP"] [tag "attack-sqli"]"#,
                ("942100", "sqli"),
            ),
            ("by number", r#"ModSecurity: Warning. [id "930120"] [severity "2"]"#, ("930120", "waf")),
            ("a policy", r#"Warning. [id "920350"] [severity "WARNING"]"#, ("", "waf")),
            ("no severity", r#"Warning. [id "949110"]"#, ("", "waf")),
            ("no number", r#"Warning. [id "x"] [severity "CRITICAL"]"#, ("", "waf")),
            ("cut", r#"Warning. [id "9421"#, ("", "waf")),
        ] {
            let mut fired = Fired::default();
            fired.note_message(message);
            fired.note_message(message);
            assert_eq!((&*fired.rules(), fired.class()), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_read(message in r#"(\[(id|tag|severity) "|"\]|[0-9]{1,6}|CRITICAL|.){0,20}"#) {
            let mut fired = Fired::default();
            fired.note_message(&message);
            prop_assert!(fired.rules().len() <= 13 * RULES_MAX);
        }
    }
}
