// SPDX-License-Identifier: Apache-2.0
//! `[waf]`.

use sunbeam_config::{Reader, choice, section};

use crate::config::LayerOverride;

choice! {
    /// Which rules are loaded.
    pub enum WafRuleset {
        /// The project's own.
        BuiltIn = "builtin",
        /// The files of the OWASP Core Rule Set.
        Crs = "crs",
        /// None but those of rules_dir.
        None = "none",
    }
}

choice! {
    /// Whose word counts.
    pub enum WafVerdict {
        /// Rules and the model of texts decide together.
        Combined = "combined",
        /// What the rule set says, and nothing else.
        Rules = "rules",
    }
}

choice! {
    /// What becomes of a body that is longer than what is looked at.
    pub enum OnOversizedBody {
        /// What comes first is looked at, the rest passes.
        InspectPrefix = "inspect_prefix",
        /// 413.
        Block = "block",
    }
}

choice! {
    /// What becomes of a request on which rules have spent their time.
    pub enum OnBudget {
        /// 403.
        Block = "block",
        /// What was found until then decides.
        Pass = "pass",
    }
}

section! {
    /// Rules over requests, their bodies and, if wanted, answers.
    pub struct WafSection {
        /// false: nothing is looked at.
        enabled: bool = true,
        /// "" = detection.mode | off | auto | observe | enforce
        mode: Option<LayerOverride> = None,
        /// builtin: the project's own rules | crs: OWASP CRS files from crs_path, unmodified | none: rules_dir alone
        ruleset: WafRuleset = WafRuleset::BuiltIn,
        /// Where the Core Rule Set lies; `sunbeam waf install-crs` puts it there.
        crs_path: String = "/usr/share/modsecurity-crs".to_owned(),
        /// 1 to 4: how much is suspected. What 1 finds is hardly ever innocent.
        paranoia_level: u8 = 1 => 1..=4,
        /// The score from which on a request is too much; a critical rule adds 5.
        inbound_threshold: u32 = 5 => 1..=100_000,
        /// The score from which on an answer is too much; a rule about answers adds 4.
        outbound_threshold: u32 = 4 => 1..=100_000,
        /// Rules about SQL injection. With `verdict = "combined"` the model still stops what it knows, here and below.
        block_sql_injection: bool = true,
        /// Cross-site scripting.
        block_xss: bool = true,
        /// Path traversal, and files of others.
        block_path_traversal: bool = true,
        /// Commands for a shell.
        block_command_injection: bool = true,
        /// LDAP injection.
        block_ldap_injection: bool = true,
        /// External entities in XML.
        block_xxe: bool = true,
        /// Sessions that an attacker chose.
        block_session_fixation: bool = true,
        /// Expressions that a template or a logger evaluates (log4shell, SSTI).
        block_template_injection: bool = true,
        /// combined: rules and the model of texts decide together | rules: exactly what the rule set says
        verdict: WafVerdict = WafVerdict::Combined,
        /// Bytes of a request's body that are looked at before the backend gets any.
        max_inspected_body_bytes: usize = 131_072 => 1_024..=67_108_864,
        /// A longer body: inspect_prefix: what comes first is looked at | block: 413
        on_oversized_body: OnOversizedBody = OnOversizedBody::InspectPrefix,
        /// Arguments, parts, JSON leaves and cookies that are looked at; a request with more is 400.
        max_parameters: usize = 10_000 => 1..=100_000,
        /// Media types of bodies that are looked at. `text/*` is every text, `application/json` also
        /// `application/problem+json` and the like, `application/xml` also what ends in `+xml`. A body without a type
        /// is looked at, too.
        inspected_types: Vec<String> = [
            "application/x-www-form-urlencoded", "multipart/form-data", "application/json", "application/xml",
            "text/*",
        ].map(String::from).to_vec(),
        /// Look at answers, too, where rules do.
        inspect_responses: bool = false,
        /// A folder with further SecLang files (*.conf), read after the rule set; "" = none.
        rules_dir: String = String::new(),
        /// Milliseconds of rules over one request; one that takes more is decided by on_budget.
        regex_budget_ms: u32 = 20 => 1..=60_000,
        /// block | pass: what was found until then decides
        on_budget: OnBudget = OnBudget::Block,
    }
    later { wasm_dir, wasm_fuel, wasm_memory_bytes }
}

impl WafSection {
    /// Reports what is no media type.
    pub fn check(&self, reader: &mut Reader) {
        for (index, kind) in self.inspected_types.iter().enumerate() {
            if !is_media_type(kind) {
                let message = format!("`{kind}` is no media type like `application/json` or `text/*`");
                reader.error(&format!("waf.inspected_types[{index}]"), message);
            }
        }
    }

