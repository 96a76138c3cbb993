// SPDX-License-Identifier: Apache-2.0
//! Parts a data set for training, and refuses parts that leak into each other.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::hash::{request_key, seeded, text_key};
use crate::{Label, Record};

/// What a model is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To learn from.
    Train,
    /// To choose thresholds by.
    Validation,
    /// To be measured on, once.
    Test,
}

/// How much each side gets, in hundredths of the groups; what is left is for the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    train: u8,
    validation: u8,
}

/// Shares that are more than everything, or nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "shares of {train} % for training and {validation} % for validation leave nothing for one side: both must be at least 1, together at most 100"
)]
pub struct SharesError {
    train: u8,
    validation: u8,
}

/// A data set in three.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// See [`Side::Train`].
    pub train: Vec<Record>,
    /// See [`Side::Validation`].
    pub validation: Vec<Record>,
    /// See [`Side::Test`].
    pub test: Vec<Record>,
    /// Records that no side could have, by [`by_time`] only: without a time, or of a group that an earlier side
    /// knows already.
    pub dropped: usize,
}

/// What a model judges, and so what must not be on two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One request: the same one must not be on both.
    Request,
    /// What a client does: the same client must not be on both, and the same requests naturally are.
    Client,
}

/// Why two sides cannot be used together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeakError {
    /// A side has not both kinds.
    #[error("the {side} set has {benign} benign records and {attacks} attacks: it needs both")]
    OneClass {
        /// `training`, `validation`
        side: &'static str,
        /// Labelled benign.
        benign: u64,
        /// Labelled attacks.
        attacks: u64,
    },
    /// Groups are on both sides.
    #[error("{count} groups are on both sides: {}", names.join(", "))]
    Groups {
        /// All of them.
        count: usize,
        /// Ten at most.
        names: Vec<String>,
    },
    /// Requests are on both sides.
    #[error("{count} requests are on both sides: {}", names.join(", "))]
    Requests {
        /// All of them.
        count: usize,
        /// Ten at most, without their bodies.
        names: Vec<String>,
    },
    /// Clients are on both sides.
    #[error("{count} clients are on both sides: {}", names.join(", "))]
    Clients {
        /// All of them.
        count: usize,
        /// Ten at most.
        names: Vec<String>,
    },
}

impl Shares {
    /// Hundredths for training and validation; the test gets the rest, which may be nothing.
    ///
    /// # Errors
    /// When a share is 0, or both are more than 100.
    pub const fn new(train: u8, validation: u8) -> Result<Self, SharesError> {
        if train == 0 || validation == 0 || train > 100 || validation > 100 - train {
            return Err(SharesError { train, validation });
        }
        Ok(Self { train, validation })
    }

    /// Of `part` in `whole`, both counted from 0.
    fn side(self, part: u64, whole: u64) -> Side {
        let percent = u128::from(part) * 100 / u128::from(whole.max(1));
        match percent {
            _ if percent < self.train.into() => Side::Train,
            _ if percent < u128::from(self.train) + u128::from(self.validation) => Side::Validation,
            _ => Side::Test,
        }
    }
}

impl Split {
    fn add(&mut self, side: Side, record: Record) {
        match side {
            Side::Train => self.train.push(record),
            Side::Validation => self.validation.push(record),
            Side::Test => self.test.push(record),
        }
    }
}

/// The side of a group: the same for the same seed and shares, whatever else is in the set.
pub fn side_of(group: &str, seed: u64, shares: Shares) -> Side {
    shares.side(seeded(seed, group) >> 32, 1 << 32)
}

/// Whole groups to each side, by [`side_of`]; the order stays.
pub fn by_group(records: Vec<Record>, seed: u64, shares: Shares) -> Split {
    let mut split = Split::default();
    for record in records {
        split.add(side_of(&record.group, seed, shares), record);
    }
    split
}

/// The latest stretch to the test, the one before to the validation: as a model will meet what comes after it.
/// A group that an earlier side has is taken out of the later ones, so that what is measured there is new.
pub fn by_time(mut records: Vec<Record>, shares: Shares) -> Split {
    let all = records.len();
    records.retain(|record| record.at_micros.is_some());
    records.sort_by_key(|record| record.at_micros);
    let whole = u64::try_from(records.len()).unwrap_or(u64::MAX);
    let mut split = Split::default();
    let mut first_side: BTreeMap<u128, Side> = BTreeMap::new();
    let mut kept = 0;
    for (part, record) in (0..).zip(records) {
        let side = shares.side(part, whole);
        if *first_side.entry(text_key(&record.group)).or_insert(side) == side {
            split.add(side, record);
            kept += 1;
        }
    }
    split.dropped = all - kept;
    split
}

