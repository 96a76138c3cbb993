// SPDX-License-Identifier: Apache-2.0
//! The models of the two detectors, whole: what is compiled in and what a model file holds.

use sunbeam_features::{ddos, scanner};

use crate::application::ApplicationModel;
use crate::cascade::{Cascade, Said};
use crate::mlp::{INPUT_MAX, INPUTS};
use crate::paths::PathModel;
use crate::payload::PayloadModel;
use crate::reference::Reference;

/// Judges one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannerModel {
    /// Over its units.
    pub payload: PayloadModel,
    /// Over all of it, for one application.
    pub application: ApplicationModel,
    /// Over its path.
    pub paths: PathModel,
    /// Over its features.
    pub cascade: Cascade,
    /// What a cookie is worth: 127 as much as any other feature, 0 nothing.
    pub cookie: u8,
    /// How much of what the payload model says above its doubtful score is added where the tree does not know, in
    /// 1/256.
    pub payload_share: i32,
    /// What it was trained on.
    pub reference: Reference,
}

/// Judges one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DdosModel {
    /// Over its features.
    pub cascade: Cascade,
    /// What it was trained on.
    pub reference: Reference,
}

/// What all models may weigh together.
pub const BYTES_MAX: usize = 48 * 1024;
const _: () = assert!(
    size_of::<ScannerModel>() + size_of::<DdosModel>() <= BYTES_MAX,
    "the models have outgrown 48 KiB"
);

impl ScannerModel {
    /// The inputs of the cascade.
    #[inline]
    pub fn inputs(&self, features: &[u8; scanner::COUNT]) -> [u8; INPUTS] {
        let mut inputs = [0; INPUTS];
        for (input, feature) in inputs.iter_mut().zip(features) {
            *input = *feature;
        }
        if let Some(input) = inputs.get_mut(scanner::COOKIES) {
            *input = (*input).min(self.cookie);
        }
        // A client chooses by which of its names, or by which address, it asks: none of them says anything.
        if let Some(input) = inputs.get_mut(scanner::HOST) {
            *input = scanner::MOST;
        }
        inputs
    }

    /// Judges features; `payload` is the logit of the worst unit, `threshold` that from which on the perceptron stops.
    #[inline]
    pub fn judge(&self, features: &[u8; scanner::COUNT], payload: i32, threshold: i32) -> Said {
        let above = payload.saturating_sub(self.payload.doubtful).max(0);
        let more = above.saturating_mul(self.payload_share) / 256;
        self.cascade.judge_whatever(&self.inputs(features), SCANNER_FREE, more, threshold)
    }
}

/// Cookies and referer.
const SCANNER_FREE: [usize; 2] = [scanner::COOKIES, scanner::REFERER];

impl DdosModel {
    /// Judges features; `threshold` is the logit from which on the perceptron stops.
    #[inline]
    pub fn judge(&self, features: &[u32; ddos::COUNT], threshold: i32) -> Said {
        self.cascade.judge_whatever(&ddos_inputs(features), DDOS_FREE, 0, threshold)
    }
}

/// Shares of cookies and referers.
const DDOS_FREE: [usize; 2] = [ddos::COOKIES, ddos::REFERERS];

/// Shares of 1,000 in eighths; counts by their logarithm, eight steps for each doubling. From 0 to 127.
#[inline]
pub fn ddos_inputs(features: &[u32; ddos::COUNT]) -> [u8; INPUTS] {
    let mut inputs = [0; INPUTS];
    for (input, (feature, row)) in inputs.iter_mut().zip(features.iter().zip(ddos::TABLE)) {
        let value = if row.is_share() { feature / 8 } else { steps(*feature) };
        *input = u8::try_from(value).unwrap_or(INPUT_MAX).min(INPUT_MAX);
    }
    inputs
}

/// 0, 8, 12, 16, …: eight for each doubling of one more, straight in between.
fn steps(value: u32) -> u32 {
    let more = value.saturating_add(1);
    let power = more.ilog2();
    let rest = (u64::from(more) << 3 >> power) & 7;
    power * 8 + u32::try_from(rest).unwrap_or(0)
}

/// A probability as the logit from which on it is at least that, in 1/256; from -8 to 8. One is never reached.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
pub fn threshold_logit(probability: f64) -> i32 {
    if probability >= 1.0 {
        return i32::MAX;
    }
    let probability = probability.max(1e-9);
    ((probability / (1.0 - probability)).ln() * 256.0).round().clamp(-2048.0, 2048.0) as i32
}

/// The probability that a logit in 1/256 says.
pub fn probability(logit: i32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit) / 256.0).exp())
}
