// SPDX-License-Identifier: Apache-2.0
//! What a rule changes of the engine for one request: `ctl:ruleRemoveTargetById=942100;ARGS:x`.

use super::ast::{BodyProcessor, Ctl, Sense, Target};
use super::directives::{engine_mode, id_ranges, switch};
use super::error::{shown, unknown};
use super::targets;

/// Reads `NAME=VALUE`. Several, where several rules or targets are named.
pub(super) fn parse(text: &str) -> Result<Vec<Ctl>, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("`ctl:{}` has no `=`", shown(text)));
    };
    let name = name.trim();
    let Some(row) = CTLS.iter().find(|row| row.name.eq_ignore_ascii_case(name)) else {
        return Err(unknown("ctl", name, CTLS.iter().map(|row| row.name)));
    };
    let value = value.trim();
    if value.is_empty() {
        return Err(format!("`ctl:{}` has no value", row.name));
    }
    match row.read {
        Read::One(read) => read(value).map(|one| vec![one]),
        Read::Several(read) => read(value),
        Read::Ignored => Ok(vec![Ctl::Ignored(row.name)]),
    }
    .map_err(|message| format!("`ctl:{}`: {message}", row.name))
}

struct Row {
    name: &'static str,
    read: Read,
}

enum Read {
    One(fn(&str) -> Result<Ctl, String>),
    Several(fn(&str) -> Result<Vec<Ctl>, String>),
    Ignored,
}

const fn one(name: &'static str, read: fn(&str) -> Result<Ctl, String>) -> Row {
    Row { name, read: Read::One(read) }
}

const fn several(name: &'static str, read: fn(&str) -> Result<Vec<Ctl>, String>) -> Row {
    Row { name, read: Read::Several(read) }
}

const fn ignored(name: &'static str) -> Row {
    Row { name, read: Read::Ignored }
}

static CTLS: &[Row] = &[
    one("ruleEngine", |value| engine_mode(value).map(Ctl::RuleEngine)),
    several("ruleRemoveById", |value| {
        let ranges = id_ranges([value])?;
        Ok(ranges.into_iter().map(|(first, last)| Ctl::RuleRemoveById(first, last)).collect())
    }),
    one("ruleRemoveByTag", |value| Ok(Ctl::RuleRemoveByTag(value.to_owned()))),
    one("ruleRemoveByMsg", |value| Ok(Ctl::RuleRemoveByMsg(value.to_owned()))),
    several("ruleRemoveTargetById", |value| {
        let (ids, targets) = rules_and_targets(value)?;
        let ranges = id_ranges([ids])?;
        if ranges.len().saturating_mul(targets.len()) > PAIRS_MAX {
            return Err(format!("more than {PAIRS_MAX} rules and targets"));
        }
        let pairs = ranges.iter().flat_map(|(first, last)| {
            targets.iter().map(|target| Ctl::RuleRemoveTargetById(*first, *last, target.clone()))
        });
        Ok(pairs.collect())
    }),
    several("ruleRemoveTargetByTag", |value| {
        let (tag, targets) = rules_and_targets(value)?;
        Ok(targets.into_iter().map(|target| Ctl::RuleRemoveTargetByTag(tag.to_owned(), target)).collect())
    }),
    several("ruleRemoveTargetByMsg", |value| {
        let (msg, targets) = rules_and_targets(value)?;
        Ok(targets.into_iter().map(|target| Ctl::RuleRemoveTargetByMsg(msg.to_owned(), target)).collect())
    }),
    one("requestBodyProcessor", |value| body_processor(value).map(Ctl::RequestBodyProcessor)),
    one("forceRequestBodyVariable", |value| switch(value).map(Ctl::ForceRequestBodyVariable)),
    one("requestBodyAccess", |value| switch(value).map(Ctl::RequestBodyAccess)),
    one("responseBodyAccess", |value| switch(value).map(Ctl::ResponseBodyAccess)),
    one("auditEngine", |_| Ok(Ctl::OfLogs)),
    one("auditLogParts", |_| Ok(Ctl::OfLogs)),
    one("debugLogLevel", |_| Ok(Ctl::OfLogs)),
    ignored("forceResponseBodyVariable"),
    ignored("hashEnforcement"),
    ignored("hashEngine"),
    ignored("parseXmlIntoArgs"),
    ignored("requestBodyLimit"),
    ignored("responseBodyLimit"),
    ignored("responseBodyProcessor"),
];

