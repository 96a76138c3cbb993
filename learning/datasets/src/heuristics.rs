// SPDX-License-Identifier: Apache-2.0
//! Weak labels: rules of thumb that vote on what a record is, where nobody knows better.
//!
//! ```toml
//! window_secs = 60    # what aggregates are counted over
//! margin = 0.3        # votes that one side must be ahead by; otherwise nothing is said
//!
//! [[rule]]
//! id = "client-errors"
//! label = "attack"                                      # or "benign"
//! when = ["requests > 20", "status_ratio_4xx > 0.5"]    # all must hold
//! precision = 0.9                                       # how often it is right, 0.5 to 1
//! weight = 1.0
//! features = ["suspicious_path_ratio"]                  # hidden besides those that its fields name
//! ```
//!
//! A vote weighs `weight * (2 * precision - 1)`: a rule that is right half of the time says nothing. What a rule looks
//! at must be hidden from a model where the rule is all that is known ([`Heuristics::masked`]), or the model learns
//! the rule. How right the labels are is only told by records that somebody else labelled.

mod condition;
mod report;
mod window;

use std::collections::BTreeSet;

use serde::Deserialize;

pub use condition::{ConditionError, field_names};
pub use report::{HeuristicsReport, RuleReport};

use crate::{Label, LabelSource, Record};
use condition::{Condition, Seen};
use window::Windows;

/// The rules that are used where no file is given: request rate, repetition, errors, probes, tools by their names.
pub const DEFAULT: &str = include_str!("heuristics/default.toml");

/// Rules of one file: which of them fired is kept in 64 bits.
const RULES_MAX: usize = 64;
/// Conditions of one rule.
const CONDITIONS_MAX: usize = 16;
/// A day.
const WINDOW_SECS_MAX: u32 = 86_400;

/// See the module.
#[derive(Clone, Debug)]
pub struct Heuristics {
    window_secs: u32,
    margin: f64,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    id: String,
    label: Label,
    strength: f64,
    when: Vec<Condition>,
    features: BTreeSet<String>,
}

/// Why rules cannot be used. Shown to the operator as it stands.
#[derive(Debug, thiserror::Error)]
pub enum HeuristicsError {
    /// Not TOML, an unknown key, a value of the wrong type.
    #[error("{}", .0.to_string().trim_end())]
    Toml(#[from] toml::de::Error),
    /// None, or more than 64.
    #[error("there are {count} rules: write 1 to {RULES_MAX}")]
    Count {
        /// How many.
        count: usize,
    },
    /// Labels name rules by their ids.
    #[error("rule `{id}`: an id is of lower-case letters, digits and `-`, and no other rule's")]
    Id {
        /// The id.
        id: String,
    },
    /// A rule without conditions would label everything.
    #[error("rule `{id}` has {count} conditions: write 1 to {CONDITIONS_MAX}")]
    Conditions {
        /// Whose.
        id: String,
        /// How many.
        count: usize,
    },
    /// A condition that is none.
    #[error("rule `{id}`: {source}")]
    Condition {
        /// Whose.
        id: String,
        /// Why.
        source: ConditionError,
    },
    /// A number out of its bounds.
    #[error("`{key}` is {value}: write {bounds}")]
    Bounds {
        /// Of what.
        key: String,
        /// The number.
        value: f64,
        /// What it may be.
        bounds: &'static str,
    },
}

/// A label names a rule that these rules do not have: they are not the ones that made it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record was labelled by the rule `{id}`, which these rules do not have: what it looked at cannot be hidden"
)]
pub struct UnknownRule {
    /// The rule's id.
    pub id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_window_secs")]
    window_secs: u32,
    #[serde(default = "default_margin")]
    margin: f64,
    #[serde(default)]
    rule: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    label: LabelText,
    when: Vec<String>,
    precision: f64,
    #[serde(default = "default_weight")]
    weight: f64,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LabelText {
    Attack,
    Benign,
}

fn default_window_secs() -> u32 {
    60
}

fn default_margin() -> f64 {
    0.3
}

fn default_weight() -> f64 {
    1.0
}

impl Heuristics {
    /// Reads rules from the text of a `heuristics.toml`.
    ///
    /// # Errors
    /// See [`HeuristicsError`].
    pub fn parse(text: &str) -> Result<Self, HeuristicsError> {
        let file: File = toml::from_str(text)?;
        let count = file.rule.len();
        if !(1..=RULES_MAX).contains(&count) {
            return Err(HeuristicsError::Count { count });
        }
        bounded("window_secs", file.window_secs.into(), 1.0, WINDOW_SECS_MAX.into(), "1 to 86,400")?;
        bounded("margin", file.margin, 0.0, 100.0, "0 to 100")?;
        let mut rules: Vec<Rule> = Vec::with_capacity(count);
        for text in file.rule {
            let rule = Rule::parse(text)?;
            if rules.iter().any(|known| known.id == rule.id) {
                return Err(HeuristicsError::Id { id: rule.id });
            }
            rules.push(rule);
        }
        Ok(Self { window_secs: file.window_secs, margin: file.margin, rules })
    }

    /// The features that a rule looks at: names of [`sunbeam_features::ddos::TABLE`], and, for what one request
    /// says, the names of the fields themselves (`user_agent`, `path`). None when there is no such rule.
    pub fn features_of(&self, id: &str) -> Option<&BTreeSet<String>> {
        self.rules.iter().find(|rule| rule.id == id).map(|rule| &rule.features)
    }

