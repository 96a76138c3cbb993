// SPDX-License-Identifier: Apache-2.0
//! The directives, and what the words of each are.

use std::fmt;

use super::ast::{DirectiveKind, EngineMode, Rule, Target};
use super::error::{Fault, shown, unknown};
use super::lines::Word;
use super::{actions, operator, targets};

/// A directive that rule files may have.
pub struct DirectiveRow {
    /// As files write it, in whatever case.
    pub name: &'static str,
    /// What follows it.
    pub arguments: &'static str,
    /// How many words that is: the least and the most.
    counts: (usize, usize),
    pub(super) reading: Reading,
}

impl DirectiveRow {
    /// Why it has no effect: it is known only so that files which have it can be used, and warned of. `None`: it has one.
    pub const fn ignored_because(&self) -> Option<&'static str> {
        match self.reading {
            Reading::Ignored(_, why) => Some(why),
            _ => None,
        }
    }

    /// Whether rules that have it are refused.
    pub const fn is_refused(&self) -> bool {
        matches!(self.reading, Reading::Refused)
    }

    pub(super) fn check_count(&self, count: usize) -> Result<(), String> {
        let (least, most) = self.counts;
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let given = match count {
            0 => "nothing".to_owned(),
            1 => "1 argument".to_owned(),
            _ => format!("{count} arguments"),
        };
        Err(format!("`{}` takes {}, and was given {given}", self.name, self.arguments))
    }
}

impl fmt::Debug for DirectiveRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.arguments)
    }
}

/// How the words of a directive are read.
pub(super) enum Reading {
    /// Into what it says.
    Kind(fn(&[Word]) -> Result<DirectiveKind, Vec<Fault>>),
    /// It names other files with rules. Whether there may be none.
    Include { is_optional: bool },
    /// It names a file with a map.
    UnicodeMap,
    /// Nothing becomes of it, and why; what would be wrong elsewhere is told nevertheless.
    Ignored(Check, &'static str),
    /// Without what it asks for, rules would not do what they say.
    Refused,
}

/// What the word of an ignored directive must be.
pub(super) enum Check {
    Anything,
    Number,
    OneOf(&'static [&'static str]),
}

impl Check {
    pub(super) fn check(&self, words: &[Word]) -> Result<(), Fault> {
        let Some(word) = words.first() else {
            return Ok(());
        };
        let checked = match self {
            Self::Anything => Ok(()),
            Self::Number => number(&word.text).map(drop),
            Self::OneOf(known) => one_of(&word.text, known).map(drop),
        };
        checked.map_err(|message| word.fault(message))
    }
}

/// By its name, if there is one.
pub(super) fn known(name: &str) -> Option<&'static DirectiveRow> {
    DIRECTIVES.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

/// By its name.
pub(super) fn find(name: &str) -> Result<&'static DirectiveRow, String> {
    if let Some(row) = known(name) {
        return Ok(row);
    }
    if name.starts_with('<') {
        return Err(format!("sections of Apache's configuration, as `{}`, are not supported", shown(name)));
    }
    Err(unknown("directive", name, DIRECTIVES.iter().map(|row| row.name)))
}

const fn kind(
    name: &'static str,
    arguments: &'static str,
    counts: (usize, usize),
    read: fn(&[Word]) -> Result<DirectiveKind, Vec<Fault>>,
) -> DirectiveRow {
    DirectiveRow { name, arguments, counts, reading: Reading::Kind(read) }
}

const fn ignored(
    name: &'static str,
    arguments: &'static str,
    counts: (usize, usize),
    why: &'static str,
) -> DirectiveRow {
    DirectiveRow { name, arguments, counts, reading: Reading::Ignored(Check::Anything, why) }
}

const fn ignored_number(name: &'static str, why: &'static str) -> DirectiveRow {
    DirectiveRow { name, arguments: "NUMBER", counts: (1, 1), reading: Reading::Ignored(Check::Number, why) }
}

