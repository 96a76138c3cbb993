// SPDX-License-Identifier: Apache-2.0
//! Rules that were added to a node over the API. Each lies in a file of its own next to the state and lives through
//! restarts; a reload of the configuration keeps them.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sunbeam_waf::rules::AddedRules;

use super::models::{put, remove};
use crate::state::StateError;

/// Files that are kept.
pub(crate) const FILES_MAX: usize = 256;
/// Bytes of one.
pub(crate) const TEXT_MAX: usize = 256 << 10;
/// Bytes of a name.
const NAME_MAX: usize = 64;
const SUFFIX: &str = ".conf";
/// What a place in them is told with, before the name: `api:mine:3`.
pub(crate) const PREFIX: &str = "api:";

/// Added rules, in order of their names: that is the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RulesAdded(Arc<[AddedRules]>);

/// Why a node does not start: it would judge by fewer rules than it was told.
#[derive(Debug, thiserror::Error)]
#[error("the added rules `{}` cannot be used: {reason}; mend the file, or delete it to go on without them", path.display())]
pub struct AddedRulesError {
    path: PathBuf,
    reason: String,
}

/// Why a name cannot be one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no name: 1 to {NAME_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`, the first none of these three", .0.escape_debug())]
pub(crate) struct BadName(String);

impl RulesAdded {
    /// What lies in the folder of the state.
    pub(crate) fn open(state_folder: &Path) -> Result<Self, AddedRulesError> {
        let folder = folder(state_folder);
        let failed =
            |path: PathBuf| move |error: io::Error| AddedRulesError { path, reason: error.to_string() };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(folder)(error)),
        };
        let mut added = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed(folder.clone()))?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX));
            // What was half written when the machine stopped has another ending.
            let Some(name) = name else { continue };
            let wrong = |reason: String| AddedRulesError { path: path.clone(), reason };
            check_name(name).map_err(|bad| wrong(bad.to_string()))?;
            if added.len() == FILES_MAX {
                return Err(wrong(format!("there are more than {FILES_MAX}")));
            }
            let text = read(&path).map_err(|error| wrong(error.to_string()))?;
            added.push(AddedRules { name: format!("{PREFIX}{name}"), text });
        }
        added.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self(added.into()))
    }

    /// For the rules' reader.
    pub(crate) fn texts(&self) -> &Arc<[AddedRules]> {
        &self.0
    }

    /// Name and text of each.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|added| (bare(&added.name), added.text.as_str()))
    }

    /// The text of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, text)| text)
    }

    /// With a text under a name, in place of the one that was there.
    #[must_use]
    pub(crate) fn with(&self, name: &str, text: String) -> Self {
        let mut added = self.without(name).0.to_vec();
        added.push(AddedRules { name: format!("{PREFIX}{name}"), text });
        added.sort_by(|one, other| one.name.cmp(&other.name));
        Self(added.into())
    }

    /// Without what has this name.
    #[must_use]
    pub(crate) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|added| bare(&added.name) != name).cloned().collect())
    }
}

fn bare(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// A name is a file's, too.
pub(crate) fn check_name(name: &str) -> Result<(), BadName> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_good = name.len() <= NAME_MAX
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(is_known);
    if is_good { Ok(()) } else { Err(BadName(name.chars().take(NAME_MAX).collect())) }
}

/// Keeps a text: whole, or not at all.
pub(crate) fn keep(state_folder: &Path, name: &str, text: &str) -> Result<(), StateError> {
    put(&place(state_folder, name), text.as_bytes())
}

/// Forgets it.
pub(crate) fn forget(state_folder: &Path, name: &str) -> Result<(), StateError> {
    remove(&place(state_folder, name))
}

fn folder(state_folder: &Path) -> PathBuf {
    state_folder.join("added-rules")
}

fn place(state_folder: &Path, name: &str) -> PathBuf {
    folder(state_folder).join(format!("{name}{SUFFIX}"))
}

fn read(path: &Path) -> io::Result<String> {
    // A pipe would keep its reader waiting.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let limit = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > TEXT_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {TEXT_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sunbeam-rules-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        folder
    }

    fn names(added: &RulesAdded) -> Vec<&str> {
        added.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_in_order_of_names() {
        let folder = fresh("kept");
        assert_eq!(RulesAdded::open(&folder).unwrap(), RulesAdded::default());
        for (name, text) in [("b", "# two"), ("a.1", "# one"), ("c", "# three")] {
            keep(&folder, name, text).unwrap();
        }
        forget(&folder, "c").unwrap();
        forget(&folder, "never-there").unwrap();
        fs::write(folder.join("added-rules/half.tmp"), "SecRule").unwrap();
        let added = RulesAdded::open(&folder).unwrap();
        assert_eq!(added.iter().collect::<Vec<_>>(), [("a.1", "# one"), ("b", "# two")]);
        assert_eq!(added.texts()[0].name, "api:a.1");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn one_replaces_the_one_of_its_name() {
        let added = RulesAdded::default().with("b", "1".into()).with("a", "2".into()).with("b", "3".into());
        assert_eq!(added.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(added.get("b"), Some("3"));
        assert_eq!(names(&added.without("a")), ["b"]);
        assert_eq!(names(&added.without("nobody")), ["a", "b"]);
    }

    #[test]
    fn names_reach_no_other_file() {
        for good in ["a", "Mine-1.2_x", "0"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "a".repeat(NAME_MAX + 1);
        for bad in ["", ".", "..", ".a", "-a", "a/b", "../a", "a b", "ä", "a\0", "a\n", &long] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = fresh("bad");
        keep(&folder, "good", "# fine").unwrap();
        let place = folder.join("added-rules/bad.conf");
        fs::write(&place, vec![b'#'; TEXT_MAX + 1]).unwrap();
        let error = RulesAdded::open(&folder).unwrap_err().to_string();
        assert!(
            error.contains("added-rules/bad.conf") && error.contains("more than 262144 bytes"),
            "{error}"
        );
        fs::write(&place, b"\xff").unwrap();
        assert!(RulesAdded::open(&folder).unwrap_err().to_string().contains("UTF-8"));
        fs::remove_file(&place).unwrap();
        fs::write(folder.join("added-rules/a b.conf"), "").unwrap();
        assert!(RulesAdded::open(&folder).unwrap_err().to_string().contains("`a b` is no name"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
