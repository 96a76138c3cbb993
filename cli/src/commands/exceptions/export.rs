// SPDX-License-Identifier: Apache-2.0
//! Exceptions as text: rules for a WAF that reads SecLang, or TOML.

use clap::ValueEnum;

use crate::api::{Exception, ExceptionScope};

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Seclang,
    Toml,
}

/// The numbers that ModSecurity leaves to a site's own rules end at 99,999; these are the last of them.
const FIRST_RULE: usize = 98_000;

pub(super) fn written(exceptions: &[Exception], format: Format) -> String {
    match format {
        Format::Seclang => seclang(exceptions),
        Format::Toml => toml(exceptions),
    }
}

fn seclang(exceptions: &[Exception]) -> String {
    let mut text = "# Exceptions of a Sunbeam node. They come before the rules that they are about: in a file of the Core\n\
                    # Rule Set's name REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf. They do not end by themselves.\n"
        .to_owned();
    for (number, one) in (FIRST_RULE..).zip(exceptions) {
        text.push_str(&format!(
            "\n# {} until {}: {}\n",
            plain(&one.id),
            plain(&one.expires),
            plain(&one.what)
        ));
        text.push_str(
            &rule(number, &one.scope).unwrap_or_else(|why| format!("# not written as a rule: {why}\n")),
        );
    }
    text
}

/// A chain of conditions, and the targets that are taken away.
fn rule(number: usize, scope: &ExceptionScope) -> Result<String, &'static str> {
    if scope.rules.is_empty() {
        return Err("it is not about rules");
    }
    if scope.unit.is_some() {
        return Err(
            "rules are a part of it only, the model of texts is the other: a rule would do half of it",
        );
    }
    let mut conditions = Vec::new();
    if scope.route != "*" {
        // A label alone is the first of any host's.
        let end = if scope.route.contains('.') { "(?::\\d+)?$" } else { "(?:[.:]|$)" };
        let host = scope.route.strip_prefix("*.").map_or_else(
            || format!("^{}{end}", literal(&scope.route)),
            |parent| format!("\\.{}{end}", literal(parent)),
        );
        conditions.push(("REQUEST_HEADERS:Host", format!("@rx (?i){host}")));
    }
    if !scope.method.is_empty() {
        conditions.push(("REQUEST_METHOD", format!("@streq {}", scope.method)));
    }
    if let Some(path) = &scope.path {
        conditions.push(("REQUEST_URI_RAW", format!("@rx ^{}(?:\\?|$)", literal(path))));
    }
    if conditions.iter().any(|(_, operator)| !is_quotable(operator)) {
        return Err("its route, method or path has characters that a rule cannot quote");
    }
    let mut controls = Vec::new();
    for known in &scope.rules {
        if !is_literal(&known.target) {
            return Err("the name of a field has characters that a target cannot have");
        }
        controls.extend(known.ids.iter().map(|id| format!("ctl:ruleRemoveTargetById={id};{}", known.target)));
    }
    let mut text = String::new();
    let last = conditions.len().saturating_sub(1);
    if conditions.is_empty() {
        text.push_str(&format!(
            "SecAction \"id:{number},phase:1,pass,nolog,t:none,{}\"\n",
            controls.join(",")
        ));
    }
    for (place, (variable, operator)) in conditions.iter().enumerate() {
        let indent = "    ".repeat(place);
        let begins =
            if place == 0 { format!("id:{number},phase:1,pass,nolog,t:none") } else { "t:none".to_owned() };
        let ends = if place < last { "chain".to_owned() } else { controls.join(",") };
        text.push_str(&format!("{indent}SecRule {variable} \"{operator}\" \"{begins},{ends}\"\n"));
    }
    Ok(text)
}

/// An expression that means this text.
fn literal(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '#' | '&'
        | '-' | '~' => {
            format!("\\{c}")
        }
        c => c.to_string(),
    });
    escaped.collect()
}

/// Whether a target means one field, and no more: `ARGS:/.*/` would be all whose name fits an expression, and clients
/// choose names.
fn is_literal(target: &str) -> bool {
    let name = target.split_once(':').map_or("", |(_, name)| name);
    let is_all_of_xml = target == "XML:/*";
    is_all_of_xml
        || !name.starts_with('/')
            && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:.-[]$/".contains(&byte))
}

fn is_quotable(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() || c == ' ') && !text.contains(['"', '%'])
}

