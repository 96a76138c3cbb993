// SPDX-License-Identifier: Apache-2.0
//! What somebody beside the rules does not want looked at: one field of a request, by some rules, as
//! `ctl:ruleRemoveTargetById` says it. Which of it made a difference is told.

use std::sync::Arc;

use super::evaluate::Run;
use super::state::{Item, State};
use super::{SCORE_RULES, Transaction};
use crate::compile::{Except, Exception, Link, Picks, RuleSet};
use crate::filter::index::is_set;
use crate::seclang::ast::Variable;

/// A field that some rules of one set do not look at.
#[derive(Clone, Debug)]
pub struct TargetException(Arc<Exception>);

impl RuleSet {
    /// These rules and that target, as a [`Finding`](super::Finding) names it. `None`: the set has none of the rules, or
    /// it is no [field](is_field).
    pub fn target_exception(&self, ids: &[u64], target: &str) -> Option<TargetException> {
        let (variable, name) = field(target)?;
        let mut rules = vec![0_u64; self.rules.len().div_ceil(64)];
        let mut is_any = false;
        for (number, rule) in self.rules.iter().enumerate() {
            if ids.contains(&rule.id)
                && let Some(word) = rules.get_mut(number / 64)
            {
                *word |= 1 << (number % 64);
                is_any = true;
            }
        }
        let picks = match name {
            Some(name) => Picks::Named(name.to_ascii_lowercase().into_bytes().into()),
            None => Picks::All,
        };
        let except = Except { variable, picks };
        is_any.then(|| TargetException(Arc::new(Exception { rules: rules.into(), except })))
    }
}

impl Transaction {
    /// Rules are not to look at something in this request; after [`Self::begin`]. `number` is what [`Self::excepted`]
    /// tells.
    pub fn except(&mut self, exception: &TargetException, number: u16) {
        self.state.granted.push((Arc::clone(&exception.0), number));
    }

    /// The exceptions without which a rule's condition would have held, each once.
    pub fn excepted(&self) -> &[u16] {
        &self.state.used
    }
}

/// Whether a rule only holds the score against its threshold: it finds nothing of its own.
pub fn is_score_rule(id: u64) -> bool {
    SCORE_RULES.contains(&id)
}

/// Whether a finding's target is one field of a request: `ARGS:name`, `REQUEST_BODY`. A number of TX is none, and a
/// whole collection neither.
pub fn is_field(target: &str) -> bool {
    field(target).is_some()
}

fn field(target: &str) -> Option<(Variable, Option<&str>)> {
    use Variable::{
        Args, ArgsGet, ArgsGetNames, ArgsNames, ArgsPost, ArgsPostNames, Files, FilesNames, MatchedVars,
        MultipartFilename, MultipartName, QueryString, RequestBasename, RequestBody, RequestCookies,
        RequestCookiesNames, RequestFilename, RequestHeaders, RequestHeadersNames, RequestLine, RequestUri,
        RequestUriRaw, Xml,
    };
    let (variable, name) = match target.split_once(':') {
        Some((variable, name)) => (Variable::parse(variable)?, Some(name)),
        None => (Variable::parse(target)?, None),
    };
    let is_field = match variable {
        QueryString | RequestBasename | RequestBody | RequestFilename | RequestLine | RequestUri
        | RequestUriRaw => name.is_none(),
        Args | ArgsGet | ArgsPost | ArgsNames | ArgsGetNames | ArgsPostNames | RequestCookies
        | RequestCookiesNames | RequestHeaders | RequestHeadersNames | Files | FilesNames
        | MultipartFilename | MultipartName | MatchedVars | Xml => name.is_some(),
        _ => false,
    };
    is_field.then_some((variable, name))
}

impl State {
    /// Whether a value is not to be looked at; where it `is_asked`, also whether that made a difference.
    pub(super) fn is_granted(
        &mut self,
        run: Run<'_>,
        number: u32,
        link: &Link,
        item: Item,
        is_asked: bool,
    ) -> bool {
        let Some(exception) = self.granted_of(run.rules, number, item) else { return false };
        if !is_asked {
            return true;
        }
        let steps = if link.steps.is_empty() { std::slice::from_ref(&link.node) } else { &*link.steps };
        for step in steps {
            let value = self.texts.changed(run.rules, item.value, *step);
            self.note_used(run, link, Item { value, ..item }, exception);
        }
        true
    }

    /// The same, of a value in a form that the rule looks at.
    pub(super) fn is_granted_in(&mut self, run: Run<'_>, number: u32, link: &Link, item: Item) -> bool {
        if self.granted.is_empty() {
            return false;
        }
        let Some(exception) = self.granted_of(run.rules, number, item) else { return false };
        self.note_used(run, link, item, exception);
        true
    }

