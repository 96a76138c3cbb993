// SPDX-License-Identifier: Apache-2.0
//! What lives through restarts: the good configurations, and the API's token.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sunbeam_config::{Secret, Source, Sources};

use crate::exceptions::KeptException;
use crate::judging::{KeptBan, KeptEntry};

/// Good configurations that are kept.
const HISTORY: usize = 10;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("list_entries");
const BANS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bans");
const EXCEPTIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("exceptions");
const CONFIGURATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("configurations");

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder cannot be made.
    #[error("failed to make the state folder `{}`: {source}; set `state.path` to a place that can be written", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The database cannot be opened.
    #[error("failed to open the state `{}`: {reason}{}", path.display(), if reason.contains("already open") { "; another node uses it" } else { "" })]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A new process has it.
    #[error("the state is being handed over to a new process")]
    Lent,
    /// A file beside it cannot be read or written.
    #[error("failed to use `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// What was to be kept beside it is not; what was there before is.
    #[error("failed to keep `{}`: {source}", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Reading or writing the database failed.
    #[error("the state database failed: {0}")]
    Database(String),
}

/// A configuration that was in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptConfiguration {
    /// Counts up.
    pub id: u64,
    /// When it came into use, RFC 3339.
    pub at: String,
    /// Why: start, reload, apply, rollback.
    pub note: String,
    sources: Vec<KeptSource>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeptSource {
    name: String,
    path: Option<PathBuf>,
    text: String,
}

impl KeptConfiguration {
    /// The texts.
    pub fn sources(&self) -> Sources {
        let source = |kept: &KeptSource| Source {
            name: kept.name.clone(),
            path: kept.path.clone(),
            text: kept.text.clone(),
        };
        Sources(self.sources.iter().map(source).collect())
    }

    fn has(&self, sources: &Sources) -> bool {
        self.sources.len() == sources.0.len()
            && self.sources.iter().zip(&sources.0).all(|(kept, source)| kept.text == source.text)
    }
}

/// Where the database is. One process at a time has it.
#[derive(Debug)]
enum Held {
    Open(Database),
    /// After a failure: opened again with the next use.
    Closed,
    /// A process that takes this node over has it.
    Lent,
}

/// The state of one node.
#[derive(Debug)]
pub(crate) struct State {
    database: Mutex<Held>,
    path: PathBuf,
    folder: PathBuf,
}

impl State {
    /// Opens the state, or makes it; only its owner may read it.
    pub(crate) fn open(path: &str) -> Result<Self, StateError> {
        let folder = folder_of(path).to_owned();
        let path = PathBuf::from(path);
        fs::create_dir_all(&folder).map_err(|source| StateError::Folder { path: folder.clone(), source })?;
        let database = Mutex::new(Held::Open(open(&path)?));
        let state = Self { database, path, folder };
        // A file that was damaged is found here, before anything is served by half of it.
        let read = state.history().and_then(|_| state.entries()).and_then(|_| state.bans()).map(drop);
        let read = read.and_then(|()| state.exceptions());
        read.map_err(|error| damaged(&state.path, &error.to_string()))?;
        Ok(state)
    }

