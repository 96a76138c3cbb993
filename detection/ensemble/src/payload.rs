// SPDX-License-Identifier: Apache-2.0
//! Does this text attack somebody: n-grams of its symbols, and a small forest over their sums and what stands in it.
//! A request's score is that of its worst unit, so that innocent parameters added to an attack never lower it.

use sunbeam_features::payload::{COUNT, Facts};

use crate::forest::{COLUMNS, Forest};
use crate::grams::{GramSums, Grams};

/// Places of n-grams.
pub const GRAMS: usize = 1 << 14;

/// Trees of the forest.
pub const TREES: usize = 80;

/// Trees that a site's own traffic adds.
pub const SITE_TREES: usize = 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadModel {
    /// The weights of n-grams.
    pub grams: Grams<GRAMS>,
    /// From sums of weights to bytes, in 1/65,536: for mean and sum around 128, for the worst run from 0.
    pub scales: [i32; 3],
    /// Texts whose worst run is below this are not looked at by the forest.
    pub gate: i32,
    /// What such a text gets, and the least that any gets, in 1/256 of a logit.
    pub floor: i32,
    /// From here on a text is doubtful, in 1/256 of a logit.
    pub doubtful: i32,
    /// From here on it is certain, where something in it says so too ([`sunbeam_features::payload::Facts::has_sign`]).
    pub certain: i32,
    /// Over the counts of [`sunbeam_features::payload::TABLE`], then mean, worst run and sum.
    pub forest: Forest<TREES>,
    /// What the site's own traffic taught, over the same columns: added to the forest's logit. Nothing in what ships.
    pub site: Forest<SITE_TREES>,
}

/// What the model reads in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// In 1/256.
    pub logit: i32,
    /// What the forest was given; zeros when it was not asked.
    pub columns: [u8; COLUMNS],
}

impl PayloadModel {
    /// The columns of the forest.
    pub fn columns(&self, facts: &Facts, sums: &GramSums) -> [u8; COLUMNS] {
        let mut columns = [0; COLUMNS];
        for (column, number) in columns.iter_mut().zip(facts.numbers) {
            *column = number;
        }
        let [mean, worst, sum] = self.scales;
        let of_grams =
            [scaled(sums.mean(), mean, 128), scaled(sums.worst, worst, 0), scaled(sums.sum, sum, 128)];
        for (column, value) in columns.iter_mut().skip(COUNT).zip(of_grams) {
            *column = value;
        }
        columns
    }

    /// What each column adds to the logit; in 1/256.
    pub fn shares(&self, columns: &[u8; COLUMNS]) -> [i32; COLUMNS] {
        let mut shares = self.forest.shares(columns);
        for (share, more) in shares.iter_mut().zip(self.site.shares(columns)) {
            *share += more;
        }
        shares
    }

    /// Reads a text.
    pub fn read(&self, facts: &Facts) -> Reading {
        let sums = self.grams.sums(&facts.symbols);
        if sums.worst < self.gate {
            return Reading { logit: self.floor, columns: [0; COLUMNS] };
        }
        let columns = self.columns(facts, &sums);
        let logit = self.forest.logit(&columns).saturating_add(self.site.logit(&columns));
        Reading { logit: logit.max(self.floor), columns }
    }
}

const _: () = assert!(COUNT + 3 == COLUMNS);
const _: () = assert!(size_of::<PayloadModel>() <= 32 * 1024, "the payload model has outgrown its 32 KiB");

fn scaled(sum: i32, scale: i32, middle: i64) -> u8 {
    let value = middle + ((i64::from(sum) * i64::from(scale)) >> 16);
    u8::try_from(value.clamp(0, 255)).unwrap_or(0)
}
