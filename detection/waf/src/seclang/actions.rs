// SPDX-License-Identifier: Apache-2.0
//! What a rule does: `id:1,phase:2,deny,msg:'…',setvar:tx.score=+5`.

use super::ast::{Action, Allow, Change, SetVar, Template, Variable};
use super::directives::number;
use super::error::{Fault, shown, unknown};
use super::lines::Word;
use super::{ctl, template};
use crate::transformations::{self, TRANSFORMATIONS};

/// Reads a list: commas stand between, and a value that has commas stands in single quotes.
pub(super) fn parse(word: &Word) -> Result<Vec<Action>, Vec<Fault>> {
    let mut actions = Vec::new();
    let mut faults = Vec::new();
    let mut rest = word.text.as_str();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if rest.is_empty() {
            break;
        }
        let line = word.place.line_at(word.text.len().saturating_sub(rest.len()));
        let (written, after) = split(rest);
        match written.and_then(|written| read(&written)) {
            Ok(read) => actions.extend(read),
            Err(message) => faults.push(Fault::new(line, message)),
        }
        rest = after;
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if faults.is_empty() { Ok(actions) } else { Err(faults) }
}

/// An action as it is written.
struct Written<'a> {
    name: &'a str,
    /// Without its quotes.
    value: Option<String>,
}

/// Splits the first action off.
fn split(text: &str) -> (Result<Written<'_>, String>, &str) {
    let end = text.find([':', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let name = name.trim();
    let Some(rest) = rest.strip_prefix(':') else {
        return (Ok(Written { name, value: None }), rest);
    };
    let rest = rest.trim_start();
    if let Some(quoted) = rest.strip_prefix('\'') {
        let (value, after) = unquote(quoted);
        let (extra, after) = split_at_comma(after);
        if !extra.trim().is_empty() {
            return (Err(format!("a comma is missing before `{}`", shown(extra.trim()))), after);
        }
        return (Ok(Written { name, value: Some(value) }), after);
    }
    let (value, after) = split_at_comma(rest);
    (Ok(Written { name, value: Some(value.trim_end().to_owned()) }), after)
}

fn split_at_comma(text: &str) -> (&str, &str) {
    text.split_once(',').unwrap_or((text, ""))
}

/// What stands up to the closing quote, and what follows it. A quote that nothing closes goes to the end of the list:
/// Coraza's own recommended configuration has one.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => break,
            '\\' => match chars.next() {
                Some('\'') => value.push('\''),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            _ => value.push(c),
        }
    }
    (value, chars.as_str())
}

fn read(written: &Written<'_>) -> Result<Vec<Action>, String> {
    let name = written.name;
    let Some(row) = ACTIONS.iter().find(|row| row.name.eq_ignore_ascii_case(name)) else {
        return Err(unknown("action", name, ACTIONS.iter().map(|row| row.name)));
    };
    let told = |message: String| format!("`{}`: {message}", row.name);
    match (&row.read, written.value.as_deref()) {
        (Read::Flag(_), Some(value)) => {
            Err(format!("`{}` takes no value, and was given `{}`", row.name, shown(value)))
        }
        (Read::Flag(make), None) => Ok(vec![make()]),
        (Read::Optional(read), value) => read(value).map(|action| vec![action]).map_err(told),
        (Read::Ignored, _) => Ok(vec![Action::Ignored(row.name)]),
        (Read::Value(_) | Read::Ctl, None | Some("")) => Err(format!("`{}` needs a value", row.name)),
        (Read::Value(read), Some(value)) => read(value).map(|action| vec![action]).map_err(told),
        (Read::Ctl, Some(value)) => Ok(ctl::parse(value)?.into_iter().map(Action::Ctl).collect()),
    }
}

struct Row {
    name: &'static str,
    read: Read,
}

enum Read {
    /// It has no value.
    Flag(fn() -> Action),
    /// It has one.
    Value(fn(&str) -> Result<Action, String>),
    /// It may have one.
    Optional(fn(Option<&str>) -> Result<Action, String>),
    /// `ctl`
    Ctl,
    /// It has no effect here.
    Ignored,
}