/// What may stand in a comment.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn toml(exceptions: &[Exception]) -> String {
    let mut text = "# Exceptions of a Sunbeam node, as a record: a node reads none of it.\n".to_owned();
    for one in exceptions {
        text.push_str("\n[[exceptions]]\n");
        for (key, value) in [
            ("id", &one.id),
            ("what", &one.what),
            ("layer", &one.scope.layer),
            ("route", &one.scope.route),
            ("method", &one.scope.method),
            ("created", &one.created),
            ("expires", &one.expires),
            ("from", &one.from),
            ("by", &one.by),
        ] {
            pair(&mut text, key, value);
        }
        if let Some(path) = &one.scope.path {
            pair(&mut text, "path", path);
        }
        if one.scope.probe {
            text.push_str("probe = true\n");
        }
        for (name, named) in [("unit", &one.scope.unit), ("part", &one.scope.part)] {
            if let Some(named) = named {
                text.push_str(&format!(
                    "{name} = {{ kind = {}, name = {} }}\n",
                    quoted(&named.kind),
                    quoted(&named.name)
                ));
            }
        }
        if let Some(limit) = &one.scope.limit {
            text.push_str(&format!("limit = {{ bound = {}", quoted(&limit.bound)));
            if let Some(client) = &limit.client {
                text.push_str(&format!(
                    ", client = {}, identity = {}",
                    quoted(client),
                    quoted(&limit.identity)
                ));
            }
            text.push_str(" }\n");
        }
        for known in &one.scope.rules {
            let ids: Vec<String> = known.ids.iter().map(u64::to_string).collect();
            text.push_str("\n[[exceptions.rules]]\n");
            pair(&mut text, "target", &known.target);
            text.push_str(&format!("ids = [{}]\n", ids.join(", ")));
        }
    }
    text
}

fn pair(text: &mut String, key: &str, value: &str) {
    text.push_str(&format!("{key} = {}\n", quoted(value)));
}

/// A basic string: control characters and those that end it are escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::typed;

    fn exception(scope: serde_json::Value) -> Exception {
        typed(
            &json!({"id": "0123456789ab", "what": "x\ny", "expires": "2026-01-01T00:00:00Z", "scope": scope}),
        )
        .unwrap()
    }

    #[test]
    fn rules_with_their_field_become_a_chain() {
        let scope = json!({
            "layer": "waf", "route": "shop", "method": "POST", "path": "/a.b",
            "rules": [{"target": "ARGS:q", "ids": [1, 2]}, {"target": "REQUEST_BODY", "ids": [3]}],
        });
        let text = written(&[exception(scope)], Format::Seclang);
        let rule =
            text.split_once("x y\n").map_or_else(|| text.split_once("xy\n").unwrap().1, |(_, rule)| rule);
        assert_eq!(
            rule,
            "SecRule REQUEST_HEADERS:Host \"@rx (?i)^shop(?:[.:]|$)\" \"id:98000,phase:1,pass,nolog,t:none,chain\"\n    \
             SecRule REQUEST_METHOD \"@streq POST\" \"t:none,chain\"\n        \
             SecRule REQUEST_URI_RAW \"@rx ^/a\\.b(?:\\?|$)\" \"t:none,ctl:ruleRemoveTargetById=1;ARGS:q,\
             ctl:ruleRemoveTargetById=2;ARGS:q,ctl:ruleRemoveTargetById=3;REQUEST_BODY\"\n"
        );
    }

    #[test]
    fn what_a_rule_cannot_say_is_a_comment() {
        let of_rules = |target: &str, path: &str| json!({"layer": "waf", "route": "*", "path": path, "rules": [{"target": target, "ids": [1]}]});
        for scope in [
            json!({"layer": "scanner", "route": "shop", "unit": {"kind": "Parameter", "name": "q"}}),
            of_rules("ARGS:a b", "/"),
            of_rules("ARGS:a\"b", "/"),
            of_rules("ARGS:/.*/", "/"),
            of_rules("ARGS:a*", "/"),
            of_rules("ARGS:q", "/%22"),
        ] {
            let text = written(&[exception(scope.clone())], Format::Seclang);
            assert!(text.contains("# not written as a rule"), "{scope}: {text}");
            assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        }
    }

    #[test]
    fn toml_reads_back() {
        let scope = json!({
            "layer": "waf", "route": "shop", "method": "POST", "path": "/\"\\\u{1}",
            "rules": [{"target": "ARGS:q", "ids": [1, 2]}], "unit": {"kind": "Parameter", "name": "q\"x"},
            "limit": {"bound": "identity_limit", "client": "192.0.2.1/32", "identity": "address"},
        });
        let text = written(&[exception(scope.clone()), exception(scope)], Format::Toml);
        let read: toml::Value = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let all = read["exceptions"].as_array().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1]["path"].as_str(), Some("/\"\\\u{1}"));
        assert_eq!(all[1]["rules"][0]["ids"].as_array().map(Vec::len), Some(2));
        assert_eq!(all[1]["unit"]["name"].as_str(), Some("q\"x"));
    }
}
