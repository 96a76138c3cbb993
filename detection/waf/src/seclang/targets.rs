// SPDX-License-Identifier: Apache-2.0
//! What a rule looks at: `ARGS|!ARGS:/^_/|&REQUEST_HEADERS:Host|XML:/*`.

use super::ast::{Selector, Sense, Target, Variable};
use super::error::{shown, unknown};

/// Reads a list: `|` or `,` stands between two.
pub(super) fn parse(text: &str) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    let mut rest = text;
    loop {
        let (target, after) = one(rest)?;
        targets.push(target);
        let after = after.trim_start();
        if after.is_empty() {
            return Ok(targets);
        }
        rest = after
            .strip_prefix(SEPARATORS)
            .ok_or_else(|| format!("`|` is missing before `{}`", shown(after)))?;
    }
}

/// A variable, by its name.
pub(super) fn variable(name: &str) -> Result<Variable, String> {
    if let Some(variable) = Variable::parse(name) {
        return Ok(variable);
    }
    if NOT_SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Err(format!("variable `{name}` is not supported"));
    }
    Err(unknown("variable", name, Variable::ALL.iter().map(|known| known.as_str())))
}

/// The first of a list, and what follows it.
fn one(text: &str) -> Result<(Target, &str), String> {
    let text = text.trim_start();
    let (sense, text) = match text.strip_prefix('!') {
        Some(text) => (Sense::Except, text),
        None => text.strip_prefix('&').map_or((Sense::Value, text), |text| (Sense::Count, text)),
    };
    // `TX.name` is `TX:name`, as in ModSecurity 3.
    let (name, rest) = split_before(text, |c| c == ':' || c == '.' || is_end(c));
    if name.is_empty() {
        return Err(match rest.chars().next() {
            None => "a variable is missing".to_owned(),
            Some(_) => format!("a variable is missing before `{}`", shown(rest)),
        });
    }
    let variable = variable(name)?;
    let (selector, rest) = match rest.strip_prefix([':', '.']) {
        Some(rest) => selector(variable, rest)?,
        None => (Selector::All, rest),
    };
    Ok((Target { variable, selector, sense }, rest))
}

/// What follows the colon, and what follows that.
fn selector(variable: Variable, text: &str) -> Result<(Selector, &str), String> {
    let (selector, rest) = if let Some(quoted) = text.strip_prefix('\'') {
        let (inside, rest) = split_at_unescaped(quoted, '\'', |_| true)
            .ok_or_else(|| format!("' is not closed in `{}:{}`", variable.as_str(), shown(text)))?;
        (quoted_selector(variable, inside), rest)
    } else if variable == Variable::Xml {
        // A path has slashes and commas of its own: only the next `|` ends it.
        let (path, rest) = split_before(text, |c| c == '|');
        (Selector::Named(path.trim().to_owned()), rest)
    } else if let Some(expression) = text.strip_prefix('/') {
        let (inside, rest) = split_at_unescaped(expression, '/', |next| next.is_none_or(is_end))
            .ok_or_else(|| format!("/ is not closed in `{}:{}`", variable.as_str(), shown(text)))?;
        (Selector::Matching(inside.to_owned()), rest)
    } else {
        let (name, rest) = split_before(text, |c| SEPARATORS.contains(&c));
        (Selector::Named(name.trim().to_owned()), rest)
    };
    match &selector {
        Selector::Named(name) | Selector::Matching(name) if name.is_empty() => {
            Err(format!("a name is missing after `{}:`", variable.as_str()))
        }
        _ => Ok((selector, rest)),
    }
}

fn quoted_selector(variable: Variable, inside: &str) -> Selector {
    let expression = inside.strip_prefix('/').and_then(|inside| inside.strip_suffix('/'));
    match expression {
        Some(expression) if variable != Variable::Xml => Selector::Matching(expression.to_owned()),
        _ => Selector::Named(inside.replace("\\'", "'")),
    }
}

