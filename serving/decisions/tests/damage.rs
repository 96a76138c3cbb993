// SPDX-License-Identifier: Apache-2.0
//! What is damaged costs what is damaged, and is said.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sunbeam_decisions::{Class, Query, Reader, Repaired};

use crate::store::{all, append, entry, files, numbers, open};
use crate::testing::TestFolder;

/// A store with three entries of one class: the ends of their records.
fn three(folder: &Path) -> Vec<usize> {
    let (mut writer, _) = open(folder);
    let mut ends = Vec::new();
    for number in 1..=3 {
        append(&mut writer, &[entry(Class::Content, number, 20)]);
        ends.push(fs::read(&files(folder, Class::Content, "log")[0]).expect("read the log").len());
    }
    ends
}

#[test]
fn a_last_record_that_is_torn_anywhere_is_cut_off() {
    let folder = TestFolder::new();
    let ends = three(folder.path());
    let (log, index) = (
        files(folder.path(), Class::Content, "log").remove(0),
        files(folder.path(), Class::Content, "index").remove(0),
    );
    let (whole_log, whole_index) = (fs::read(&log).unwrap(), fs::read(&index).unwrap());
    for end in ends[1]..ends[2] {
        for rows in [2, 3] {
            fs::write(&log, &whole_log[..end]).unwrap();
            fs::write(&index, &whole_index[..rows * 64]).unwrap();
            let before = all(folder.path(), &Query::default());
            assert_eq!((before.entries.len(), before.damaged), (2, rows as u64 - 2), "before it is mended");
            let (mut writer, repaired) = open(folder.path());
            let want = Repaired {
                bytes_cut: (end - ends[1]) as u64,
                indexes_rebuilt: rows as u64 - 2,
                ..Repaired::default()
            };
            assert_eq!(repaired, want, "{end} {rows}");
            append(&mut writer, &[entry(Class::Content, 4, 3)]);
            assert_eq!(numbers(folder.path()), [1, 2, 4], "{end} {rows}");
        }
    }
}

#[test]
fn an_index_that_is_not_what_the_log_says_is_made_again() {
    let folder = TestFolder::new();
    three(folder.path());
    let index = files(folder.path(), Class::Content, "index").remove(0);
    let whole = fs::read(&index).unwrap();
    let with = |more: &[u8]| [&whole, more].concat();
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    for (name, bytes) in [
        ("missing", None),
        ("empty", Some(Vec::new())),
        ("a row less", Some(whole[..128].to_vec())),
        ("half a row less", Some(whole[..150].to_vec())),
        ("a byte more", Some(with(b"x"))),
        ("a row more", Some(with(&[7; 64]))),
        ("rows of nothing", Some(vec![0; 192])),
        ("another time", Some(flipped(8))),
        ("another place", Some(flipped(64))),
    ] {
        match bytes {
            Some(bytes) => fs::write(&index, bytes).unwrap(),
            None => fs::remove_file(&index).unwrap(),
        }
        let page = all(folder.path(), &Query::default());
        assert!(
            page.entries
                .iter()
                .all(|found| (1..=3).any(|number| *found == entry(Class::Content, number, 20))),
            "{name}"
        );
        let (writer, repaired) = open(folder.path());
        assert_eq!(repaired, Repaired { indexes_rebuilt: 1, ..Repaired::default() }, "{name}");
        drop(writer);
        assert_eq!(fs::read(&index).unwrap(), whole, "{name}");
        assert_eq!(numbers(folder.path()), [1, 2, 3], "{name}");
    }
}

#[test]
fn an_older_segment_is_mended_too() {
    let folder = TestFolder::new();
    let (mut writer, _) = open(folder.path());
    for number in 0..300 {
        append(&mut writer, &[entry(Class::Limits, number, 60_000)]);
    }
    drop(writer);
    let (logs, indexes) =
        (files(folder.path(), Class::Limits, "log"), files(folder.path(), Class::Limits, "index"));
    assert!(logs.len() > 1);
    fs::remove_file(&indexes[0]).unwrap();
    let log = fs::OpenOptions::new().write(true).open(&logs[0]).unwrap();
    let bytes = log.metadata().unwrap().len();
    log.set_len(bytes - 7).unwrap();
    drop(log);
    let (_writer, repaired) = open(folder.path());
    assert_eq!(repaired.indexes_rebuilt, 1);
    assert!(repaired.bytes_cut > 60_000 && repaired.bytes_cut < 61_000, "{repaired:?}");
    assert_eq!(numbers(folder.path()).len(), 299);
}

