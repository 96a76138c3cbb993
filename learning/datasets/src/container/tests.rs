// SPDX-License-Identifier: Apache-2.0
//! Round trips, and every way in which a file can be wrong.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::testing::{Folder, get, records};
use crate::{BodyKind, Label, LabelSource, Record};

fn write(path: &Path, records: &[Record]) -> Header {
    let mut writer = Writer::create(path).unwrap();
    records.iter().for_each(|record| writer.write(record).unwrap());
    let manifest = Manifest { name: "made-up".into(), licence: "MIT".into(), ..Manifest::default() };
    writer.finish("features-1", vec![manifest]).unwrap()
}

fn read(path: &Path) -> Vec<Record> {
    Reader::open(path).unwrap().map(Result::unwrap).collect()
}

fn names(folder: &Folder) -> Vec<PathBuf> {
    fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The file with other bytes before its checksum, and a checksum that is right.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = bytes.get(..bytes.len() - 32).unwrap().to_vec();
    change(&mut body);
    let digest = Sha256::digest(&body);
    body.extend_from_slice(&digest);
    body
}

#[test]
fn a_set_of_several_blocks_says_what_is_in_it() {
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    let body = vec![b'a'; 300_000];
    let mut records: Vec<Record> =
        (0..9).map(|id| get("b", &format!("g{id}"), Some(Label::Attack), "/")).collect();
    records.iter_mut().for_each(|record| record.body = body.clone());
    records.push(get("a", "g", None, "/x"));
    let header = write(&path, &records);
    assert_eq!(read(&path), records);
    assert_eq!(*Reader::open(&path).unwrap().header(), header);
    let told: Vec<_> = header.sources.iter().map(|source| (&*source.name, source.rows)).collect();
    assert_eq!(told, [("a", 1), ("b", 9), ("made-up", 0)]);
    assert_eq!(header.sources.get(1).unwrap().labelled_by.get("corpus"), Some(&9));
    assert_eq!((&*header.features, header.rows), ("features-1", 10));
}

