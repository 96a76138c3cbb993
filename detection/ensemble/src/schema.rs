// SPDX-License-Identifier: Apache-2.0
//! What weights depend on beside their numbers: which features there are, in what order and unit. Weights that were
//! trained on others are not even compiled, nor read from a file.

use sunbeam_features::ddos::Feature;
use sunbeam_features::{application, ddos, payload, scanner};

use crate::file::Detector;

/// Changes with anything that changes what a model's inputs mean.
pub const fn fingerprint(detector: Detector) -> u64 {
    match detector {
        Detector::Scanner => {
            let hash = table(bytes(START, b"scanner 3"), &scanner::TABLE);
            table(hash ^ payload::FINGERPRINT ^ application::RULES << 32, &payload::TABLE)
        }
        Detector::Ddos => table(bytes(START, b"ddos 1"), ddos::TABLE),
    }
}

/// FNV-1a.
const START: u64 = 0xcbf2_9ce4_8422_2325;

const fn bytes(mut hash: u64, text: &[u8]) -> u64 {
    let mut at = 0;
    while at < text.len() {
        hash = (hash ^ text[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

const fn table(mut hash: u64, table: &[Feature]) -> u64 {
    let mut row = 0;
    while row < table.len() {
        hash = bytes(bytes(hash, table[row].name.as_bytes()), table[row].unit.as_bytes());
        row += 1;
    }
    hash
}
