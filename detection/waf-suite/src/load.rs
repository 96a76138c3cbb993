// SPDX-License-Identifier: Apache-2.0
//! A folder of tests, or one file: all of them in one order that never changes.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::format::{Test, TestFile};
use crate::yaml;

/// A file above this is no file of tests: the largest of the Core Rule Set has 310 KiB.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// A folder with more is not a suite: the Core Rule Set has 322 files.
pub const FILES_MAX: usize = 20_000;
/// Folders in folders, at most.
pub const DEPTH_MAX: usize = 16;

/// All tests of a folder.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// How many files were read, those without tests too.
    pub files: usize,
    /// The tests: by the names of their files, then as they stand.
    pub cases: Vec<Case>,
}

/// One test with its place.
#[derive(Clone, Debug)]
pub struct Case {
    /// The rule and the test's number, as in `920100-1`: what people call it by.
    pub title: String,
    /// Its file, below the folder that was read.
    pub file: String,
    /// The rule that is tested.
    pub rule_id: u64,
    /// The test's number.
    pub test_id: u64,
    /// The test.
    pub test: Test,
}

/// Why tests could not be read. Shown to the operator as it stands.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder could not be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than [`FILE_BYTES_MAX`].
    #[error("`{path}` is larger than {FILE_BYTES_MAX} bytes")]
    FileTooLarge {
        /// The file.
        path: String,
    },
    /// A folder holds more than [`FILES_MAX`] files or is deeper than [`DEPTH_MAX`].
    #[error("`{path}` holds more than {FILES_MAX} files, or folders deeper than {DEPTH_MAX}")]
    FolderTooLarge {
        /// The folder.
        path: String,
    },
    /// A text is not what a file of tests, or of overrides, may hold.
    #[error("{path}:{line}:{column}: {text}")]
    Text {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: u64,
        /// What is wrong.
        text: String,
    },
    /// Neither the file nor its name says which rule is tested.
    #[error("{path}: no `rule_id`, and no number in the file's name")]
    NoRule {
        /// The file.
        path: String,
    },
    /// A test says what cannot be meant.
    #[error("{path}: test `{title}`: {why}")]
    Contradiction {
        /// The file.
        path: String,
        /// The test.
        title: String,
        /// What does not go together.
        why: &'static str,
    },
}

impl Suite {
    /// Reads a file, whatever its name, or all files `*.yaml` below a folder, but `*-overrides.yaml`. Links to folders
    /// are not followed.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let is_folder = fs::metadata(path).map_err(|source| unreadable(path, source))?.is_dir();
        let files = if is_folder { files_below(path)? } else { vec![path.to_owned()] };
        let mut suite = Self::default();
        for file in files {
            let below = file.strip_prefix(path).ok().filter(|below| !below.as_os_str().is_empty());
            let name = below.unwrap_or(&file).display().to_string();
            suite.add(&name, &text(&file)?)?;
        }
        Ok(suite)
    }

    /// Adds the tests of one file, given as its text. A text of blanks and comments has none.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), LoadError> {
        self.files += 1;
        let file = yaml::read::<TestFile>(text).map_err(|fault| LoadError::of(name, fault))?;
        let Some(file) = file else { return Ok(()) };
        let rule_id = file
            .rule_id
            .filter(|id| *id != 0)
            .or_else(|| first_number(name))
            .ok_or_else(|| LoadError::NoRule { path: name.to_owned() })?;
        for (place, test) in (1..).zip(file.tests) {
            let test_id = test.test_id.filter(|id| *id != 0).unwrap_or(place);
            let title = format!("{rule_id}-{test_id}");
            if let Some(why) = test.stages.iter().find_map(|stage| stage.contradiction()) {
                return Err(LoadError::Contradiction { path: name.to_owned(), title, why });
            }
            self.cases.push(Case { title, file: name.to_owned(), rule_id, test_id, test });
        }
        Ok(())
    }

    /// How many requests the suite sends.
    pub fn stages(&self) -> usize {
        self.cases.iter().map(|case| case.test.stages.len()).sum()
    }
}

impl LoadError {
    pub(crate) fn of(path: &str, fault: yaml::Fault) -> Self {
        Self::Text { path: path.to_owned(), line: fault.line, column: fault.column, text: fault.text }
    }
}

/// A file's text, as far as [`FILE_BYTES_MAX`] allows.
pub(crate) fn text(path: &Path) -> Result<String, LoadError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|source| unreadable(path, source))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(LoadError::FileTooLarge { path: path.display().to_string() });
    }
    Ok(text)
}

fn files_below(root: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let too_large = || LoadError::FolderTooLarge { path: root.display().to_string() };
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        if depth > DEPTH_MAX {
            return Err(too_large());
        }
        for entry in fs::read_dir(&folder).map_err(|source| unreadable(&folder, source))? {
            let entry = entry.map_err(|source| unreadable(&folder, source))?;
            let path = entry.path();
            if entry.file_type().map_err(|source| unreadable(&path, source))?.is_dir() {
                folders.push((path, depth + 1));
            } else if is_tests(&path) {
                files.push(path);
            }
            if files.len() > FILES_MAX || folders.len() > FILES_MAX {
                return Err(too_large());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What is said of a platform's own answers (`nginx-overrides.yaml`, as the Core Rule Set has it beside its tests) is
/// no test: it is read by [`crate::overrides`].
fn is_tests(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml")
        && path.file_stem().is_some_and(|stem| !stem.to_string_lossy().ends_with("-overrides"))
}

fn unreadable(path: &Path, source: io::Error) -> LoadError {
    LoadError::Read { path: path.display().to_string(), source }
}

/// The first number in a file's name.
fn first_number(path: &str) -> Option<u64> {
    let name = Path::new(path).file_name()?.to_str()?;
    let digits = name.split(|letter: char| !letter.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_come_of_the_rule_and_the_number_or_the_place() {
        let mut suite = Suite::default();
        suite.add("a/920100.yaml", "rule_id: 7\ntests: [{stages: []}, {test_id: 9}, {test_id: 0}]").unwrap();
        suite.add("a/x920200b1.yaml", "tests: [{}]").unwrap();
        suite.add("a/empty.yaml", "# nothing\n").unwrap();
        let titles: Vec<_> = suite.cases.iter().map(|case| case.title.as_str()).collect();
        assert_eq!(titles, ["7-1", "7-9", "7-3", "920200-1"]);
        assert_eq!((suite.files, suite.stages()), (3, 0));
    }

    #[test]
    fn a_platforms_own_answers_are_no_tests() {
        let is = |name: &str| is_tests(Path::new(name));
        assert!(is("a/920100.yaml") && !is("a/nginx-overrides.yaml") && !is("a/README.md"));
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        for (name, text, want) in [
            ("x.yaml", "tests: [{}]", "x.yaml: no `rule_id`, and no number in the file's name"),
            (
                "1.yaml",
                "tests:\n  - stages:\n      - output:\n          isolated: true\n",
                "1.yaml: test `1-1`: `isolated` needs exactly one id in `expect_ids`",
            ),
        ] {
            let error = Suite::default().add(name, text).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
        let error = Suite::default().add("1.yaml", "rule_id: 1\ntest: []\n").unwrap_err().to_string();
        assert!(error.starts_with("1.yaml:2:1: "), "{error}");
        assert!(error.contains("test"), "{error}");
        let error = Suite::load(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(matches!(error, LoadError::Read { .. }), "{error}");
    }
}