    /// Runs `work` on the database. After an error of its file (a full disk) redb wants it opened anew.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StateError>) -> Result<T, StateError> {
        let mut database = self.held();
        let open = match std::mem::replace(&mut *database, Held::Closed) {
            Held::Open(open) => open,
            Held::Closed => open(&self.path)?,
            Held::Lent => {
                *database = Held::Lent;
                return Err(StateError::Lent);
            }
        };
        // On a damaged file the library panics in places.
        let result = catch_unwind(AssertUnwindSafe(|| work(&open)))
            .unwrap_or_else(|_| Err(StateError::Database("its file is damaged".to_owned())));
        if result.is_ok() {
            *database = Held::Open(open);
        } else {
            // To close it, the library reads it once more.
            drop(catch_unwind(AssertUnwindSafe(|| drop(open))));
        }
        result
    }

    /// Closes the database, so that another process or the next node can open it.
    pub(crate) fn lend(&self) {
        *self.held() = Held::Lent;
    }

    /// Whether another process has it.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(*self.held(), Held::Lent)
    }

    /// The other process did not make it: opens the database again. Waits a little for that process's end.
    pub(crate) fn take_back(&self) -> Result<(), StateError> {
        const TRIES: usize = 40;
        const PAUSE: Duration = Duration::from_millis(50);
        let mut database = self.held();
        if !matches!(*database, Held::Lent) {
            return Ok(());
        }
        *database = Held::Closed;
        for _ in 1..TRIES {
            if let Ok(open) = open(&self.path) {
                *database = Held::Open(open);
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        *database = Held::Open(open(&self.path)?);
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the state lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a configuration that came into use; the same text as the newest is not kept twice.
    pub(crate) fn keep(&self, sources: &Sources, note: &str) -> Result<u64, StateError> {
        let history = self.history()?;
        if let Some(newest) = history.last().filter(|kept| kept.has(sources)) {
            return Ok(newest.id);
        }
        let id = history.last().map_or(1, |kept| kept.id + 1);
        let source = |source: &Source| KeptSource {
            name: source.name.clone(),
            path: source.path.clone(),
            text: source.text.clone(),
        };
        let kept = KeptConfiguration {
            id,
            at: format!("{:.0}", Timestamp::now()),
            note: note.to_owned(),
            sources: sources.0.iter().map(source).collect(),
        };
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(&error))?;
        self.with(|database| write(database, id, &bytes, &history))?;
        Ok(id)
    }

    /// The newest kept configuration with these texts.
    pub(crate) fn id_of(&self, sources: &Sources) -> Result<Option<u64>, StateError> {
        Ok(self.history()?.iter().rev().find(|kept| kept.has(sources)).map(|kept| kept.id))
    }

    /// The kept configurations, oldest first.
    pub(crate) fn history(&self) -> Result<Vec<KeptConfiguration>, StateError> {
        self.with(read)
    }

    /// What operators added to the lists.
    pub(crate) fn entries(&self) -> Result<Vec<KeptEntry>, StateError> {
        self.with(|database| read_all(database, ENTRIES))
    }

    /// Keeps an entry; it is on the disk when this returns.
    pub(crate) fn keep_entry(&self, entry: &KeptEntry) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(entry).map_err(|error| failed(&error))?;
        self.with(|database| {
            let write = database.begin_write().map_err(|error| failed(&error))?;
            {
                let mut table = write.open_table(ENTRIES).map_err(|error| failed(&error))?;
                table.insert(entry.id, bytes.as_slice()).map_err(|error| failed(&error))?;
            }
            write.commit().map_err(|error| failed(&error))
        })
    }

    /// Forgets entries: all of them, or none.
    pub(crate) fn forget_entries(&self, ids: &[u64]) -> Result<(), StateError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.with(|database| {
            let write = database.begin_write().map_err(|error| failed(&error))?;
            {
                let mut table = write.open_table(ENTRIES).map_err(|error| failed(&error))?;
                for id in ids {
                    table.remove(id).map_err(|error| failed(&error))?;
                }
            }
            write.commit().map_err(|error| failed(&error))
        })
    }

    /// Blocks that layers had made.
    pub(crate) fn bans(&self) -> Result<Vec<KeptBan>, StateError> {
        let all: Vec<Vec<KeptBan>> = self.with(|database| read_all(database, BANS))?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Keeps these blocks in place of those before.
    pub(crate) fn keep_bans(&self, bans: &[KeptBan]) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(bans).map_err(|error| failed(&error))?;
        self.with(|database| {
            let write = database.begin_write().map_err(|error| failed(&error))?;
            {
                let mut table = write.open_table(BANS).map_err(|error| failed(&error))?;
                table.insert(0, bytes.as_slice()).map_err(|error| failed(&error))?;
            }
            write.commit().map_err(|error| failed(&error))
        })
    }

    /// What is not held against requests.
    pub(crate) fn exceptions(&self) -> Result<Vec<KeptException>, StateError> {
        self.with(|database| read_all(database, EXCEPTIONS))
    }

    /// Keeps exceptions, each in place of the one with its id: all of them, or none.
    pub(crate) fn keep_exceptions(&self, kept: &[KeptException]) -> Result<(), StateError> {
        if kept.is_empty() {
            return Ok(());
        }
        self.with(|database| {
            let write = database.begin_write().map_err(|error| failed(&error))?;
            {
                let mut table = write.open_table(EXCEPTIONS).map_err(|error| failed(&error))?;
                for kept in kept {
                    let bytes = serde_json::to_vec(kept).map_err(|error| failed(&error))?;
                    table.insert(kept.id, bytes.as_slice()).map_err(|error| failed(&error))?;
                }
            }
            write.commit().map_err(|error| failed(&error))
        })
    }

    /// Forgets exceptions: all of them, or none.
    pub(crate) fn forget_exceptions(&self, ids: &[u64]) -> Result<(), StateError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.with(|database| {
            let write = database.begin_write().map_err(|error| failed(&error))?;
            {
                let mut table = write.open_table(EXCEPTIONS).map_err(|error| failed(&error))?;
                for id in ids {
                    table.remove(id).map_err(|error| failed(&error))?;
                }
            }
            write.commit().map_err(|error| failed(&error))
        })
    }

    /// The token of the management API: the configured one, or one made at first start in a file that
    /// only the owner reads. Returns it with that file's path.
    pub(crate) fn token(&self, configured: &Secret) -> Result<(Secret, Option<PathBuf>), StateError> {
        if !configured.is_empty() {
            return Ok((configured.clone(), None));
        }
        let (token, path) = self.made_once("management.token")?;
        Ok((token, Some(path)))
    }

    /// What challenges are signed with where the configuration names nothing: made at first start, as the token is.
    pub(crate) fn challenge_secret(&self) -> Result<Secret, StateError> {
        self.made_once("challenge.secret").map(|(secret, _)| secret)
    }

    /// A random word in a file that only the owner reads, and that file's path.
    fn made_once(&self, name: &str) -> Result<(Secret, PathBuf), StateError> {
        let path = self.folder.join(name);
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
            if !metadata.is_file() || !is_ours || metadata.mode() & 0o077 != 0 {
                // Somebody else may know it, or have put it there.
                let source = io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "it must be a file that only this user can read",
                );
                return Err(StateError::Write { path, source });
            }
        }
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= 16 => {
                return Ok((Secret::new(text.trim().to_owned()), path));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StateError::Write { path, source }),
        }
        let word = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        write_private(&path, word.as_bytes())?;
        Ok((Secret::new(word), path))
    }
}