    /// Whether a body of this type is looked at. The type is that of the head, with parameters or without.
    pub fn inspects(&self, content_type: &[u8]) -> bool {
        let kind = kind_of(content_type);
        kind.is_empty() || self.inspected_types.iter().any(|known| covers(known.as_bytes(), kind))
    }
}

/// The type without its parameters, cut where applications cut it: PHP does at a blank, too.
pub(super) fn kind_of(content_type: &[u8]) -> &[u8] {
    let content_type = content_type.trim_ascii_start();
    let is_end = |byte: &u8| matches!(byte, b';' | b',') || byte.is_ascii_whitespace();
    let end = content_type.iter().position(is_end).unwrap_or(content_type.len());
    content_type.get(..end).unwrap_or_default()
}

/// Whether a body of this type is known to be no text: a backend would not read a form, JSON or the like from it.
pub fn is_binary_type(content_type: &[u8]) -> bool {
    const FAMILIES: [&[u8]; 4] = [b"image/", b"audio/", b"video/", b"font/"];
    /// As the project's own rules know them.
    const APPLICATIONS: [&[u8]; 17] = [
        b"octet-stream",
        b"pdf",
        b"zip",
        b"gzip",
        b"x-gzip",
        b"x-tar",
        b"wasm",
        b"grpc",
        b"x-protobuf",
        b"protobuf",
        b"msgpack",
        b"x-msgpack",
        b"cbor",
        b"vnd.ms-",
        b"vnd.openxml",
        b"vnd.oasis",
        b"vnd.google",
    ];
    let kind = kind_of(content_type).to_ascii_lowercase();
    let is_text = kind.ends_with(b"+json") || kind.ends_with(b"+xml");
    let begins = |known: &&[u8]| kind.starts_with(known);
    let application = kind.strip_prefix(b"application/").unwrap_or_default();
    !is_text
        && (FAMILIES.iter().any(begins) || APPLICATIONS.iter().any(|known| application.starts_with(known)))
}

/// Whether what an operator wrote means this type.
fn covers(known: &[u8], kind: &[u8]) -> bool {
    if let Some(family) = known.strip_suffix(b"*") {
        return kind.get(..family.len()).is_some_and(|found| found.eq_ignore_ascii_case(family));
    }
    if known.eq_ignore_ascii_case(kind) {
        return true;
    }
    // RFC 6839: what is written as JSON or XML says so at the end of its name.
    let suffix: &[u8] = match known.to_ascii_lowercase().as_slice() {
        b"application/json" => b"+json",
        b"application/xml" => b"+xml",
        _ => return false,
    };
    let at = kind.len().checked_sub(suffix.len());
    at.and_then(|at| kind.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn is_media_type(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, rest)| is_word(kind) && (rest == "*" || is_word(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_looked_at_by_their_family_and_their_suffix() {
        let section = WafSection::default();
        for (kind, want) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("application/soap+xml;charset=utf-8", true),
            ("image/svg+xml", true),
            ("text/plain", true),
            ("TEXT/xml", true),
            ("multipart/form-data; boundary=x", true),
            ("application/json,application/octet-stream", true),
            ("application/x-www-form-urlencoded x", true),
            ("multipart/form-data boundary=B", true),
            ("\tapplication/json\tfoo", true),
            ("application/octet-stream application/json", false),
            ("", true),
            (" ; charset=utf-8", true),
            ("application/octet-stream", false),
            ("image/png", false),
            ("application/jsonp", false),
            ("application/grpc", false),
            ("texts/plain", false),
            ("+json", true),
        ] {
            assert_eq!(section.inspects(kind.as_bytes()), want, "{kind}");
        }
    }

    #[test]
    fn what_is_binary_is_known_by_its_type() {
        for (kind, want) in [
            ("image/png", true),
            ("IMAGE/PNG; x=y", true),
            ("image/svg+xml", false),
            ("application/octet-stream", true),
            ("application/grpc+proto", true),
            ("application/vnd.ms-excel", true),
            ("application/vnd.google+json", false),
            ("application/json", false),
            ("application/x-unheard-of", false),
            ("x", false),
            ("", false),
        ] {
            assert_eq!(is_binary_type(kind.as_bytes()), want, "{kind}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_told() {
        for (text, want) in [
            ("text/*", true),
            ("application/vnd.api+json", true),
            ("json", false),
            ("*/*", false),
            ("text/", false),
            ("text/plain; charset=utf-8", false),
        ] {
            assert_eq!(is_media_type(text), want, "{text}");
        }
    }
}
