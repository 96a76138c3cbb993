// SPDX-License-Identifier: Apache-2.0
//! Many visitors at once, each from an address of its own, as a busy hour has them: people, programs and crawlers, all
//! of whom are welcome. They judge models and train none, so none of their requests are committed.

use super::actor::Actor;
use super::crawlers::{FEEDS, POLITE, PREVIEWS};
use super::machines::{FILES, MOBILE, MONITORS, QUICK_POLLERS, SLOW_POLLERS};
use super::people::{BRISK, CALM, PRIVATE};
use super::{Generator, How, Label, Run, SLOW_SECS_MAX};

pub(super) const GENERATORS: &[Generator] = &[Generator {
    name: "crowd",
    label: Label::Benign,
    version: &[],
    runs: &[
        Run { intensity: "first", secs_max: SLOW_SECS_MAX, how: How::Crowd(EVERYBODY, 0) },
        Run { intensity: "second", secs_max: SLOW_SECS_MAX, how: How::Crowd(EVERYBODY, 1) },
        Run { intensity: "third", secs_max: SLOW_SECS_MAX, how: How::Crowd(EVERYBODY, 2) },
        Run { intensity: "fourth", secs_max: SLOW_SECS_MAX, how: How::Crowd(EVERYBODY, 3) },
        Run { intensity: "fifth", secs_max: SLOW_SECS_MAX, how: How::Crowd(EVERYBODY, 4) },
    ],
}];

/// Taken in turn.
const EVERYBODY: &[&[Actor]] = &[
    CALM,
    BRISK,
    PRIVATE,
    CALM,
    SLOW_POLLERS,
    BRISK,
    MONITORS,
    PRIVATE,
    MOBILE,
    CALM,
    FEEDS,
    FILES,
    BRISK,
    PREVIEWS,
    QUICK_POLLERS,
    POLITE,
];
