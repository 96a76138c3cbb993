// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf install-crs`

mod place;
mod unpack;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use sunbeam_waf::compile::RuleSet;
use sunbeam_waf::rules::{RuleOptions, RuleSetKind, load};

use super::settings;
use crate::cli::GlobalArgs;
use crate::configuration::count;
use crate::exit::{CliError, ExitCode};
use crate::log_file::hex;
use crate::output::{Printer, escape, note};
use crate::placed_file::{refused, shown};
use place::{Place, Staging};

/// Install a release of the OWASP Core Rule Set from a file, checked before anything is unpacked
///
/// Take `coreruleset-VERSION-minimal.tar.gz` from the project's releases, and the SHA-256 from where you trust it. Its
/// rules, `crs-setup.conf.example` and licence are unpacked beside the folder, read as a node would read them, and only
/// then take its place. What was there is kept as `DIR.previous`; your `crs-setup.conf` and exclusion rules
/// (`rules/REQUEST-900-…`, `rules/RESPONSE-999-…`) are carried over. A node takes the new rules with `sunbeam reload`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InstallCrs {
    /// The release, a .tar.gz on this machine
    archive: PathBuf,
    /// What the archive must hash to, 64 hexadecimal digits
    #[arg(long, value_name = "HASH", value_parser = sha256)]
    sha256: [u8; 32],
    /// Where it goes [default: waf.crs_path]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Unpack its tests, too, for `sunbeam waf test`
    #[arg(long)]
    with_tests: bool,
    /// Check and read everything, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A release has some megabytes.
const ARCHIVE_BYTES_MAX: u64 = 64 << 20;

/// What came of it.
#[derive(Debug)]
struct Installed {
    place: PathBuf,
    version: String,
    rules: usize,
    files: usize,
    carried: Vec<String>,
    previous: Option<PathBuf>,
}

impl InstallCrs {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let to = self.to.clone().map_or_else(|| settings::crs_path(global), Ok)?;
        let place = Place::new(&to)?;
        let bytes = checked(&self.archive, self.sha256)?;
        let staging = Staging::create(&place)?;
        let files = unpack::unpack(&bytes, &self.archive, staging.path(), self.with_tests)?;
        let carried = staging.carry_over(&place)?;
        let rules = read(&staging, &place)?;
        let previous = if self.dry_run { None } else { staging.settle(&place)? };
        let installed = Installed {
            place: place.path().to_owned(),
            version: version(&rules),
            rules: rules.rules().len(),
            files,
            carried,
            previous,
        };
        print(global.printer(), &installed, self.dry_run)?;
        Ok(ExitCode::Done)
    }
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "expected 64 hexadecimal digits, as `sha256sum` prints them".to_owned();
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, place) in hash.iter_mut().zip((0..).step_by(2)) {
        let digits = text.get(place..place + 2).ok_or_else(wrong)?;
        // A sign is no digit.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

/// The archive, read once: what is hashed is what is unpacked.
fn checked(path: &Path, want: [u8; 32]) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(ARCHIVE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| refused("read", path, &error))?;
    if bytes.len() as u64 > ARCHIVE_BYTES_MAX {
        return Err(CliError::failed(format!("{} is larger than {ARCHIVE_BYTES_MAX} bytes", shown(path))));
    }
    let got = Sha256::digest(&bytes);
    if got.as_slice() != want.as_slice() {
        let message = format!("{} hashes to {}, not to {}", shown(path), hex(&got), hex(&want));
        return Err(CliError::failed(message)
            .hint("nothing was unpacked: it is another file, or somebody changed it on the way"));
    }
    Ok(bytes)
}

/// The rules as a node would read them from their place.
fn read(staging: &Staging, place: &Place) -> Result<RuleSet, CliError> {
    let ruleset = RuleSetKind::Crs(staging.path().to_owned());
    load(&RuleOptions { ruleset, ..RuleOptions::default() }).map_err(|errors| {
        let staged = staging.path().display().to_string();
        let there = place.path().display().to_string();
        for error in &errors {
            note(escape(&error.to_string().replace(&staged, &there)));
        }
        CliError::failed(format!("{} in the rules: nothing was installed", count(errors.len(), "problem")))
    })
}

/// As the rules say it.
fn version(rules: &RuleSet) -> String {
    let versions = rules.rules().iter().map(|rule| rule.version.as_str());
    let version = versions.filter(|version| !version.is_empty()).max_by_key(|version| version.len());
    version.map_or_else(|| "of no version".to_owned(), |version| version.replace("OWASP_CRS/", ""))
}

fn print(printer: Printer, installed: &Installed, dry_run: bool) -> Result<(), CliError> {
    let Installed { place, version, rules, files, carried, previous } = installed;
    let undo = previous.as_ref().map(|previous| {
        format!("mv {0} {0}.new && mv {1} {0} && sunbeam reload", quoted(place), quoted(previous))
    });
    if printer.is_json() {
        return printer.json(&json!({
            "path": place, "version": version, "rules": rules, "files": files, "carried_over": carried,
            "previous": previous, "undo": undo, "dry_run": dry_run,
        }));
    }
    let done = if dry_run { "would install" } else { "installed" };
    printer.line(format_args!(
        "{done} the Core Rule Set {}: {rules} rules, {files} files, in {}",
        escape(version),
        shown(place)
    ))?;
    if !carried.is_empty() {
        printer.line(format_args!("carried over: {}", escape(&carried.join(", "))))?;
    }
    if dry_run {
        return printer.line("nothing was changed");
    }
    if let (Some(previous), Some(undo)) = (previous, undo) {
        printer.line(format_args!("what was there is in {}; undo: {}", shown(previous), escape(&undo)))?;
    }
    printer.line("a node reads them with `waf.ruleset = \"crs\"`; `sunbeam reload` takes them into use")
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Makes a folder and its parents, which everybody may read: a node of another user does.
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    fs::DirBuilder::new().mode(0o755).create(path)?;
    // Whatever the umask says.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        let digits = "0123456789abcdef".repeat(4);
        assert_eq!(hex(&sha256(&digits).unwrap()), digits);
        assert_eq!(sha256(&digits.to_uppercase()), sha256(&digits));
        for wrong in
            ["", "00", &digits[1..], &format!("{digits}0"), &digits.replace("01", "+1"), &"é".repeat(32)]
        {
            assert!(sha256(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_quoted_for_a_shell() {
        for (path, want) in [("/usr/share/crs", "/usr/share/crs"), ("/a b/'c", r"'/a b/'\''c'")] {
            assert_eq!(quoted(Path::new(path)), want);
        }
    }
}
