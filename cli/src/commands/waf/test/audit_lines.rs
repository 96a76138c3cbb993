// SPDX-License-Identifier: Apache-2.0
//! What a node writes to its audit log while tests run: the rules that matched, and what, by the request's id.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::exit::CliError;
use crate::placed_file::refused;

pub(super) struct AuditLines {
    path: PathBuf,
    file: File,
    number: u64,
    /// The beginning of a line.
    rest: Vec<u8>,
    found: HashMap<String, Found>,
}

/// What rules found in one request.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) rules: Vec<u64>,
    /// With `audit.matches` only.
    #[serde(default)]
    pub(super) matches: Vec<Match>,
}

/// What one of them says of it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Match {
    pub(super) rule: u64,
    pub(super) message: String,
    pub(super) data: String,
}

#[derive(Deserialize)]
struct Line {
    request_id: String,
    #[serde(flatten)]
    found: Found,
}

/// A longer line is not read: a node bounds what it writes.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Between two looks: a node gathers lines for some milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl AuditLines {
    /// From the file's end on.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::End(0))?;
            let number = file.metadata()?.ino();
            Ok((file, number))
        };
        let (file, number) = open().map_err(|error: io::Error| refused("read", path, &error))?;
        Ok(Self { path: path.to_owned(), file, number, rest: Vec::new(), found: HashMap::new() })
    }

    /// What was found in these requests, in order; nothing of one whose line did not come in time.
    pub(super) fn found_in(
        &mut self,
        ids: &[String],
        within: Duration,
    ) -> Result<Vec<Option<Found>>, CliError> {
        let until = Instant::now() + within;
        loop {
            self.read().map_err(|error| refused("read", &self.path, &error))?;
            let is_whole = ids.iter().all(|id| self.found.contains_key(id));
            if is_whole || Instant::now() >= until {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        let found = ids.iter().map(|id| self.found.remove(id)).collect();
        // What others asked meanwhile.
        self.found.clear();
        Ok(found)
    }

    fn read(&mut self) -> io::Result<()> {
        // Before it is read to its end: the new file is opened when nothing more comes to the old.
        let is_another = fs::metadata(&self.path).is_ok_and(|found| found.ino() != self.number);
        self.read_file()?;
        if is_another {
            self.file = File::open(&self.path)?;
            self.number = self.file.metadata()?.ino();
            self.rest.clear();
            self.read_file()?;
        }
        Ok(())
    }

    fn read_file(&mut self) -> io::Result<()> {
        let mut piece = vec![0; 64 << 10];
        loop {
            let count = self.file.read(&mut piece)?;
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { return Ok(()) };
            for part in read.split_inclusive(|byte| *byte == b'\n') {
                if self.rest.len() + part.len() <= LINE_BYTES_MAX {
                    self.rest.extend_from_slice(part);
                }
                if part.ends_with(b"\n") {
                    let line = std::mem::take(&mut self.rest);
                    // Not every line is one of a request.
                    if let Ok(Line { request_id, found }) = serde_json::from_slice(&line) {
                        self.found.insert(request_id, found);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn line(id: &str, rules: &str) -> String {
        format!("{{\"request_id\":\"{id}\",\"rules\":{rules}}}\n")
    }

    #[test]
    fn lines_are_found_as_they_come_also_in_the_file_after_a_rotation() {
        let path = std::env::temp_dir().join(format!("sunbeam-audit-lines-{}", std::process::id()));
        fs::write(&path, line("a", "[1]")).unwrap();
        let mut lines = AuditLines::open(&path).unwrap();
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let now = Duration::ZERO;
        let rules = |rules: &[u64]| Some(Found { rules: rules.to_vec(), matches: Vec::new() });
        assert_eq!(lines.found_in(&ids(&["a"]), now).unwrap(), [None], "it stood there before");
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let whole = line("b", "[2,3]");
        let (first, second) = whole.split_at(9);
        file.write_all(format!("no JSON\n{}{first}", line("c", "[]")).as_bytes()).unwrap();
        assert_eq!(lines.found_in(&ids(&["c"]), now).unwrap(), [rules(&[])]);
        file.write_all(second.as_bytes()).unwrap();
        let rotated = path.with_extension("1");
        fs::rename(&path, &rotated).unwrap();
        let matches = r#","matches":[{"rule":4,"message":"m","target":"ARGS:a","value":"v","data":"d","at":"a.conf:1"}]"#;
        fs::write(&path, line("d", "[4]").replace('}', &format!("{matches}}}"))).unwrap();
        let found = lines.found_in(&ids(&["d", "b", "e"]), now).unwrap();
        assert_eq!(found[1..], [rules(&[2, 3]), None]);
        let first = found[0].as_ref().unwrap();
        assert_eq!((first.rules.as_slice(), first.matches[0].data.as_str()), (&[4][..], "d"));
        for path in [path, rotated] {
            fs::remove_file(path).unwrap();
        }
    }
}
