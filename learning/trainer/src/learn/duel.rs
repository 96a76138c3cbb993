// SPDX-License-Identifier: Apache-2.0
//! A model in use and its candidate, on what neither has seen.

use std::collections::BTreeMap;

use sunbeam_report::measures::clopper_pearson_upper;

/// Something that both judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it is from.
    pub source: String,
    /// What it is.
    pub is_attack: bool,
    /// Both have learned from it: it tells whether something was forgotten, not what is found.
    pub is_known: bool,
    /// Of the model in use and of the candidate: logits from where doubt begins, so that 0 and more is stopped.
    pub scores: [f64; 2],
}

/// Something that must not change what is stopped, done to the attacks among the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Robustness {
    /// What was done.
    pub what: &'static str,
    /// Attacks that it was done to.
    pub rows: u64,
    /// Of them, stopped by the candidate as they are and so changed.
    pub stopped: [u64; 2],
    /// Of them, stopped by the model in use so changed.
    pub stopped_in_use: u64,
}

impl Robustness {
    /// None that is done nothing to.
    pub const fn new(what: &'static str) -> Self {
        Self { what, rows: 0, stopped: [0; 2], stopped_in_use: 0 }
    }

    /// Adds an attack: whether the candidate stops it as it is, and who stops it so changed.
    pub fn add(&mut self, as_it_is: bool, changed: bool, changed_in_use: bool) {
        self.rows += 1;
        self.stopped[0] += u64::from(as_it_is);
        self.stopped[1] += u64::from(changed);
        self.stopped_in_use += u64::from(changed_in_use);
    }

    /// What is done helps an attacker no more than it did: whatever more the candidate stops may be undone, not what is
    /// stopped today.
    pub const fn holds(&self) -> bool {
        self.stopped[1] >= self.stopped[0] || self.stopped[1] + self.rows / SLACK >= self.stopped_in_use
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Duel {
    /// All that was judged, each once. Attacks: those of the log, and those that no log need have.
    pub samples: Vec<Sample>,
    /// What was done to them.
    pub robustness: Vec<Robustness>,
}

/// One attack of so many that is missed besides is no difference: it is within chance.
pub const SLACK: u64 = 200;
/// One attack of so many that is found besides is much.
const MUCH: u64 = 50;
/// On one side: 95 % on both.
const SURE: f64 = 0.975;
/// Of benign requests, one of so many may be doubtful.
pub const BENIGN_ONE_OF: u64 = 1000;

/// What becomes of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It replaces the model in use.
    Better,
    /// The model in use does nothing here that a candidate could mend.
    NothingToMend,
    /// It does not.
    NotBetter,
}

impl Outcome {
    /// For people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NothingToMend => "nothing to mend",
            Self::NotBetter => "not better",
        }
    }
}

impl Duel {
    /// Benign ones.
    pub fn benign(&self) -> u64 {
        self.count(|sample| !sample.is_attack)
    }

    /// Of them, stopped by the model in use and by the candidate.
    pub fn benign_stopped(&self) -> [u64; 2] {
        self.stopped(|sample| !sample.is_attack)
    }

    /// Attacks.
    pub fn attacks(&self) -> u64 {
        self.count(|sample| sample.is_attack)
    }

    /// Of them, stopped by the model in use and by the candidate.
    pub fn attacks_stopped(&self) -> [u64; 2] {
        self.stopped(|sample| sample.is_attack)
    }

    fn stopped(&self, of: impl Fn(&Sample) -> bool) -> [u64; 2] {
        let mut stopped = [0; 2];
        for sample in self.samples.iter().filter(|sample| of(sample)) {
            for (sum, score) in stopped.iter_mut().zip(sample.scores) {
                *sum += u64::from(score >= 0.0);
            }
        }
        stopped
    }

    /// By label and source, benign ones first: how many, and how many of them are stopped by either.
    pub fn by_source(&self) -> BTreeMap<(bool, &str), (u64, [u64; 2])> {
        let mut parts: BTreeMap<(bool, &str), (u64, [u64; 2])> = BTreeMap::new();
        for sample in &self.samples {
            let (number, stopped) = parts.entry((sample.is_attack, &sample.source)).or_default();
            *number += 1;
            for (sum, score) in stopped.iter_mut().zip(sample.scores) {
                *sum += u64::from(score >= 0.0);
            }
        }
        parts
    }

    /// Whether the candidate finds more unseen attacks than chance would: of those that one of the two models finds and
    /// the other does not, surely more than half (the sign test, exactly, at [`SURE`]).
    fn finds_more(&self) -> bool {
        let only = |which: usize| {
            let finds = |sample: &Sample| sample.scores.map(|score| score >= 0.0);
            let is_only = |found: [bool; 2]| found == [which == 0, which == 1];
            self.count(|sample| sample.is_attack && !sample.is_known && is_only(finds(sample)))
        };
        let (lost, won) = (only(0), only(1));
        won > lost && clopper_pearson_upper(lost, lost + won, SURE) < 0.5
    }

    fn count(&self, of: impl Fn(&Sample) -> bool) -> u64 {
        self.samples.iter().map(|sample| u64::from(of(sample))).sum()
    }

