// SPDX-License-Identifier: Apache-2.0
//! What a site's clients do: the model of windows, trained on recordings and the site's earlier visitors together.

use sunbeam_datasets::Record;
use sunbeam_ensemble::{DdosModel, threshold_logit};
use sunbeam_features::ddos as window_features;

use super::duel::{Duel, Robustness, Sample};
use crate::cascade::CascadeError;
use crate::ddos::{self, DdosTraining};
use crate::windows::{Sighting, sightings};

/// A log that tells of no client's window leaves the model as it is.
pub(super) fn learn(
    earlier: &[&Record],
    latest: &[&Record],
    recordings: &[&Record],
    in_use: &DdosModel,
    seed: u64,
) -> Result<(DdosModel, Duel), CascadeError> {
    let own = sightings(earlier.iter().copied());
    let judged = sightings(latest.iter().copied());
    if own.is_empty() || judged.is_empty() {
        return Ok((in_use.clone(), Duel::default()));
    }
    let recorded = sightings(recordings.iter().copied());
    let learned: Vec<Sighting> = recorded.iter().chain(&own).cloned().collect();
    let candidate = ddos::train_on_all(&learned, &DdosTraining::new(seed))?;
    let unseen = judged.iter().map(|one| (one, false));
    let known = recorded.iter().filter(|one| one.is_attack).map(|one| (one, true));
    let duel = duel(unseen.chain(known), in_use, &candidate);
    Ok((candidate, duel))
}

/// Windows, and whether both models know them.
fn duel<'a>(
    judged: impl Iterator<Item = (&'a Sighting, bool)>,
    in_use: &DdosModel,
    candidate: &DdosModel,
) -> Duel {
    let mut duel = Duel::default();
    let mut all = Robustness::new("cookies and a referer with every request");
    let mut none = Robustness::new("neither cookies nor a referer");
    for (one, is_known) in judged {
        let scores = [in_use, candidate].map(|model| score(model, &one.features));
        if one.is_attack {
            for (row, share) in [(&mut all, WHOLE), (&mut none, 0)] {
                let changed = sent(&one.features, share);
                let stops = |model| score(model, &changed) >= 0.0;
                row.add(scores[1] >= 0.0, stops(candidate), stops(in_use));
            }
        }
        duel.samples.push(Sample { source: one.source.clone(), is_attack: one.is_attack, is_known, scores });
    }
    duel.robustness = vec![all, none];
    duel
}

/// Shares are of so many.
const WHOLE: u32 = 1000;

/// With another share of requests that carry what a client writes as it likes.
fn sent(features: &[u32; window_features::COUNT], share: u32) -> [u32; window_features::COUNT] {
    let mut sent = *features;
    for column in [window_features::COOKIES, window_features::REFERERS] {
        if let Some(value) = sent.get_mut(column) {
            *value = share;
        }
    }
    sent
}

/// A logit from the default threshold; at least 0 exactly where the window is stopped.
fn score(model: &DdosModel, features: &[u32; window_features::COUNT]) -> f64 {
    const THRESHOLD: f64 = 0.6;
    let threshold = threshold_logit(THRESHOLD);
    let said = model.judge(features, threshold);
    let above = f64::from(said.logit.saturating_sub(threshold)) / 256.0;
    if said.path.is_block() { above.max(0.0) } else { above.min(-1.0 / 256.0) }
}
