// SPDX-License-Identifier: Apache-2.0
//! What kind of attack rules found: by the tags that the Core Rule Set, and ours, give their rules.

/// A kind of attack, as metrics name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Category {
    /// No rule matched.
    #[default]
    None,
    /// SQL injection, and that of other query languages.
    Sqli,
    /// Cross-site scripting.
    Xss,
    /// Files of this host.
    Lfi,
    /// Files of other hosts.
    Rfi,
    /// Commands for a shell.
    Rce,
    /// Code in PHP.
    Php,
    /// Code in Java, and look-ups of its loggers.
    Java,
    /// Templates.
    Ssti,
    /// Requests in this host's name.
    Ssrf,
    /// LDAP.
    Ldap,
    /// External entities in XML.
    Xxe,
    /// Sessions that somebody else chose.
    Fixation,
    /// Code in other languages.
    Injection,
    /// HTTP as nobody should speak it.
    Protocol,
    /// Scanners.
    Scanner,
    /// Answers that tell too much.
    Disclosure,
    /// Anything else.
    Other,
}

const COUNT: usize = Category::Other as usize + 1;

/// Tags by what they begin with; the first that does counts.
const TAGS: [(&str, Category); 22] = [
    ("attack-sqli", Category::Sqli),
    ("attack-nosqli", Category::Sqli),
    ("attack-xss", Category::Xss),
    ("attack-lfi", Category::Lfi),
    ("attack-rfi", Category::Rfi),
    ("attack-rce", Category::Rce),
    ("attack-injection-php", Category::Php),
    ("attack-injection-java", Category::Java),
    ("attack-log4j", Category::Java),
    ("attack-ssti", Category::Ssti),
    ("attack-ssrf", Category::Ssrf),
    ("attack-ldap", Category::Ldap),
    ("attack-xxe", Category::Xxe),
    ("attack-fixation", Category::Fixation),
    ("attack-injection", Category::Injection),
    ("attack-generic", Category::Injection),
    ("attack-protocol", Category::Protocol),
    ("attack-multipart", Category::Protocol),
    ("attack-deprecated", Category::Protocol),
    ("attack-reputation", Category::Scanner),
    ("attack-disclosure", Category::Disclosure),
    ("attack-", Category::Other),
];

impl Category {
    /// `sqli`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sqli => "sqli",
            Self::Xss => "xss",
            Self::Lfi => "lfi",
            Self::Rfi => "rfi",
            Self::Rce => "rce",
            Self::Php => "php",
            Self::Java => "java",
            Self::Ssti => "ssti",
            Self::Ssrf => "ssrf",
            Self::Ldap => "ldap",
            Self::Xxe => "xxe",
            Self::Fixation => "fixation",
            Self::Injection => "injection",
            Self::Protocol => "protocol",
            Self::Scanner => "scanner",
            Self::Disclosure => "disclosure",
            Self::Other => "other",
        }
    }

    /// Whether a rule with these tags looks for an attack on what stands behind, and not for how a request is sent or
    /// who sends it.
    pub fn is_attack<'a>(tags: impl Iterator<Item = &'a str>) -> bool {
        !matches!(
            Self::of_tags(tags),
            Self::None | Self::Protocol | Self::Scanner | Self::Disclosure | Self::Other
        )
    }

    fn of_tags<'a>(tags: impl Iterator<Item = &'a str>) -> Self {
        let of_tag =
            |tag: &str| TAGS.iter().find(|(known, _)| tag.starts_with(known)).map(|(_, found)| *found);
        let mut found = Self::None;
        for category in tags.filter_map(of_tag) {
            // A rule has one tag that says it, and `attack-…` that say less.
            if matches!(found, Self::None | Self::Other) {
                found = category;
            }
        }
        found
    }
}

/// Counts what rules found, to name the request by what most of them say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    counts: [u16; COUNT],
    first: Category,
}

impl Tally {
    /// A rule with these tags matched.
    pub fn add<'a>(&mut self, tags: impl Iterator<Item = &'a str>) {
        let category = Category::of_tags(tags);
        if let Some(count) = self.counts.get_mut(category as usize) {
            *count = count.saturating_add(1);
        }
        if self.first == Category::None {
            self.first = category;
        }
    }

    /// What most rules say, the protocol only where nothing else is said; of equals the first.
    pub fn most(&self) -> Category {
        let weight = |category: Category| {
            let count = self.counts.get(category as usize).copied().unwrap_or(0);
            let is_weak = matches!(category, Category::Protocol | Category::Other | Category::Scanner);
            (count > 0, !is_weak, count)
        };
        let mut most = self.first;
        for (_, category) in TAGS {
            if weight(category) > weight(most) {
                most = category;
            }
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_told_from_how_a_request_is_sent() {
        for (tags, want) in [
            (&["attack-rce", "OWASP_CRS"][..], true),
            (&["attack-injection-php"], true),
            (&["attack-injection-template"], true),
            (&["attack-protocol"], false),
            (&["attack-reputation-scanner"], false),
            (&["attack-protocol", "attack-xxe"], false),
            (&["attack-novel"], false),
            (&["mine"], false),
            (&[], false),
        ] {
            assert_eq!(Category::is_attack(tags.iter().copied()), want, "{tags:?}");
        }
    }

    #[test]
    fn a_request_is_named_by_what_most_rules_say() {
        let of = |rules: &[&[&str]]| {
            let mut tally = Tally::default();
            rules.iter().for_each(|tags| tally.add(tags.iter().copied()));
            tally.most().as_str()
        };
        for (name, rules, want) in [
            ("nothing", &[][..], "none"),
            ("one", &[&["language-multi", "attack-sqli", "OWASP_CRS"][..]], "sqli"),
            ("untagged", &[&["mine"]], "none"),
            ("an unknown kind", &[&["attack-novel"]], "other"),
            ("an unknown kind beside a known one", &[&["attack-novel", "attack-xss"]], "xss"),
            ("most", &[&["attack-rce"], &["attack-sqli"], &["attack-sqli"]], "sqli"),
            ("the first of two", &[&["attack-rce"], &["attack-sqli"]], "rce"),
            ("protocol says least", &[&["attack-protocol"], &["attack-protocol"], &["attack-lfi"]], "lfi"),
            ("protocol alone", &[&["mine"], &["attack-protocol"]], "protocol"),
            ("java", &[&["attack-injection-java"]], "java"),
            ("another language", &[&["attack-injection-generic"]], "injection"),
        ] {
            assert_eq!(of(rules), want, "{name}");
        }
    }
}
