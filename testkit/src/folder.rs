// SPDX-License-Identifier: Apache-2.0
//! A temporary folder of one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gone when dropped.
#[derive(Debug)]
pub struct TestFolder(PathBuf);

impl TestFolder {
    /// A new, empty folder.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sunbeam-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("make a temporary folder");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file inside it, with its folders.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("make a folder for a test file");
        }
        fs::write(&path, bytes).expect("write a test file");
        path
    }
}

impl Default for TestFolder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        // A leftover in the temporary folder harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}
