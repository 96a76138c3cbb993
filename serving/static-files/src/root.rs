// SPDX-License-Identifier: Apache-2.0
//! A directory that is served, and what a request path finds in it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::media_type::{may_have_siblings, media_type};
use crate::open::{Opened, RegularFile, open_regular, open_root};
use crate::path::{Refusal, RelativePath, RequestPath};
use crate::respond::Found;

/// A directory whose files are served.
///
/// The path is opened anew for each lookup (one more system call) instead of keeping a descriptor: a
/// deploy that swaps a symbolic link or renames a new directory into place is seen by the next request,
/// and within one lookup the file and its compressed siblings are of the same deploy.
///
/// Symbolic links below the root are followed while they stay below it. Absolute links do not, even when
/// they lead back inside; and where the kernel lacks `openat2` (Linux before 5.6, some sandboxes) no link
/// below the root is followed.
///
/// That a file has no compressed sibling is remembered for [`LONE_FOR`]: asking costs three system calls.
#[derive(Debug)]
pub struct StaticRoot {
    path: PathBuf,
    fallback: Option<RelativePath>,
    lone: Mutex<HashMap<Vec<u8>, Instant>>,
}

/// How late a compressed sibling may be noticed that appears beside a file which had none.
const LONE_FOR: Duration = Duration::from_secs(2);

/// Files that are remembered to be alone. Names are of existing files, so a client cannot fill this with
/// what it likes; a larger site forgets all and begins anew.
const LONE_MAX: usize = 4096;

/// Why a directory cannot be served. Shown to the operator as it stands.
#[derive(Debug, thiserror::Error)]
pub enum OpenRootError {
    /// The directory is absent, not a directory, or may not be entered.
    #[error("failed to open the static root `{path}`")]
    Open {
        /// The directory as configured.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The fallback is not the plain relative path of a visible file.
    #[error("the fallback `{fallback}` must be a file below the root, without `..` and without dotfiles")]
    Fallback {
        /// The fallback as configured.
        fallback: String,
    },
}

/// What a request path came to.
#[derive(Debug)]
pub enum Lookup {
    /// A file, open.
    Found(Found),
    /// Nothing to serve: ask the backend. Dotfiles (any segment that starts with a dot, but for
    /// `/.well-known/`) end here too, without the fallback: whether `.env` exists is not told.
    NotFound,
    /// A path that must not go further: answer 400 or 404.
    Refused(Refusal),
    /// The file is there and may not be read: answer 403, and tell the operator.
    Denied,
    /// The system failed (or the root is gone): answer 500, and tell the operator.
    Failed(io::Error),
}

/// A coding in which build tools leave compressed siblings of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precompressed {
    /// `app.js.zst`.
    Zstd,
    /// `app.js.br`.
    Brotli,
    /// `app.js.gz`.
    Gzip,
}

impl StaticRoot {
    /// Checks that `root` can be opened, and `fallback`: the file, relative to the root, that is served
    /// when a path finds none (a single-page application's `index.html`). It need not exist yet. A root
    /// given relative is taken from the working directory of now.
    pub fn open(root: &Path, fallback: Option<&str>) -> Result<Self, OpenRootError> {
        let failed = |source| OpenRootError::Open { path: root.to_owned(), source };
        let path = std::path::absolute(root).map_err(failed)?;
        drop(open_root(&path).map_err(failed)?);
        Ok(Self { path, fallback: fallback.map(parse_fallback).transpose()?, lone: Mutex::default() })
    }

    /// As [`StaticRoot::open`], for a directory that will be there: until then every look-up fails.
    ///
    /// # Errors
    /// When the fallback is no file below the root, or the working directory is unknown.
    pub fn awaited(root: &Path, fallback: Option<&str>) -> Result<Self, OpenRootError> {
        let failed = |source| OpenRootError::Open { path: root.to_owned(), source };
        let path = std::path::absolute(root).map_err(failed)?;
        Ok(Self { path, fallback: fallback.map(parse_fallback).transpose()?, lone: Mutex::default() })
    }

