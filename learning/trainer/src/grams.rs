// SPDX-License-Identifier: Apache-2.0
//! Weights of n-grams: logistic regression by AdaGrad (Duchi et al. 2011) over counts divided by the root of how many
//! there are.

use sunbeam_ensemble::{Grams, gram_places};

use crate::arithmetic::{Chance, probability};

/// How they are trained.
#[derive(Clone, Copy, Debug)]
pub struct GramTraining {
    /// Rounds over all bags.
    pub rounds: usize,
    /// The first step's length.
    pub rate: f32,
    /// Pulls weights to zero.
    pub decay: f32,
    /// Of the order.
    pub seed: u64,
    /// Benign texts of one bag that are looked at, the worst first.
    pub benign_texts: usize,
    /// Of the rounds, the first in which all texts of an attack are taken for one: nothing is known yet of which is.
    pub warm_rounds: usize,
}

/// Texts of which it is known whether one of them attacks.
#[derive(Clone, Copy, Debug)]
pub struct GramBag<'a> {
    /// In symbols.
    pub texts: &'a [&'a [u8]],
    /// One of them does.
    pub is_attack: bool,
    /// How much it counts.
    pub weight: f32,
}

/// The same, by places of weights. A log has many of them: two bytes a place, and two pieces of memory for all texts.
#[derive(Debug)]
pub(crate) struct PlaceBag {
    /// Of all texts, one behind the other.
    places: Vec<u16>,
    /// Where each text ends.
    ends: Vec<u32>,
    pub(crate) is_attack: bool,
    weight: f32,
}

impl PlaceBag {
    /// Of texts that `read` pushes.
    pub(crate) fn read(is_attack: bool, weight: f32, read: impl FnOnce(&mut Self)) -> Self {
        let mut bag = Self { places: Vec::new(), ends: Vec::new(), is_attack, weight };
        read(&mut bag);
        bag.places.shrink_to_fit();
        bag.ends.shrink_to_fit();
        bag
    }

    /// Another text.
    pub(crate) fn push(&mut self, places: impl Iterator<Item = usize>) {
        self.places.extend(places.map(|place| u16::try_from(place).unwrap_or(0)));
        self.ends.push(u32::try_from(self.places.len()).unwrap_or(u32::MAX));
    }

    fn texts(&self) -> impl Iterator<Item = &[u16]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            let text = self.places.get(begin..end).unwrap_or_default();
            begin = end;
            text
        })
    }
}

/// Weights before they are made whole numbers.
#[derive(Clone, Debug)]
pub struct GramWeights<const N: usize> {
    weights: Vec<f32>,
    bias: f32,
}

impl<const N: usize> GramWeights<N> {
    /// Of a text that nothing is known of.
    pub(crate) const fn bias(&self) -> f32 {
        self.bias
    }

    fn logit(&self, places: &[u16]) -> f32 {
        let weight = |place: &u16| self.weights.get(usize::from(*place)).copied().unwrap_or(0.0);
        let sum: f32 = places.iter().map(weight).sum();
        self.bias + sum * scale(places.len())
    }

    /// As whole numbers of 8 bits: a weight of size `clip` or above is 127.
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    pub fn quantised(&self, clip: f32) -> Grams<N> {
        let mut weights = [0; N];
        for (whole, weight) in weights.iter_mut().zip(&self.weights) {
            *whole = (weight / clip * 127.0).round().clamp(-127.0, 127.0) as i8;
        }
        Grams { weights }
    }

    /// The size that all but one of so many weights stay below.
    pub fn clip(&self, one_of: usize) -> f32 {
        let mut sizes: Vec<f32> = self.weights.iter().map(|weight| weight.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let at = sizes.len().saturating_sub(1 + sizes.len() / one_of.max(1));
        sizes.get(at).copied().unwrap_or(1.0).max(1e-6)
    }
}

fn scale(count: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a length")]
    let count = count.max(1) as f32;
    1.0 / count.sqrt()
}

fn places<const N: usize>(symbols: &[u8]) -> impl Iterator<Item = usize> {
    let mut window = 0_u32;
    symbols.iter().flat_map(move |symbol| {
        window = window << 8 | u32::from(*symbol);
        gram_places::<N>(window)
    })
}

/// Trains; of an attack, on the text that is worst so far.
pub fn train<const N: usize>(bags: &[GramBag<'_>], training: &GramTraining) -> GramWeights<N> {
    let read = |bag: &GramBag<'_>| {
        PlaceBag::read(bag.is_attack, bag.weight, |read| {
            bag.texts.iter().for_each(|text| read.push(places::<N>(text)));
        })
    };
    let bags: Vec<PlaceBag> = bags.iter().map(read).collect();
    train_places(&bags.iter().collect::<Vec<_>>(), training)
}

/// The same, from places.
pub(crate) fn train_places<const N: usize>(bags: &[&PlaceBag], training: &GramTraining) -> GramWeights<N> {
    const { assert!(N <= 1 << u16::BITS, "a place no longer fits in two bytes") };
    let mut learner = Learner {
        weights: GramWeights { weights: vec![0.0; N], bias: 0.0 },
        slopes: vec![1e-3; N],
        bias_slopes: 1e-3,
        training: *training,
    };
    let mut order: Vec<usize> = (0..bags.len()).collect();
    let mut chance = Chance::new(training.seed);
    for round in 0..training.rounds {
        chance.shuffle(&mut order);
        for at in &order {
            if let Some(bag) = bags.get(*at) {
                learner.bag(bag, round < training.warm_rounds);
            }
        }
    }
    learner.weights
}

struct Learner<const N: usize> {
    weights: GramWeights<N>,
    /// Sums of squares, by place.
    slopes: Vec<f32>,
    bias_slopes: f32,
    training: GramTraining,
}

impl<const N: usize> Learner<N> {
    fn bag(&mut self, bag: &PlaceBag, is_warm: bool) {
        let mut worst: Vec<(f32, &[u16])> =
            bag.texts().map(|text| (self.weights.logit(text), text)).collect();
        worst.sort_by(|one, other| other.0.total_cmp(&one.0));
        let count = match bag.is_attack {
            true if is_warm => usize::MAX,
            true => 1,
            false => self.training.benign_texts,
        };
        let label = f32::from(u8::from(bag.is_attack));
        for (logit, text) in worst.into_iter().take(count) {
            self.step(text, (probability(logit) - label) * bag.weight);
        }
    }

    fn step(&mut self, places: &[u16], slope: f32) {
        let share = slope * scale(places.len());
        for place in places {
            let at = usize::from(*place);
            let (Some(weight), Some(sum)) = (self.weights.weights.get_mut(at), self.slopes.get_mut(at))
            else {
                continue;
            };
            let slope = share + self.training.decay * *weight;
            *sum += slope * slope;
            *weight -= self.training.rate * slope / sum.sqrt();
        }
        self.bias_slopes += slope * slope;
        self.weights.bias -= self.training.rate * slope / self.bias_slopes.sqrt();
    }
}
