// SPDX-License-Identifier: Apache-2.0
//! What models see at run time: how the requests are spread that they judge, and what another model would have said.
//!
//! Counted with relaxed atomics: no lock, no allocation, and nobody reads two counts that must agree. 64 bits do not
//! overflow in a node's life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sunbeam_ensemble::{
    BINS, Calibration, EnsemblePath, Histograms, INPUTS, LOGIT_BINS, Said, input_bin, logit_bin, score_bin,
};
use sunbeam_traffic::Verdict;

/// One request in so many is counted by its features: enough for shares, and cheap.
pub(crate) const SAMPLE_EVERY: u8 = 16;

/// What one model has been judging.
#[derive(Debug)]
pub struct Sight {
    inputs: [[AtomicU64; BINS]; INPUTS],
    scores: [AtomicU64; BINS],
    benign: [AtomicU64; LOGIT_BINS],
}

impl Default for Sight {
    fn default() -> Self {
        Self { inputs: [const { zeros() }; INPUTS], scores: zeros(), benign: zeros() }
    }
}

impl Sight {
    /// Counts what a model was asked and what it said.
    pub(crate) fn note(&self, inputs: &[u8; INPUTS], said: Said) {
        for (bins, input) in self.inputs.iter().zip(inputs) {
            count(bins.get(input_bin(*input)));
        }
        count(self.scores.get(score_bin(said.logit)));
    }

    /// Counts a request of somebody whom the site knows. `others` is the logit of whatever else may stop it by the
    /// same threshold.
    ///
    /// What the tree let go no threshold stops; what it stopped might be stopped by the perceptron under any other,
    /// so that counts as stopped whatever the threshold. A logit below the threshold in use may be higher than the
    /// least that counts, never lower. Either way too much is counted as stopped, and a bound stays one.
    pub(crate) fn note_benign(&self, said: Said, others: i32) {
        let own = match said.path {
            EnsemblePath::TreeAllow => i32::MIN,
            EnsemblePath::TreeBlock => i32::MAX,
            EnsemblePath::MlpAllow | EnsemblePath::MlpBlock => said.logit,
        };
        count(self.benign.get(logit_bin(own.max(others))));
    }

    /// What was counted since the last time; begins anew.
    pub fn take(&self) -> Histograms {
        let taken = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Histograms {
            inputs: self.inputs.each_ref().map(|bins| bins.each_ref().map(taken)),
            scores: self.scores.each_ref().map(taken),
        }
    }