    /// Looks up the percent-encoded `path` of a GET or HEAD request: the file itself, then with `.html`
    /// appended, then its `index.html` (no redirect to the trailing slash), then the fallback.
    ///
    /// `accepts` are the client's content codings, the best first; a compressed sibling in one of them is
    /// chosen when it is no older than the file. Other names are ignored.
    ///
    /// Makes between two and nine system calls, none of which waits for a FIFO or a device; they read
    /// directory entries, which are in memory but for the first time. On a network file system, call it
    /// from a blocking thread.
    pub fn find<'a>(&self, path: &str, accepts: impl IntoIterator<Item = &'a str>) -> Lookup {
        let relative = match RequestPath::parse(path) {
            Ok(RequestPath::Visible(relative)) => relative,
            Ok(RequestPath::Hidden) => return Lookup::NotFound,
            Err(refusal) => return Lookup::Refused(refusal),
        };
        let root = match open_root(&self.path) {
            Ok(root) => root,
            Err(error) => return Lookup::Failed(error),
        };
        let accepts: Vec<Precompressed> =
            accepts.into_iter().filter_map(Precompressed::from_name).take(Precompressed::ALL.len()).collect();
        let tried = relative.suffixes().iter().map(|suffix| relative.with_suffix(suffix));
        let fallback = self.fallback.iter().map(|fallback| fallback.as_bytes().to_vec());
        for candidate in tried.chain(fallback) {
            match open_regular(root.as_fd(), &candidate) {
                Opened::Regular(file) => {
                    return Lookup::Found(self.choose(root.as_fd(), &candidate, file, &accepts));
                }
                Opened::Missing => {}
                Opened::LeavesRoot => return Lookup::Refused(Refusal::LeavesRoot),
                Opened::Denied => return Lookup::Denied,
                Opened::Failed(error) => return Lookup::Failed(error),
            }
        }
        Lookup::NotFound
    }

    /// Picks the file or its best accepted sibling. Whether any sibling exists is asked even of a client
    /// that accepts none: caches must learn that the answer varies.
    fn choose(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        plain: RegularFile,
        accepts: &[Precompressed],
    ) -> Found {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let name = String::from_utf8_lossy(name);
        if !may_have_siblings(media_type(&name)) || self.is_lone(path) {
            return Found::new(&name, plain, None, false);
        }
        let sibling =
            |coding: Precompressed| match open_regular(root, &[path, coding.extension().as_bytes()].concat())
            {
                // An older one was left behind by an earlier build and holds other content.
                Opened::Regular(sibling) if sibling.modified >= plain.modified => Some((coding, sibling)),
                _ => None,
            };
        if let Some((coding, chosen)) = accepts.iter().copied().find_map(sibling) {
            return Found::new(&name, chosen, Some(coding), true);
        }
        let mut others = Precompressed::ALL.into_iter().filter(|coding| !accepts.contains(coding));
        let varies = others.any(|coding| sibling(coding).is_some());
        if !varies {
            self.note_lone(path);
        }
        Found::new(&name, plain, None, varies)
    }

    /// Whether the file was just seen to have no sibling. Nobody waits for the answer: when another
    /// thread is looking, it is asked of the file system.
    fn is_lone(&self, path: &[u8]) -> bool {
        let Ok(lone) = self.lone.try_lock() else { return false };
        lone.get(path).is_some_and(|since| since.elapsed() < LONE_FOR)
    }

    fn note_lone(&self, path: &[u8]) {
        let Ok(mut lone) = self.lone.try_lock() else { return };
        if lone.len() >= LONE_MAX && !lone.contains_key(path) {
            lone.clear();
        }
        lone.insert(path.to_vec(), Instant::now());
    }
}