    fn granted_of(&self, rules: &RuleSet, number: u32, item: Item) -> Option<u16> {
        let mut granted = self.granted.iter();
        let is_meant =
            |known: &Exception| is_set(&known.rules, number) && self.is_meant(rules, &known.except, item);
        granted.find(|(known, _)| is_meant(known)).map(|(_, exception)| *exception)
    }

    fn note_used(&mut self, run: Run<'_>, link: &Link, item: Item, exception: u16) {
        if !self.used.contains(&exception) && self.holds(run, link, item.value).is_some() {
            self.used.push(exception);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RequestHead;
    use super::super::statistics::tests::Text;
    use super::*;
    use crate::seclang::load;

    const RULES: &str = "SecRule ARGS \"@rx evil\" \"id:1,phase:1,pass,log\"\n\
                         SecRule ARGS \"@contains evil\" \"id:2,phase:1,pass,log,t:lowercase\"\n\
                         SecRule REQUEST_URI \"@rx evil\" \"id:3,phase:1,pass,log\"\n\
                         SecRule ARGS \"@rx evil\" \"id:4,phase:1,pass,log,chain\"\n SecRule MATCHED_VARS \"@rx ev\" \"\"\n";

    fn found(exceptions: &[(&[u64], &str)], filters: bool, target: &str) -> (Vec<(u64, String)>, Vec<u16>) {
        let text = Text(RULES);
        let rules = Arc::new(RuleSet::new(&load(&text, &["x.conf"]).unwrap(), &text).unwrap());
        let mut transaction = Transaction::new(Arc::clone(&rules));
        transaction.begin(&rules);
        if !filters {
            transaction.without_filter();
        }
        for (number, (ids, target)) in (0..).zip(exceptions) {
            transaction.except(&rules.target_exception(ids, target).unwrap(), number);
        }
        let head =
            RequestHead { method: b"GET", target: target.as_bytes(), protocol: b"", headers: &[], id: "1" };
        transaction.request_head(&head);
        let told = transaction.findings().iter();
        let told = told.map(|finding| (rules.rules()[finding.rule as usize].id, finding.target.clone()));
        (told.collect(), transaction.excepted().to_vec())
    }

    #[test]
    fn a_field_is_left_out_of_some_rules_and_nothing_else_is() {
        let pair = |id, target: &str| (id, target.to_owned());
        for filters in [true, false] {
            let all = found(&[], filters, "/?a=evil&b=evil");
            assert!(all.0.len() >= 6 && all.1.is_empty(), "{all:?}");
            let (left, used) = found(&[(&[1], "ARGS:a")], filters, "/?a=evil&b=evil");
            assert!(!left.contains(&pair(1, "ARGS:a")) && left.contains(&pair(1, "ARGS:b")), "{left:?}");
            assert!(left.contains(&pair(2, "ARGS:a")) && left.contains(&pair(3, "REQUEST_URI")), "{left:?}");
            assert_eq!(used, [0], "filters: {filters}");
            // What would not have matched anyway makes no difference.
            let (_, used) = found(&[(&[1], "ARGS:a")], filters, "/?a=fine&b=evil");
            assert_eq!(used, [0_u16; 0], "filters: {filters}");
            let (left, used) = found(&[(&[3], "REQUEST_URI")], filters, "/?a=evil");
            assert!(!left.contains(&pair(3, "REQUEST_URI")) && used == [0], "{left:?}");
            let (left, _) = found(&[(&[4], "MATCHED_VARS:ARGS:a")], filters, "/?a=evil&b=fine");
            assert!(!left.iter().any(|(id, _)| *id == 4), "{left:?}");
        }
    }

    #[test]
    fn only_one_field_can_be_meant() {
        for (target, want) in [
            ("ARGS:q", true),
            ("REQUEST_BODY", true),
            ("REQUEST_COOKIES:x", true),
            ("MATCHED_VARS:ARGS:q", true),
            ("ARGS", false),
            ("TX:anomaly_score", false),
            ("MATCHED_VAR", false),
            ("REQUEST_HEADERS", false),
            ("", false),
            ("NOTHING:x", false),
        ] {
            assert_eq!(is_field(target), want, "{target}");
        }
        let text = Text(RULES);
        let rules = RuleSet::new(&load(&text, &["x.conf"]).unwrap(), &text).unwrap();
        assert!(rules.target_exception(&[77], "ARGS:q").is_none(), "no such rule");
        assert!(is_score_rule(949_110) && !is_score_rule(942_100));
    }
}