    /// How scores are spread since the last time; leaves them there.
    pub fn scores(&self) -> [u64; BINS] {
        self.scores.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Logits of the requests of those whom the site knows, since the model is in use.
    ///
    /// They are benign as far as visitors with an account are: one of them can ask for anything, so this is told and
    /// never applied.
    pub fn benign(&self) -> Calibration {
        Calibration(self.benign.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}

const fn zeros<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

fn count(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A model that is asked beside the one in use and never acts: of every request that the other judges, which about
/// doubles what judging costs.
#[derive(Debug)]
pub struct Challenger<M> {
    /// The model.
    pub model: Arc<M>,
    /// By whether the site knows who asks, by what the model in use says, by what this one says.
    counts: [[[AtomicU64; ZONES]; ZONES]; 2],
}

const ZONES: usize = 3;

impl<M> Challenger<M> {
    /// Nothing is compared yet.
    pub const fn new(model: Arc<M>) -> Self {
        Self { model, counts: [const { [const { zeros() }; ZONES] }; 2] }
    }

    /// Counts what both say of one request.
    pub(crate) fn note(&self, is_known: bool, old: Verdict, new: Verdict) {
        let counts = self.counts.get(usize::from(is_known)).and_then(|counts| counts.get(zone(old)));
        count(counts.and_then(|counts| counts.get(zone(new))));
    }

    /// What came of it so far.
    pub fn agreement(&self) -> Agreement {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [strangers, known] =
            self.counts.each_ref().map(|table| table.each_ref().map(|row| row.each_ref().map(load)));
        let (strangers, known) = (Agreement::of(strangers), Agreement::of(known));
        Agreement { known_only_old: known.only_old, known_only_new: known.only_new, ..strangers.and(known) }
    }
}

const fn zone(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Doubtful => 1,
        Verdict::Block => 2,
    }
}

/// Requests by what two models said of them. Stopped is what is doubtful or certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Neither has anything against them.
    pub both_pass: u64,
    /// Both stop them.
    pub both_stop: u64,
    /// The model in use stops them, the other does not.
    pub only_old: u64,
    /// The other stops them, the model in use does not.
    pub only_new: u64,
    /// The model in use is certain, the other is not.
    pub only_old_certain: u64,
    /// The other is certain, the model in use is not.
    pub only_new_certain: u64,
    /// As `only_old`, of those whom the site knows.
    pub known_only_old: u64,
    /// As `only_new`, of those whom the site knows.
    pub known_only_new: u64,
}

impl Agreement {
    /// By what the model in use says, then by what the other says.
    const fn of(counts: [[u64; ZONES]; ZONES]) -> Self {
        let [
            [both_pass, pass_doubt, pass_block],
            [doubt_pass, both_doubt, doubt_block],
            [block_pass, block_doubt, both_block],
        ] = counts;
        Self {
            both_pass,
            both_stop: both_doubt
                .saturating_add(doubt_block)
                .saturating_add(block_doubt)
                .saturating_add(both_block),
            only_old: doubt_pass.saturating_add(block_pass),
            only_new: pass_doubt.saturating_add(pass_block),
            only_old_certain: block_pass.saturating_add(block_doubt),
            only_new_certain: pass_block.saturating_add(doubt_block),
            known_only_old: 0,
            known_only_new: 0,
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            both_pass: self.both_pass.saturating_add(other.both_pass),
            both_stop: self.both_stop.saturating_add(other.both_stop),
            only_old: self.only_old.saturating_add(other.only_old),
            only_new: self.only_new.saturating_add(other.only_new),
            only_old_certain: self.only_old_certain.saturating_add(other.only_old_certain),
            only_new_certain: self.only_new_certain.saturating_add(other.only_new_certain),
            known_only_old: self.known_only_old.saturating_add(other.known_only_old),
            known_only_new: self.known_only_new.saturating_add(other.known_only_new),
        }
    }

    /// Requests of which both said something.
    pub fn compared(&self) -> u64 {
        [self.both_pass, self.both_stop, self.only_old, self.only_new]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Requests that the model in use has something against: without any, nothing is known of what the other lets go.
    pub const fn stopped_in_use(&self) -> u64 {
        self.both_stop.saturating_add(self.only_old)
    }

    /// As `only_old` and `only_new`, of those whom the site does not know.
    pub const fn strangers(&self) -> [u64; 2] {
        [self.only_old.saturating_sub(self.known_only_old), self.only_new.saturating_sub(self.known_only_new)]
    }

    /// Why the other model is worse, where it is: it stops more of those whom the site knows, or one in a hundred of all
    /// that the model in use lets go, or it is certain of less; where doubt blocks as well (`doubt_blocks`), also if it
    /// stops less of what strangers ask for.
    pub fn worse(&self, doubt_blocks: bool) -> Option<Worse> {
        const MANY_OF: u64 = 100;
        let [lost, won] = self.strangers();
        if self.known_only_new > self.known_only_old {
            Some(Worse::StopsTheKnown)
        } else if self.only_new.saturating_sub(self.only_old) > self.compared() / MANY_OF {
            Some(Worse::StopsMany)
        } else if self.only_old_certain > self.only_new_certain {
            Some(Worse::LetsGo)
        } else if doubt_blocks && lost > won {
            Some(Worse::LetsGoDoubtful)
        } else {
            None
        }
    }
}

/// On which side a model is worse than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// It stops more requests of those whom the site knows.
    StopsTheKnown,
    /// It stops many requests that the other lets go.
    StopsMany,
    /// It lets go more of what the other is certain of.
    LetsGo,
    /// It lets go more of what is blocked for doubt.
    LetsGoDoubtful,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_taken_once() {
        let sight = Sight::default();
        let said = |path, logit| Said { logit, path };
        for input in [0, 0, 127] {
            sight.note(&[input; INPUTS], said(EnsemblePath::MlpAllow, -300));
        }
        assert_eq!(sight.scores().iter().sum::<u64>(), 3);
        let taken = sight.take();
        assert_eq!((taken.rows(), taken.inputs[0][0], taken.inputs[INPUTS - 1][BINS - 1]), (3, 2, 1));
        assert_eq!(sight.take(), Histograms::default());
        for (path, logit, others, bin) in [
            (EnsemblePath::TreeAllow, 1_900, -2_000, 0),
            (EnsemblePath::TreeBlock, 0, 0, LOGIT_BINS - 1),
            (EnsemblePath::MlpAllow, -10, -20, logit_bin(-10)),
            (EnsemblePath::MlpBlock, 10, 200, logit_bin(200)),
        ] {
            let before = sight.benign().0;
            sight.note_benign(said(path, logit), others);
            let changed: Vec<usize> =
                (0..LOGIT_BINS).filter(|at| sight.benign().0[*at] != before[*at]).collect();
            assert_eq!(changed, [bin], "{path:?}");
        }
        assert_eq!(sight.benign().requests(), 4);
    }

    #[test]
    fn agreement_is_told_from_both_sides() {
        let challenger = Challenger::new(Arc::new(()));
        let (pass, doubt, block) = (Verdict::Pass, Verdict::Doubtful, Verdict::Block);
        for (is_known, old, new, times) in [
            (false, pass, pass, 5),
            (true, pass, pass, 5),
            (false, block, doubt, 2),
            (false, doubt, block, 3),
            (false, block, pass, 1),
            (true, doubt, pass, 1),
            (true, pass, doubt, 1),
        ] {
            (0..times).for_each(|_| challenger.note(is_known, old, new));
        }
        let agreement = challenger.agreement();
        let want = Agreement {
            both_pass: 10,
            both_stop: 5,
            only_old: 2,
            only_new: 1,
            only_old_certain: 3,
            only_new_certain: 3,
            known_only_old: 1,
            known_only_new: 1,
        };
        assert_eq!((agreement, agreement.compared(), agreement.worse(false)), (want, 18, None));
        assert_eq!((agreement.worse(true), agreement.stopped_in_use()), (Some(Worse::LetsGoDoubtful), 7));
        challenger.note(false, pass, doubt);
        challenger.note(true, doubt, pass);
        assert_eq!(challenger.agreement().worse(true), None, "what visitors are let go is nothing lost");
        challenger.note(false, block, pass);
        assert_eq!(challenger.agreement().worse(false), Some(Worse::LetsGo));
        (0..2).for_each(|_| challenger.note(true, pass, doubt));
        assert_eq!(challenger.agreement().worse(false), Some(Worse::StopsTheKnown));
    }
}