const fn flag(name: &'static str, make: fn() -> Action) -> Row {
    Row { name, read: Read::Flag(make) }
}

const fn value(name: &'static str, read: fn(&str) -> Result<Action, String>) -> Row {
    Row { name, read: Read::Value(read) }
}

const fn ignored(name: &'static str) -> Row {
    Row { name, read: Read::Ignored }
}

static ACTIONS: &[Row] = &[
    value("id", |value| number(value).map(Action::Id)),
    value("phase", phase),
    value("msg", |value| template::parse(value).map(Action::Msg)),
    value("logdata", |value| template::parse(value).map(Action::Logdata)),
    value("tag", |value| Ok(Action::Tag(value.to_owned()))),
    value("ver", |value| Ok(Action::Ver(value.to_owned()))),
    value("rev", |value| Ok(Action::Rev(value.to_owned()))),
    value("maturity", |value| number(value).map(|_| Action::Told)),
    value("accuracy", |value| number(value).map(|_| Action::Told)),
    value("severity", severity),
    flag("block", || Action::Block),
    flag("deny", || Action::Deny),
    flag("drop", || Action::Drop),
    flag("pass", || Action::Pass),
    Row { name: "allow", read: Read::Optional(allow) },
    value("redirect", |value| template::parse(value).map(Action::Redirect)),
    value("proxy", |value| Ok(Action::Proxy(value.to_owned()))),
    value("status", status),
    flag("log", || Action::Log),
    flag("nolog", || Action::NoLog),
    flag("auditlog", || Action::AuditLog),
    flag("noauditlog", || Action::NoAuditLog),
    flag("capture", || Action::Capture),
    flag("chain", || Action::Chain),
    flag("multiMatch", || Action::MultiMatch),
    value("skip", skip),
    value("skipAfter", |value| Ok(Action::SkipAfter(value.to_owned()))),
    value("setvar", |value| setvar(value).map(Action::SetVar)),
    value("setenv", setenv),
    value("setuid", |value| Ok(Action::SetCollectionKey(Variable::User, template::parse(value)?))),
    value("setrsc", |value| Ok(Action::SetCollectionKey(Variable::Resource, template::parse(value)?))),
    value("setsid", |value| Ok(Action::SetCollectionKey(Variable::Session, template::parse(value)?))),
    value("expirevar", |value| {
        let (collection, name, after) = name_and_value(value)?;
        Ok(Action::ExpireVar(collection, name, after))
    }),
    value("deprecatevar", |value| {
        let (collection, name, less) = name_and_value(value)?;
        let (by, every) = amount_and_seconds(&less)?;
        Ok(Action::DeprecateVar(collection, name, by, every))
    }),
    value("initcol", initcol),
    value("t", transformation),
    Row { name: "ctl", read: Read::Ctl },
    ignored("append"),
    ignored("exec"),
    ignored("pause"),
    ignored("prepend"),
    ignored("sanitiseArg"),
    ignored("sanitiseMatched"),
    ignored("sanitiseMatchedBytes"),
    ignored("sanitiseRequestHeader"),
    ignored("sanitiseResponseHeader"),
    ignored("sanitizeArg"),
    ignored("sanitizeMatched"),
    ignored("sanitizeMatchedBytes"),
    ignored("sanitizeRequestHeader"),
    ignored("sanitizeResponseHeader"),
    ignored("xmlns"),
];

fn phase(value: &str) -> Result<Action, String> {
    let phase = match value.trim() {
        "1" => 1,
        "2" => 2,
        "3" => 3,
        "4" => 4,
        "5" => 5,
        word if word.eq_ignore_ascii_case("request") => 2,
        word if word.eq_ignore_ascii_case("response") => 4,
        word if word.eq_ignore_ascii_case("logging") => 5,
        _ => return Err(format!("`{}` is not 1 to 5, `request`, `response` or `logging`", shown(value))),
    };
    Ok(Action::Phase(phase))
}

fn severity(value: &str) -> Result<Action, String> {
    let value = value.trim();
    let named = (0..).zip(SEVERITIES).find(|(_, name)| name.eq_ignore_ascii_case(value));
    let told =
        named.map(|(number, _)| number).or_else(|| value.parse::<u8>().ok().filter(|number| *number <= 7));
    told.map(Action::Severity).ok_or_else(|| unknown("severity", value, SEVERITIES.into_iter()))
}