impl Precompressed {
    /// All of them, the smallest result first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.name().eq_ignore_ascii_case(name))
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

fn parse_fallback(fallback: &str) -> Result<RelativePath, OpenRootError> {
    let refused = || OpenRootError::Fallback { fallback: fallback.to_owned() };
    match RequestPath::parse(fallback) {
        Ok(RequestPath::Visible(relative)) if !fallback.starts_with('/') && relative.suffixes().len() > 1 => {
            Ok(relative)
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::testing::TempDir;

    /// What was found, told by the size of each file, or the variant.
    fn outcome(lookup: &Lookup) -> String {
        match lookup {
            Lookup::Found(found) => match found.coding() {
                Some(coding) => format!("{} {}", found.size_bytes(), coding.name()),
                None => found.size_bytes().to_string(),
            },
            Lookup::NotFound => "not found".into(),
            Lookup::Refused(refusal) => format!("{refusal:?}"),
            Lookup::Denied => "denied".into(),
            Lookup::Failed(error) => format!("failed: {error}"),
        }
    }

    #[test]
    fn paths_find_files_in_order() {
        let outside = TempDir::new();
        outside.write("secret", b"secret");
        let site = TempDir::new();
        for (size, name) in
            [(1, "index.html"), (2, "about.html"), (3, "docs/index.html"), (4, "app.js"), (5, "shell.html")]
        {
            site.write(name, &vec![b'x'; size]);
        }
        site.write(".env", b"secret");
        site.write(".git/config", b"secret");
        site.write(".well-known/security.txt", &[b'x'; 6]);
        site.write("both", &[b'x'; 7]);
        site.write("both.html", &[b'x'; 8]);
        site.write("docs.html", &[b'x'; 9]);
        fs::create_dir(site.path("empty")).unwrap();
        symlink(outside.path("secret"), site.path("leak")).unwrap();
        let bare = StaticRoot::open(&site.path(""), None).unwrap();
        let with_shell = StaticRoot::open(&site.path(""), Some("shell.html")).unwrap();
        for (name, path, want, want_with_shell) in [
            ("root", "/", "1", "1"),
            ("file", "/app.js", "4", "4"),
            ("with .html", "/about", "2", "2"),
            ("exact before .html", "/both", "7", "7"),
            (".html before the directory", "/docs", "9", "9"),
            ("the directory", "/docs/", "3", "3"),
            ("directory without index", "/empty", "not found", "5"),
            ("absent", "/nothing/here", "not found", "5"),
            ("a file is no directory", "/app.js/", "not found", "5"),
            ("below a file", "/app.js/x", "not found", "5"),
            ("dotfile", "/.env", "not found", "not found"),
            ("dot directory", "/.git/config", "not found", "not found"),
            ("encoded dotfile", "/%2eenv", "not found", "not found"),
            ("well-known", "/.well-known/security.txt", "6", "6"),
            ("traversal", "/%2e%2e/secret", "Traversal", "Traversal"),
            ("link that leaves", "/leak", "LeavesRoot", "LeavesRoot"),
        ] {
            assert_eq!(outcome(&bare.find(path, [])), want, "{name}");
            assert_eq!(outcome(&with_shell.find(path, [])), want_with_shell, "{name}, with a fallback");
        }
    }

    #[test]
    fn a_sibling_that_appears_is_found_a_little_later() {
        let site = TempDir::new();
        site.write("app.js", &[b'x'; 10]);
        let root = StaticRoot::open(&site.path(""), None).unwrap();
        assert_eq!(outcome(&root.find("/app.js", ["br"])), "10");
        site.write("app.js.br", &[b'x'; 4]);
        assert_eq!(outcome(&root.find("/app.js", ["br"])), "10", "asked a moment ago");
        for since in root.lone.lock().unwrap().values_mut() {
            *since -= LONE_FOR;
        }
        assert_eq!(outcome(&root.find("/app.js", ["br"])), "4 br");
    }

    #[test]
    fn siblings_are_chosen_when_accepted_and_fresh() {
        let site = TempDir::new();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let new = old + Duration::from_secs(1);
        site.write_at("app.js", &[b'x'; 50], old);
        site.write_at("app.js.zst", &[b'x'; 10], old);
        site.write_at("app.js.br", &[b'x'; 20], new);
        site.write_at("app.js.gz", &[b'x'; 30], new);
        site.write_at("stale.css", &[b'x'; 50], new);
        site.write_at("stale.css.gz", &[b'x'; 30], old);
        site.write_at("photo.png", &[b'x'; 50], old);
        site.write_at("photo.png.gz", &[b'x'; 30], new);
        fs::create_dir(site.path("photo.png.br")).unwrap();
        let root = StaticRoot::open(&site.path(""), None).unwrap();
        for (name, path, accepts, want) in [
            ("none accepted", "/app.js", &[][..], "50"),
            ("the first accepted", "/app.js", &["br", "gzip", "zstd"], "20 br"),
            ("another order", "/app.js", &["zstd", "br"], "10 zstd"),
            ("capitals", "/app.js", &["GZIP"], "30 gzip"),
            ("unknown ones are skipped", "/app.js", &["identity", "compress", "dcb", "x", "gzip"], "30 gzip"),
            ("stale", "/stale.css", &["gzip"], "50"),
            ("images have none", "/photo.png", &["gzip", "br"], "50"),
            ("a sibling by its own name", "/app.js.br", &["br"], "20"),
        ] {
            assert_eq!(outcome(&root.find(path, accepts.iter().copied())), want, "{name}");
        }
    }

    #[test]
    fn a_deploy_is_seen_by_the_next_lookup() {
        let site = TempDir::new();
        site.write("v1/index.html", b"1");
        site.write("v2/index.html", b"22");
        symlink("v1", site.path("current")).unwrap();
        let root = StaticRoot::open(&site.path("current"), None).unwrap();
        assert_eq!(outcome(&root.find("/", [])), "1");
        symlink("v2", site.path("next")).unwrap();
        fs::rename(site.path("next"), site.path("current")).unwrap();
        assert_eq!(outcome(&root.find("/", [])), "2");
        fs::remove_file(site.path("current")).unwrap();
        assert!(matches!(root.find("/", []), Lookup::Failed(_)));
    }

    #[test]
    fn a_root_or_fallback_that_cannot_be_used_is_an_error() {
        let site = TempDir::new();
        site.write("file", b"x");
        assert!(matches!(StaticRoot::open(&site.path("absent"), None), Err(OpenRootError::Open { .. })));
        assert!(matches!(StaticRoot::open(&site.path("file"), None), Err(OpenRootError::Open { .. })));
        for fallback in ["", "/index.html", "../x", "a/%2e%2e/x", ".env", "docs/", "a\\b"] {
            let opened = StaticRoot::open(&site.path(""), Some(fallback));
            assert!(matches!(opened, Err(OpenRootError::Fallback { .. })), "{fallback}");
        }
        assert!(StaticRoot::open(&site.path(""), Some("spa/not-yet-there.html")).is_ok());
    }
}
