// SPDX-License-Identifier: Apache-2.0
//! Whether a layer may act on what it only doubts: as long as few enough people were doubted, at the upper bound.
//!
//! Who is a person is told by what no layer says: the site knows them, or an operator does, or they solved a challenge.
//! They are remembered for 30 days, each once, however much they ask for ([`People`]). What is made of them, and
//! who of them counts, so that a farm of bots cannot make much of it, is in `counted.rs`; what follows in
//! [`standing`](standing::standing).

mod counted;
mod people;
mod places;
mod standing;
mod tables;

use std::sync::atomic::{AtomicU8, Ordering};

use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

pub(crate) use people::Seen;
pub use people::{KeptPerson, PEOPLE, Whom};
pub use standing::{Count, Standing, Why};

use people::People;

/// Layers that doubt. Lists and limits never do.
pub const DOUBTERS: [Layer; 3] = [Layer::Ddos, Layer::Scanner, Layer::Waf];

/// A set of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layers(u8);

impl Layers {
    pub(crate) const fn of(layer: Layer) -> Self {
        Self(1 << layer as u8)
    }

    pub(crate) const fn has(self, layer: Layer) -> bool {
        self.0 & Self::of(layer).0 != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, layer: Layer) -> Self {
        Self(self.0 & !Self::of(layer).0)
    }

    /// Without those that only count requests, where they are certain.
    pub(crate) const fn without_counts(self) -> Self {
        self.without(Layer::Ddos).without(Layer::RateLimit)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Proof {
    people: People,
    /// Layers whose doubts are acted on.
    proven: AtomicU8,
}

/// A layer began to act on its doubts, or does so no more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Which.
    pub layer: Layer,
    /// How it stands from now on.
    pub standing: Standing,
}

impl Proof {
    /// Whether a layer's doubts are acted on in mode `auto`.
    #[inline]
    pub fn is_proven(&self, layer: Layer) -> bool {
        Layers(self.proven.load(Ordering::Relaxed)).has(layer)
    }

    /// How each layer that doubts stands.
    pub fn standings(&self, budget: f64, now: Moment) -> [Standing; DOUBTERS.len()] {
        let people = self.people.all(now);
        DOUBTERS.map(|layer| standing::standing(layer, &people, budget))
    }

    /// Looks again; what turned.
    pub fn look(
        &self,
        budget: f64,
        now: Moment,
    ) -> ([Standing; DOUBTERS.len()], impl Iterator<Item = Turn> + use<>) {
        let standings = self.standings(budget, now);
        let before = Layers(self.proven.load(Ordering::Relaxed));
        let proven = standings
            .iter()
            .filter(|standing| standing.is_proven())
            .fold(Layers::default(), |all, standing| all.and(Layers::of(standing.layer)));
        self.proven.store(proven.0, Ordering::Relaxed);
        let turned = standings
            .into_iter()
            .filter(move |standing| before.has(standing.layer) != proven.has(standing.layer));
        (standings, turned.map(|standing| Turn { layer: standing.layer, standing }))
    }

    /// Those that are remembered, for a restart.
    pub fn people(&self, now: Moment) -> Vec<KeptPerson> {
        self.people.kept(now)
    }

    /// Remembers them again.
    pub fn restore(&self, people: &[KeptPerson], now: Moment) {
        self.people.restore(people, now);
    }

    /// People that lost their place to another so far.
    pub fn forgotten(&self) -> u64 {
        self.people.evicted()
    }

    /// Forgets who was not seen for long.
    pub fn sweep(&self, now: Moment) {
        self.people.sweep(now);
    }

    /// An operator says that somebody is a person, and that this layer, which stopped them or would have, was wrong. They
    /// count as whom the site knows, by the same bounds.
    pub fn say_human(&self, whom: &Whom, layer: Option<Layer>, now: Moment) {
        self.people.say_human(whom, layer, now);
    }

    /// An operator says that somebody attacks: nothing that he said of them before counts any more.
    pub fn say_attacker(&self, whom: &Whom, now: Moment) {
        self.people.say_attacker(whom, now);
    }

    pub(crate) fn note(&self, key: u64, seen: &Seen, now: Moment) {
        self.people.note(key, seen, now);
    }

    /// A page makes somebody's browser ask for something.
    pub(crate) fn note_page(&self, key: u64, now: Moment) {
        self.people.note_page(key, now);
    }

    /// A layer doubts somebody, or is certain; nothing is remembered of who is no person yet.
    pub(crate) fn add(&self, key: u64, doubted: Layers, certain: Layers, now: Moment) {
        self.people.add(key, doubted, certain, now);
    }
}