#[test]
fn garbage_in_the_middle_costs_only_what_it_covers() {
    let begins_a_record = b"\xffD1\xfe".as_slice();
    let much: Vec<u8> = [&[0x5a; 50_000], begins_a_record].concat().repeat(50);
    for (name, first, more, want, lost) in [
        ("a text", 70, b"???".as_slice(), vec![1, 3], 1),
        ("a head", 0, &[0; 64], vec![1, 3], 1),
        ("a length", 56, &[255; 4], vec![1, 3], 1),
        ("a magic", 1, b"x", vec![1, 3], 1),
    ] {
        let folder = TestFolder::new();
        let ends = three(folder.path());
        let log = files(folder.path(), Class::Content, "log").remove(0);
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.write_all_at(more, (ends[0] + first) as u64).unwrap();
        let page = all(folder.path(), &Query::default());
        assert_eq!((page.entries.len(), page.damaged), (2, 1), "{name}: never handed out");
        assert_eq!(Reader::new(folder.path()).find(2).unwrap(), None, "{name}");
        let (mut writer, repaired) = open(folder.path());
        assert_eq!(
            (repaired.records_lost, repaired.bytes_skipped),
            (lost, (ends[1] - ends[0]) as u64),
            "{name}"
        );
        assert_eq!((repaired.bytes_cut, repaired.indexes_rebuilt), (0, 1), "{name}");
        assert_eq!(numbers(folder.path()), want, "{name}");
        append(&mut writer, &[entry(Class::Content, 9, 1)]);
        drop(writer);
        assert!(open(folder.path()).1.is_nothing(), "{name}: said once");
        assert_eq!(numbers(folder.path()), [1, 3, 9], "{name}");
    }
    // Bytes that do not belong there, few and many, with what looks like the beginning of records.
    for (name, garbage, lost) in [
        ("a byte", b"x".as_slice(), 1),
        ("a magic", begins_a_record, 1),
        ("half a magic", b"\xffD", 1),
        ("much", &much, 50),
    ] {
        let folder = TestFolder::new();
        let ends = three(folder.path());
        let log = files(folder.path(), Class::Content, "log").remove(0);
        let whole = fs::read(&log).unwrap();
        let (before, after) = whole.split_at(ends[1]);
        fs::write(&log, [before, garbage, after].concat()).unwrap();
        let (_writer, repaired) = open(folder.path());
        assert_eq!((repaired.records_lost, repaired.bytes_skipped), (lost, garbage.len() as u64), "{name}");
        assert_eq!(numbers(folder.path()), [1, 2, 3], "{name}");
    }
    // At the end.
    let folder = TestFolder::new();
    three(folder.path());
    let log = files(folder.path(), Class::Content, "log").remove(0);
    fs::write(&log, [&fs::read(&log).unwrap(), &much].map(Vec::as_slice).concat()).unwrap();
    let (_writer, repaired) = open(folder.path());
    assert_eq!(repaired, Repaired { bytes_cut: much.len() as u64, ..Repaired::default() });
    assert_eq!(numbers(folder.path()), [1, 2, 3]);
}

#[test]
fn a_log_of_nothing_but_garbage_is_emptied_and_strange_files_are_left_alone() {
    let folder = TestFolder::new();
    three(folder.path());
    let log = files(folder.path(), Class::Content, "log").remove(0);
    fs::write(&log, vec![0xff; 3_000_000]).unwrap();
    let strange = folder.path().join("content/notes.log");
    fs::write(&strange, "mine").unwrap();
    // What cannot be opened as a file: it is passed over, and new segments come after it.
    fs::create_dir(folder.path().join("content/0000000007.log")).unwrap();
    let (mut writer, repaired) = open(folder.path());
    assert_eq!(repaired.segments_left, 1);
    append(&mut writer, &[entry(Class::Content, 5, 1)]);
    assert_eq!(numbers(folder.path()), [5]);
    assert_eq!(fs::read(&strange).unwrap(), b"mine");
    assert!(folder.path().join("content/0000000008.log").exists());
}
