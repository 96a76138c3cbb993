// SPDX-License-Identifier: Apache-2.0
//! Puts a log in the order of its time: windows mean nothing when time jumps.

use crate::Record;

/// What was out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderReport {
    /// Records older than the one before them (that has a time).
    pub backwards: u64,
    /// Records without a time.
    pub missing: u64,
}

/// The records in the order of their times; those of one time, and those without, stay behind what they stood
/// behind. All of them are in memory at once.
pub fn in_order(records: Vec<Record>) -> (Vec<Record>, OrderReport) {
    let mut report = OrderReport::default();
    let mut last = None;
    let mut timed: Vec<(Option<i64>, Record)> = Vec::with_capacity(records.len());
    for record in records {
        match record.at_micros {
            None => report.missing += 1,
            Some(at) => {
                report.backwards += u64::from(last.is_some_and(|last| at < last));
                last = Some(at);
            }
        }
        timed.push((last, record));
    }
    timed.sort_by_key(|(at, _)| *at);
    (timed.into_iter().map(|(_, record)| record).collect(), report)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(times: &[Option<i64>]) -> Vec<Record> {
        let numbered = (0_u64..).zip(times);
        numbered.map(|(id, at)| Record { at_micros: *at, content_length: id, ..Record::default() }).collect()
    }

    #[test]
    fn records_without_a_time_stay_where_they_stood() {
        for (name, times, want, backwards, missing) in [
            ("in order", vec![Some(1), Some(1), Some(2)], vec![0, 1, 2], 0, 0),
            ("backwards", vec![Some(3), Some(1), Some(2)], vec![1, 2, 0], 1, 0),
            ("missing", vec![None, Some(3), None, Some(1), None], vec![0, 3, 4, 1, 2], 1, 3),
            ("none", vec![], vec![], 0, 0),
        ] {
            let (ordered, report) = in_order(records(&times));
            let ids: Vec<_> = ordered.iter().map(|record| record.content_length).collect();
            assert_eq!(ids, want, "{name}");
            assert_eq!(report, OrderReport { backwards, missing }, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_a_second_time_changes_nothing(times: Vec<Option<i64>>) {
            let (once, _) = in_order(records(&times));
            prop_assert_eq!(once.len(), times.len());
            let known: Vec<_> = once.iter().filter_map(|record| record.at_micros).collect();
            prop_assert!(known.is_sorted());
            let (twice, report) = in_order(once.clone());
            prop_assert_eq!(report.backwards, 0);
            prop_assert_eq!(once, twice);
        }
    }
}
