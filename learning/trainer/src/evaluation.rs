// SPDX-License-Identifier: Apache-2.0
//! How good models are on what they have not seen: by source, with intervals, at the zones that they carry.

use std::collections::{BTreeMap, BTreeSet};

use sunbeam_ensemble::{DdosModel, PayloadModel, ScannerModel, threshold_logit};
use sunbeam_features::ddos as window_features;
use sunbeam_report::measures::{Ranking, Scored, wilson};

use crate::cascade::CascadeError;
use crate::ddos::{self, DdosTraining};
use crate::payload::Bag;
use crate::scanner::Visit;
use crate::sides::{Side, fold};
use crate::windows::Sighting;

/// Rows of one source and class, and how many of them models speak against.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// The corpus, log or tool.
    pub source: String,
    /// Of attacks.
    pub is_attack: bool,
    /// How many.
    pub rows: u64,
    /// Doubtful or certain.
    pub doubtful: u64,
    /// Certain.
    pub certain: u64,
}

impl Part {
    fn add(&mut self, is_doubtful: bool, is_certain: bool) {
        self.rows += 1;
        self.doubtful += u64::from(is_doubtful || is_certain);
        self.certain += u64::from(is_certain);
    }

    /// A share of the rows, in hundredths.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub fn percent(&self, hits: u64) -> f64 {
        100.0 * hits as f64 / self.rows.max(1) as f64
    }

    /// A share with its Wilson 95 % interval, as `98.7 % (97.9–99.2)`.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub fn share(&self, hits: u64) -> String {
        let interval = wilson(hits as f64, self.rows as f64);
        let percent = self.percent(hits);
        format!("{percent:.2} % ({:.2}–{:.2})", 100.0 * interval.low, 100.0 * interval.high)
    }
}

/// By source, attacks last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts(pub Vec<Part>);

impl Parts {
    fn of(rows: impl Iterator<Item = (String, bool, bool, bool)>) -> Self {
        let mut parts: BTreeMap<(bool, String), Part> = BTreeMap::new();
        for (source, is_attack, is_doubtful, is_certain) in rows {
            let part = parts.entry((is_attack, source.clone())).or_default();
            (part.source, part.is_attack) = (source, is_attack);
            part.add(is_doubtful, is_certain);
        }
        Self(parts.into_values().collect())
    }

    /// All of one label together.
    pub fn all(&self, is_attack: bool, of: &dyn Fn(&str) -> bool) -> Part {
        let mut all = Part { source: "all".to_owned(), is_attack, ..Part::default() };
        for part in self.0.iter().filter(|part| part.is_attack == is_attack && of(&part.source)) {
            all.rows += part.rows;
            all.doubtful += part.doubtful;
            all.certain += part.certain;
        }
        all
    }
}

/// The payload model on the validation side.
#[derive(Clone, Debug, PartialEq)]
pub struct PayloadEvaluation {
    /// By source; `hard` ones are told apart by name.
    pub parts: Parts,
    /// Attacks against ordinary benign requests.
    pub auc: f64,
    /// Of attacks, at one benign request of 1,000.
    pub at_one_permille: f64,
    /// Of attacks, at one benign request of 100.
    pub at_one_percent: f64,
}

/// Evaluates the payload model.
pub fn payload(model: &PayloadModel, bags: &[Bag]) -> PayloadEvaluation {
    let validation = || bags.iter().filter(|bag| bag.side == Side::Validation);
    let scored: Vec<Scored> = validation()
        .filter(|bag| !bag.is_hard)
        .map(|bag| Scored::new(f64::from(crate::payload::score(model, bag)), bag.is_attack, &*bag.source))
        .collect();
    let ranking = Ranking::of(&scored);
    let rate = |rate| ranking.true_positive_rate_at(rate).unwrap_or(f64::NAN);
    let row = |bag: &Bag| {
        let with_sign = bag.texts.iter().filter(|text| text.facts.has_sign());
        let certain = with_sign.map(|text| model.read(&text.facts).logit).max().unwrap_or(i32::MIN);
        let source = if bag.is_hard { format!("{} (hard)", bag.source) } else { bag.source.clone() };
        (source, bag.is_attack, crate::payload::score(model, bag) >= model.doubtful, certain >= model.certain)
    };
    PayloadEvaluation {
        parts: Parts::of(validation().map(row)),
        auc: ranking.auc().unwrap_or(f64::NAN),
        at_one_permille: rate(0.001),
        at_one_percent: rate(0.01),
    }
}

/// The scanner's models without texts, on the validation side.
pub fn scanner(model: &ScannerModel, visits: &[Visit]) -> Parts {
    let validation = visits.iter().filter(|visit| visit.side == Side::Validation);
    Parts::of(validation.map(|visit| {
        let said = model.judge(&visit.features(&model.paths), i32::MIN, 0);
        let is_certain = said.path.is_block() && visit.has_sign() && said.logit >= model.cascade.certain;
        (visit.source.clone(), visit.is_attack, said.path.is_block(), is_certain)
    }))
}

/// The model of windows on what it was not trained on: each tool is left out once, whole; of visitors, a fifth of the
/// sessions at a time. What is left out is judged by a model of all the rest. Windows, and sessions as soon as one of
/// their windows is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unseen {
    /// By tool and kind of visitor.
    pub windows: Parts,
    /// The same of whole sessions.
    pub sessions: Parts,
}

/// Parts in which sessions of visitors are left out.
const PARTS: usize = 5;

/// See [`Unseen`].
///
/// # Errors
/// When what is left is all of one class.
pub fn windows_unseen(sightings: &[Sighting], training: &DdosTraining) -> Result<Unseen, CascadeError> {
    let left_out = |one: &Sighting| match one.is_attack {
        true => one.class.clone(),
        false => fold(&format!("{}/{}", one.source, one.session), PARTS).to_string(),
    };
    let names: BTreeSet<String> = sightings.iter().map(left_out).collect();
    let mut windows = Vec::new();
    let mut sessions: BTreeMap<(bool, &str, &str), (bool, bool)> = BTreeMap::new();
    for name in names {
        let others: Vec<Sighting> = sightings.iter().filter(|one| left_out(one) != name).cloned().collect();
        let model = ddos::train_on_all(&others, training)?;
        for one in sightings.iter().filter(|one| left_out(one) == name) {
            let (doubtful, certain) = window(&model, one);
            windows.push((one.class.clone(), one.is_attack, doubtful, certain));
            let session = sessions.entry((one.is_attack, &one.class, &one.session)).or_default();
            *session = (session.0 | doubtful, session.1 | certain);
        }
    }
    let sessions = sessions
        .into_iter()
        .map(|((is_attack, class, _), (doubtful, certain))| (class.to_owned(), is_attack, doubtful, certain));
    Ok(Unseen { windows: Parts::of(windows.into_iter()), sessions: Parts::of(sessions) })
}

/// Whether a window is doubtful, and whether it is certain, at the default threshold.
pub fn window(model: &DdosModel, sighting: &Sighting) -> (bool, bool) {
    const THRESHOLD: f64 = 0.6;
    let threshold = threshold_logit(THRESHOLD);
    let said = model.judge(&sighting.features, threshold);
    let is_doubtful = said.path.is_block();
    let has_sign = window_features::has_sign(&sighting.features);
    (is_doubtful, is_doubtful && has_sign && said.logit >= model.cascade.certain.max(threshold))
}
