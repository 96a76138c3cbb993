// SPDX-License-Identifier: Apache-2.0
//! The 14 features of what one client has been doing: a row each.

/// What a window adds up to; counts of the last two windows, the earlier one by half, unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Requests in the window, exactly; static files and cache hits by their cost.
    pub requests: u32,
    /// Client errors in the window, exactly.
    pub errors: u32,
    /// Requests in the fullest twelfth of the window.
    pub most: u32,
    /// 2^32 / seconds of the window.
    pub per_second: u64,
    /// 2^32 / requests.
    pub inverse_requests: u64,
    /// Requests.
    pub events: u32,
    /// 2^32 / events.
    pub inverse: u64,
    /// GET and HEAD, POST, other known methods, others.
    pub methods: [u16; 4],
    /// Different paths, about.
    pub paths: u32,
    /// Different hosts, about.
    pub hosts: u32,
    /// Different user agents, about.
    pub agents: u32,
    /// Requests with cookies.
    pub cookies: u32,
    /// Requests with a referer.
    pub referers: u32,
    /// Requests with a language.
    pub languages: u32,
    /// Requests for paths that probes ask for.
    pub suspicious: u32,
    /// Milliseconds that the answers took.
    pub duration_ms: u32,
    /// Announced body bytes, in units of 64.
    pub content_64: u32,
}

impl Totals {
    /// So many of 1,000 events; never more. A count is one of so many events, so nothing here overflows.
    fn permille(&self, count: u32) -> u32 {
        let share = (u64::from(count) * 1000).wrapping_mul(self.inverse).wrapping_add(HALF) >> 32;
        u32::try_from(share.min(1000)).unwrap_or(1000)
    }

    /// A share of the requests, in units of `scale`, which is below 2^12.
    fn of_requests(&self, count: u32, scale: u64) -> u32 {
        let share = (u64::from(count) * scale).wrapping_mul(self.inverse_requests).wrapping_add(HALF) >> 32;
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    fn mean(&self, sum: u32) -> u32 {
        let mean = u64::from(sum).saturating_mul(self.inverse).saturating_add(HALF) >> 32;
        u32::try_from(mean).unwrap_or(u32::MAX)
    }

    /// Thousandths of a bit, 0 to 2,000.
    fn method_entropy(&self) -> u32 {
        let term = |count: &u16| {
            let share = (u64::from(*count) * 64).wrapping_mul(self.inverse).wrapping_add(HALF) >> 32;
            usize::try_from(share).ok().and_then(|share| ENTROPY_TERMS.get(share)).copied().unwrap_or(0)
        };
        self.methods.iter().map(|count| u32::from(term(count))).sum()
    }
}

/// Half of the unit of [`Totals::inverse`], for rounding.
const HALF: u64 = 1 << 31;

/// Declares the table and the function that reads all of it without a call for each.
macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident [$unit:literal] = |$totals:ident| $value:expr;)*) => {
        /// Names and units, in the order of a vector.
        pub const TABLE: &[Feature] = &[$(
            Feature { name: stringify!($name), unit: $unit, doc: concat!($($doc, "\n",)*) },
        )*];

        /// The vector, in the order of [`TABLE`]. Whole numbers: the same on every processor.
        #[inline]
        pub fn read(totals: &Totals) -> [u32; COUNT] {
            [$({ let $totals = totals; $value },)*]
        }
    };
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// `request_rate`
    pub name: &'static str,
    /// What 1 means.
    pub unit: &'static str,
    /// What it says.
    pub doc: &'static str,
}

impl Feature {
    /// Whether it is a share of 1,000.
    pub const fn is_share(&self) -> bool {
        matches!(self.unit.as_bytes(), b"1/1000")
    }
}

/// What a window shows that no ordinary visit does: one in five were probes, and much was in vain (who works on a backup
/// or a manager asks for what probes ask for, and gets it). Pages that are not there are no sign by themselves, however
/// many: a gallery whose pictures are gone, old bookmarks and crawlers come to that; `ddos.error_threshold` is for them.
pub const fn has_sign(features: &[u32; COUNT]) -> bool {
    const ERRORS: usize = 3;
    const SUSPICIOUS: usize = 13;
    features[SUSPICIOUS] >= 200 && features[ERRORS] >= 300
}