const fn ignored_choice(
    name: &'static str,
    arguments: &'static str,
    known: &'static [&'static str],
    why: &'static str,
) -> DirectiveRow {
    DirectiveRow { name, arguments, counts: (1, 1), reading: Reading::Ignored(Check::OneOf(known), why) }
}

const fn ignored_switch(name: &'static str, why: &'static str) -> DirectiveRow {
    ignored_choice(name, "On|Off", &["On", "Off"], why)
}

const fn refused(name: &'static str, arguments: &'static str) -> DirectiveRow {
    DirectiveRow { name, arguments, counts: (0, usize::MAX), reading: Reading::Refused }
}

/// Why a directive has no effect: who decides instead.
mod why {
    pub(super) const AUDIT: &str = "what is recorded, and where, is decided by `[audit]`";
    pub(super) const LOG: &str = "what is logged is decided by `telemetry.log_level`";
    pub(super) const BODIES: &str = "how much of a body is looked at is decided by `waf.max_inspected_body_bytes`, what is done with a longer one by \
         `waf.on_oversized_body`";
    pub(super) const ARGUMENTS: &str =
        "how many arguments and parts are looked at is decided by `waf.max_parameters`";
    pub(super) const BUDGET: &str = "what happens when rules take too long is decided by `waf.on_budget`";
    pub(super) const LINEAR: &str =
        "expressions take time linear in the value, and `waf.regex_budget_ms` bounds all of them together";
    pub(super) const LIMITS: &str = "connections are bounded by `[limits]`";
    pub(super) const PLATFORM: &str = "the node is named by `[platform]`";
    pub(super) const SERVER: &str = "the node is set up by its own configuration";
    pub(super) const MEMORY: &str = "collections are kept in memory";
    pub(super) const UPLOADS: &str = "no body is written to a file";
    pub(super) const LOOKUPS: &str = "no request waits for a look-up";
    pub(super) const ANSWERS: &str = "rules change no bodies";
    pub(super) const CODINGS: &str = "compressed answers are decoded before rules look at them";
    pub(super) const COOKIES: &str = "cookies are separated by `;`";
    pub(super) const HASHES: &str = "links are not signed";
    pub(super) const REFUSES: &str = "rules that are wrong are always refused";
    pub(super) const FILES: &str = "rules come from files alone";
    pub(super) const XML: &str = "XML stands in `XML` alone";
    pub(super) const ENTITIES: &str = "external entities are never read";
    pub(super) const ONE_SET: &str = "all routes have the same rules";
    pub(super) const STATISTICS: &str = "`sunbeam waf stats` has the times of rules";
    pub(super) const ALWAYS_SHARED: &str = "transformed values are always shared between rules";
    pub(super) const FILTER: &str = "there is always a filter, and it never changes a result";
    pub(super) const NOT_REPORTED: &str = "nothing is reported to anybody";
}