/// The folder of the state, by its configured path.
pub(crate) fn folder_of(path: &str) -> &Path {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// Writes a file that only the owner reads: whole, or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let failed = |source| StateError::Keep { path: path.to_owned(), source };
    let fresh = path.with_extension("new");
    // A leftover of a killed process may have other permissions.
    drop(fs::remove_file(&fresh));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&fresh, path)).map_err(|source| {
        // Half of it helps nobody, least of all on a full disk.
        drop(fs::remove_file(&fresh));
        failed(source)
    })
}

fn open(path: &Path) -> Result<Database, StateError> {
    let failed = |reason: String| StateError::Open { path: path.to_owned(), reason };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(error.to_string()))?;
    let backend = redb::backends::FileBackend::new(file).map_err(|error| failed(error.to_string()))?;
    let opened = catch_unwind(AssertUnwindSafe(|| redb::Builder::new().create_with_backend(backend)));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) if is_damage(&error) => Err(damaged(path, &error.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(damaged(path, "its structure makes no sense")),
    }
}

/// Whether it is the file's content, and not the disk or somebody else.
fn is_damage(error: &redb::DatabaseError) -> bool {
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Corrupted(_)) => true,
        redb::DatabaseError::Storage(redb::StorageError::Io(error)) => {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        }
        redb::DatabaseError::UpgradeRequired(_) | redb::DatabaseError::RepairAborted => true,
        _ => false,
    }
}