const SEVERITIES: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

fn allow(value: Option<&str>) -> Result<Action, String> {
    let far = match value {
        None => Allow::All,
        Some(word) if word.trim().eq_ignore_ascii_case("phase") => Allow::Phase,
        Some(word) if word.trim().eq_ignore_ascii_case("request") => Allow::Request,
        Some(word) => return Err(format!("`{}` is not `phase` or `request`", shown(word))),
    };
    Ok(Action::Allow(far))
}

fn status(value: &str) -> Result<Action, String> {
    let status = value.trim().parse().ok().filter(|status| (100..=599).contains(status));
    status.map(Action::Status).ok_or_else(|| format!("`{}` is not a status of HTTP", shown(value)))
}

fn skip(value: &str) -> Result<Action, String> {
    let rules = number(value)?;
    u32::try_from(rules).map(Action::Skip).map_err(|_| format!("{rules} rules are too many"))
}

/// `collection.name`, `collection.name=value`, `=+value`, `=-value`, `!collection.name`
fn setvar(text: &str) -> Result<SetVar, String> {
    let text = text.trim();
    if let Some(removed) = text.strip_prefix('!') {
        let (collection, name) = template::collection_and_name(removed)?;
        return Ok(SetVar { collection, name, change: Change::Remove });
    }
    let (variable, value) = split_at_equals(text);
    let (collection, name) = template::collection_and_name(variable)?;
    let change = match value {
        None => Change::Set(template::parse("1")?),
        Some(value) => change(value)?,
    };
    Ok(SetVar { collection, name, change })
}

fn change(value: &str) -> Result<Change, String> {
    if let Some(more) = value.strip_prefix('+') {
        return template::parse(more).map(Change::Add);
    }
    if let Some(less) = value.strip_prefix('-') {
        return template::parse(less).map(Change::Subtract);
    }
    template::parse(value).map(Change::Set)
}

fn split_at_equals(text: &str) -> (&str, Option<&str>) {
    let found = template::find_outside(text, '=').and_then(|at| text.split_at_checked(at));
    match found {
        Some((before, rest)) => (before, rest.strip_prefix('=')),
        None => (text, None),
    }
}

/// `collection.name=value`
fn name_and_value(text: &str) -> Result<(Variable, Template, Template), String> {
    let (variable, Some(value)) = split_at_equals(text) else {
        return Err(format!("`{}` has no `=`", shown(text)));
    };
    let (collection, name) = template::collection_and_name(variable.trim())?;
    Ok((collection, name, template::parse(value.trim())?))
}

/// `60/300`
fn amount_and_seconds(text: &Template) -> Result<(i64, i64), String> {
    let parts = text.as_text().and_then(|text| text.split_once('/'));
    let read = |text: &str| number(text).ok().and_then(|number| i64::try_from(number).ok());
    let numbers = parts.and_then(|(by, every)| read(by).zip(read(every)));
    numbers.filter(|(_, every)| *every > 0).ok_or_else(|| "it is not `AMOUNT/SECONDS`".to_owned())
}

fn initcol(text: &str) -> Result<Action, String> {
    let (collection, Some(key)) = split_at_equals(text) else {
        return Err(format!("`{}` has no `=`", shown(text)));
    };
    let variable = template::written_collection(collection)?;
    if variable == Variable::Tx {
        return Err("`TX` belongs to one request, and has no key".to_owned());
    }
    Ok(Action::InitCol(variable, template::parse(key.trim())?))
}

fn setenv(text: &str) -> Result<Action, String> {
    let (name, value) = split_at_equals(text);
    if name.trim().is_empty() {
        return Err(format!("`{}` has no name", shown(text)));
    }
    Ok(Action::SetEnv(template::parse(name.trim())?, template::parse(value.unwrap_or("1"))?))
}