/// All.
pub static DIRECTIVES: &[DirectiveRow] = &[
    kind("SecRule", "VARIABLES OPERATOR [ACTIONS]", (2, 3), rule),
    kind("SecAction", "ACTIONS", (1, 1), |words| Ok(DirectiveKind::Action(actions::parse(word(words, 0)?)?))),
    kind("SecMarker", "NAME", (1, 1), |words| text(words, 0).map(DirectiveKind::Marker)),
    kind("SecDefaultAction", "ACTIONS", (1, 1), |words| {
        Ok(DirectiveKind::DefaultAction(actions::parse(word(words, 0)?)?))
    }),
    kind("SecRuleRemoveById", "ID …", (1, usize::MAX), |words| {
        words_as(words, id_ranges_of).map(DirectiveKind::RemoveById)
    }),
    kind("SecRuleRemoveByTag", "EXPRESSION", (1, 1), |words| text(words, 0).map(DirectiveKind::RemoveByTag)),
    kind("SecRuleRemoveByMsg", "EXPRESSION", (1, 1), |words| text(words, 0).map(DirectiveKind::RemoveByMsg)),
    kind("SecRuleUpdateTargetById", "ID VARIABLES [REPLACED]", (2, 3), |words| {
        let ids = word_as(words, 0, |word| id_ranges([word]))?;
        Ok(match update(words)? {
            (with, None) => DirectiveKind::UpdateTargetById(ids, with),
            (with, Some(replaced)) => DirectiveKind::ReplaceTargetById(ids, with, replaced),
        })
    }),
    kind("SecRuleUpdateTargetByTag", "EXPRESSION VARIABLES [REPLACED]", (2, 3), |words| {
        let tag = text(words, 0)?;
        Ok(match update(words)? {
            (with, None) => DirectiveKind::UpdateTargetByTag(tag, with),
            (with, Some(replaced)) => DirectiveKind::ReplaceTargetByTag(tag, with, replaced),
        })
    }),
    kind("SecRuleUpdateTargetByMsg", "EXPRESSION VARIABLES [REPLACED]", (2, 3), |words| {
        let msg = text(words, 0)?;
        Ok(match update(words)? {
            (with, None) => DirectiveKind::UpdateTargetByMsg(msg, with),
            (with, Some(replaced)) => DirectiveKind::ReplaceTargetByMsg(msg, with, replaced),
        })
    }),
    kind("SecRuleUpdateActionById", "ID ACTIONS", (2, 2), |words| {
        let id = word_as(words, 0, number)?;
        Ok(DirectiveKind::UpdateActionById(id, actions::parse(word(words, 1)?)?))
    }),
    kind("SecComponentSignature", "TEXT", (1, 1), |words| {
        text(words, 0).map(DirectiveKind::ComponentSignature)
    }),
    kind("SecRuleEngine", "On|Off|DetectionOnly", (1, 1), |words| {
        word_as(words, 0, engine_mode).map(DirectiveKind::Engine)
    }),
    kind("SecRequestBodyAccess", "On|Off", (1, 1), |words| {
        word_as(words, 0, switch).map(DirectiveKind::RequestBodyAccess)
    }),
    kind("SecResponseBodyAccess", "On|Off", (1, 1), |words| {
        word_as(words, 0, switch).map(DirectiveKind::ResponseBodyAccess)
    }),
    ignored_number("SecRequestBodyLimit", why::BODIES),
    ignored_number("SecRequestBodyNoFilesLimit", why::BODIES),
    ignored_choice(
        "SecRequestBodyLimitAction",
        "Reject|ProcessPartial",
        &["Reject", "ProcessPartial"],
        why::BODIES,
    ),
    kind("SecResponseBodyLimit", "BYTES", (1, 1), |words| {
        word_as(words, 0, number).map(DirectiveKind::ResponseBodyLimit)
    }),
    kind("SecResponseBodyLimitAction", "Reject|ProcessPartial", (1, 1), |words| {
        word_as(words, 0, rejects).map(DirectiveKind::ResponseBodyLimitRejects)
    }),
    kind("SecResponseBodyMimeType", "TYPE …", (1, usize::MAX), |words| {
        let types = words.iter().flat_map(|word| word.text.split_ascii_whitespace());
        Ok(DirectiveKind::ResponseBodyMimeTypes(types.map(str::to_owned).collect()))
    }),
    kind("SecResponseBodyMimeTypesClear", "nothing", (0, 0), |_| {
        Ok(DirectiveKind::ResponseBodyMimeTypesClear)
    }),
    kind("SecRequestBodyJsonDepthLimit", "NUMBER", (1, 1), |words| {
        word_as(words, 0, number).map(DirectiveKind::JsonDepthLimit)
    }),
    ignored_number("SecArgumentsLimit", why::ARGUMENTS),
    kind("SecArgumentSeparator", "CHARACTER", (1, 1), |words| {
        word_as(words, 0, one_byte).map(DirectiveKind::ArgumentSeparator)
    }),
    kind("SecCookieFormat", "0|1", (1, 1), |words| {
        word_as(words, 0, cookie_format).map(DirectiveKind::CookieFormat)
    }),
    kind("SecCollectionTimeout", "SECONDS", (1, 1), |words| {
        word_as(words, 0, number).map(DirectiveKind::CollectionTimeout)
    }),
    DirectiveRow {
        name: "Include",
        arguments: "FILES",
        counts: (1, 1),
        reading: Reading::Include { is_optional: false },
    },
    DirectiveRow {
        name: "IncludeOptional",
        arguments: "FILES",
        counts: (1, 1),
        reading: Reading::Include { is_optional: true },
    },
    DirectiveRow {
        name: "SecUnicodeMapFile",
        arguments: "FILE CODE_PAGE",
        counts: (2, 2),
        reading: Reading::UnicodeMap,
    },
    ignored_choice("SecAuditEngine", "On|Off|RelevantOnly", &["On", "Off", "RelevantOnly"], why::AUDIT),
    ignored("SecAuditLog", "FILE", (1, 1), why::AUDIT),
    ignored("SecAuditLog2", "FILE", (1, 1), why::AUDIT),
    ignored("SecAuditLogDir", "FOLDER", (1, 1), why::AUDIT),
    ignored("SecAuditLogDirMode", "MODE", (1, 1), why::AUDIT),
    ignored("SecAuditLogFileMode", "MODE", (1, 1), why::AUDIT),
    ignored_choice(
        "SecAuditLogFormat",
        "JSON|JsonLegacy|Native|OCSF",
        &["JSON", "JsonLegacy", "Native", "OCSF"],
        why::AUDIT,
    ),
    ignored("SecAuditLogParts", "LETTERS", (1, 1), why::AUDIT),
    ignored("SecAuditLogPrefix", "TEXT", (1, 1), why::AUDIT),
    ignored("SecAuditLogRelevantStatus", "EXPRESSION", (1, 1), why::AUDIT),
    ignored("SecAuditLogStorageDir", "FOLDER", (1, 1), why::AUDIT),
    ignored_choice(
        "SecAuditLogType",
        "Serial|Concurrent|Parallel|HTTPS|Syslog",
        &["Serial", "Concurrent", "Parallel", "HTTPS", "Syslog"],
        why::AUDIT,
    ),
    ignored_switch("SecCacheTransformations", why::ALWAYS_SHARED),
    ignored("SecChrootDir", "FOLDER", (1, 1), why::SERVER),
    ignored_choice("SecConnEngine", "On|Off|DetectionOnly", &["On", "Off", "DetectionOnly"], why::LIMITS),
    ignored("SecConnReadStateLimit", "NUMBER [OPERATOR]", (1, 2), why::LIMITS),
    ignored("SecConnWriteStateLimit", "NUMBER [OPERATOR]", (1, 2), why::LIMITS),
    ignored_switch("SecContentInjection", why::ANSWERS),
    ignored("SecCookieV0Separator", "CHARACTER", (1, 1), why::COOKIES),
    ignored("SecDataDir", "FOLDER", (1, 1), why::MEMORY),
    ignored("SecDebugLog", "FILE", (1, 1), why::LOG),
    ignored_number("SecDebugLogLevel", why::LOG),
    ignored_switch("SecDisableBackendCompression", why::CODINGS),
    ignored("SecGeoLookupDb", "FILE", (1, 1), why::LOOKUPS),
    ignored("SecGsbLookupDb", "FILE", (1, 1), why::LOOKUPS),
    ignored("SecGuardianLog", "FILE", (1, 2), why::LOG),
    ignored_switch("SecHashEngine", why::HASHES),
    ignored("SecHashKey", "TEXT [TEXT]", (1, 2), why::HASHES),
    ignored("SecHashMethodPm", "KIND TEXT", (2, 2), why::HASHES),
    ignored("SecHashMethodRx", "KIND EXPRESSION", (2, 2), why::HASHES),
    ignored("SecHashParam", "TEXT", (1, 1), why::HASHES),
    ignored("SecHttpBlKey", "TEXT", (1, 1), why::LOOKUPS),
    ignored_switch("SecIgnoreRuleCompilationErrors", why::REFUSES),
    ignored_switch("SecInterceptOnError", why::BUDGET),
    ignored_choice("SecParseXmlIntoArgs", "On|Off|OnlyArgs", &["On", "Off", "OnlyArgs"], why::XML),
    ignored_number("SecPcreMatchLimit", why::LINEAR),
    ignored_number("SecPcreMatchLimitRecursion", why::LINEAR),
    ignored("SecReadStateLimit", "NUMBER [OPERATOR]", (1, 2), why::LIMITS),
    ignored_choice("SecRemoteRulesFailAction", "Abort|Warn", &["Abort", "Warn"], why::FILES),
    ignored_number("SecRemoteTimeout", why::FILES),
    ignored_number("SecRequestBodyInMemoryLimit", why::BODIES),
    ignored_switch("SecRuleInheritance", why::ONE_SET),
    ignored_number("SecRulePerfTime", why::STATISTICS),
    ignored_switch("SecRxPreFilter", why::FILTER),
    ignored("SecSensorId", "TEXT", (1, 1), why::PLATFORM),
    ignored("SecServerSignature", "TEXT", (1, 1), why::SERVER),
    ignored_switch("SecStatusEngine", why::NOT_REPORTED),
    ignored_switch("SecStreamInBodyInspection", why::ANSWERS),
    ignored_switch("SecStreamOutBodyInspection", why::ANSWERS),
    ignored("SecTmpDir", "FOLDER", (1, 1), why::UPLOADS),
    ignored_switch("SecTmpSaveUploadedFiles", why::UPLOADS),
    ignored("SecUploadDir", "FOLDER", (1, 1), why::UPLOADS),
    ignored_number("SecUploadFileLimit", why::ARGUMENTS),
    ignored("SecUploadFileMode", "MODE", (1, 1), why::UPLOADS),
    ignored_choice("SecUploadKeepFiles", "On|Off|RelevantOnly", &["On", "Off", "RelevantOnly"], why::UPLOADS),
    ignored("SecWebAppId", "TEXT", (1, 1), why::PLATFORM),
    ignored("SecWriteStateLimit", "NUMBER [OPERATOR]", (1, 2), why::LIMITS),
    ignored_switch("SecXmlExternalEntity", why::ENTITIES),
    refused("SecDataset", "NAME ITEMS"),
    refused("SecRemoteRules", "KEY URL"),
    refused("SecRuleScript", "FILE [ACTIONS]"),
];