/// Refuses sides that cannot be used together: of one class only, with groups on both, or with the same requests or
/// clients on both. Records without a label are looked at for what they share, and are of no class.
///
/// # Errors
/// The first thing that is wrong, of the order above.
pub fn check_leaks(train: &[Record], validation: &[Record], unit: Unit) -> Result<(), LeakError> {
    both_classes("training", train)?;
    both_classes("validation", validation)?;
    check_overlap(train, validation, unit)
}

/// The same where one class is enough for `validation`: other data judges the rest.
///
/// # Errors
/// As [`check_leaks`].
pub fn check_training(train: &[Record], validation: &[Record], unit: Unit) -> Result<(), LeakError> {
    both_classes("training", train)?;
    check_overlap(train, validation, unit)
}

fn check_overlap(train: &[Record], validation: &[Record], unit: Unit) -> Result<(), LeakError> {
    let group = |record: &Record| Some(text_key(&record.group));
    if let Some((count, names)) = shared(train, validation, group, |record| record.group.clone()) {
        return Err(LeakError::Groups { count, names });
    }
    match unit {
        Unit::Request => {
            let key = |record: &Record| Some(request_key(record));
            let found = shared(train, validation, key, told);
            found.map_or(Ok(()), |(count, names)| Err(LeakError::Requests { count, names }))
        }
        Unit::Client => {
            let key = |record: &Record| (!record.client.is_empty()).then(|| text_key(&record.client_group()));
            let found = shared(train, validation, key, |record| record.client.clone());
            found.map_or(Ok(()), |(count, names)| Err(LeakError::Clients { count, names }))
        }
    }
}

/// Names in an error.
const NAMES_MAX: usize = 10;
/// Bytes of each.
const NAME_BYTES_MAX: usize = 80;

fn both_classes(side: &'static str, records: &[Record]) -> Result<(), LeakError> {
    let count = |label| u64::try_from(records.iter().filter(|record| record.label == Some(label)).count());
    let (benign, attacks) = (count(Label::Benign).unwrap_or(0), count(Label::Attack).unwrap_or(0));
    if benign > 0 && attacks > 0 {
        return Ok(());
    }
    Err(LeakError::OneClass { side, benign, attacks })
}

/// How many keys are on both sides, and the names of the first, if there are any.
fn shared(
    left: &[Record],
    right: &[Record],
    key: impl Fn(&Record) -> Option<u128>,
    name: impl Fn(&Record) -> String,
) -> Option<(usize, Vec<String>)> {
    let known: HashSet<u128> = left.iter().filter_map(&key).collect();
    let mut found = HashSet::new();
    let mut names = BTreeSet::new();
    for record in right {
        let Some(key) = key(record).filter(|key| known.contains(key)) else { continue };
        if found.insert(key) && names.len() < NAMES_MAX {
            names.insert(format!("`{}`", short(&name(record))));
        }
    }
    (!found.is_empty()).then(|| (found.len(), names.into_iter().collect()))
}

fn told(record: &Record) -> String {
    let mark = if record.query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{}", record.method, record.path, record.query)
}

