// SPDX-License-Identifier: Apache-2.0
//! What a model of windows is asked before it replaces another: made-up clients, attackers in several intensities and
//! calm ones. Quiet traffic shows no flood, so that a model which never doubts would agree with any other there.
//!
//! Each client is played through the very window that serves, and the same for both models.

use sunbeam_ensemble::DdosModel;
use sunbeam_features::{FULL_COST, Window, WindowEvent, WindowShape, ddos};
use sunbeam_tables::Moment;

/// One made-up client. Shares are of a hundred requests, spread evenly.
#[derive(Clone, Copy, Debug)]
struct Canary {
    what: &'static str,
    requests: u32,
    gap_ms: u64,
    /// Different ones, in turn.
    paths: u64,
    /// Different ones, in turn.
    agents: u64,
    errors: u32,
    /// For what probes ask for.
    probes: u32,
    posts: u32,
    cookies: u32,
    referers: u32,
    languages: u32,
    duration_ms: u32,
}

/// Who asks with nothing but what must be there.
const BARE: Canary = Canary {
    what: "",
    requests: 60,
    gap_ms: 500,
    paths: 60,
    agents: 1,
    errors: 0,
    probes: 0,
    posts: 0,
    cookies: 0,
    referers: 0,
    languages: 0,
    duration_ms: 12,
};
/// Who sends what a browser sends.
const BROWSER: Canary = Canary { cookies: 100, referers: 95, languages: 100, ..BARE };
/// A scan for names that stand on no list of probes, and one for those that do.
const GUESSES: Canary = Canary { errors: 97, probes: 8, ..BARE };
const PROBES: Canary = Canary { errors: 90, probes: 70, ..BARE };
/// Passwords for one form, and pages that are not worked out twice.
const LOGIN: Canary = Canary { paths: 1, errors: 100, posts: 100, duration_ms: 80, ..BARE };
const FLOOD: Canary = Canary { paths: 1, requests: 900, gap_ms: 5, ..BARE };

const ATTACKERS: [Canary; 16] = [
    Canary { what: "a flood of one page, 200 a second", ..FLOOD },
    Canary { what: "a flood of one page, 50 a second", requests: 600, gap_ms: 20, ..FLOOD },
    Canary { what: "a flood of made-up pages, 200 a second", paths: 900, errors: 100, ..FLOOD },
    Canary { what: "a flood of forms, 100 a second", posts: 100, gap_ms: 10, errors: 50, ..FLOOD },
    Canary { what: "passwords for a login, 20 a second", requests: 400, gap_ms: 50, ..LOGIN },
    Canary { what: "passwords for a login, 2 a second", requests: 100, ..LOGIN },
    Canary {
        what: "passwords for a login, 2 a second, as a browser sends them",
        requests: 100,
        errors: 100,
        posts: 100,
        paths: 1,
        ..BROWSER
    },
    Canary { what: "passwords for a login, one in two seconds", requests: 28, gap_ms: 2_000, ..LOGIN },
    Canary { what: "a scan for names, 100 a second", requests: 800, gap_ms: 10, paths: 800, ..GUESSES },
    Canary { what: "a scan for names, 10 a second", requests: 300, gap_ms: 100, paths: 300, ..GUESSES },
    Canary { what: "a scan for names, 2 a second", requests: 100, paths: 100, ..GUESSES },
    Canary {
        what: "a scan for names, 2 a second, as a browser sends it",
        errors: 97,
        probes: 8,
        requests: 100,
        paths: 100,
        ..BROWSER
    },
    Canary { what: "a scan for holes, 100 a second", requests: 800, gap_ms: 10, paths: 500, ..PROBES },
    Canary { what: "a scan for holes, 10 a second", requests: 300, gap_ms: 100, paths: 200, ..PROBES },
    Canary { what: "a scan for holes, one in two seconds", requests: 28, gap_ms: 2_000, ..PROBES },
    Canary { what: "a scan for holes with many names", requests: 200, gap_ms: 100, agents: 40, ..PROBES },
];

const CALM: [Canary; 10] = [
    Canary { what: "a reader", requests: 20, gap_ms: 2_800, paths: 14, ..BROWSER },
    Canary { what: "a page with its pictures", requests: 45, gap_ms: 40, paths: 45, referers: 98, ..BROWSER },
    Canary { what: "a visitor who buys", requests: 40, gap_ms: 1_400, paths: 22, posts: 12, ..BROWSER },
    Canary {
        what: "a mistyped password",
        requests: 14,
        gap_ms: 4_000,
        paths: 6,
        posts: 25,
        errors: 20,
        ..BROWSER
    },
    Canary { what: "old bookmarks", requests: 18, gap_ms: 3_000, paths: 12, errors: 20, ..BROWSER },
    Canary { what: "an application that asks for news", requests: 29, gap_ms: 2_000, paths: 2, ..BROWSER },
    Canary { what: "a monitor", requests: 12, gap_ms: 5_000, paths: 1, ..BARE },
    Canary { what: "a crawler", requests: 30, gap_ms: 1_900, paths: 30, errors: 3, ..BARE },
    Canary { what: "a reader of feeds", requests: 12, gap_ms: 4_500, paths: 3, ..BARE },
    Canary { what: "an office", requests: 150, gap_ms: 380, paths: 60, agents: 9, posts: 6, ..BROWSER },
];