fn rule(words: &[Word]) -> Result<DirectiveKind, Vec<Fault>> {
    let targets = word_as(words, 0, targets::parse);
    let operator = word_as(words, 1, operator::parse);
    let actions = words.get(2).map_or_else(|| Ok(Vec::new()), actions::parse);
    match (targets, operator, actions) {
        (Ok(targets), Ok(operator), Ok(actions)) => {
            Ok(DirectiveKind::Rule(Rule { targets, operator, actions }))
        }
        (targets, operator, actions) => {
            let faults = [targets.err(), operator.err(), actions.err()];
            Err(faults.into_iter().flatten().flatten().collect())
        }
    }
}

/// The targets that an update adds, and those that it replaces.
type Update = (Vec<Target>, Option<Vec<Target>>);

fn update(words: &[Word]) -> Result<Update, Vec<Fault>> {
    let with = word_as(words, 1, targets::parse)?;
    let replaced = match words.get(2) {
        Some(_) => Some(word_as(words, 2, targets::parse)?),
        None => None,
    };
    Ok((with, replaced))
}

fn word(words: &[Word], at: usize) -> Result<&Word, Vec<Fault>> {
    // How many there are was checked before.
    words.get(at).ok_or_else(|| vec![Fault::new(0, "an argument is missing")])
}

