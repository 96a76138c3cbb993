// SPDX-License-Identifier: Apache-2.0
//! How a site's traffic is spread over the inputs of the models in use: beside what they were trained on, it tells
//! how far the site is from that.

use sunbeam_datasets::Record;
use sunbeam_ensemble::{DdosModel, Detector, Histograms, INPUTS, ScannerModel, input_bin, score_bin};

use crate::scanner::visits;
use crate::windows::sightings;

/// Indices of stability by feature, of the scanner's cascade and of the model of windows. Empty where a log tells
/// nothing of what a detector reads.
pub fn drift(
    records: &[Record],
    (scanner, ddos): (&ScannerModel, &DdosModel),
    seed: u64,
) -> [Vec<(&'static str, f64)>; 2] {
    let mut requests = Histograms::default();
    for visit in visits(records, seed) {
        let features = visit.features(&scanner.paths);
        let logit = scanner.judge(&features, i32::MIN, i32::MIN).logit;
        note(&mut requests, &scanner.inputs(&features), logit);
    }
    let mut windows = Histograms::default();
    for one in sightings(records.iter()) {
        note(&mut windows, &one.inputs, ddos.judge(&one.features, i32::MIN).logit);
    }
    [
        requests.indices(Detector::Scanner, &scanner.reference),
        windows.indices(Detector::Ddos, &ddos.reference),
    ]
}

fn note(histograms: &mut Histograms, inputs: &[u8; INPUTS], logit: i32) {
    for (bins, input) in histograms.inputs.iter_mut().zip(inputs) {
        if let Some(count) = bins.get_mut(input_bin(*input)) {
            *count += 1;
        }
    }
    if let Some(count) = histograms.scores.get_mut(score_bin(logit)) {
        *count += 1;
    }
}
