// SPDX-License-Identifier: Apache-2.0
//! The models that are compiled in. `cargo xtask models` writes `gen/`; weights that were trained on other features do
//! not compile.

use crate::file::Detector;
use crate::schema::fingerprint;

// `gen` is a word of the language since edition 2024. Training writes the lines as they stand.
#[rustfmt::skip]
#[path = "gen/ddos.rs"]
mod ddos;
#[rustfmt::skip]
#[path = "gen/scanner.rs"]
mod scanner;

pub use ddos::{CARD as DDOS_CARD, MODEL as DDOS};
pub use scanner::{CARD as SCANNER_CARD, MODEL as SCANNER};

const _: () = assert!(
    scanner::FINGERPRINT == fingerprint(Detector::Scanner),
    "the scanner's weights were trained on other features: train them again (`cargo xtask models`)",
);
const _: () = assert!(
    ddos::FINGERPRINT == fingerprint(Detector::Ddos),
    "the weights of windows were trained on other features: train them again (`cargo xtask models`)",
);
