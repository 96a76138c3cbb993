// SPDX-License-Identifier: Apache-2.0
//! Where `sunbeam up` keeps its state.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::discover::{self, NodeFile};
use crate::exit::CliError;

/// A directory that only its owner can enter.
#[derive(Debug)]
pub(super) struct StateDirectory {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Why it is not the usual one.
    pub(super) instead: Option<String>,
}

impl StateDirectory {
    /// The usual one; a temporary one when that cannot be used or another node uses it.
    ///
    /// # Errors
    /// When the temporary one cannot be made either.
    pub(super) fn make() -> Result<Self, CliError> {
        let usual = discover::up_directory();
        let reason = match NodeFile::alive_in(&usual) {
            Ok(Some(node)) => format!("process {} uses `{}`", node.pid, usual.display()),
            _ => match private(&usual, true) {
                Ok(()) => return Ok(Self { path: usual, instead: None }),
                Err(error) => format!("`{}` cannot be used: {error}", usual.display()),
            },
        };
        let path = std::env::temp_dir().join(format!("sunbeam-up-{}", std::process::id()));
        // Not recursive: a directory that somebody else put there is refused.
        private(&path, false).map_err(|error| {
            CliError::not_permitted(format!(
                "failed to make a state directory: {reason}; `{}`: {error}",
                path.display()
            ))
            .hint("set XDG_STATE_HOME to a directory that can be written")
        })?;
        Ok(Self { path, instead: Some(reason) })
    }
}

/// Makes the directory, for its owner only. `may_exist`: one from an earlier run is used, if it can be
/// written.
fn private(path: &Path, may_exist: bool) -> io::Result<()> {
    DirBuilder::new().recursive(may_exist).mode(0o700).create(path)?;
    let owner = fs::symlink_metadata(path)?;
    if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() {
        // Whoever owns it could have put a token or a link in it.
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not this user's own directory"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    let trial = path.join(format!(".trial-{}", std::process::id()));
    fs::write(&trial, b"")?;
    fs::remove_file(trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_its_owners_alone_and_a_strangers_is_refused() {
        let path = std::env::temp_dir().join(format!("sunbeam-private-{}", std::process::id()));
        private(&path.join("a/b"), true).unwrap();
        private(&path.join("a/b"), true).unwrap();
        let mode = fs::metadata(path.join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(private(&path.join("a/b"), false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_dir_all(&path).unwrap();
    }
}
