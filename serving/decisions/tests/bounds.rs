// SPDX-License-Identifier: Apache-2.0
//! The store keeps within its bytes and its age, and one class does not push out another.

use std::time::Duration;

use sunbeam_decisions::{BYTES_MIN, Bounds, Class, Entry, Query, Writer};

use crate::store::{SOME_DAY, all, append, entry, files, numbers, ring_bytes};
use crate::testing::TestFolder;

const SMALL: Bounds = Bounds { max_bytes: BYTES_MIN, max_age: Duration::from_secs(30 * 86_400) };
const DAY_MICROS: u64 = 86_400_000_000;

#[test]
fn a_flood_of_one_class_stays_within_its_ring_and_leaves_the_others() {
    let folder = TestFolder::new();
    let (mut writer, _) = Writer::open(folder.path(), SMALL).unwrap();
    append(&mut writer, &[entry(Class::Content, 1, 100), entry(Class::Passes, 2, 100)]);
    let ring_max = BYTES_MIN / 100 * 30;
    let mut most = 0;
    for batch in 0..100 {
        let entries: Vec<Entry> =
            (0..100).map(|number| entry(Class::Limits, 10 + batch * 100 + number, 1000)).collect();
        append(&mut writer, &entries);
        most = most.max(ring_bytes(folder.path(), Class::Limits));
    }
    assert!(most <= ring_max, "{most} of {ring_max}");
    assert!(most > ring_max * 7 / 10, "{most} of {ring_max}: the ring is used");
    let kept = numbers(folder.path());
    assert_eq!(kept[..2], [1, 2]);
    let newest: Vec<u64> = (10_010 - (kept.len() as u64 - 2)..10_010).collect();
    assert_eq!(kept[2..], newest, "the newest are kept, without gaps");
}

#[test]
fn a_store_that_was_made_smaller_shrinks() {
    let folder = TestFolder::new();
    let large = Bounds { max_bytes: 8 * BYTES_MIN, ..SMALL };
    let (mut writer, _) = Writer::open(folder.path(), large).unwrap();
    for number in 0..400 {
        append(&mut writer, &[entry(Class::Limits, number, 30_000)]);
    }
    drop(writer);
    let (mut writer, _) = Writer::open(folder.path(), SMALL).unwrap();
    writer.prune(SOME_DAY).unwrap();
    append(&mut writer, &[entry(Class::Limits, 400, 30_000)]);
    assert!(ring_bytes(folder.path(), Class::Limits) <= BYTES_MIN / 100 * 30);
    assert_eq!(numbers(folder.path()).last(), Some(&400));
}

#[test]
fn what_is_too_old_goes_also_where_little_comes() {
    let folder = TestFolder::new();
    let (mut writer, _) = Writer::open(folder.path(), SMALL).unwrap();
    // Two a day of each class, for a hundred days.
    for half_day in 0..200 {
        let at_micros = SOME_DAY + half_day * DAY_MICROS / 2;
        for class in Class::ALL {
            let mut one = entry(class, half_day, 50);
            one.row.at_micros = at_micros;
            append(&mut writer, &[one]);
        }
        writer.prune(at_micros).unwrap();
        let found = all(folder.path(), &Query::default()).entries;
        let oldest = found.iter().map(|found| found.row.at_micros).min().unwrap();
        let age_days = (at_micros - oldest) as f64 / DAY_MICROS as f64;
        assert!(age_days <= 30.0 * 17.0 / 16.0 + 0.5, "{age_days} days");
        assert_eq!(found.len() as u64 % 3, 0);
        assert!(
            found.len() as u64 >= 3 * (half_day + 1).min(60),
            "nothing goes before its time: {}",
            found.len()
        );
    }
    // Nothing comes any more.
    writer.prune(SOME_DAY + 200 * DAY_MICROS).unwrap();
    assert!(numbers(folder.path()).is_empty());
    for class in Class::ALL {
        assert_eq!(files(folder.path(), class, "log").len() + files(folder.path(), class, "index").len(), 0);
    }
    append(&mut writer, &[entry(Class::Limits, 7, 1)]);
    assert_eq!(numbers(folder.path()), [7]);
}

#[test]
fn a_time_when_the_clock_was_ahead_shelters_nothing() {
    let folder = TestFolder::new();
    let (mut writer, _) = Writer::open(folder.path(), SMALL).unwrap();
    let mut ahead = entry(Class::Content, 1, 1);
    ahead.row.at_micros = SOME_DAY + 1000 * DAY_MICROS;
    append(&mut writer, &[ahead.clone()]);
    append(&mut writer, &[entry(Class::Content, 2, 1)]);
    writer.prune(SOME_DAY + 31 * DAY_MICROS).unwrap();
    assert_eq!(all(folder.path(), &Query::default()).entries, [ahead]);
}
