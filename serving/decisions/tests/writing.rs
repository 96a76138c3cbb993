// SPDX-License-Identifier: Apache-2.0
//! What is written is found again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sunbeam_decisions::{
    AppendError, BYTES_MIN, Bounds, Class, OpenError, Query, Reader, TEXT_BYTES_MAX, Writer, text_hash,
};

use crate::store::{BOUNDS, SOME_DAY, all, append, entry, files, numbers, open};
use crate::testing::TestFolder;

#[test]
fn entries_are_found_as_they_were_given_also_after_a_restart() {
    let folder = TestFolder::new();
    let store = folder.path().join("a/b");
    let (mut writer, repaired) = open(&store);
    assert!(repaired.is_nothing());
    let entries: Vec<_> = (0..30_u64)
        .map(|number| entry(Class::ALL[usize::try_from(number % 3).unwrap()], number, 10))
        .collect();
    append(&mut writer, &entries[..20]);
    drop(writer);
    let (mut writer, repaired) = open(&store);
    assert!(repaired.is_nothing(), "{repaired:?}");
    append(&mut writer, &entries[20..]);

    let found = all(&store, &Query::default()).entries;
    assert_eq!(found, entries.iter().rev().cloned().collect::<Vec<_>>(), "newest first, over all rings");
    assert_eq!(Reader::new(&store).find(17).unwrap().as_ref(), Some(&entries[17]));
    assert_eq!(Reader::new(&store).find(30).unwrap(), None);
    for class in Class::ALL {
        assert_eq!(files(&store, class, "log").len(), 1, "the last segment goes on");
    }
}

#[test]
fn a_store_that_does_not_exist_holds_nothing() {
    let folder = TestFolder::new();
    let reader = Reader::new(folder.path().join("none"));
    assert_eq!(reader.find(1).unwrap(), None);
    let page = reader.search(&Query::default(), None, 10).unwrap();
    assert!(page.entries.is_empty() && page.next.is_none() && !page.is_cut_short);
}

#[test]
fn nobody_else_may_read_it() {
    let folder = TestFolder::new();
    let (mut writer, _) = open(folder.path());
    append(&mut writer, &[entry(Class::Content, 1, 1)]);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path().join("content")), 0o700);
    for ending in ["log", "index"] {
        assert_eq!(mode(files(folder.path(), Class::Content, ending).remove(0)), 0o600);
    }
}

#[test]
fn bounds_that_cannot_be_kept_are_refused() {
    let folder = TestFolder::new();
    let small = Bounds { max_bytes: BYTES_MIN - 1, ..BOUNDS };
    assert!(matches!(Writer::open(folder.path(), small), Err(OpenError::TooSmall { .. })));
    fs::write(folder.path().join("passes"), "a file").unwrap();
    assert!(matches!(Writer::open(folder.path(), BOUNDS), Err(OpenError::Folder { .. })));
}

#[test]
fn the_longest_text_is_kept_and_a_longer_one_refused_alone() {
    let folder = TestFolder::new();
    let (mut writer, _) = Writer::open(folder.path(), Bounds { max_bytes: BYTES_MIN, ..BOUNDS }).unwrap();
    let frame = entry(Class::Passes, 1, 0).text.len();
    let longest = entry(Class::Passes, 1, TEXT_BYTES_MAX - frame);
    let longer = entry(Class::Passes, 2, TEXT_BYTES_MAX - frame + 1);
    let appended = writer.append(&[longest, longer, entry(Class::Content, 3, 1)]);
    assert_eq!((appended.written, appended.failed), (2, 1));
    assert!(matches!(appended.error, Some(AppendError::TooLong { .. })));
    assert_eq!(numbers(folder.path()), [1, 3]);
}

