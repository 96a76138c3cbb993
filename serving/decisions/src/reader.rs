// SPDX-License-Identifier: Apache-2.0
//! Finds entries. Holds nothing between two calls: segments come and go.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::class::Class;
use crate::cursor::Cursor;
use crate::merge::{Hit, Merge, Next};
use crate::query::{IdPrefix, Query};
use crate::row::{Entry, ROW_BYTES, TEXT_BYTES_MAX, read_record};
use crate::segment::Segment;

/// Rows that one [`Reader::search`] examines, to a piece of 16,384 more: 256 MiB of index.
pub const ROWS_EXAMINED_MAX: u64 = 4 << 20;

/// Texts that one [`Reader::search`] reads: a filter on texts may refuse them all.
pub const TEXTS_READ_MAX: u64 = 20_000;

/// Logs that are open at a time: hits come from few segments at once.
const OPEN_LOGS: usize = 8;

/// Why a search failed. Damaged records and segments that vanish are no errors.
#[derive(Debug, thiserror::Error)]
#[error("failed to read decisions from `{path}`")]
pub struct ReadError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A page of what was found.
#[derive(Debug, Default)]
pub struct Page {
    /// Newest first; those of one moment in the order of their places.
    pub entries: Vec<Entry>,
    /// Where to go on. `None`: there is no more. A page after it may be empty.
    pub next: Option<Cursor>,
    /// [`ROWS_EXAMINED_MAX`] or [`TEXTS_READ_MAX`] was reached before `limit` entries or the end: there is more to
    /// search, from `next`.
    pub is_cut_short: bool,
    /// Rows that were examined.
    pub rows_examined: u64,
    /// Texts that were read.
    pub texts_read: u64,
    /// Records whose rows fit and that are damaged on disk: left out.
    pub damaged: u64,
}

/// The reading end of a store: any number of them, in any process, while others write. Blocks on the disk.
#[derive(Clone, Debug)]
pub struct Reader {
    folder: PathBuf,
}

