// SPDX-License-Identifier: Apache-2.0
//! What the rules did: how much each covers, how often it stands with another or against it, how right it is.

use crate::Label;

/// See the module. Counts of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeuristicsReport {
    /// All.
    pub records: u64,
    /// That had a label already, which no rule changes.
    pub labelled_before: u64,
    /// Labelled now.
    pub attacks: u64,
    /// Labelled now.
    pub benign: u64,
    /// On which rules spoke, but no side was far enough ahead.
    pub undecided: u64,
    /// On which no rule spoke, labelled or not.
    pub silent: u64,
    /// Requests that windows had to forget before their time, over both passes: aggregates near them are too small.
    pub forgotten: u64,
    /// Each rule, in the order of the file.
    pub rules: Vec<RuleReport>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleReport {
    /// Its id.
    pub id: String,
    /// What it says.
    pub label: Label,
    /// Records on which it spoke: its coverage, of [`HeuristicsReport::records`].
    pub fired: u64,
    /// Of these, those on which another rule spoke too.
    pub overlaps: u64,
    /// Of these, those on which another rule said the opposite.
    pub conflicts: u64,
    /// Records that somebody better had labelled, as the rule says.
    pub right: u64,
    /// Or not as the rule says.
    pub wrong: u64,
}

impl RuleReport {
    /// How often it was right where somebody else knows; none where nobody does. To be held against the precision
    /// that the file claims.
    pub fn precision(&self) -> Option<f64> {
        let known = self.right + self.wrong;
        (known > 0).then(|| super::condition::about(self.right) / super::condition::about(known))
    }
}

impl HeuristicsReport {
    pub(super) fn of<'a>(rules: impl Iterator<Item = (&'a String, Label)>) -> Self {
        let blank = |(id, label): (&String, Label)| RuleReport {
            id: id.clone(),
            label,
            fired: 0,
            overlaps: 0,
            conflicts: 0,
            right: 0,
            wrong: 0,
        };
        Self { rules: rules.map(blank).collect(), ..Self::default() }
    }

    /// Notes which rules fired on a record, by their bits, and what is known of it otherwise.
    pub(super) fn note(&mut self, known: Option<Label>, fired: u64) {
        self.records += 1;
        self.labelled_before += u64::from(known.is_some());
        self.silent += u64::from(fired == 0);
        let has = |index: u32| fired >> index & 1 == 1;
        let speaks =
            |wanted: Label| (0..).zip(&self.rules).any(|(index, rule)| has(index) && rule.label == wanted);
        let is_contested = speaks(Label::Attack) && speaks(Label::Benign);
        for (_, rule) in (0..).zip(&mut self.rules).filter(|(index, _)| has(*index)) {
            rule.fired += 1;
            rule.overlaps += u64::from(fired.count_ones() > 1);
            rule.conflicts += u64::from(is_contested);
            rule.right += u64::from(known == Some(rule.label));
            rule.wrong += u64::from(known.is_some_and(|known| known != rule.label));
        }
    }
}
