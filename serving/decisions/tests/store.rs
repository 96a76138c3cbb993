// SPDX-License-Identifier: Apache-2.0
//! Stores and entries of tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sunbeam_decisions::{
    BYTES_MIN, Bounds, Class, Entry, Page, Query, Reader, Repaired, Row, Writer, text_hash,
};

/// Entries of tests are as old as their authors like: the recorder looks at the real clock.
pub(crate) const BOUNDS: Bounds =
    Bounds { max_bytes: 64 * BYTES_MIN, max_age: Duration::from_secs(36_500 * 86_400) };

/// A moment, in microseconds.
pub(crate) const SOME_DAY: u64 = 1_760_000_000_000_000;

pub(crate) fn open(folder: &Path) -> (Writer, Repaired) {
    Writer::open(folder, BOUNDS).expect("open the store")
}

/// An entry that is known by its number, a millisecond after the one before, with a text of some `bytes`.
pub(crate) fn entry(class: Class, number: u64, bytes: usize) -> Entry {
    let row = Row {
        at_micros: SOME_DAY + number * 1000,
        id: u128::from(number),
        client: text_hash("198.51.100.7"),
        host: text_hash("shop.example"),
        path: text_hash("/cart"),
        layer: 3,
        decision: 1,
    };
    let begin = usize::try_from(number % 26).expect("small");
    let letters = "abcdefghijklmnopqrstuvwxyz".repeat(bytes / 26 + 2);
    let rest = &letters[begin..begin + bytes];
    Entry { class, row, text: format!("{{\"path\":\"/cart\",\"number\":{number},\"rest\":\"{rest}\"}}") }
}

pub(crate) fn append(writer: &mut Writer, entries: &[Entry]) {
    let appended = writer.append(entries);
    assert!(appended.error.is_none(), "{:?}", appended.error);
    assert_eq!(appended.written, entries.len());
}

/// Everything that fits, over all pages.
pub(crate) fn all(folder: &Path, query: &Query<'_>) -> Page {
    let reader = Reader::new(folder);
    let mut whole = reader.search(query, None, 1000).expect("search");
    while let Some(next) = whole.next.take() {
        let page = reader.search(query, Some(next), 1000).expect("search");
        whole.entries.extend(page.entries);
        whole.damaged += page.damaged;
        whole.next = page.next;
    }
    whole
}

/// The numbers of all entries that are there and whole, in order.
pub(crate) fn numbers(folder: &Path) -> Vec<u64> {
    let page = all(folder, &Query::default());
    let mut numbers: Vec<u64> = page
        .entries
        .iter()
        .map(|found| {
            let number = u64::try_from(found.row.id).expect("a number");
            let bytes = found.text.len() - entry(found.class, number, 0).text.len();
            assert_eq!(*found, entry(found.class, number, bytes));
            number
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The files of a ring with that ending, oldest first.
pub(crate) fn files(folder: &Path, class: Class, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(class.name())).expect("list the ring");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    paths.sort();
    paths
}

/// Bytes of all files of a ring.
pub(crate) fn ring_bytes(folder: &Path, class: Class) -> u64 {
    let entries = fs::read_dir(folder.join(class.name())).expect("list the ring");
    entries.map(|entry| entry.expect("an entry").metadata().expect("its size").len()).sum()
}
