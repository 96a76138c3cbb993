// SPDX-License-Identifier: Apache-2.0
//! A directory for one test, gone when the test is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sunbeam-static-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.0.clone() } else { self.0.join(relative) }
    }

    pub(crate) fn write(&self, relative: &str, content: &[u8]) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("/"))).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn write_at(&self, relative: &str, content: &[u8], modified: SystemTime) {
        self.write(relative, content);
        let file = fs::OpenOptions::new().write(true).open(self.path(relative)).unwrap();
        file.set_modified(modified).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A directory that a failing test made unreadable stays behind; that must not hide the failure.
        drop(fs::remove_dir_all(&self.0));
    }
}