/// Where the features stand that a client chooses freely: no decision may hang on them alone.
pub const COOKIES: usize = 10;
/// See [`COOKIES`].
pub const REFERERS: usize = 11;

/// Features of a window.
pub const COUNT: usize = 14;

features! {
    /// Requests a second over the window.
    request_rate ["1/100 a second"] = |t| u32::try_from(u64::from(t.requests).saturating_mul(100).saturating_mul(t.per_second) >> 32).unwrap_or(u32::MAX);
    /// Different paths.
    unique_paths ["paths"] = |t| t.paths;
    /// Different hosts.
    unique_hosts ["hosts"] = |t| t.hosts;
    /// Share of client errors that the site answered; our own refusals never count.
    error_rate ["1/1000"] = |t| t.of_requests(t.errors, 1000).min(1000);
    /// Mean time to the end of an answer.
    mean_duration ["ms"] = |t| t.mean(t.duration_ms);
    /// How mixed the methods are: 0 for one, 2,000 for four in equal parts.
    method_entropy ["1/1000 bit"] = |t| t.method_entropy();
    /// The fullest twelfth of the window over the mean twelfth.
    burst_score ["1/100"] = |t| t.of_requests(t.most, 1200);
    /// How often a path was asked for again.
    path_repetition ["1/1000"] = |t| if t.events == 0 { 0 } else { 1000 - t.permille(t.paths) };
    /// Mean announced body.
    mean_content_length ["bytes"] = |t| t.mean(t.content_64).saturating_mul(64);
    /// Different user agents.
    unique_user_agents ["agents"] = |t| t.agents;
    /// Share with cookies.
    cookie_ratio ["1/1000"] = |t| t.permille(t.cookies);
    /// Share with a referer.
    referer_ratio ["1/1000"] = |t| t.permille(t.referers);
    /// Share with a language.
    accept_language_ratio ["1/1000"] = |t| t.permille(t.languages);
    /// Share that asked for what probes ask for.
    suspicious_path_ratio ["1/1000"] = |t| t.permille(t.suspicious);
}

const _: () = assert!(TABLE.len() == COUNT);

/// -1000·p·log2(p) for p in 64ths; a test computes them again.
const ENTROPY_TERMS: [u16; 65] = [
    0, 94, 156, 207, 250, 287, 320, 349, 375, 398, 418, 437, 453, 467, 480, 491, 500, 508, 515, 520, 524,
    528, 530, 531, 531, 530, 528, 525, 522, 517, 512, 507, 500, 493, 485, 476, 467, 457, 447, 435, 424, 412,
    399, 385, 372, 357, 342, 327, 311, 295, 278, 261, 243, 225, 207, 188, 169, 149, 129, 108, 87, 66, 44, 22,
    0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entropy_terms_are_the_formula_s() {
        for (index, term) in (0_u8..).zip(ENTROPY_TERMS) {
            let p = f64::from(index) / 64.0;
            let want = if index == 0 { 0.0 } else { -1000.0 * p * p.log2() };
            assert!((f64::from(term) - want).abs() <= 0.5, "{index}: {term} is not {want}");
        }
    }

    #[test]
    fn features_of_nothing_and_of_extremes_stay_in_their_bounds() {
        let zero = read(&Totals::default());
        assert_eq!(zero, [0; COUNT]);
        let most = Totals {
            requests: 12 * u32::from(u16::MAX),
            errors: 12 * u32::from(u16::MAX),
            most: u16::MAX.into(),
            per_second: 1 << 32,
            inverse_requests: (1 << 32) / (12 * u64::from(u16::MAX)),
            events: 4 * u32::from(u16::MAX),
            inverse: (1 << 32) / (4 * u64::from(u16::MAX)),
            methods: [u16::MAX; 4],
            paths: 710,
            hosts: 55,
            agents: 55,
            cookies: u16::MAX.into(),
            referers: u16::MAX.into(),
            languages: u16::MAX.into(),
            suspicious: u16::MAX.into(),
            duration_ms: u32::MAX,
            content_64: u32::MAX,
        };
        let read = read(&most);
        for (feature, value) in TABLE.iter().zip(read) {
            assert!(!feature.unit.starts_with("1/1000") || value <= 2000, "{}: {value}", feature.name);
        }
    }
}