impl Reader {
    /// Reads the store in `folder`; one that does not exist holds nothing.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The newest entry of that id; looks through all of the store if need be. `None` also if it is damaged.
    ///
    /// # Errors
    /// The disk's.
    pub fn find(&self, id: u128) -> Result<Option<Entry>, ReadError> {
        let query = Query { id: Some(IdPrefix::whole(id)), ..Query::default() };
        let mut after = None;
        loop {
            let page = self.search(&query, after, 1)?;
            if let Some(entry) = page.entries.into_iter().next() {
                return Ok(Some(entry));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Up to `limit` entries that fit `query`, newest first, after the place `after`.
    ///
    /// A million rows that do not fit cost some 17 ms from the page cache; each text that is read some 1.5 µs
    /// (`cargo bench -p sunbeam-decisions`).
    ///
    /// # Errors
    /// The disk's.
    pub fn search(&self, query: &Query<'_>, after: Option<Cursor>, limit: usize) -> Result<Page, ReadError> {
        self.search_within(query, after, limit, ROWS_EXAMINED_MAX, TEXTS_READ_MAX)
    }

    fn search_within(
        &self,
        query: &Query<'_>,
        after: Option<Cursor>,
        limit: usize,
        rows_max: u64,
        texts_max: u64,
    ) -> Result<Page, ReadError> {
        let mut merge = Merge::new(query, after, rows_max);
        for class in Class::ALL.into_iter().filter(|class| query.class.is_none_or(|wanted| wanted == *class))
        {
            let folder = self.folder.join(class.name());
            let added = Segment::list(&folder).and_then(|segments| merge.add(class, segments));
            added.map_err(|source| ReadError { path: folder, source })?;
        }
        let (mut page, mut logs) = (Page::default(), Logs::default());
        let mut last = after;
        loop {
            let is_full = page.entries.len() >= limit;
            if is_full || page.texts_read >= texts_max {
                page.is_cut_short = !is_full;
                // Nothing was looked at when nothing was asked for: the next page begins where this one did.
                page.next = last.or_else(|| Some(Cursor::before(u64::MAX)));
                break;
            }
            let next = merge.next().map_err(|source| ReadError { path: self.folder.clone(), source })?;
            match next {
                Next::End => break,
                Next::Paused(place) => {
                    page.next = Some(place);
                    page.is_cut_short = true;
                    break;
                }
                Next::Hit(hit) => {
                    last = Some(hit.place);
                    let read = logs.read(&merge.segments, &hit);
                    match read.map_err(|source| ReadError { path: self.folder.clone(), source })? {
                        Found::Entry(entry) => {
                            page.texts_read += 1;
                            if query.fits_text(&entry.text) {
                                page.entries.push(entry);
                            }
                        }
                        Found::Damaged => {
                            page.texts_read += 1;
                            page.damaged += 1;
                        }
                        Found::Gone => {}
                    }
                }
            }
        }
        page.rows_examined = merge.rows_examined;
        Ok(page)
    }
}

enum Found {
    Entry(Entry),
    Damaged,
    /// The segment was removed meanwhile.
    Gone,
}

/// The logs that were read last, by their segment's place.
#[derive(Default)]
struct Logs {
    open: Vec<(usize, File)>,
    buffer: Vec<u8>,
}

impl Logs {
    fn read(&mut self, segments: &[Segment], hit: &Hit) -> io::Result<Found> {
        let length = usize::try_from(hit.row.length).unwrap_or(usize::MAX);
        if length > TEXT_BYTES_MAX {
            return Ok(Found::Damaged);
        }
        self.buffer.resize(ROW_BYTES + length, 0);
        if !self.open.iter().any(|(segment, _)| *segment == hit.segment) {
            let Some(segment) = segments.get(hit.segment) else { return Ok(Found::Gone) };
            let log = match File::open(&segment.log) {
                Ok(log) => log,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Gone),
                Err(error) => return Err(error),
            };
            if self.open.len() >= OPEN_LOGS {
                self.open.remove(0);
            }
            self.open.push((hit.segment, log));
        }
        let Some((_, log)) = self.open.iter().find(|(segment, _)| *segment == hit.segment) else {
            return Ok(Found::Gone);
        };
        match log.read_exact_at(&mut self.buffer, hit.row.offset.into()) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Found::Damaged),
            other => other?,
        }
        Ok(match read_record(&self.buffer) {
            Some((row, text)) if row == hit.row.row => {
                Found::Entry(Entry { class: hit.class, row, text: text.to_owned() })
            }
            _ => Found::Damaged,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::row::Row;
    use crate::testing::TestFolder;
    use crate::writer::{BYTES_MIN, Bounds, Writer};

    const PATHS: [&str; 3] = ["/", "/admin/", "/admin/users"];
    const HOUR_MICROS: u64 = 3_600_000_000;

    /// Entries in the order in which they are written: the times jump, also back.
    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let small = (0..3_u64, 0..2_u64, 0..3_usize, 0..3_u8, 0..2_u8);
        let step = prop_oneof![
            12 => -3_000_000..4_000_000_i64,
            3 => Just(0_i64),
            1 => select(vec![-2 * 3_600_000_000_i64, -600_000_000, 3_600_000_000]),
        ];
        let padding = prop_oneof![6 => 0..100_usize, 1 => 30_000..60_000_usize];
        vec((small, step, padding, select(Class::ALL.to_vec())), 1..150).prop_map(|rows| {
            let mut at_micros = 1000 * HOUR_MICROS;
            let mut entries = Vec::new();
            for (number, ((client, host, path, layer, decision), step, padding, class)) in
                rows.into_iter().enumerate()
            {
                at_micros = at_micros.saturating_add_signed(step);
                let id = (number as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                let row = Row { at_micros, id, client, host, path: path as u64, layer, decision };
                let text = format!("{{\"path\":\"{}\",\"rest\":\"{}\"}}", PATHS[path], "x".repeat(padding));
                entries.push(Entry { class, row, text });
            }
            entries
        })
    }

    #[derive(Clone, Debug)]
    struct Asked {
        id: Option<(usize, usize)>,
        client: Option<u64>,
        host: Option<u64>,
        path: Option<u64>,
        path_prefix: Option<&'static str>,
        layer: Option<u8>,
        decision: Option<u8>,
        class: Option<Class>,
        from: Option<usize>,
        until: Option<usize>,
        is_short: bool,
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let rarely = |share| proptest::option::weighted(share, 0..150_usize);
        let id = proptest::option::weighted(0.15, (0..150_usize, 1..33_usize));
        let named = (
            proptest::option::weighted(0.3, 0..3_u64),
            proptest::option::weighted(0.3, 0..2_u64),
            proptest::option::weighted(0.2, 0..3_u64),
            proptest::option::weighted(0.2, select(vec!["/", "/admin", "/admin/u", "/none"])),
            proptest::option::weighted(0.2, 0..3_u8),
            proptest::option::weighted(0.2, 0..2_u8),
            proptest::option::weighted(0.2, select(Class::ALL.to_vec())),
        );
        (id, named, rarely(0.3), rarely(0.3), any::<bool>()).prop_map(
            |(id, (client, host, path, path_prefix, layer, decision, class), from, until, is_short)| Asked {
                id,
                client,
                host,
                path,
                path_prefix,
                layer,
                decision,
                class,
                from,
                until,
                is_short,
            },
        )
    }

    /// Two writers in turn, each for a stretch of entries.
    fn write(folder: &TestFolder, entries: &[Entry], stretches: &[usize]) {
        let bounds = Bounds { max_bytes: 64 * BYTES_MIN, max_age: Duration::from_secs(86_400 * 365) };
        let open = || Writer::open(folder.path(), bounds).unwrap().0;
        let mut writers = [open(), open()];
        let (mut rest, mut turn) = (entries, 0);
        for stretch in stretches.iter().cycle() {
            let (now, later) = rest.split_at((*stretch).min(rest.len()));
            let appended = writers[turn % 2].append(now);
            assert_eq!((appended.written, appended.failed), (now.len(), 0));
            (rest, turn) = (later, turn + 1);
            if rest.is_empty() {
                return;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_search_finds_what_a_look_at_every_entry_finds(
            entries in entries(),
            stretches in vec(1..40_usize, 1..6),
            questions in vec((asked(), 1..30_usize, select(vec![1, 300, 1 << 20]), select(vec![1, 5, 20_000])), 1..12),
        ) {
            let folder = TestFolder::new();
            write(&folder, &entries, &stretches);
            let reader = Reader::new(folder.path());
            for (asked, limit, rows_max, texts_max) in questions {
                let nth = |place: usize| &entries[place % entries.len()];
                let digits = asked.id.map(|(place, digits)| format!("{:032x}", nth(place).row.id)[..digits].to_owned());
                let is_short = |text: &str| text.len() < 60;
                let query = Query {
                    id: digits.as_ref().map(|digits| digits.parse().unwrap()),
                    client: asked.client,
                    host: asked.host,
                    path: asked.path,
                    path_prefix: asked.path_prefix,
                    layer: asked.layer,
                    decision: asked.decision,
                    class: asked.class,
                    from_micros: asked.from.map(|place| nth(place).row.at_micros),
                    until_micros: asked.until.map(|place| nth(place).row.at_micros),
                    filter: asked.is_short.then_some(&is_short as &dyn Fn(&str) -> bool),
                };
                let is_wanted = |entry: &&Entry| {
                    let row = &entry.row;
                    digits.as_ref().is_none_or(|digits| format!("{:032x}", row.id).starts_with(digits.as_str()))
                        && asked.client.is_none_or(|client| client == row.client)
                        && asked.host.is_none_or(|host| host == row.host)
                        && asked.path.is_none_or(|path| path == row.path)
                        && asked.path_prefix.is_none_or(|prefix| entry.text[9..].starts_with(prefix))
                        && asked.layer.is_none_or(|layer| layer == row.layer)
                        && asked.decision.is_none_or(|decision| decision == row.decision)
                        && asked.class.is_none_or(|class| class == entry.class)
                        && query.from_micros.is_none_or(|from| from <= row.at_micros)
                        && query.until_micros.is_none_or(|until| row.at_micros < until)
                        && (!asked.is_short || is_short(&entry.text))
                };
                let wanted: BTreeSet<u128> = entries.iter().filter(is_wanted).map(|entry| entry.row.id).collect();

                let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
                loop {
                    let page = reader.search_within(&query, after, limit, rows_max, texts_max).unwrap();
                    prop_assert!(page.entries.len() <= limit && page.texts_read <= texts_max);
                    prop_assert_eq!(page.damaged, 0);
                    found.extend(page.entries);
                    let Some(next) = page.next else { break };
                    after = Some(next.to_string().parse().unwrap());
                    pages += 1;
                    prop_assert!(pages <= 3 * entries.len() + 300, "it gets nowhere");
                }
                for entry in &found {
                    prop_assert!(entries.contains(entry));
                }
                prop_assert!(found.is_sorted_by(|one, next| one.row.at_micros >= next.row.at_micros));
                let ids: BTreeSet<u128> = found.iter().map(|entry| entry.row.id).collect();
                prop_assert_eq!(ids.len(), found.len(), "each once");
                prop_assert_eq!(ids, wanted);
            }
            let some = &entries[entries.len() / 2];
            prop_assert_eq!(reader.find(some.row.id).unwrap(), Some(some.clone()));
            prop_assert_eq!(reader.find(0).unwrap(), None);
        }
    }
}
