// SPDX-License-Identifier: Apache-2.0
//! From the bytes of a release to files, of which nothing is believed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use super::make_folder;
use crate::exit::CliError;
use crate::output::escape;
use crate::placed_file::{refused, shown};

/// Of the whole archive, unpacked: a release with its tests has some 15 MB.
const UNPACKED_BYTES_MAX: u64 = 128 << 20;
/// Of one file; the largest of a release has 310 KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// A release has some thousand.
const ENTRIES_MAX: usize = 20_000;
/// Folders in folders.
const DEPTH_MAX: usize = 12;

/// Unpacks what is wanted of an archive into a folder that is empty; how many files it came to.
///
/// # Errors
/// When it is no such archive, or holds what a release does not.
pub(super) fn unpack(
    bytes: &[u8],
    archive: &Path,
    folder: &Path,
    with_tests: bool,
) -> Result<usize, CliError> {
    let wrong = |why: String| CliError::failed(format!("{}: {why}", shown(archive)));
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(wrong("it is not packed with gzip, so it is no .tar.gz of a release".to_owned()));
    }
    let unreadable =
        |error: io::Error| wrong(format!("it cannot be unpacked: {}", escape(&error.to_string())));
    let mut reader = Archive::new(Bounded { inner: GzDecoder::new(bytes), left: UNPACKED_BYTES_MAX });
    let (mut files, mut top) = (0, None);
    for (number, entry) in reader.entries().map_err(unreadable)?.enumerate() {
        if number >= ENTRIES_MAX {
            return Err(wrong(format!("it has more than {ENTRIES_MAX} entries")));
        }
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let name = entry.path().map_err(unreadable)?.into_owned();
        let told = || escape(&name.display().to_string());
        let parts = parts(&name).map_err(|why| wrong(format!("`{}` {why}", told())))?;
        let Some((first, below)) = parts.split_first() else { continue };
        if *top.get_or_insert_with(|| first.clone()) != *first {
            return Err(wrong(format!("`{}` is not in its one folder", told())));
        }
        if !is_wanted(below, with_tests) {
            continue;
        }
        let place = below.iter().fold(folder.to_owned(), |place, part| place.join(part));
        match kind {
            EntryType::Directory => {
                make_folder(&place).map_err(|error| refused("make", &place, &error))?;
            }
            EntryType::Regular | EntryType::Continuous => {
                if entry.size() > FILE_BYTES_MAX {
                    return Err(wrong(format!("`{}` is larger than {FILE_BYTES_MAX} bytes", told())));
                }
                write(&mut entry, &place).map_err(|fault| match fault {
                    Fault::Read(error) => unreadable(error),
                    Fault::Twice => wrong(format!("`{}` stands in it twice", told())),
                    Fault::Write(error) => refused("write", &place, &error),
                })?;
                files += 1;
            }
            _ => return Err(wrong(format!("`{}` is neither a file nor a folder", told()))),
        }
    }
    if files == 0 {
        return Err(wrong("it holds no rules of the Core Rule Set".to_owned()));
    }
    Ok(files)
}

enum Fault {
    Read(io::Error),
    Twice,
    Write(io::Error),
}

fn write(entry: &mut impl Read, place: &Path) -> Result<(), Fault> {
    if let Some(folder) = place.parent() {
        make_folder(folder).map_err(Fault::Write)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(place);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Fault::Twice,
        _ => Fault::Write(error),
    })?;
    let mut piece = vec![0; 64 << 10];
    loop {
        let count = entry.read(&mut piece).map_err(Fault::Read)?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
        file.write_all(read).map_err(Fault::Write)?;
    }
    // Whatever the umask says: a node of another user reads it.
    fs::set_permissions(place, fs::Permissions::from_mode(0o644)).map_err(Fault::Write)
}

/// A name in the archive, part by part.
fn parts(name: &Path) -> Result<Vec<PathBuf>, &'static str> {
    let mut parts = Vec::new();
    for component in name.components() {
        match component {
            Component::Normal(part) if part.to_str().is_some_and(is_plain) => parts.push(part.into()),
            Component::Normal(_) => return Err("has a name that is no text"),
            Component::CurDir => {}
            Component::ParentDir => return Err("leads out of the archive"),
            Component::RootDir | Component::Prefix(_) => return Err("is an absolute path"),
        }
    }
    if parts.len() > DEPTH_MAX { Err("is too deep") } else { Ok(parts) }
}

fn is_plain(part: &str) -> bool {
    !part.chars().any(|character| character.is_control() || character == '\\')
}

/// By the path below the archive's own folder.
fn is_wanted(below: &[PathBuf], with_tests: bool) -> bool {
    let Some(first) = below.first().and_then(|first| first.to_str()) else { return false };
    match first {
        "rules" => true,
        "tests" => with_tests,
        "crs-setup.conf.example" | "LICENSE" => below.len() == 1,
        _ => false,
    }
}

/// Ends with an error where a packed file would go on for ever.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| {
            io::Error::other(format!("it is larger than {UNPACKED_BYTES_MAX} bytes when it is unpacked"))
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_below_its_folder() {
        for (name, want) in [
            ("crs/rules/a.conf", Ok(3)),
            ("./crs//rules/./a.conf", Ok(3)),
            ("crs/../../etc/passwd", Err("leads out of the archive")),
            ("/etc/passwd", Err("is an absolute path")),
            ("crs/a\\b", Err("has a name that is no text")),
            ("crs/a\u{1b}[2J", Err("has a name that is no text")),
            ("a/b/c/d/e/f/g/h/i/j/k/l/m", Err("is too deep")),
            (".", Ok(0)),
        ] {
            assert_eq!(parts(Path::new(name)).map(|parts| parts.len()), want, "{name}");
        }
    }

    #[test]
    fn rules_setup_and_licence_are_wanted() {
        for (name, plain, with_tests) in [
            ("rules/REQUEST-901.conf", true, true),
            ("rules/lists/php.data", true, true),
            ("crs-setup.conf.example", true, true),
            ("LICENSE", true, true),
            ("docs/LICENSE", false, false),
            ("tests/regression/tests/1.yaml", false, true),
            ("util/x.py", false, false),
            ("", false, false),
        ] {
            let below = parts(Path::new(name)).unwrap();
            assert_eq!((is_wanted(&below, false), is_wanted(&below, true)), (plain, with_tests), "{name}");
        }
    }

    #[test]
    fn what_unpacks_for_ever_ends() {
        let mut bounded = Bounded { inner: io::repeat(0), left: 10 };
        let mut piece = [0; 8];
        assert_eq!(bounded.read(&mut piece).unwrap(), 8);
        assert!(bounded.read(&mut piece).unwrap_err().to_string().contains("larger than"));
    }
}