fn transformation(name: &str) -> Result<Action, String> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("none") {
        return Ok(Action::TransformationNone);
    }
    if let Some(found) = transformations::find(name) {
        return Ok(Action::Transformation(found));
    }
    let known =
        TRANSFORMATIONS.iter().flat_map(|one| std::iter::once(one.name).chain(one.aliases.iter().copied()));
    Err(unknown("transformation", name, known.chain(["none"])))
}

/// Of one list: what is wrong in so many places is something else than actions.
const FAULTS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::super::lines::lines;
    use super::*;
    use proptest::prelude::*;

    fn word(text: &str) -> Word {
        let line = lines(&format!("\"{text}\"")).next().unwrap();
        line.words().unwrap().remove(0)
    }

    fn told(text: &str) -> String {
        match parse(&word(text)) {
            Ok(actions) => actions.iter().map(|action| format!("{action:?}")).collect::<Vec<_>>().join(" "),
            Err(faults) => faults
                .iter()
                .map(|fault| format!("{}: {}", fault.line, fault.message))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn actions_are_read() {
        for (from, want) in [
            ("", ""),
            ("id:'200000'", "Id(200000)"),
            ("id:1, phase:request,\tdeny , status:403,", "Id(1) Phase(2) Deny Status(403)"),
            ("phase:response,phase:LOGGING,phase:3", "Phase(4) Phase(5) Phase(3)"),
            (
                "severity:CRITICAL,severity:'2',severity:debug,severity:0",
                "Severity(2) Severity(2) Severity(7) Severity(0)",
            ),
            ("msg:'a, b: c\\'s'", "Msg(Template([Text(\"a, b: c's\")]))"),
            ("msg:a b ,pass", "Msg(Template([Text(\"a b\")])) Pass"),
            ("msg:'not closed, log", "Msg(Template([Text(\"not closed, log\")]))"),
            (r"msg:'a\d\\'", r#"Msg(Template([Text("a\\d\\\\")]))"#),
            ("logdata:'%{TX.0}: x'", "Logdata(Template([Variable(Tx, Some(\"0\")), Text(\": x\")]))"),
            (
                "tag:'attack-sqli',ver:'OWASP_CRS/4.28.0',rev:'2'",
                "Tag(\"attack-sqli\") Ver(\"OWASP_CRS/4.28.0\") Rev(\"2\")",
            ),
            ("maturity:'9',accuracy:8", "Told Told"),
            (
                "block,deny,drop,pass,log,nolog,auditlog,noauditlog,capture,chain,multimatch",
                "Block Deny Drop Pass Log NoLog AuditLog NoAuditLog Capture Chain MultiMatch",
            ),
            ("allow,allow:phase,allow:REQUEST", "Allow(All) Allow(Phase) Allow(Request)"),
            (
                "redirect:'http://%{request_headers.host}/'",
                "Redirect(Template([Text(\"http://\"), Variable(RequestHeaders, Some(\"host\")), Text(\"/\")]))",
            ),
            ("proxy:http://a", "Proxy(\"http://a\")"),
            ("skip:2,skipAfter:END-SAMPLING", "Skip(2) SkipAfter(\"END-SAMPLING\")"),
            ("setenv:a=%{tx.0}", "SetEnv(Template([Text(\"a\")]), Template([Variable(Tx, Some(\"0\"))]))"),
            ("setenv:a", "SetEnv(Template([Text(\"a\")]), Template([Text(\"1\")]))"),
            (
                "setuid:%{ARGS.user},setsid:a",
                "SetCollectionKey(User, Template([Variable(Args, Some(\"user\"))])) SetCollectionKey(Session, Template([Text(\"a\")]))",
            ),
            (
                "expirevar:'ip.x=%{tx.y}'",
                "ExpireVar(Ip, Template([Text(\"x\")]), Template([Variable(Tx, Some(\"y\"))]))",
            ),
            (
                "deprecatevar:session.score=60/300",
                "DeprecateVar(Session, Template([Text(\"score\")]), 60, 300)",
            ),
            ("initcol:global=global", "InitCol(Global, Template([Text(\"global\")]))"),
            (
                "initcol:ip=%{remote_addr}_%{tx.h}",
                "InitCol(Ip, Template([Variable(RemoteAddr, None), Text(\"_\"), Variable(Tx, Some(\"h\"))]))",
            ),
            (
                "t:none,t:LOWERCASE,t:normalisePath",
                "TransformationNone Transformation(lowercase) Transformation(normalizePath)",
            ),
            ("ctl:ruleEngine=Off", "Ctl(RuleEngine(Off))"),
            (
                "ctl:ruleRemoveTargetById=1;ARGS:x,pass",
                "Ctl(RuleRemoveTargetById(1, 1, Target { variable: Args, selector: Named(\"x\"), sense: Value })) Pass",
            ),
            (
                "exec:/a/b,sanitiseArg:password,xmlns:a=b,pause:1,sanitiseMatched",
                "Ignored(\"exec\") Ignored(\"sanitiseArg\") Ignored(\"xmlns\") Ignored(\"pause\") Ignored(\"sanitiseMatched\")",
            ),
        ] {
            assert_eq!(told(from), want, "{from}");
        }
    }

    #[test]
    fn variables_are_set() {
        let set = |value: &str| Change::Set(template::parse(value).unwrap());
        for (from, collection, name, change) in [
            ("tx.x", Variable::Tx, "x", set("1")),
            ("TX.x=2", Variable::Tx, "x", set("2")),
            ("tx.x=", Variable::Tx, "x", set("")),
            ("tx.x=a=b", Variable::Tx, "x", set("a=b")),
            ("tx.x=+5", Variable::Tx, "x", Change::Add(template::parse("5").unwrap())),
            ("tx.x=-%{tx.y}", Variable::Tx, "x", Change::Subtract(template::parse("%{tx.y}").unwrap())),
            ("!ip.x", Variable::Ip, "x", Change::Remove),
            (
                "tx.a_%{MATCHED_VAR_NAME}=%{MATCHED_VAR}",
                Variable::Tx,
                "a_%{MATCHED_VAR_NAME}",
                set("%{MATCHED_VAR}"),
            ),
            ("tx.%{ARGS.a=b}.c=d", Variable::Tx, "%{ARGS.a=b}.c", set("d")),
        ] {
            let want = SetVar { collection, name: template::parse(name).unwrap(), change };
            assert_eq!(setvar(from), Ok(want), "{from}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (from, want) in [
            ("id:x", "1: `id`: `x` is not a whole number"),
            ("id", "1: `id` needs a value"),
            ("id:''", "1: `id` needs a value"),
            ("phase:6", "1: `phase`: `6` is not 1 to 5, `request`, `response` or `logging`"),
            ("severity:CRITICL", "1: `severity`: unknown severity `CRITICL`; did you mean `CRITICAL`?"),
            ("status:99", "1: `status`: `99` is not a status of HTTP"),
            ("deny:1", "1: `deny` takes no value, and was given `1`"),
            ("allow:all", "1: `allow`: `all` is not `phase` or `request`"),
            ("msg:'a' b,pass", "1: a comma is missing before `b`"),
            ("setvar:x=1", "1: `setvar`: `x` is not `collection.name`"),
            ("setvar:args.x=1", "1: `setvar`: `args` is not a collection that rules write"),
            ("setvar:tx.=1", "1: `setvar`: `tx.` has no name after the dot"),
            ("expirevar:ip.x", "1: `expirevar`: `ip.x` has no `=`"),
            ("initcol:tx=a", "1: `initcol`: `TX` belongs to one request, and has no key"),
            ("msg:'%{tx.x} %{NOPE.x}'", "1: `msg`: unknown variable `NOPE`"),
            ("t:lowercas", "1: `t`: unknown transformation `lowercas`; did you mean `lowercase`?"),
            ("ctl:x=1", "1: unknown ctl `x`"),
            (
                "id:1,\\\n phase:2,\\\n chian,\\\n den",
                "3: unknown action `chian`; did you mean `chain`?; 4: unknown action `den`; did you mean `deny`?",
            ),
        ] {
            assert_eq!(told(from), want, "{from}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z:,'\\\\ =%{}.!+]{0,60}", more in ".{0,60}") {
            for text in [text, more] {
                let line = lines(&text).next();
                for word in line.and_then(|line| line.words().ok()).unwrap_or_default() {
                    drop(parse(&word));
                }
            }
        }
    }
}