/// `RULES;TARGETS`
fn rules_and_targets(value: &str) -> Result<(&str, Vec<Target>), String> {
    let Some((rules, targets)) = value.split_once(';') else {
        return Err(format!("`{}` names no target after `;`", shown(value)));
    };
    let rules = rules.trim();
    if rules.is_empty() {
        return Err(format!("`{}` names no rule before `;`", shown(value)));
    }
    let targets = targets::parse(targets)?;
    if targets.iter().any(|target| target.sense != Sense::Value) {
        return Err("a target that is taken away has no `!` or `&`".to_owned());
    }
    Ok((rules, targets))
}

fn body_processor(value: &str) -> Result<BodyProcessor, String> {
    use BodyProcessor::{Json, Multipart, UrlEncoded, Xml};
    let known = [UrlEncoded, Multipart, Json, Xml];
    known
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(value))
        .ok_or_else(|| unknown("body processor", value, known.into_iter().map(BodyProcessor::as_str)))
}

/// Of one `ctl`.
const PAIRS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_read() {
        for (from, want) in [
            ("ruleEngine=Off", "[RuleEngine(Off)]"),
            ("ruleEngine = detectiononly", "[RuleEngine(DetectionOnly)]"),
            ("ruleRemoveById=1", "[RuleRemoveById(1, 1)]"),
            ("ruleRemoveById=920000-920999", "[RuleRemoveById(920000, 920999)]"),
            ("ruleRemoveById=1 3-4", "[RuleRemoveById(1, 1), RuleRemoveById(3, 4)]"),
            ("ruleRemoveByTag=OWASP_CRS", "[RuleRemoveByTag(\"OWASP_CRS\")]"),
            ("ruleRemoveByMsg=a b", "[RuleRemoveByMsg(\"a b\")]"),
            (
                "ruleRemoveTargetById=1-5;ARGS:x",
                "[RuleRemoveTargetById(1, 5, Target { variable: Args, selector: Named(\"x\"), sense: Value })]",
            ),
            (
                "ruleRemoveTargetByTag=OWASP_CRS;ARGS:/x;y/",
                "[RuleRemoveTargetByTag(\"OWASP_CRS\", Target { variable: Args, selector: Matching(\"x;y\"), sense: Value })]",
            ),
            (
                "ruleRemoveTargetByMsg=a b;ARGS_NAMES",
                "[RuleRemoveTargetByMsg(\"a b\", Target { variable: ArgsNames, selector: All, sense: Value })]",
            ),
            ("requestBodyProcessor=xml", "[RequestBodyProcessor(Xml)]"),
            ("forceRequestBodyVariable=On", "[ForceRequestBodyVariable(true)]"),
            ("requestBodyAccess=Off", "[RequestBodyAccess(false)]"),
            ("requestBodyLimit=1073741824", "[Ignored(\"requestBodyLimit\")]"),
            ("auditLogParts=+E", "[OfLogs]"),
        ] {
            assert_eq!(parse(from).map(|found| format!("{found:?}")), Ok(want.to_owned()), "{from}");
        }
        assert_eq!(parse("ruleRemoveTargetById=1 2;ARGS:a|ARGS:b").unwrap().len(), 4);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, want) in [
            ("ruleEngine", "`ctl:ruleEngine` has no `=`"),
            ("ruleEngin=Off", "unknown ctl `ruleEngin`; did you mean `ruleEngine`?"),
            ("ruleEngine=", "`ctl:ruleEngine` has no value"),
            ("ruleEngine=of", "`ctl:ruleEngine`: `of` is not one of `On`, `Off`, `DetectionOnly`"),
            ("ruleRemoveById=5-1", "`ctl:ruleRemoveById`: `5-1` ends before it begins"),
            ("ruleRemoveTargetById=1", "`ctl:ruleRemoveTargetById`: `1` names no target after `;`"),
            ("ruleRemoveTargetByTag=;ARGS", "`ctl:ruleRemoveTargetByTag`: `;ARGS` names no rule before `;`"),
            (
                "ruleRemoveTargetById=1;!ARGS",
                "`ctl:ruleRemoveTargetById`: a target that is taken away has no `!` or `&`",
            ),
            (
                "requestBodyProcessor=JSN",
                "`ctl:requestBodyProcessor`: unknown body processor `JSN`; did you mean `JSON`?",
            ),
        ] {
            assert_eq!(parse(from).map(drop), Err(want.to_owned()), "{from}");
        }
    }
}