/// Without control characters, which would write to a terminal.
fn short(name: &str) -> String {
    let kept = name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    let dots = if kept.len() < name.len() { "…" } else { "" };
    format!("{}{dots}", kept.escape_debug())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{get, records};

    const BENIGN: Option<Label> = Some(Label::Benign);
    const ATTACK: Option<Label> = Some(Label::Attack);

    fn shares() -> Shares {
        Shares::new(70, 15).unwrap()
    }

    fn of_client(client: &str, record: Record) -> Record {
        Record { client: client.into(), ..record }
    }

    #[test]
    fn shares_leave_something_for_both() {
        for (name, train, validation, want) in [
            ("three", 70, 15, true),
            ("no test", 80, 20, true),
            ("no training", 0, 20, false),
            ("no validation", 80, 0, false),
            ("too much", 80, 21, false),
            ("far too much", 255, 255, false),
        ] {
            assert_eq!(Shares::new(train, validation).is_ok(), want, "{name}");
        }
    }

    #[test]
    fn what_leaks_is_named() {
        let train = [get("a", "g1", BENIGN, "/"), of_client("c", get("a", "g2", ATTACK, "/x?y=1"))];
        let [home, probe] = [get("b", "g3", BENIGN, "/b"), get("b", "g4", ATTACK, "/c")];
        let same = get("b", "g5", ATTACK, "/%78?y=%31");
        let own = of_client("c", home.clone());
        let long = get("b", "g1", BENIGN, "/");
        for (name, validation, unit, want) in [
            ("nothing", vec![home.clone(), probe.clone()], Unit::Request, None),
            (
                "one class",
                vec![home.clone()],
                Unit::Request,
                Some("the validation set has 1 benign records and 0 attacks: it needs both"),
            ),
            ("a group", vec![long, probe.clone()], Unit::Request, Some("1 groups are on both sides: `g1`")),
            (
                "a request",
                vec![home, probe.clone(), same.clone()],
                Unit::Request,
                Some("1 requests are on both sides: `GET /%78?y=%31`"),
            ),
            ("a client", vec![own, probe, same], Unit::Client, Some("1 clients are on both sides: `c`")),
        ] {
            let found = check_leaks(&train, &validation, unit).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), want, "{name}");
        }
        let found = check_leaks(&[], &train, Unit::Request).unwrap_err().to_string();
        assert_eq!(found, "the training set has 0 benign records and 0 attacks: it needs both");
    }

    #[test]
    fn ten_groups_are_named_and_all_are_counted() {
        let side: Vec<_> = (0..50)
            .flat_map(|id| {
                [BENIGN, ATTACK].map(|label| get("a", &format!("\u{1b}{id}{}", "x".repeat(99)), label, "/"))
            })
            .collect();
        let Err(LeakError::Groups { count, names }) = check_leaks(&side, &side, Unit::Request) else {
            panic!("no groups");
        };
        assert_eq!((count, names.len()), (50, NAMES_MAX));
        assert!(names.iter().all(|name| name.starts_with("`\\u{1b}") && name.len() < 100));
    }

    #[test]
    fn time_parts_a_set_and_known_groups_stay_where_they_were_first() {
        let at = |at: Option<i64>, group: &str| Record { at_micros: at, ..get("a", group, None, "/") };
        let mut records: Vec<_> = (0..20).map(|time| at(Some(time), &format!("g{time}"))).collect();
        records.reverse();
        records.extend([at(None, "g"), at(Some(19), "g0")]);
        let split = by_time(records, shares());
        let times = |side: &[Record]| side.iter().filter_map(|record| record.at_micros).collect::<Vec<_>>();
        assert_eq!(times(&split.train), (0..15).collect::<Vec<_>>());
        assert_eq!((times(&split.validation), times(&split.test)), (vec![15, 16, 17], vec![18, 19]));
        assert_eq!(split.dropped, 2);
    }

    proptest! {
        #[test]
        fn groups_are_never_torn_apart_and_nothing_is_lost(records in vec(records(), 0..60), seed: u64) {
            let split = by_group(records.clone(), seed, shares());
            let sides = [&split.train, &split.validation, &split.test];
            prop_assert_eq!(sides.iter().map(|side| side.len()).sum::<usize>(), records.len());
            let groups: Vec<BTreeSet<&str>> =
                sides.iter().map(|side| side.iter().map(|record| &*record.group).collect()).collect();
            for (index, left) in groups.iter().enumerate() {
                prop_assert!(groups.iter().skip(index + 1).all(|right| left.is_disjoint(right)));
            }
            prop_assert_eq!(split, by_group(records, seed, shares()));
        }

        #[test]
        fn time_never_runs_from_one_side_into_an_earlier_one(records in vec(records(), 0..60)) {
            let all = records.len();
            let split = by_time(records, shares());
            let kept = split.train.len() + split.validation.len() + split.test.len();
            prop_assert_eq!(kept + split.dropped, all);
            let last = split.train.iter().filter_map(|record| record.at_micros).max();
            let first = split.validation.iter().chain(&split.test).filter_map(|record| record.at_micros).min();
            prop_assert!(last.zip(first).is_none_or(|(last, first)| last <= first));
        }
    }

    #[test]
    fn shares_are_kept_about() {
        let train = (0..10_000).filter(|id| side_of(&format!("g{id}"), 7, shares()) == Side::Train).count();
        assert!((6_800..7_200).contains(&train), "{train}");
    }
}
