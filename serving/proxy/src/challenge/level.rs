// SPDX-License-Identifier: Apache-2.0
//! The ladder: the more there is against a request, the more is asked of its client.

use sunbeam_ensemble::probability;
use sunbeam_pipeline::Judged;
use sunbeam_traffic::{Layer, Thousandths};

/// What is asked, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// To bring a cookie back.
    Cookie,
    /// The same, after a pause.
    Wait,
    /// The same, with a proof of work; without JavaScript after a longer pause.
    Work,
}

/// Of one half, where doubt begins, to one. Below this a cookie is enough,
const WAIT_FROM: u16 = 700;
/// and below this a pause.
const WORK_FROM: u16 = 900;

impl Level {
    pub(crate) const ALL: [Self; 3] = [Self::Cookie, Self::Wait, Self::Work];

    /// `cookie`
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Wait => "wait",
            Self::Work => "work",
        }
    }

    /// In a token: never given to another.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Cookie => 1,
            Self::Wait => 2,
            Self::Work => 3,
        }
    }

    pub(crate) fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }

    /// For how long a client waits that shows no work.
    pub(crate) const fn pause_ms(self) -> i64 {
        match self {
            Self::Cookie => 0,
            Self::Wait => 3_000,
            Self::Work => 15_000,
        }
    }

    /// What a doubt calls for.
    pub(crate) fn of(judged: &Judged, (layer, reason): (Layer, &str)) -> Self {
        Self::of_score(score(judged, layer, reason))
    }

    const fn of_score(score: u16) -> Self {
        match score {
            ..WAIT_FROM => Self::Cookie,
            WAIT_FROM..WORK_FROM => Self::Wait,
            WORK_FROM.. => Self::Work,
        }
    }
}

/// The highest that the layer's models and rules say, in thousandths.
fn score(judged: &Judged, layer: Layer, reason: &str) -> u16 {
    let share = |logit: i32| Thousandths::of(probability(logit)).0;
    let scores = &judged.scores;
    let said = |scores: [Option<u16>; 3]| scores.into_iter().flatten().max().unwrap_or(0);
    match layer {
        // No one client is worse than another then, but all of them together have to pay.
        Layer::Ddos if reason == "distributed_flood" => 1_000,
        Layer::Ddos => said([scores.ddos.map(|said| share(said.logit)), None, None]),
        Layer::Scanner => said([
            scores.scanner.map(|said| share(said.logit)),
            scores.payload.map(share),
            scores.application.map(share),
        ]),
        Layer::Waf => said([scores.rules.map(|rules| rules.thousandths()), scores.payload.map(share), None]),
        Layer::Lists | Layer::RateLimit => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_goes_up_with_the_score() {
        for (score, want) in [
            (0, Level::Cookie),
            (500, Level::Cookie),
            (699, Level::Cookie),
            (700, Level::Wait),
            (899, Level::Wait),
            (900, Level::Work),
            (1_000, Level::Work),
        ] {
            assert_eq!(Level::of_score(score), want, "{score}");
        }
        for level in Level::ALL {
            assert_eq!(Level::numbered(level.number()), Some(level));
        }
        assert_eq!(Level::numbered(0), None);
    }
}