/// Splits where `end` stands without a backslash before it, and a fit neighbour behind it.
fn split_at_unescaped(text: &str, end: char, is_fit: impl Fn(Option<char>) -> bool) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let rest = chars.as_str();
        if !is_escaped && c == end && is_fit(rest.chars().next()) {
            return Some((text.get(..at)?, rest));
        }
        is_escaped = !is_escaped && c == '\\';
    }
    None
}

fn split_before(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.find(is_end).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

fn is_end(c: char) -> bool {
    SEPARATORS.contains(&c) || c.is_ascii_whitespace()
}

const SEPARATORS: [char; 2] = ['|', ','];

/// Of ModSecurity and Coraza, and of things that do not exist here: a host's scripts and users, their measurements.
const NOT_SUPPORTED: &[&str] = &[
    "ARGS_PATH",
    "JSON",
    "MSC_PCRE_ERROR",
    "MSC_PCRE_LIMITS_EXCEEDED",
    "PERF_ALL",
    "PERF_COMBINED",
    "PERF_GC",
    "PERF_LOGGING",
    "PERF_PHASE1",
    "PERF_PHASE2",
    "PERF_PHASE3",
    "PERF_PHASE4",
    "PERF_PHASE5",
    "PERF_RULES",
    "PERF_SREAD",
    "PERF_SWRITE",
    "REMOTE_HOST",
    "REMOTE_USER",
    "REQUEST_XML",
    "RESPONSE_ARGS",
    "RESPONSE_XML",
    "RES_BODY_ERROR",
    "RES_BODY_ERROR_MSG",
    "RES_BODY_PROCESSOR",
    "RES_BODY_PROCESSOR_ERROR",
    "RES_BODY_PROCESSOR_ERROR_MSG",
    "SCRIPT_BASENAME",
    "SCRIPT_FILENAME",
    "SCRIPT_GID",
    "SCRIPT_GROUPNAME",
    "SCRIPT_MODE",
    "SCRIPT_UID",
    "SCRIPT_USERNAME",
    "SDBM_DELETE_ERROR",
    "STREAM_INPUT_BODY",
    "STREAM_OUTPUT_BODY",
    "USERAGENT_IP",
    "WEBAPPID",
    "WEBSERVER_ERROR_LOG",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(sense: Sense, variable: Variable, selector: Selector) -> Target {
        Target { variable, selector, sense }
    }

    fn all(variable: Variable) -> Target {
        target(Sense::Value, variable, Selector::All)
    }

    fn named(variable: Variable, name: &str) -> Target {
        target(Sense::Value, variable, Selector::Named(name.into()))
    }

    fn matching(variable: Variable, expression: &str) -> Target {
        target(Sense::Value, variable, Selector::Matching(expression.into()))
    }

    #[test]
    fn targets_are_read() {
        use Variable::{Args, ArgsNames, MultipartStrictError, RequestCookies, RequestHeaders, Tx, Xml};
        let except = |variable, selector| target(Sense::Except, variable, selector);
        let count = |variable, selector| target(Sense::Count, variable, selector);
        for (from, want) in [
            ("ARGS", vec![all(Args)]),
            (" args | Args_Names ", vec![all(Args), all(ArgsNames)]),
            ("MULTIPART_STRICT_ERROR", vec![all(MultipartStrictError)]),
            ("XML:/*|XML://@*|ARGS", vec![named(Xml, "/*"), named(Xml, "//@*"), all(Args)]),
            ("ARGS,XML:/*", vec![all(Args), named(Xml, "/*")]),
            ("XML://a[contains(., 'b')]", vec![named(Xml, "//a[contains(., 'b')]")]),
            (
                "!ARGS:x,!ARGS:y",
                vec![except(Args, Selector::Named("x".into())), except(Args, Selector::Named("y".into()))],
            ),
            ("&ARGS:action", vec![count(Args, Selector::Named("action".into()))]),
            ("&TX:'/A\\\\\\/B/'", vec![count(Tx, Selector::Matching("A\\\\\\/B".into()))]),
            (r"REQUEST_COOKIES:/\x22?\x24Version/", vec![matching(RequestCookies, r"\x22?\x24Version")]),
            ("TX:/^HEADER_NAME_/|ARGS", vec![matching(Tx, "^HEADER_NAME_"), all(Args)]),
            ("ARGS:'/re|with,pipes/'|ARGS", vec![matching(Args, "re|with,pipes"), all(Args)]),
            ("ARGS:/a|b/|ARGS:/c/", vec![matching(Args, "a|b"), matching(Args, "c")]),
            (r"ARGS:/a\/|b/", vec![matching(Args, r"a\/|b")]),
            ("ARGS:/a/b/", vec![matching(Args, "a/b")]),
            (
                r"!ARGS_NAMES:/^[\w]+\[[\w\-]+\]\[[\w\-]*?\]$/",
                vec![except(ArgsNames, Selector::Matching(r"^[\w]+\[[\w\-]+\]\[[\w\-]*?\]$".into()))],
            ),
            ("REQUEST_HEADERS:X.File-Name", vec![named(RequestHeaders, "X.File-Name")]),
            ("ARGS:a:b.c[d][]|TX:1", vec![named(Args, "a:b.c[d][]"), named(Tx, "1")]),
            ("TX.partial|ip.a.b", vec![named(Tx, "partial"), named(Variable::Ip, "a.b")]),
            (r"ARGS:'it\'s, a|b'", vec![named(Args, "it's, a|b")]),
        ] {
            assert_eq!(parse(from), Ok(want), "{from}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, want) in [
            ("", "a variable is missing"),
            ("ARGS|", "a variable is missing"),
            ("ARGS||ARGS", "a variable is missing before `|ARGS`"),
            ("!&ARGS", "unknown variable `&ARGS`; did you mean `ARGS`?"),
            ("ARG", "unknown variable `ARG`; did you mean `ARGS`?"),
            ("REQUEST_HEADER:x", "unknown variable `REQUEST_HEADER`; did you mean `REQUEST_HEADERS`?"),
            ("PERF_GC", "variable `PERF_GC` is not supported"),
            ("ARGS:", "a name is missing after `ARGS:`"),
            ("ARGS:|ARGS", "a name is missing after `ARGS:`"),
            ("ARGS://", "a name is missing after `ARGS:`"),
            ("ARGS:/a", "/ is not closed in `ARGS:/a`"),
            (r"ARGS:/a\/|ARGS", r"/ is not closed in `ARGS:/a\/|ARGS`"),
            ("ARGS:'a", "' is not closed in `ARGS:'a`"),
            ("ARGS ARGS", "`|` is missing before `ARGS`"),
            ("ARGS:'a'b", "`|` is missing before `b`"),
        ] {
            assert_eq!(parse(from), Err(want.to_owned()), "{from}");
        }
    }

    /// As a rule would write it.
    fn written(target: &Target) -> String {
        let sense = match target.sense {
            Sense::Value => "",
            Sense::Count => "&",
            Sense::Except => "!",
        };
        let selector = match &target.selector {
            Selector::All => String::new(),
            Selector::Named(name) => format!(":{name}"),
            Selector::Matching(expression) => format!(":/{expression}/"),
        };
        format!("{sense}{}{selector}", target.variable.as_str())
    }

    fn any_target() -> impl Strategy<Value = Target> {
        let selector = prop_oneof![
            Just(Selector::All),
            "[a-z.:\\[\\]-]{1,8}".prop_map(Selector::Named),
            "[a-z.^$|]{1,8}".prop_map(Selector::Matching),
        ];
        let sense = prop_oneof![Just(Sense::Value), Just(Sense::Count), Just(Sense::Except)];
        let variable = proptest::sample::select(Variable::ALL)
            .prop_filter("paths are not names", |variable| *variable != Variable::Xml);
        (sense, variable, selector).prop_map(|(sense, variable, selector)| target(sense, variable, selector))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(targets in proptest::collection::vec(any_target(), 1..6)) {
            let text: Vec<_> = targets.iter().map(written).collect();
            prop_assert_eq!(parse(&text.join("|")), Ok(targets));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[!&A-Z_:/'|,\\\\ é]{0,40}", more in ".{0,40}") {
            drop(parse(&text));
            drop(parse(&more));
            drop(parse(&format!("ARGS:{text}|ARGS:{more}")));
        }
    }
}