/// How a model of windows is worse than the one in use at what every model should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorseOfWindows {
    /// It lets attackers go; else it doubts who does nothing.
    pub lets_go: bool,
    /// One of those that it says wrongly, and the other does not.
    pub what: &'static str,
    /// Of how many, by the model in use and by this one, are doubted.
    pub doubted: [usize; 2],
    /// How many there are.
    pub of: usize,
}

/// A model may be wrong about one more than the one in use, on either side. `threshold` is that of the configuration.
pub fn worse_of_windows(in_use: &DdosModel, other: &DdosModel, threshold: i32) -> Option<WorseOfWindows> {
    const MORE_WRONG: usize = 1;
    [(&ATTACKERS[..], true), (&CALM[..], false)].into_iter().find_map(|(canaries, lets_go)| {
        let said: Vec<[bool; 2]> = canaries
            .iter()
            .map(|canary| {
                let features = canary.features();
                [in_use, other].map(|model| model.judge(&features, threshold).path.is_block())
            })
            .collect();
        let is_wrong = |said: bool| said != lets_go;
        let wrong = |of: fn(&[bool; 2]) -> bool| said.iter().filter(|said| is_wrong(of(said))).count();
        if wrong(|[_, new]| *new) <= wrong(|[old, _]| *old) + MORE_WRONG {
            return None;
        }
        let newly = |(_, [old, new]): &(&Canary, &[bool; 2])| is_wrong(*new) && !is_wrong(*old);
        let what = canaries.iter().zip(&said).find(newly).map_or("", |(canary, _)| canary.what);
        let doubted = |of: fn(&[bool; 2]) -> bool| said.iter().filter(|said| of(said)).count();
        let doubted = [doubted(|[old, _]| *old), doubted(|[_, new]| *new)];
        Some(WorseOfWindows { lets_go, what, doubted, of: canaries.len() })
    })
}

/// The default window.
const WINDOW_SECS: u32 = 60;
const WINDOW_CAPACITY: u16 = 1000;

impl Canary {
    fn features(&self) -> [u32; ddos::COUNT] {
        const START_MICROS: u64 = 600_000_000;
        let shape = WindowShape::new(WINDOW_SECS, WINDOW_CAPACITY);
        let mut window = Window::default();
        let mut now = Moment::from_micros(START_MICROS);
        for number in 0..self.requests {
            now = Moment::from_micros(START_MICROS + u64::from(number) * self.gap_ms * 1000);
            window.add(&self.event(number), now, &shape);
        }
        window.features(now, &shape)
    }

    fn event(&self, number: u32) -> WindowEvent {
        let is_one = |share: u32| (number + 1) * share / 100 > number * share / 100;
        let one_of = |different: u64| scattered(u64::from(number) % different.max(1));
        WindowEvent {
            path: one_of(self.paths),
            host: 0,
            agent: one_of(self.agents),
            method: u8::from(is_one(self.posts)),
            is_error: is_one(self.errors),
            has_cookies: is_one(self.cookies),
            has_referer: is_one(self.referers),
            has_language: is_one(self.languages),
            is_suspicious: is_one(self.probes),
            duration_ms: self.duration_ms,
            content_length: if is_one(self.posts) { 64 } else { 0 },
            cost: FULL_COST,
        }
    }
}

/// As a hash would: the same for the same.
const fn scattered(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[cfg(test)]
mod tests {
    use sunbeam_ensemble::{builtin, threshold_logit};

    use super::*;

    fn threshold() -> i32 {
        threshold_logit(0.6)
    }

    fn doubted(model: &DdosModel, canaries: &[Canary]) -> Vec<&'static str> {
        let is_doubted = |canary: &&Canary| model.judge(&canary.features(), threshold()).path.is_block();
        canaries.iter().filter(is_doubted).map(|canary| canary.what).collect()
    }

    #[test]
    fn what_ships_doubts_attackers_and_nobody_who_is_calm() {
        let found = doubted(&builtin::DDOS, &ATTACKERS);
        assert!(found.len() >= ATTACKERS.len() - 3, "{found:?}");
        assert_eq!(doubted(&builtin::DDOS, &CALM), [""; 0]);
    }

    #[test]
    fn one_that_never_doubts_or_always_does_is_worse_and_the_same_one_is_not() {
        let in_use = &builtin::DDOS;
        assert_eq!(worse_of_windows(in_use, in_use, threshold()), None);
        let mut blind = in_use.clone();
        blind.cascade.tree.leaves = [i16::MIN; 64];
        let worse = worse_of_windows(in_use, &blind, threshold()).unwrap();
        assert!(worse.lets_go && worse.doubted[0] > 3 && worse.doubted[1] == 0, "{worse:?}");
        assert_eq!(worse_of_windows(&blind, in_use, threshold()), None, "it is the better one");
        let mut afraid = in_use.clone();
        afraid.cascade.tree.leaves = [i16::MAX; 64];
        let worse = worse_of_windows(in_use, &afraid, threshold()).unwrap();
        assert!(!worse.lets_go && worse.doubted == [0, CALM.len()], "{worse:?}");
    }
}
