// SPDX-License-Identifier: Apache-2.0
//! The texts of a request: each is kept once, changed once and scanned once, however many rules look at it.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use crate::byte_set::ByteSet;
use crate::compile::{RuleSet, Side};
use crate::filter::index::Bits;

/// Names a text.
pub(crate) type TextId = u32;

/// No text.
pub(crate) const NONE: TextId = u32::MAX;
/// The empty text.
pub(crate) const EMPTY: TextId = 0;

const UNKNOWN: u32 = u32::MAX;

/// What one transaction may hold, its changed texts counted. A body of 128 KiB whose every byte is written as six,
/// six times over, stays below.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is noted of texts beside them, as bytes: which text each became, and which operators may hold for it.
const NOTES_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    end: u32,
    present: ByteSet,
    /// Where its set of candidates begins.
    hits: [u32; 2],
    /// Where the row of its changed forms begins.
    row: u32,
}

/// All texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    texts: Vec<Text>,
    table: HashTable<TextId>,
    hasher: foldhash::fast::RandomState,
    rows: Vec<TextId>,
    hits: Vec<u64>,
    lowered: Vec<u8>,
    /// What a transformation makes, before it is known to be new.
    made: Vec<u8>,
    is_full: bool,
    /// Bytes that transformations and the filter went through.
    work: u64,
}

impl Texts {
    /// Forgets everything but its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.texts.clear();
        self.table.clear();
        self.rows.clear();
        self.hits.clear();
        self.is_full = false;
        self.work = 0;
        self.intern(b"");
    }

    /// Bytes that transformations and the filter went through so far.
    pub(crate) const fn work(&self) -> u64 {
        self.work
    }

    /// Whether something did not fit.
    pub(crate) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many bytes they have together.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of a text; none of [`NONE`].
    pub(crate) fn get(&self, id: TextId) -> &[u8] {
        let text = self.texts.get(id as usize);
        text.and_then(|text| self.bytes.get(text.start as usize..text.end as usize)).unwrap_or_default()
    }

    /// Which bytes stand in it.
    pub(crate) fn present(&self, id: TextId) -> ByteSet {
        self.texts.get(id as usize).map_or(ByteSet::EMPTY, |text| text.present)
    }

    /// Names a text.
    pub(crate) fn intern(&mut self, bytes: &[u8]) -> TextId {
        let start = self.bytes.len();
        let hash = self.hasher.hash_one(bytes);
        if let Some(known) = self.known(hash, bytes) {
            return known;
        }
        if start + bytes.len() > BYTES_MAX {
            self.is_full = true;
            return EMPTY;
        }
        self.bytes.extend_from_slice(bytes);
        self.add(hash, start)
    }

    fn known(&self, hash: u64, bytes: &[u8]) -> Option<TextId> {
        self.table.find(hash, |known| self.get(*known) == bytes).copied()
    }

    /// Names what stands at the end of the bytes, from `start` on.
    fn add(&mut self, hash: u64, start: usize) -> TextId {
        let added = self.bytes.get(start..).unwrap_or_default();
        let present = ByteSet::present(added);
        let id = place(self.texts.len());
        self.texts.push(Text {
            start: place(start),
            end: place(self.bytes.len()),
            present,
            hits: [UNKNOWN; 2],
            row: UNKNOWN,
        });
        let (texts, bytes, hasher) = (&self.texts, &self.bytes, &self.hasher);
        self.table.insert_unique(hash, id, |known| {
            let text = texts.get(*known as usize);
            let bytes = text.and_then(|text| bytes.get(text.start as usize..text.end as usize));
            hasher.hash_one(bytes.unwrap_or_default())
        });
        id
    }

    /// Names a part of a text.
    pub(crate) fn part(&mut self, id: TextId, part: std::ops::Range<usize>) -> Option<TextId> {
        let text = self.get(id);
        let part_of = text.get(part)?;
        if part_of.len() == text.len() {
            return Some(id);
        }
        let hash = self.hasher.hash_one(part_of);
        if let Some(known) = self.known(hash, part_of) {
            return Some(known);
        }
        let part = part_of.to_vec();
        Some(self.intern(&part))
    }

    /// The text after all steps up to a node.
    pub(crate) fn changed(&mut self, rules: &RuleSet, text: TextId, node: u32) -> TextId {
        let Some(step) = rules.nodes.get(node as usize) else { return text };
        let Some(transformation) = step.step else { return text };
        if step.changes.is_some_and(|changes| !changes.meets(&self.present(text))) {
            return text;
        }
        let Some(row) = self.row(rules, text) else { return text };
        if let Some(known) = self.rows.get(row + node as usize)
            && *known != UNKNOWN
        {
            return *known;
        }
        let after = if step.alone == node {
            self.apply(rules, text, transformation)
        } else {
            let before = self.changed(rules, text, step.parent);
            self.changed(rules, before, step.alone)
        };
        if let Some(place) = self.rows.get_mut(row + node as usize) {
            *place = after;
        }
        after
    }

    /// `None`: there is no room for it, and the text stays as it is.
    fn row(&mut self, rules: &RuleSet, text: TextId) -> Option<usize> {
        let notes = size_of_val(self.rows.as_slice()) + size_of_val(self.hits.as_slice());
        let known = self.texts.get_mut(text as usize)?;
        if known.row == UNKNOWN {
            if notes > NOTES_BYTES_MAX {
                self.is_full = true;
                return None;
            }
            known.row = place(self.rows.len());
            self.rows.resize(self.rows.len() + rules.nodes.len(), UNKNOWN);
        }
        Some(known.row as usize)
    }

    fn apply(
        &mut self,
        rules: &RuleSet,
        text: TextId,
        transformation: &crate::transformations::Transformation,
    ) -> TextId {
        if transformation.changes.is_some_and(|changes| !changes.meets(&self.present(text))) {
            return text;
        }
        if self.bytes.len() > BYTES_MAX {
            self.is_full = true;
            return text;
        }
        let mut made = std::mem::take(&mut self.made);
        made.clear();
        let is_changed = (transformation.apply)(self.get(text), &rules.transformations, &mut made);
        self.work += (self.get(text).len() + made.len()) as u64;
        let after = if is_changed { self.intern(&made) } else { text };
        self.made = made;
        after
    }

    /// The operators that may hold for a text, of those that look at requests or at answers.
    pub(crate) fn candidates(&mut self, rules: &RuleSet, side: Side, id: TextId) -> &Bits {
        let index = rules.index(side);
        let words = index.words();
        let Some(text) = self.texts.get_mut(id as usize) else { return &[] };
        let place_of = &mut text.hits[side as usize];
        if *place_of == UNKNOWN {
            *place_of = place(self.hits.len());
            let start = self.hits.len();
            self.hits.resize(start + words, 0);
            let bytes = self.bytes.get(text.start as usize..text.end as usize).unwrap_or_default();
            self.work += bytes.len() as u64;
            if let Some(found) = self.hits.get_mut(start..) {
                index.candidates(bytes, &text.present, &mut self.lowered, found);
            }
        }
        let start = text.hits[side as usize] as usize;
        self.hits.get(start..start + words).unwrap_or_default()
    }
}

/// All that is counted here stays below 4 GiB.
fn place(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