fn text(words: &[Word], at: usize) -> Result<String, Vec<Fault>> {
    word_as(words, at, |text| {
        if text.is_empty() { Err("the argument is empty".into()) } else { Ok(text.to_owned()) }
    })
}

fn word_as<T>(words: &[Word], at: usize, read: impl Fn(&str) -> Result<T, String>) -> Result<T, Vec<Fault>> {
    let word = word(words, at)?;
    read(&word.text).map_err(|message| vec![word.fault(message)])
}

fn words_as<T>(words: &[Word], read: fn(&[Word]) -> Result<T, Fault>) -> Result<T, Vec<Fault>> {
    read(words).map_err(|fault| vec![fault])
}

fn id_ranges_of(words: &[Word]) -> Result<Vec<(u64, u64)>, Fault> {
    let mut ranges = Vec::new();
    for word in words {
        ranges.extend(id_ranges([word.text.as_str()]).map_err(|message| word.fault(message))?);
    }
    Ok(ranges)
}

/// `1 2-5`, with blanks or commas between; at least one.
pub(super) fn id_ranges<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<(u64, u64)>, String> {
    let mut ranges = Vec::new();
    for text in texts {
        for part in text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|part| !part.is_empty())
        {
            ranges.push(id_range(part)?);
        }
    }
    if ranges.is_empty() { Err("no rule is named".into()) } else { Ok(ranges) }
}

