// SPDX-License-Identifier: Apache-2.0
//! Where the Core Rule Set lies, and the folder beside it that takes its place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use rustix::io::Errno;

use super::make_folder;
use crate::exit::CliError;
use crate::placed_file::{refused, shown};

/// The folder of an installation.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    is_there: bool,
}

/// What an operator writes: of the setup, and of the files that a release has as `.example`.
const SETUP: &str = "crs-setup.conf";
const EXAMPLE: &str = "crs-setup.conf.example";
/// A file of an operator is not larger.
const CARRIED_BYTES_MAX: u64 = 16 << 20;
/// Files that are carried over.
const CARRIED_MAX: usize = 100;

impl Place {
    /// # Errors
    /// When something else is there: it would be moved away.
    pub(super) fn new(path: &Path) -> Result<Self, CliError> {
        let failed = |error: io::Error| refused("look at", path, &error);
        let (path, is_there) = match fs::canonicalize(path) {
            // A link stays: what it points to is replaced.
            Ok(found) => (found, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (std::path::absolute(path).map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        if path.file_name().is_none() {
            return Err(CliError::usage(format!("{} is no folder for rules", shown(&path))));
        }
        if is_there {
            let mut entries = fs::read_dir(&path).map_err(failed)?;
            let is_empty = entries.next().is_none();
            if !is_empty && !path.join("rules").is_dir() {
                return Err(CliError::usage(format!(
                    "{} holds something other than a Core Rule Set (it has no folder `rules`)",
                    shown(&path)
                ))
                .hint("name another folder with `--to DIR`"));
            }
        }
        Ok(Self { path, is_there })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `DIR.previous`
    fn previous(&self) -> PathBuf {
        let mut name = OsString::from(self.path.file_name().unwrap_or_default());
        name.push(".previous");
        self.path.with_file_name(name)
    }
}

/// A folder beside the place. Dropped before [`Self::settle`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Staging {
    path: PathBuf,
    is_done: bool,
}

impl Staging {
    /// # Errors
    /// When nothing can be written there.
    pub(super) fn create(place: &Place) -> Result<Self, CliError> {
        let mut name = OsString::from(".");
        name.push(place.path.file_name().unwrap_or_default());
        name.push(format!(".{}.part", std::process::id()));
        let path = place.path.with_file_name(name);
        let failed = |error: io::Error| refused("make", &path, &error);
        if let Some(parent) = path.parent() {
            make_folder(parent).map_err(failed)?;
        }
        // What a run that was killed left behind is in the way.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir(&path).map_err(failed)?;
        let staging = Self { path, is_done: false };
        fs::set_permissions(&staging.path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(|error| refused("make", &staging.path, &error))?;
        Ok(staging)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes over what an operator wrote in the installation of before, and makes a setup of the example where there is
    /// none; the names of what was taken.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(super) fn carry_over(&self, place: &Place) -> Result<Vec<String>, CliError> {
        let mut carried = Vec::new();
        if place.is_there {
            for name in self.of_operator(place)? {
                self.carry(place, &name)?;
                carried.push(name);
            }
        }
        let (setup, example) = (self.path.join(SETUP), self.path.join(EXAMPLE));
        if !setup.exists() && example.exists() {
            fs::copy(&example, &setup).map_err(|error| refused("write", &setup, &error))?;
        }
        Ok(carried)
    }

    /// The setup, and rules of which the release has an example only.
    fn of_operator(&self, place: &Place) -> Result<Vec<String>, CliError> {
        let mut names = vec![SETUP.to_owned()];
        let rules = self.path.join("rules");
        if rules.is_dir() {
            for entry in fs::read_dir(&rules).map_err(|error| refused("read", &rules, &error))? {
                let entry = entry.map_err(|error| refused("read", &rules, &error))?;
                let name = entry.file_name();
                let own = name.to_str().and_then(|name| name.strip_suffix(".example"));
                names.extend(own.map(|own| format!("rules/{own}")));
            }
        }
        names.sort_unstable();
        names.retain(|name| place.path.join(name).is_file() && !self.path.join(name).exists());
        names.truncate(CARRIED_MAX);
        Ok(names)
    }

    fn carry(&self, place: &Place, name: &str) -> Result<(), CliError> {
        let (from, to) = (place.path.join(name), self.path.join(name));
        let size = fs::metadata(&from).map_err(|error| refused("read", &from, &error))?.len();
        if size > CARRIED_BYTES_MAX {
            return Err(CliError::failed(format!(
                "{} is larger than {CARRIED_BYTES_MAX} bytes",
                shown(&from)
            )));
        }
        fs::copy(&from, &to).map_err(|error| refused("copy", &from, &error)).map(|_| ())
    }

    /// Puts it in its place; where what was there is now.
    ///
    /// # Errors
    /// When the disk or the permissions do not let it. What was there stays then.
    pub(super) fn settle(mut self, place: &Place) -> Result<Option<PathBuf>, CliError> {
        let failed = |error: io::Error| refused("write", place.path(), &error);
        File::open(&self.path).and_then(|folder| Ok(syncfs(folder)?)).map_err(failed)?;
        if !place.is_there {
            fs::rename(&self.path, &place.path).map_err(failed)?;
            self.is_done = true;
            return Ok(None);
        }
        let previous = place.previous();
        exchange(&self.path, &place.path).map_err(failed)?;
        // What was there is in the folder beside now: it is kept from here on, whatever fails.
        self.is_done = true;
        let kept = move_over(&self.path, &previous);
        kept.map_err(|error| {
            refused("move", &self.path, &error)
                .hint(format!("the rules are in their place; those of before are in {}", shown(&self.path)))
        })?;
        Ok(Some(previous))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_done {
            // It is gone, or the disk is: there is nobody to tell.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// At no moment is there nothing, where the file system can do that.
fn exchange(staged: &Path, place: &Path) -> io::Result<()> {
    match renameat_with(CWD, staged, CWD, place, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        other => return Ok(other?),
    }
    let mut name = OsString::from(staged.file_name().unwrap_or_default());
    name.push(".before");
    let before = staged.with_file_name(name);
    fs::rename(place, &before)?;
    if let Err(error) = fs::rename(staged, place) {
        fs::rename(&before, place)?;
        return Err(error);
    }
    fs::rename(&before, staged)
}

/// Renames a folder; one that has the name already goes.
fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(from, to)
}
