// SPDX-License-Identifier: Apache-2.0
//! All readers together: any bytes, files that are broken through and through, and the corpora.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::testing::{Folder, say, shared};
use crate::{Label, LabelSource, Record};

#[derive(Debug)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) report: ReadReport,
}

pub(super) fn read_text(format: &str, text: &str) -> Result<Read, ReadError> {
    read_bytes(Some(format), text.as_bytes())
}

fn read_bytes(format: Option<&str>, mut bytes: &[u8]) -> Result<Read, ReadError> {
    let options = ReadOptions { format: format.map(str::to_owned), ..ReadOptions::default() };
    let mut records = Vec::new();
    let report = read_from(&mut bytes, &options, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(Read { records, report })
}

fn read_file(path: &Path, options: &ReadOptions) -> Result<Read, ReadError> {
    let mut records = Vec::new();
    let report = read(path, options, &mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(Read { records, report })
}

const COMMON: &str = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 12"#;

#[test]
fn formats_are_told_by_their_first_lines() {
    for (name, text, want) in [
        ("ours", r#"{"target":"audit","method":"GET","path":"/"}"#, "audit"),
        ("ours, later", "starting\n{\"target\":\"audit\",\"method\":\"GET\",\"path\":\"/\"}", "audit"),
        (
            "an envelope",
            r#"{"level":"INFO","fields":{"method":"GET","path":"/"},"target":"audit"}"#,
            "envelope",
        ),
        (
            "a corpus",
            r#"{"src":"a","label":0,"cls":"b","method":"GET","target":"/","headers":{},"body":"","grp":null}"#,
            "labelled",
        ),
        ("an access log", COMMON, "combined"),
        ("requests", "GET / HTTP/1.1\nHost: a\n\n", "csic"),
        ("a firewall's log", r#"{"transaction":{"request":{"method":"GET","uri":"/"}}}"#, "modsecurity"),
    ] {
        let read = read_bytes(None, text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((read.report.format, read.report.records), (want, 1), "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_trusted_is_an_error_that_says_why() {
    let mostly = format!("{COMMON}\nnot a line\nnot one either\n");
    for (name, format, bytes, want) in [
        (
            "empty",
            Some("combined"),
            &b""[..],
            "nothing in `input` could be read as `combined`: it has 0 lines of something else, and no others",
        ),
        ("empty, of no format", None, b"", "the format of `input` is none that is known"),
        ("no format that is known", None, b"hello world\n", "the format of `input` is none that is known"),
        (
            "lines without blanks",
            None,
            b"# addresses\n192.0.2.1\n192.0.2.2\n",
            "the format of `input` is none that is known by its first lines; name it: `labelled`, ",
        ),
        ("no such format", Some("pcap"), b"x", "there is no format `pcap`; there are `labelled`, "),
        (
            "all broken",
            Some("combined"),
            b"a b c\n",
            "nothing in `input` could be read as `combined`: 1 lines are broken, most of them not of this format (lines 1)",
        ),
        (
            "mostly broken",
            Some("combined"),
            mostly.as_bytes(),
            "2 of 3 lines of `input` are broken as `combined`, most of them not of this format (lines 2, 3)",
        ),
        ("gzip", None, &[0x1f, 0x8b, 8, 0], "`input` is packed with gzip"),
    ] {
        let error = read_bytes(format, bytes).map(|read| read.report).unwrap_err().to_string();
        assert!(error.starts_with(want), "{name}: {error}");
    }
}

#[test]
fn a_file_is_unpacked_named_and_hashed_and_a_cut_one_is_refused() {
    let folder = Folder::new();
    let text = format!("{COMMON}\n").repeat(5000);
    let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let plain = read_file(&folder.write("access.log", text.as_bytes()), &ReadOptions::default()).unwrap();
    let path = folder.write("access.log.zst", &packed);
    let unpacked = read_file(&path, &ReadOptions::default()).unwrap();
    assert_eq!(plain.records, unpacked.records);
    assert_eq!((plain.report.records, unpacked.records.first().unwrap().source.as_str()), (5000, "access"));
    assert_eq!(unpacked.report.sha256, hex(&Sha256::digest(&packed)));
    assert_eq!(usize::try_from(unpacked.report.bytes).unwrap(), packed.len());
    let cut = folder.write("cut.zst", packed.get(..packed.len() - 5).unwrap());
    assert!(matches!(read_file(&cut, &ReadOptions::default()), Err(ReadError::Read { .. })));
    let missing = folder.path().join("missing");
    assert!(matches!(read_file(&missing, &ReadOptions::default()), Err(ReadError::Open { .. })));
}

#[test]
fn the_caller_labels_what_the_file_does_not_and_may_stop() {
    let options = ReadOptions {
        source: Some("shop".into()),
        label: Some(GivenLabel { label: Label::Benign, source: LabelSource::Human }),
        class: Some("people".into()),
        group_by: GroupBy::Target,
        ..ReadOptions::default()
    };
    let mut records = Vec::new();
    let text = format!("{COMMON}\n{COMMON}\n{COMMON}\n");
    let report = read_from(&mut text.as_bytes(), &options, &mut |record| {
        records.push(record);
        if records.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert_eq!((report.records, report.is_stopped), (2, true));
    let first = records.first().unwrap();
    assert_eq!((first.label, &first.label_source), (Some(Label::Benign), &LabelSource::Human));
    assert_eq!((&*first.source, &*first.class, &*first.group), ("shop", "people", "/a?"));
}

#[test]
fn times_that_go_backwards_are_counted() {
    let text = ["03", "05", "04", "06", "01"]
        .map(|second| COMMON.replace(":03 ", &format!(":{second} ")))
        .join("\n");
    assert_eq!(read_text("combined", &text).unwrap().report.backwards, 2);
}

/// Pieces of every format, and anything else.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(b"{\"target\":\"audit\",\"method\":\"GET\",\"path\":\"/\"}".to_vec()),
        Just(b"{\"level\":1,\"fields\":{\"path\":\"/\"},\"target\":\"audit\"}".to_vec()),
        Just(b"{\"src\":\"a\",\"label\":1,\"method\":\"GET\",\"target\":\"/\",\"headers\":{".to_vec()),
        Just(b"{\"transaction\":{\"messages\":[".to_vec()),
        Just(COMMON.as_bytes().to_vec()),
        Just(b" \"r\" \"agent\"".to_vec()),
        Just(b"GET http://a/b?c HTTP/1.1".to_vec()),
        Just(b"Content-Length: 5".to_vec()),
        Just(b"--1a2b3c4d-A--".to_vec()),
        Just(b"--1a2b3c4d-H--".to_vec()),
        Just(b"--1a2b3c4d-Z--".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"}".to_vec()),
        Just(b"\"".to_vec()),
        Just(vec![0x28, 0xb5, 0x2f, 0xfd]),
        proptest::collection::vec(any::<u8>(), 0..9),
    ];
    proptest::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_reader_panics_and_none_hands_out_more_than_there_is(bytes in bytes(), noise: Vec<u8>) {
        for text in [&bytes, &noise] {
            let lines = 1 + text.iter().filter(|byte| **byte == b'\n').count();
            drop(read_bytes(None, text));
            for source in SOURCES {
                if let Ok(read) = read_bytes(Some(source.name()), text) {
                    prop_assert!(read.records.len() <= lines, "{}", source.name());
                    prop_assert!(read.records.iter().all(|record| !record.group.is_empty()));
                }
            }
        }
    }
}

fn count<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    items.fold(BTreeMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}

#[test]
fn the_corpus_is_read_whole() {
    let Some(path) = shared("data/requests.jsonl.zst") else { return };
    let Read { records, report } = read_file(&path, &ReadOptions::default()).unwrap();
    say(&format!("{report:?}"));
    assert_eq!((report.format, report.records, report.broken()), ("labelled", 230_217, 0));
    let labels = count(records.iter().map(|record| record.label));
    say(&format!("{labels:?} {:?}", count(records.iter().map(|record| &record.source))));
    assert_eq!(labels.get(&None), Some(&12_096));
    let stems =
        count(records.iter().filter(|record| record.source == "paths_dirsearch").map(|record| &record.group));
    say(&format!("{} stems, largest {:?}", stems.len(), stems.iter().max_by_key(|(_, count)| **count)));
    assert!(stems.len() > 1000);
    assert!(records.iter().all(|record| !record.group.is_empty() && !record.method.is_empty()));
}

#[test]
fn the_original_files_are_read_with_next_to_nothing_broken() {
    for (name, format, records, broken) in [
        ("data/orig/csic/raw_normal.txt.zst", "csic", 4463, 0),
        ("data/orig/csic/raw_anomalous.txt.zst", "csic", 3466, 0),
        ("data/orig/logs/semicomplete_apache_logs.zst", "combined", 9999, 1),
        ("data/orig/ocatak/acunetix.txt.zst", "combined", 6539, 0),
        ("data/orig/scan/dirsearch_dicc.txt.zst", "wordlist", 9681, 0),
    ] {
        let Some(path) = shared(name) else { return };
        // Any text may be a list of words: it is named.
        let format_of = (format == "wordlist").then(|| format.to_owned());
        let options = ReadOptions { format: format_of, ..ReadOptions::default() };
        let Read { records: found, report } = read_file(&path, &options).unwrap();
        say(&format!("{name}: {report:?}"));
        assert_eq!((report.format, report.records, report.broken()), (format, records, broken), "{name}");
        let bodies = found.iter().filter(|record| !record.body.is_empty()).count();
        let clients = count(found.iter().map(|record| &record.client)).len();
        say(&format!("{name}: {bodies} bodies, {clients} clients"));
    }
}