fn id_range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => number(text).map(|only| (only, only))?,
    };
    if first > last {
        return Err(format!("`{}` ends before it begins", shown(text)));
    }
    Ok((first, last))
}

pub(super) fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits).ok_or_else(|| format!("`{}` is not a whole number", shown(text)))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    one_of(text, &["On", "Off"]).map(|at| at == 0)
}

pub(super) fn engine_mode(text: &str) -> Result<EngineMode, String> {
    Ok(match one_of(text, &["On", "Off", "DetectionOnly"])? {
        0 => EngineMode::On,
        1 => EngineMode::Off,
        _ => EngineMode::DetectionOnly,
    })
}

fn rejects(text: &str) -> Result<bool, String> {
    one_of(text, &["Reject", "ProcessPartial"]).map(|at| at == 0)
}

fn cookie_format(text: &str) -> Result<u8, String> {
    one_of(text, &["0", "1"]).map(|at| u8::from(at == 1))
}

fn one_byte(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(format!("`{}` is not one character of ASCII", shown(text))),
    }
}

/// Which of the words it is, in whatever case.
fn one_of(text: &str, known: &[&str]) -> Result<usize, String> {
    let text = text.trim();
    known.iter().position(|word| word.eq_ignore_ascii_case(text)).ok_or_else(|| {
        let choices: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
        format!("`{}` is not one of {}", shown(text), choices.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directive_is_listed_twice() {
        let mut names: Vec<_> = DIRECTIVES.iter().map(|row| row.name.to_ascii_lowercase()).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn ranges_of_rules_are_read() {
        for (from, want) in [
            ("1", Ok(vec![(1, 1)])),
            ("200000-200010 300000", Ok(vec![(200_000, 200_010), (300_000, 300_000)])),
            ("1,2-3", Ok(vec![(1, 1), (2, 3)])),
            ("", Err("no rule is named")),
            ("a", Err("`a` is not a whole number")),
            ("+1", Err("`+1` is not a whole number")),
            ("1-", Err("`` is not a whole number")),
            ("12345:1", Err("`12345:1` is not a whole number")),
            ("18446744073709551616", Err("`18446744073709551616` is not a whole number")),
        ] {
            assert_eq!(id_ranges([from]), want.map_err(str::to_owned), "{from}");
        }
    }
}
