// SPDX-License-Identifier: Apache-2.0
//! What is told of a model that is trained here, and writing it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sunbeam_ensemble::{Card, Detector, Model, ModelFile};

use crate::exit::CliError;
use crate::log_file::hex;
use crate::output::escape;
use crate::placed_file::{PlacedFile, refused};

/// A file that a model was made of.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Origin {
    /// Fit for a terminal.
    pub(in crate::commands) name: String,
    /// In hexadecimal; empty where it was read from a pipe.
    pub(in crate::commands) sha256: String,
}

/// A day as `2026-11-28`, in UTC: today, or that of `SOURCE_DATE_EPOCH`, so that a build can be repeated
/// (reproducible-builds.org).
pub(in crate::commands) fn today() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let at = given.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_else(Timestamp::now);
    at.strftime("%Y-%m-%d").to_string()
}

/// A card; `more` stands at its end.
pub(in crate::commands) fn card(
    detector: Detector,
    version: &str,
    seed: u64,
    origins: &[Origin],
    more: &[(&str, String)],
) -> Card {
    let data: Vec<String> =
        origins.iter().map(|origin| format!("{} {}", origin.name, origin.sha256).trim().to_owned()).collect();
    let pairs = [
        ("detector", detector.to_string()),
        ("version", version.to_owned()),
        ("trained_at", today()),
        ("seed", seed.to_string()),
        ("tool", concat!("sunbeam ", env!("CARGO_PKG_VERSION"), ", native trainer").to_owned()),
        ("data", short(data.join("; "))),
    ];
    let pairs = pairs.into_iter().chain(more.iter().map(|(name, value)| (*name, value.clone())));
    Card(pairs.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A card has 64 KiB: the names of a thousand logs would not fit.
fn short(mut text: String) -> String {
    const BYTES_MAX: usize = 16 * 1024;
    if text.len() > BYTES_MAX {
        text.truncate(text.floor_char_boundary(BYTES_MAX));
        text.push('…');
    }
    text
}

/// Files that were written: their names, and SHA-256 of what stands in them.
pub(in crate::commands) type Written = (PathBuf, String);

/// Writes a model's file.
///
/// # Errors
/// When the disk fails; then what stood there is as it was.
pub(in crate::commands) fn write_model(
    folder: &Path,
    model: &Model,
    card: &Card,
) -> Result<Written, CliError> {
    let name = format!("{}.model", model.detector());
    write(folder, &name, &ModelFile::bytes(model, card))
}

/// Writes a file whole, or not at all.
///
/// # Errors
/// When the disk fails; then what stood there is as it was.
pub(in crate::commands) fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<Written, CliError> {
    let path = folder.join(name);
    let mut file = PlacedFile::create(&path)?;
    file.write_all(bytes).map_err(|error| file.failed(&error))?;
    file.settle()?;
    Ok((path, hex(&Sha256::digest(bytes))))
}

/// The folder for what is made, made where there is none: before hours of training, not after.
///
/// # Errors
/// When it cannot be.
pub(in crate::commands) fn folder(path: &Path) -> Result<(), CliError> {
    fs::create_dir_all(path).map_err(|error| refused("make", path, &error))
}

/// A file that is read in another way, with its hash.
///
/// # Errors
/// When it cannot be read.
pub(in crate::commands) fn origin(path: &Path) -> Result<Origin, CliError> {
    let mut hash = Hashing(Sha256::new());
    let mut file = File::open(path).map_err(|error| refused("read", path, &error))?;
    io::copy(&mut file, &mut hash).map_err(|error| refused("read", path, &error))?;
    Ok(Origin { name: escape(&path.display().to_string()), sha256: hex(&hash.0.finalize()) })
}

/// Hashes what is written to it.
struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_names_its_data_and_stays_small() {
        let origin = |number: usize| Origin { name: format!("/logs/{number}.log"), sha256: "a".repeat(64) };
        let origins: Vec<Origin> = (0..1000).map(origin).collect();
        let card = card(Detector::Ddos, "2", 7, &origins, &[("scores", "good".to_owned())]);
        assert_eq!((card.get("version"), card.get("seed"), card.get("scores")), ("2", "7", "good"));
        assert!(card.get("data").starts_with("/logs/0.log aaaa") && card.get("data").len() < 17_000);
        assert_eq!(card.get("trained_at").len(), 10);
    }
}
