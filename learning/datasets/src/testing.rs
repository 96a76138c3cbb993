// SPDX-License-Identifier: Apache-2.0
//! What several tests need: a folder that goes away, the shared corpora, records made up.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use crate::{BodyKind, Label, LabelSource, Record};

/// A folder that is removed when the test is over.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sunbeam-datasets-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A file of the shared corpora, which are not part of the repository: `SUNBEAM_SHARED` names their folder.
/// Without it the test says that it is skipped; with it the file must be there.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("SUNBEAM_SHARED") else {
        say(&format!("skipped: SUNBEAM_SHARED is not set, so there is no `{name}`"));
        return None;
    };
    let path = Path::new(&folder).join(name);
    assert!(path.is_file(), "`{}` is missing", path.display());
    Some(path)
}

pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

pub(crate) fn get(source: &str, group: &str, label: Option<Label>, target: &str) -> Record {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Record {
        source: source.into(),
        group: group.into(),
        label,
        label_source: label.map_or(LabelSource::Nobody, |_| LabelSource::Corpus),
        weight_percent: 100,
        method: "GET".into(),
        path: path.into(),
        query: query.into(),
        ..Record::default()
    }
}

pub(crate) fn labels() -> impl Strategy<Value = Option<Label>> {
    proptest::option::of(prop_oneof![Just(Label::Benign), Just(Label::Attack)])
}

fn label_sources() -> impl Strategy<Value = LabelSource> {
    prop_oneof![
        Just(LabelSource::Nobody),
        Just(LabelSource::Human),
        Just(LabelSource::Corpus),
        "[0-9]{6}".prop_map(LabelSource::WafRule),
        "[a-z-]{1,9}".prop_map(LabelSource::Heuristic),
    ]
}

fn body_kinds() -> impl Strategy<Value = BodyKind> {
    prop_oneof![Just(BodyKind::None), Just(BodyKind::Form), Just(BodyKind::Json), Just(BodyKind::Other)]
}

/// Records with anything in them, all of one source.
pub(crate) fn records() -> impl Strategy<Value = Record> {
    let texts = ("\\PC{0,9}", ".{0,12}", "[a-z/.%0-9]{0,12}", ".{0,12}", ".{0,12}", ".{0,12}");
    let numbers =
        (any::<u16>(), proptest::option::of(any::<i64>()), any::<u64>(), any::<u16>(), any::<bool>());
    let body = proptest::collection::vec(any::<u8>(), 0..40);
    (texts, numbers, body, labels(), label_sources(), body_kinds()).prop_map(
        |(texts, numbers, body, label, label_source, body_kind)| {
            let (group, class, path, query, user_agent, client) = texts;
            let (weight_percent, at_micros, number, status, flag) = numbers;
            Record {
                source: "made-up".into(),
                error: flag.then(|| class.clone()),
                accept: query.clone(),
                has_cookies: flag,
                has_own_headers: !flag,
                content_length: number,
                duration_ms: number / 3,
                method: "GET".into(),
                ..Record {
                    group,
                    class,
                    label,
                    label_source,
                    weight_percent,
                    at_micros,
                    client,
                    path,
                    query,
                    user_agent,
                    body,
                    body_kind,
                    status,
                    ..Record::default()
                }
            }
        },
    )
}