    /// The features that a model must not see of a record with this label; none for labels that are no rule's.
    ///
    /// # Errors
    /// When the label names a rule that is not here.
    pub fn masked(&self, source: &LabelSource) -> Result<BTreeSet<&str>, UnknownRule> {
        let LabelSource::Heuristic(ids) = source else { return Ok(BTreeSet::new()) };
        let mut masked = BTreeSet::new();
        for id in ids.split(',') {
            let features = self.features_of(id).ok_or_else(|| UnknownRule { id: id.to_owned() })?;
            masked.extend(features.iter().map(String::as_str));
        }
        Ok(masked)
    }

    /// Labels the records that nobody labelled and on which the rules agree well enough; `label_source` then names
    /// the rules that said so (`a,b`), and the weight is cut to how far ahead they are. Others stay as they are, and
    /// tell how right the rules are.
    ///
    /// Records must be in the order of their time ([`crate::in_order`]). A client's aggregates are counted twice, over
    /// the window that ends with a record and over the one that begins with it: a rule for attacks holds if it holds
    /// in one, so that a flood's first request is one too; a rule for benign ones must hold in both. A record without
    /// time or client has no aggregates, and no condition on them holds.
    pub fn label(&self, records: &mut [Record]) -> HeuristicsReport {
        let mut report = HeuristicsReport::of(self.rules.iter().map(|rule| (&rule.id, rule.label)));
        let mut windows = Windows::new(self.window_secs);
        let before: Vec<u64> =
            records.iter().map(|record| self.fired(record, windows.observe(record, 1))).collect();
        report.forgotten = windows.forgotten();
        let mut windows = Windows::new(self.window_secs);
        for (record, before) in records.iter_mut().zip(before).rev() {
            let after = self.fired(record, windows.observe(record, -1));
            self.vote(record, self.combined(before, after), &mut report);
        }
        report.forgotten += windows.forgotten();
        report
    }

    /// A bit for each rule whose conditions hold.
    fn fired(&self, record: &Record, totals: Option<window::Totals>) -> u64 {
        let seen = Seen::new(record, totals);
        let bits =
            (0_u32..).zip(&self.rules).filter(|(_, rule)| rule.when.iter().all(|one| one.holds(&seen)));
        bits.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    fn combined(&self, before: u64, after: u64) -> u64 {
        let is_attack = |index: &u32| self.rule(*index).is_some_and(|rule| rule.label == Label::Attack);
        let attacks = (0..u64::BITS).filter(is_attack).fold(0, |bits, index| bits | 1_u64 << index);
        ((before | after) & attacks) | (before & after & !attacks)
    }

    fn vote(&self, record: &mut Record, fired: u64, report: &mut HeuristicsReport) {
        let of = |label| {
            (0..u64::BITS)
                .filter(move |index| fired >> index & 1 == 1)
                .filter_map(|index| self.rule(index))
                .filter(move |rule| rule.label == label)
        };
        let votes = |label| of(label).map(|rule| rule.strength).sum::<f64>();
        let (attack, benign) = (votes(Label::Attack), votes(Label::Benign));
        let lead = (attack - benign).abs();
        let label = if attack > benign { Label::Attack } else { Label::Benign };
        report.note(record.label.filter(|_| !is_weak(&record.label_source)), fired);
        if record.label.is_some() || fired == 0 {
            return;
        }
        if lead < self.margin || lead == 0.0 {
            report.undecided += 1;
            return;
        }
        let ids: Vec<&str> = of(label).map(|rule| rule.id.as_str()).collect();
        record.label = Some(label);
        record.label_source = LabelSource::Heuristic(ids.join(","));
        record.weight_percent = lighter(record.weight_percent, lead);
        match label {
            Label::Attack => report.attacks += 1,
            Label::Benign => report.benign += 1,
        }
    }

    fn rule(&self, index: u32) -> Option<&Rule> {
        usize::try_from(index).ok().and_then(|index| self.rules.get(index))
    }
}

impl Default for Heuristics {
    fn default() -> Self {
        Self::parse(DEFAULT).expect("a test reads the rules that are built in")
    }
}

impl Rule {
    fn parse(text: RuleText) -> Result<Self, HeuristicsError> {
        let RuleText { id, label, when, precision, weight, features } = text;
        let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(is_id) {
            return Err(HeuristicsError::Id { id });
        }
        if !(1..=CONDITIONS_MAX).contains(&when.len()) {
            return Err(HeuristicsError::Conditions { id, count: when.len() });
        }
        bounded(&format!("{id}.precision"), precision, 0.5, 1.0, "0.5 to 1")?;
        bounded(&format!("{id}.weight"), weight, 0.0, 100.0, "0 to 100")?;
        let conditions: Result<Vec<_>, _> = when.iter().map(|text| Condition::parse(text)).collect();
        let when = conditions.map_err(|source| HeuristicsError::Condition { id: id.clone(), source })?;
        let named = when.iter().flat_map(Condition::features).map(|feature| (*feature).to_owned());
        let features = named.chain(features).collect();
        let label = match label {
            LabelText::Attack => Label::Attack,
            LabelText::Benign => Label::Benign,
        };
        Ok(Self { id, label, strength: weight * (2.0 * precision - 1.0), when, features })
    }
}

fn bounded(
    key: &str,
    value: f64,
    least: f64,
    most: f64,
    bounds: &'static str,
) -> Result<(), HeuristicsError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(HeuristicsError::Bounds { key: key.to_owned(), value, bounds })
}

fn is_weak(source: &LabelSource) -> bool {
    matches!(source, LabelSource::Heuristic(_))
}

/// In proportion to a lead below one vote; at least 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the weight")]
fn lighter(weight_percent: u16, lead: f64) -> u16 {
    ((f64::from(weight_percent) * lead.clamp(0.0, 1.0)).round() as u16).max(1)
}

#[cfg(test)]
mod tests;
