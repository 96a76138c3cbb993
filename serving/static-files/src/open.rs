// SPDX-License-Identifier: Apache-2.0
//! Opening a file below a directory without leaving it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

/// What opening one name below the root came to.
#[derive(Debug)]
pub(crate) enum Opened {
    Regular(RegularFile),
    /// Not there, or not a regular file.
    Missing,
    LeavesRoot,
    Denied,
    Failed(io::Error),
}

/// An open regular file with what its validators are made of, both from the same descriptor.
#[derive(Debug)]
pub(crate) struct RegularFile {
    pub(crate) file: File,
    pub(crate) len: u64,
    pub(crate) modified: SystemTime,
}

/// Opens the root itself, only as a place to look up from.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the regular file `relative` below `root`. A FIFO cannot hang the open (`O_NONBLOCK`), and
/// FIFOs, devices, sockets and directories are [`Opened::Missing`].
pub(crate) fn open_regular(root: BorrowedFd<'_>, relative: &[u8]) -> Opened {
    let file = match open_beneath(root, relative) {
        Ok(descriptor) => File::from(descriptor),
        Err(errno) => return Opened::from(errno),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Opened::Regular(RegularFile {
            len: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            file,
        }),
        Ok(_) => Opened::Missing,
        Err(error) => Opened::Failed(error),
    }
}

impl From<Errno> for Opened {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::LeavesRoot,
            Errno::ACCESS => Self::Denied,
            // A name too long or with too many links names nothing; a socket answers ENXIO.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::NXIO
            | Errno::NODEV
            | Errno::INVAL
            | Errno::ILSEQ => Self::Missing,
            other => Self::Failed(other.into()),
        }
    }
}

/// Lets the kernel hold every step of the lookup beneath `root`, links included: a check of our own
/// before the open could be raced by whoever writes the directory.
fn open_beneath(root: BorrowedFd<'_>, relative: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RACE_RETRIES_MAX {
        match openat2(root, relative, FILE_FLAGS, Mode::empty(), resolve) {
            // A rename happened during the lookup, and the kernel could not tell whether it stayed beneath.
            Err(Errno::AGAIN) => {}
            // A kernel before 5.6, or a seccomp profile that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return walk_beneath(root, relative),
            other => return other,
        }
    }
    walk_beneath(root, relative)
}

/// The same without `openat2`: one segment at a time, following no link at all. Links that stay inside
/// are lost on such a kernel; that is the price of not being raced.
fn walk_beneath(root: BorrowedFd<'_>, relative: &[u8]) -> Result<OwnedFd, Errno> {
    let mut segments = relative.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).peekable();
    let mut directory: Option<OwnedFd> = None;
    while let Some(segment) = segments.next() {
        if segment == b".." {
            return Err(Errno::XDEV);
        }
        let here = directory.as_ref().map_or(root, AsFd::as_fd);
        if segments.peek().is_none() {
            return openat(here, segment, FILE_FLAGS | OFlags::NOFOLLOW, Mode::empty());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = Some(openat(here, segment, flags, Mode::empty())?);
    }
    Err(Errno::NOENT)
}

const FILE_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// How often a lookup that was raced by a rename is repeated before the slow walk, which cannot be raced.
const RACE_RETRIES_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;
    use crate::testing::TempDir;

    fn describe(opened: &Opened) -> &'static str {
        match opened {
            Opened::Regular(_) => "regular",
            Opened::Missing => "missing",
            Opened::LeavesRoot => "leaves root",
            Opened::Denied => "denied",
            Opened::Failed(_) => "failed",
        }
    }

    #[test]
    fn only_regular_files_beneath_the_root_are_opened() {
        let outside = TempDir::new();
        outside.write("secret", b"secret");
        let root = TempDir::new();
        root.write("file", b"x");
        root.write("dir/inner", b"y");
        symlink("dir/inner", root.path("link-inside")).unwrap();
        symlink("dir", root.path("dir-link")).unwrap();
        symlink("../file", root.path("dir/up-but-inside")).unwrap();
        symlink(outside.path("secret"), root.path("link-outside")).unwrap();
        symlink(outside.path(""), root.path("dir-outside")).unwrap();
        symlink(root.path("file"), root.path("absolute-inside")).unwrap();
        symlink("/proc/self/exe", root.path("magic")).unwrap();
        symlink("loop", root.path("loop")).unwrap();
        mknodat(CWD, root.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _listener = UnixListener::bind(root.path("socket")).unwrap();

        let descriptor = open_root(&root.path("")).unwrap();
        for (name, relative, kernel, walk) in [
            ("file", "file", "regular", "regular"),
            ("nested", "dir/inner", "regular", "regular"),
            ("link that stays", "link-inside", "regular", "missing"),
            ("directory link that stays", "dir-link/inner", "regular", "missing"),
            ("link up that stays", "dir/up-but-inside", "regular", "missing"),
            ("link that leaves", "link-outside", "leaves root", "missing"),
            ("directory link that leaves", "dir-outside/secret", "leaves root", "missing"),
            ("absolute link", "absolute-inside", "leaves root", "missing"),
            ("magic link", "magic", "leaves root", "missing"),
            ("climb", "../x", "leaves root", "leaves root"),
            ("loop", "loop", "missing", "missing"),
            ("fifo", "fifo", "missing", "missing"),
            ("socket", "socket", "missing", "missing"),
            ("directory", "dir", "missing", "missing"),
            ("absent", "nothing", "missing", "missing"),
            ("below a file", "file/x", "missing", "missing"),
            ("too long", &"n".repeat(300), "missing", "missing"),
        ] {
            let opened = open_regular(descriptor.as_fd(), relative.as_bytes());
            assert_eq!(describe(&opened), kernel, "{name}, by openat2");
            let walked = match walk_beneath(descriptor.as_fd(), relative.as_bytes()) {
                Ok(found) if File::from(found.try_clone().unwrap()).metadata().unwrap().is_file() => {
                    "regular"
                }
                Ok(_) => "missing",
                Err(errno) => describe(&Opened::from(errno)),
            };
            assert_eq!(walked, walk, "{name}, by walking");
        }
    }

    #[test]
    fn a_file_without_permission_is_denied() {
        let root = TempDir::new();
        root.write("locked", b"x");
        std::fs::set_permissions(root.path("locked"), Permissions::from_mode(0o000)).unwrap();
        // The superuser, as whom tests may run, is denied nothing.
        let want = if File::open(root.path("locked")).is_ok() { "regular" } else { "denied" };
        let descriptor = open_root(&root.path("")).unwrap();
        assert_eq!(describe(&open_regular(descriptor.as_fd(), b"locked")), want);
    }

    #[test]
    fn each_error_has_its_variant() {
        for (errno, want) in [
            (Errno::ACCESS, "denied"),
            (Errno::XDEV, "leaves root"),
            (Errno::NOENT, "missing"),
            (Errno::NXIO, "missing"),
            (Errno::IO, "failed"),
            (Errno::MFILE, "failed"),
        ] {
            assert_eq!(describe(&Opened::from(errno)), want, "{errno}");
        }
    }
}