#[test]
fn a_set_takes_its_place_whole_or_not_at_all() {
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    write(&path, &[get("old", "g", None, "/")]);
    let mut writer = Writer::create(&path).unwrap();
    writer.write(&get("new", "g", None, "/")).unwrap();
    assert_eq!(read(&path).first().unwrap().source, "old");
    drop(Writer::create(&path).unwrap());
    drop(writer);
    assert_eq!(names(&folder).as_slice(), std::slice::from_ref(&path));
    write(&path, &[get("new", "g", None, "/")]);
    assert_eq!(read(&path).first().unwrap().source, "new");
    assert_eq!(names(&folder), [path]);
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_and_what_is_being_written_does_not() {
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    let [dead, held, other] = [".dataset.bin.7-0.part", ".dataset.bin.8-0.part", ".dataset.bin.mine"]
        .map(|name| folder.path().join(name));
    for left in [&dead, &held, &other] {
        fs::write(left, "left").unwrap();
    }
    let holder = fs::File::open(&held).unwrap();
    holder.try_lock().unwrap();
    write(&path, &[get("a", "g", None, "/")]);
    let mut found = names(&folder);
    found.sort();
    assert_eq!(found, [held, other, path]);
}

#[test]
fn a_set_without_a_name_is_read_by_its_file_alone() {
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    let mut writer = Writer::unnamed(&path).unwrap();
    assert_eq!(names(&folder), [""; 0].map(PathBuf::from));
    let record = get("a", "g", None, "/");
    writer.write(&record).unwrap();
    let (header, file) = writer.finish_unnamed().unwrap();
    assert_eq!((header.rows, names(&folder).len()), (1, 0));
    let read: Vec<Record> = Reader::of(file, &path).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [record]);
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    write(&path, &[]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = Folder::new();
    let mut writer = Writer::create(&folder.path().join("dataset.bin")).unwrap();
    let large = Record { body: vec![0; RECORD_BYTES_MAX], ..Record::default() };
    assert!(matches!(writer.write(&large), Err(WriteError::RecordTooLarge { .. })));
    for id in 0..1024 {
        writer.write(&get(&format!("s{id}"), "g", None, "/")).unwrap();
    }
    assert!(matches!(writer.write(&get("one more", "g", None, "/")), Err(WriteError::TooManySources)));
    assert!(matches!(Writer::create(&folder.path().join("no/folder.bin")), Err(WriteError::Io { .. })));
}

#[test]
fn a_file_that_is_wrong_is_refused_by_what_is_wrong() {
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    write(&path, &[get("a", "g", None, "/")]);
    let good = fs::read(&path).unwrap();
    let stale = |body: &mut Vec<u8>| {
        let text = schema_fingerprint();
        let at = memchr::memmem::find(body, text.as_bytes()).unwrap();
        body.get_mut(at..at + 4).unwrap().copy_from_slice(b"beef");
    };
    let set_length = |body: &mut Vec<u8>| {
        let at = body.len() - 4;
        body.get_mut(at..).unwrap().copy_from_slice(&u32::MAX.to_le_bytes());
    };
    let mut version = good.clone();
    *version.get_mut(8).unwrap() = 9;
    for (name, bytes, want) in [
        ("empty", Vec::new(), "is no data set"),
        ("another kind", b"PK\x03\x04 and so on".to_vec(), "is no data set"),
        ("another version", version, "is a data set of version 9; this program reads version 1"),
        ("only its front", good.get(..12).unwrap().to_vec(), "its checksum is another"),
        ("cut", good.get(..good.len() - 1).unwrap().to_vec(), "its checksum is another"),
        ("longer", [good.as_slice(), b"x"].concat(), "its checksum is another"),
        ("a stale schema", forged(&good, stale), "is stale: its records have the fields of schema `beef"),
        ("a header that is too long", forged(&good, set_length), "has no header"),
    ] {
        let error = Reader::open(&folder.write("wrong.bin", &bytes)).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

/// With a right checksum: what a faulty or hostile program would write.
#[test]
fn absurd_lengths_take_no_memory() {
    let folder = Folder::new();
    let path = folder.path().join("dataset.bin");
    write(&path, &[get("a", "g", None, "/")]);
    let good = fs::read(&path).unwrap();
    for (name, at, value) in [
        ("packed", 12, u32::MAX),
        ("plain", 16, u32::MAX),
        ("plain, a little", 16, 1 << 20),
        ("rows", 20, u32::MAX),
        ("no rows", 20, 0),
        ("more rows", 20, 2),
    ] {
        let bytes = forged(&good, |body| {
            body.get_mut(at..at + 4).unwrap().copy_from_slice(&value.to_le_bytes());
        });
        let mut reader = Reader::open(&folder.write("absurd.bin", &bytes)).unwrap();
        assert!(reader.any(|record| record.is_err()), "{name}");
        assert!(reader.next().is_none(), "{name}");
    }
}

/// A change of the type's layout must change the schema, or old files would be read as nonsense.
#[test]
fn the_schema_names_the_fields_in_their_order() {
    let json = serde_json::to_string(&Record::default()).unwrap();
    let mut rest = json.as_str();
    for field in SCHEMA.split_ascii_whitespace() {
        let (name, _) = field.split_once(':').unwrap();
        let key = format!("\"{name}\":");
        let at = rest.find(&key).unwrap_or_else(|| panic!("`{name}` is not next in {rest}"));
        rest = rest.get(at + key.len()..).unwrap();
    }
    assert_eq!(json.matches("\":").count(), SCHEMA.split_ascii_whitespace().count());
    let record = Record {
        label: Some(Label::Attack),
        label_source: LabelSource::Heuristic("h".into()),
        body_kind: BodyKind::Other,
        at_micros: Some(-2),
        weight_percent: 300,
        status: 404,
        error: Some("e".into()),
        ..get("s", "g", None, "/p?q")
    };
    let digest = Sha256::digest(postcard::to_stdvec(&record).unwrap());
    let found = crate::hash::hex(digest.get(..8).unwrap());
    assert_eq!(found, GOLDEN, "the encoding of records has changed: change SCHEMA with it");
}

const GOLDEN: &str = "30e6b3848a5f7a6b";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_set_comes_back_as_it_was_and_any_changed_byte_is_refused(
        records in proptest::collection::vec(records(), 0..20),
        at: proptest::sample::Index,
        change in 1_u8..,
        cut: proptest::sample::Index,
    ) {
        let folder = Folder::new();
        let path = folder.path().join("dataset.bin");
        write(&path, &records);
        prop_assert_eq!(read(&path), records);
        let good = fs::read(&path).unwrap();
        let mut changed = good.clone();
        *changed.get_mut(at.index(good.len())).unwrap() ^= change;
        prop_assert!(Reader::open(&folder.write("changed.bin", &changed)).is_err());
        let cut = good.get(..cut.index(good.len())).unwrap();
        prop_assert!(Reader::open(&folder.write("cut.bin", cut)).is_err());
    }

    #[test]
    fn what_a_hostile_program_wrote_is_read_or_refused(
        records in proptest::collection::vec(records(), 1..9),
        at: proptest::sample::Index,
        change in 1_u8..,
    ) {
        let folder = Folder::new();
        let path = folder.path().join("dataset.bin");
        write(&path, &records);
        let good = fs::read(&path).unwrap();
        let bytes = forged(&good, |body| *body.get_mut(at.index(good.len() - 32)).unwrap() ^= change);
        if let Ok(reader) = Reader::open(&folder.write("forged.bin", &bytes)) {
            prop_assert!(reader.count() <= records.len() + 1);
        }
    }
}
