// SPDX-License-Identifier: Apache-2.0
//! The recorder: what is handed over is written, and what cannot be is counted.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sunbeam_decisions::{Class, QueueBounds, Recorder, RecorderCounts};

use crate::store::{entry, numbers, open};
use crate::testing::TestFolder;

const BOUNDS: QueueBounds = QueueBounds { entries: 100_000, bytes: 64 << 20 };

#[test]
fn what_many_threads_hand_over_is_written_when_it_closes() {
    let folder = TestFolder::new();
    let render = |number| Some(entry(Class::Content, number, 100));
    let recorder = Arc::new(Recorder::start(open(folder.path()).0, BOUNDS, render).unwrap());
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let recorder = Arc::clone(&recorder);
            std::thread::spawn(move || {
                (0..1000).for_each(|number| assert!(recorder.try_send(thread * 1000 + number, 100)));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    recorder.close();
    assert_eq!(numbers(folder.path()), (0..4000).collect::<Vec<_>>());
    assert_eq!(recorder.counts(), RecorderCounts { written: 4000, ..RecorderCounts::default() });
    assert!(!recorder.try_send(5000, 1), "closed");
    assert_eq!(recorder.counts().dropped, 1);
    recorder.close();
}

#[test]
fn entries_are_found_soon_without_closing() {
    let folder = TestFolder::new();
    let render = |number| Some(entry(Class::Limits, number, 100));
    let recorder = Recorder::start(open(folder.path()).0, BOUNDS, render).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    for number in 1..=3 {
        assert!(recorder.try_send(number, 100));
        while numbers(folder.path()).len() as u64 != number {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}

#[test]
fn past_its_bounds_items_are_dropped_and_counted() {
    for (name, bounds, bytes, taken) in [
        ("entries", QueueBounds { entries: 3, bytes: 1 << 20 }, 1, 3),
        ("bytes", QueueBounds { entries: 100, bytes: 1000 }, 300, 3),
        ("one that is larger than all", QueueBounds { entries: 100, bytes: 1000 }, 1001, 0),
    ] {
        let folder = TestFolder::new();
        let (begun, has_begun) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let recorder = Recorder::start(open(folder.path()).0, bounds, move |number| {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            Some(entry(Class::Passes, number, 1))
        })
        .unwrap();
        // The thread is busy with the first item, so the others wait.
        assert!(recorder.try_send(0, 1), "{name}");
        has_begun.recv().unwrap();
        let count = (1..=10).filter(|number| recorder.try_send(*number, bytes)).count() as u64;
        assert_eq!(count, taken, "{name}");
        (0..=taken).for_each(|_| go_on.send(()).unwrap());
        recorder.close();
        let want = RecorderCounts { written: taken + 1, dropped: 10 - taken, ..RecorderCounts::default() };
        assert_eq!(recorder.counts(), want, "{name}");
        assert_eq!(numbers(folder.path()), (0..=taken).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_panic_while_rendering_costs_that_entry_only() {
    let folder = TestFolder::new();
    let recorder = Recorder::start(open(folder.path()).0, BOUNDS, |number: u64| {
        assert!(number != 3, "three");
        (number != 5).then(|| entry(Class::Content, number, if number == 7 { 100_000 } else { 10 }))
    })
    .unwrap();
    (0..10).for_each(|number| assert!(recorder.try_send(number, 10)));
    recorder.close();
    assert_eq!(numbers(folder.path()), [0, 1, 2, 4, 6, 8, 9]);
    let want = RecorderCounts { written: 7, failed: 2, panicked: 1, declined: 1, dropped: 0 };
    assert_eq!(recorder.counts(), want, "a text that is too long fails too");
}