    /// Better on one side and not worse on the other; see [`SLACK`]. What both know makes none better, nor does finding a
    /// few attacks more, which is chance. A candidate may doubt one benign request of [`BENIGN_ONE_OF`], as models that
    /// ship may, where it finds much more for that.
    pub fn outcome(&self) -> Outcome {
        let [old, new] = self.attacks_stopped();
        let slack = self.attacks() / SLACK;
        let [old_benign, new_benign] = self.benign_stopped();
        let is_robust = self.robustness.iter().all(Robustness::holds);
        let [old_found, new_found] = self.stopped(|sample| sample.is_attack && !sample.is_known);
        let is_found_more = self.finds_more();
        let allowed = self.benign() / BENIGN_ONE_OF;
        // One more is within chance, where any is allowed.
        let is_within = new_benign <= old_benign.max(allowed + allowed.min(1));
        let is_much = is_found_more && new_found > old_found + self.attacks() / MUCH;
        let is_won = new + slack >= old
            && (new_benign < old_benign
                || (new_benign == old_benign && is_found_more)
                || (new_benign > old_benign && is_within && is_much));
        match is_won && is_robust {
            true => Outcome::Better,
            false if old_benign == 0 => Outcome::NothingToMend,
            false => Outcome::NotBetter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duel(benign: &[[f64; 2]], attacks: &[[f64; 2]]) -> Duel {
        let sample = |is_attack| {
            move |scores: &[f64; 2]| Sample {
                source: "a".to_owned(),
                is_attack,
                is_known: false,
                scores: *scores,
            }
        };
        let samples = benign.iter().map(sample(false)).chain(attacks.iter().map(sample(true)));
        Duel { samples: samples.collect(), robustness: Vec::new() }
    }

    #[test]
    fn a_candidate_is_better_when_it_mends_and_breaks_nothing() {
        let (stopped, mended, broken, let_go) = ([0.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]);
        for (name, benign, attacks, want) in [
            ("mends", &[mended, let_go][..], &[stopped][..], Outcome::Better),
            ("finds more", &[let_go], &[broken; 6], Outcome::Better),
            ("finds five more, which may be chance", &[let_go], &[broken; 5], Outcome::NothingToMend),
            ("misses more", &[mended], &[mended, stopped], Outcome::NotBetter),
            ("stops more", &[broken], &[broken], Outcome::NothingToMend),
            ("the same", &[let_go], &[stopped], Outcome::NothingToMend),
            ("the same faults", &[stopped], &[stopped], Outcome::NotBetter),
            ("nothing", &[], &[], Outcome::NothingToMend),
        ] {
            assert_eq!(duel(benign, attacks).outcome(), want, "{name}");
        }
    }

    #[test]
    fn three_attacks_of_many_more_are_chance_and_so_are_a_few_more_than_are_lost() {
        let both = vec![[1.0, 1.0]; 1_498];
        for (won, lost, want) in [
            (3, 0, Outcome::NothingToMend),
            (12, 0, Outcome::Better),
            (12, 3, Outcome::Better),
            (12, 5, Outcome::NothingToMend),
        ] {
            let attacks = [both.clone(), vec![[-1.0, 1.0]; won], vec![[1.0, -1.0]; lost]].concat();
            assert_eq!(duel(&[[-1.0, -1.0]], &attacks).outcome(), want, "{won} more, {lost} less");
        }
    }

    #[test]
    fn one_attack_of_five_hundred_is_no_difference_and_what_can_be_padded_is_not_better() {
        let mut attacks = vec![[1.0, 1.0]; 499];
        attacks.push([1.0, -1.0]);
        let mut won = duel(&[[1.0, -1.0]], &attacks);
        assert_eq!((won.outcome(), won.attacks_stopped()), (Outcome::Better, [500, 499]));
        let mut known = duel(&[], &[[-1.0, 1.0]; 6]);
        assert_eq!(known.outcome(), Outcome::Better);
        known.samples.iter_mut().for_each(|sample| sample.is_known = true);
        assert_eq!(known.outcome(), Outcome::NothingToMend);
        assert_eq!(won.by_source().get(&(true, "a")), Some(&(500, [500, 499])));
        let benign: Vec<[f64; 2]> =
            (0..1999).map(|at| if at < 2 { [-1.0, 1.0] } else { [-1.0, -1.0] }).collect();
        let half = [[[-1.0, 1.0]; 6], [[1.0, 1.0]; 6]].concat();
        let mut more = duel(&benign, &half);
        assert_eq!(more.outcome(), Outcome::Better, "two of 1,999 for half of the attacks");
        more.samples
            .iter_mut()
            .filter(|sample| !sample.is_attack)
            .take(3)
            .for_each(|one| one.scores[1] = 0.0);
        assert_eq!(more.outcome(), Outcome::NothingToMend, "three");
        let padding = Robustness { what: "padding", rows: 500, stopped: [499, 498], stopped_in_use: 500 };
        won.robustness.push(padding);
        assert_eq!(won.outcome(), Outcome::Better, "within chance of what is stopped today");
        won.robustness.push(Robustness { stopped: [499, 400], ..padding });
        assert_eq!(won.outcome(), Outcome::NotBetter);
    }
}