#[test]
fn hashes_that_collide_are_told_apart_by_the_filter() {
    let folder = TestFolder::new();
    let (mut writer, _) = open(folder.path());
    let mut other = entry(Class::Limits, 2, 1);
    other.text = r#"{"path":"/other"}"#.to_owned();
    append(&mut writer, &[entry(Class::Limits, 1, 1), other]);
    let query = Query { path: Some(text_hash("/cart")), ..Query::default() };
    assert_eq!(all(folder.path(), &query).entries.len(), 2, "by their rows they are the same");
    let is_cart = |text: &str| text.contains(r#""path":"/cart""#);
    let query = Query { filter: Some(&is_cart), ..query };
    assert_eq!(all(folder.path(), &query).entries, [entry(Class::Limits, 1, 1)]);
}

#[test]
fn two_writers_have_segments_of_their_own() {
    let folder = TestFolder::new();
    let (mut old, _) = open(folder.path());
    append(&mut old, &[entry(Class::Passes, 0, 5)]);
    let (mut new, repaired) = open(folder.path());
    assert!(repaired.is_nothing(), "{repaired:?}");
    for number in (1..400).step_by(2) {
        append(&mut old, &[entry(Class::Passes, number, 30_000)]);
        append(&mut new, &[entry(Class::Passes, number + 1, 30_000)]);
    }
    assert_eq!(numbers(folder.path()), (0..=400).collect::<Vec<_>>());
    let found = all(folder.path(), &Query::default()).entries;
    assert!(found.is_sorted_by(|one, next| one.row.at_micros > next.row.at_micros));
    assert_eq!(found[0].row.at_micros, SOME_DAY + 400_000);
    // Each goes on alone, and a third one after both.
    drop(old);
    append(&mut new, &[entry(Class::Passes, 401, 5)]);
    drop(new);
    let segments = files(folder.path(), Class::Passes, "log").len();
    let (mut last, repaired) = open(folder.path());
    assert!(repaired.is_nothing(), "{repaired:?}");
    append(&mut last, &[entry(Class::Passes, 402, 5)]);
    assert_eq!(numbers(folder.path()), (0..=402).collect::<Vec<_>>());
    assert_eq!(files(folder.path(), Class::Passes, "log").len(), segments);
}

#[test]
fn what_another_writer_holds_is_not_touched() {
    let folder = TestFolder::new();
    let (mut old, _) = open(folder.path());
    append(&mut old, &[entry(Class::Content, 1, 5)]);
    // As if the other process were in the middle of a write.
    let log = files(folder.path(), Class::Content, "log").remove(0);
    let mut half = fs::read(&log).unwrap();
    half.extend_from_within(..40);
    fs::write(&log, &half).unwrap();
    let (mut new, repaired) = open(folder.path());
    assert!(repaired.is_nothing(), "{repaired:?}");
    append(&mut new, &[entry(Class::Content, 2, 5)]);
    assert_eq!(fs::read(&log).unwrap(), half);
    append(&mut old, &[entry(Class::Content, 3, 5)]);
    assert_eq!(numbers(folder.path()), [1, 2, 3]);
}

#[test]
fn files_that_somebody_removed_or_cut_are_begun_anew() {
    let folder = TestFolder::new();
    let (mut writer, _) = open(folder.path());
    append(&mut writer, &[entry(Class::Content, 1, 5)]);
    fs::remove_dir_all(folder.path().join("content")).unwrap();
    append(&mut writer, &[entry(Class::Content, 2, 5)]);
    assert_eq!(numbers(folder.path()), [2]);
    fs::write(files(folder.path(), Class::Content, "log").remove(0), "").unwrap();
    append(&mut writer, &[entry(Class::Content, 3, 5)]);
    assert_eq!(numbers(folder.path()), [3]);
    fs::remove_file(files(folder.path(), Class::Content, "index").remove(1)).unwrap();
    append(&mut writer, &[entry(Class::Content, 4, 5)]);
    assert_eq!(numbers(folder.path()), [4], "the other comes back when its index is made again");
    drop(writer);
    drop(open(folder.path()));
    assert_eq!(numbers(folder.path()), [3, 4]);
}

#[test]
fn segments_may_vanish_between_two_pages() {
    let folder = TestFolder::new();
    let (mut writer, _) = open(folder.path());
    for number in 0..1000 {
        append(&mut writer, &[entry(Class::Content, number, 30_000)]);
    }
    let reader = Reader::new(folder.path());
    let page = reader.search(&Query::default(), None, 5).unwrap();
    let logs = files(folder.path(), Class::Content, "log");
    assert!(logs.len() > 1);
    for log in &logs[..logs.len() - 1] {
        fs::remove_file(log.with_extension("index")).unwrap();
        fs::remove_file(log).unwrap();
    }
    let rest = reader.search(&Query::default(), page.next, 10_000).unwrap();
    assert_eq!(rest.entries[0].row.id, 994);
    assert!(rest.entries.len() < 900 && rest.damaged == 0 && rest.next.is_none());
}