/// Nothing is thrown away by itself: blocks would be gone without a word.
fn damaged(path: &Path, reason: &str) -> StateError {
    let reason = format!(
        "{reason}; if the file is damaged, put it aside (`mv {0} {0}.damaged`) and start again: what is lost then are \
         the blocks, list entries and exceptions that were added while the node ran, and the kept configurations",
        path.display()
    );
    StateError::Open { path: path.to_owned(), reason }
}

fn write(
    database: &Database,
    id: u64,
    bytes: &[u8],
    history: &[KeptConfiguration],
) -> Result<(), StateError> {
    let write = database.begin_write().map_err(|error| failed(&error))?;
    {
        let mut table = write.open_table(CONFIGURATIONS).map_err(|error| failed(&error))?;
        table.insert(id, bytes).map_err(|error| failed(&error))?;
        for old in history.iter().rev().skip(HISTORY - 1) {
            table.remove(old.id).map_err(|error| failed(&error))?;
        }
    }
    write.commit().map_err(|error| failed(&error))
}

fn read(database: &Database) -> Result<Vec<KeptConfiguration>, StateError> {
    read_all(database, CONFIGURATIONS)
}

fn read_all<T: DeserializeOwned>(
    database: &Database,
    table: TableDefinition<'_, u64, &[u8]>,
) -> Result<Vec<T>, StateError> {
    let read = database.begin_read().map_err(|error| failed(&error))?;
    let table = match read.open_table(table) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut all = Vec::new();
    for entry in table.iter().map_err(|error| failed(&error))? {
        let (_, value) = entry.map_err(|error| failed(&error))?;
        all.push(serde_json::from_slice(value.value()).map_err(|error| failed(&error))?);
    }
    Ok(all)
}

fn failed(error: &dyn std::error::Error) -> StateError {
    StateError::Database(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        Sources(vec![Source { name: "c".into(), path: None, text: text.into() }])
    }

    #[test]
    fn what_cannot_be_kept_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("sunbeam-keep-{}", std::process::id()));
        let path = folder.join("rules.conf");
        fs::create_dir_all(path.join("in-the-way")).unwrap();
        let error = write_private(&path, b"SecRule").unwrap_err().to_string();
        assert!(error.starts_with(&format!("failed to keep `{}`: ", path.display())), "{error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no `rules.new`");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_last_ten_configurations_and_the_token_live_on() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("sunbeam-state-{}", std::process::id()));
        let path = folder.join("state.redb").display().to_string();
        let secret;
        let (token, token_path) = {
            let state = State::open(&path).unwrap();
            for number in 0..13 {
                state.keep(&sources(&format!("# {number}")), "reload").unwrap();
                state.keep(&sources(&format!("# {number}")), "reload").unwrap();
            }
            assert!(State::open(&path).unwrap_err().to_string().contains("another node uses it"));
            assert_ne!(state.challenge_secret().unwrap(), state.token(&Secret::default()).unwrap().0);
            secret = state.challenge_secret().unwrap();
            state.token(&Secret::default()).unwrap()
        };
        let state = State::open(&path).unwrap();
        assert_eq!(state.challenge_secret().unwrap(), secret);
        let history = state.history().unwrap();
        assert_eq!(history.iter().map(|kept| kept.id).collect::<Vec<_>>(), (4..=13).collect::<Vec<_>>());
        assert_eq!(history[9].sources().0[0].text, "# 12");
        assert_eq!(state.token(&Secret::default()).unwrap().0, token);
        // Lent to a process that opens it, uses it and ends; then it is ours again.
        state.lend();
        assert!(matches!(state.history(), Err(StateError::Lent)));
        drop(State::open(&path).unwrap());
        state.take_back().unwrap();
        assert_eq!(state.history().unwrap().len(), 10);
        let mode = fs::metadata(token_path.unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(state);
        fs::remove_dir_all(&folder).unwrap();
    }
}
