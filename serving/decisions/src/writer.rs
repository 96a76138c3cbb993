// SPDX-License-Identifier: Apache-2.0
//! Writes entries into the rings.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::class::Class;
use crate::repair::Repaired;
use crate::ring::Ring;
use crate::row::{Entry, TEXT_BYTES_MAX};

/// The smallest store: its smallest ring has three segments.
pub const BYTES_MIN: u64 = 8 << 20;

/// What a store may grow to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Bytes on disk of logs and indexes, [`BYTES_MIN`] at least: 30 % for [`Class::Limits`], 60 % for
    /// [`Class::Content`], 10 % for [`Class::Passes`]. While two processes write, each ring may be larger by a segment,
    /// a sixteenth of it.
    pub max_bytes: u64,
    /// How long an entry is kept, to a sixteenth of it more.
    pub max_age: Duration,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Too small.
    #[error("a decision store of {max_bytes} bytes is too small: at least {BYTES_MIN}")]
    TooSmall {
        /// What was asked for.
        max_bytes: u64,
    },
    /// The folder cannot be made or listed.
    #[error("failed to open the decision store in `{path}`")]
    Folder {
        /// The ring's folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What was not written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The disk.
    #[error("failed to write decisions to `{path}`")]
    Disk {
        /// The ring's folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The text.
    #[error("the text of a decision has {bytes} bytes, more than {TEXT_BYTES_MAX}")]
    TooLong {
        /// The text's length.
        bytes: usize,
    },
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Appended {
    /// Entries that are on their way to the disk: a kill no longer loses them, a power failure may until
    /// [`Writer::sync`].
    pub written: usize,
    /// Entries that are lost.
    pub failed: usize,
    /// Why the last of these was.
    pub error: Option<AppendError>,
}

/// The writing end of a store. Several processes may have one for the same folder: each writes segments of its own.
#[derive(Debug)]
pub struct Writer {
    rings: [(Class, Ring); 3],
}

impl Writer {
    /// Opens the store in `folder`, makes it where there is none (folders 0700, files 0600), and mends what nobody
    /// else holds: looks through the whole last segment of each ring, up to 64 MiB, and at the ends of the others.
    ///
    /// # Errors
    /// Bounds that cannot be kept, or folders that cannot be made or listed. Damaged files are no error.
    pub fn open(folder: &Path, bounds: Bounds) -> Result<(Self, Repaired), OpenError> {
        if bounds.max_bytes < BYTES_MIN {
            return Err(OpenError::TooSmall { max_bytes: bounds.max_bytes });
        }
        let mut repaired = Repaired::default();
        let mut ring = |class: Class| {
            let opened = Ring::open(folder, class, bounds, &mut repaired);
            let failed = |source| OpenError::Folder { path: folder.join(class.name()), source };
            opened.map(|ring| (class, ring)).map_err(failed)
        };
        let rings = [ring(Class::Limits)?, ring(Class::Content)?, ring(Class::Passes)?];
        Ok((Self { rings }, repaired))
    }

    /// Writes a batch: one write to the log and one to the index for each class that it has. What is counted as
    /// written is found from now on, and survives the death of this process.
    ///
    /// An error of one ring leaves the others alone, and the next batch tries again.
    pub fn append(&mut self, entries: &[Entry]) -> Appended {
        let mut appended = Appended::default();
        for (class, ring) in &mut self.rings {
            let of_class = entries.iter().filter(|entry| entry.class == *class);
            let (mut fitting, too_long): (Vec<&Entry>, Vec<&Entry>) =
                of_class.partition(|entry| entry.text.len() <= TEXT_BYTES_MAX);
            appended.failed += too_long.len();
            if let Some(entry) = too_long.last() {
                appended.error = Some(AppendError::TooLong { bytes: entry.text.len() });
            }
            match ring.append(&mut fitting) {
                Ok(()) => appended.written += fitting.len(),
                Err((written, source)) => {
                    appended.written += written;
                    appended.failed += fitting.len() - written;
                    appended.error = Some(AppendError::Disk { path: ring.folder.clone(), source });
                }
            }
        }
        appended
    }

    /// Removes what is older than the store may keep, as seen at `now_micros` of Unix time. Bytes are seen to by
    /// [`Writer::append`].
    ///
    /// # Errors
    /// A folder that cannot be listed, or files that cannot be removed: the other rings are pruned all the same.
    pub fn prune(&mut self, now_micros: u64) -> io::Result<()> {
        self.each(|ring| ring.prune(now_micros))
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// The disk's: what was written may be lost if the power fails now.
    pub fn sync(&mut self) -> io::Result<()> {
        self.each(Ring::sync)
    }

    fn each(&mut self, mut job: impl FnMut(&mut Ring) -> io::Result<()>) -> io::Result<()> {
        let results = self.rings.each_mut().map(|(_, ring)| job(ring));
        results.into_iter().collect()
    }
}
