// SPDX-License-Identifier: Apache-2.0
//! People, over restarts: the key of all hashes (or nobody would be known again), and who was seen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sunbeam_pipeline::{DOUBTERS, Decision, KeptPerson, Proof};
use sunbeam_tables::{HashKey, Moment};
use sunbeam_traffic::Layer;
use tracing::warn;

use super::housekeeping::keep_people;
use super::models::put;
use crate::core::Core;
use crate::state::StateError;
use crate::why::kept::Kept;
use crate::why::labels::Label;

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// Unix seconds.
    at: i64,
    people: Vec<KeptPerson>,
}

/// The key of a node's hashes: made at its first start, read by its owner alone. Those who were seen by another one cannot
/// be met again: without it they are put aside.
pub(crate) fn key(state_folder: &Path) -> Result<HashKey, StateError> {
    let path = state_folder.join("judging.key");
    match fs::read(&path) {
        // Whoever knows it could choose where in a table he falls, and no more: what is damaged is made anew.
        Ok(bytes) => match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => return Ok(HashKey::from_bytes(&bytes)),
            Err(_) => say_aside(&path, "the key of hashes is damaged: people are counted anew"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(StateError::Write { path, source }),
    }
    let people = place(state_folder);
    if people.is_file() {
        say_aside(&people, "the key of these people is lost: they are counted anew");
    }
    let key = HashKey::random();
    put(&path, &key.to_bytes())?;
    Ok(key)
}

/// Remembers who was seen before. What cannot be read is said and put aside: layers are proven anew.
pub(crate) fn restore(proof: &Proof, now: Moment, state_folder: &Path) {
    let path = place(state_folder);
    let read = fs::read_to_string(&path).and_then(|text| {
        serde_json::from_str(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    let Written { at, people } = match read {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        // A folder in its place is written over by nobody.
        Err(error) if path.is_dir() => {
            return warn!(path = %path.display(), %error, "layers are proven anew");
        }
        Err(error) => return say_aside(&path, format_args!("layers are proven anew: {error}")),
    };
    let passed = u64::try_from(Timestamp::now().as_second().saturating_sub(at)).unwrap_or(0);
    let people: Vec<KeptPerson> = people.into_iter().map(|person| person.older(passed)).collect();
    proof.restore(&people, now);
}

/// An operator says what a request was: whoever sent it counts as a person from now on, whom the layer hurt that stopped it
/// or would have; or no more. What is to be said of that.
pub(crate) fn label(core: &Core, kept: &Kept, label: Label) -> String {
    let Some(whom) = &kept.whom else {
        return "it is not known whose it was: it does not count for or against a layer".to_owned();
    };
    let proof = &core.shared.memory.proof;
    let told = match (label, doubter(kept)) {
        (Label::Human, Some(layer)) => {
            proof.say_human(whom, Some(layer), core.shared.now());
            format!("who sent it counts as a person whom `{layer}` hurt")
        }
        (Label::Human, None) => {
            proof.say_human(whom, None, core.shared.now());
            "who sent it counts as a person".to_owned()
        }
        (Label::Attack, _) => {
            proof.say_attacker(whom, core.shared.now());
            "who sent it counts as a person no more, unless the site knows them".to_owned()
        }
    };
    keep_people(core);
    told
}

/// The layer that stopped it, or would have, of those whose doubts people prove or disprove.
fn doubter(kept: &Kept) -> Option<Layer> {
    let is_pass = kept.record.decision == Decision::Passed.as_str();
    DOUBTERS.into_iter().find(|layer| !is_pass && layer.as_str() == kept.record.layer)
}

/// Writes down who was seen.
pub(crate) fn keep(proof: &Proof, now: Moment, state_folder: &Path) -> Result<(), StateError> {
    let people = proof.people(now);
    if people.is_empty() && !place(state_folder).exists() {
        return Ok(());
    }
    let written = Written { at: Timestamp::now().as_second(), people };
    let bytes = serde_json::to_vec(&written).map_err(|error| StateError::Database(error.to_string()))?;
    put(&place(state_folder), &bytes)
}

/// Puts a file aside that is of no use, and says so: it would be written over, and somebody may know how to mend it.
fn say_aside(path: &Path, why: impl std::fmt::Display) {
    match put_aside(path) {
        Ok(aside) => warn!(path = %path.display(), aside = %aside.display(), "{why}; the file is put aside"),
        Err(error) => warn!(path = %path.display(), %error, "{why}; the file cannot be put aside"),
    }
}

/// Under another name that nothing has yet; which.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    /// More are there only where nobody ever looks.
    const ASIDE_MAX: usize = 100;
    let name = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".damaged".to_owned() } else { format!(".damaged-{number}") });
        PathBuf::from(name)
    };
    let free = (1..=ASIDE_MAX).map(name).find(|aside| aside.symlink_metadata().is_err());
    let aside = free.ok_or_else(|| io::Error::other(format!("{ASIDE_MAX} are there already")))?;
    fs::rename(path, &aside).map(|()| aside)
}

fn place(state_folder: &Path) -> PathBuf {
    state_folder.join("people.json")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::{Value, json};

    use super::*;

    const FOLDER: &str = "SUNBEAM_TEST_FULL_PEOPLE";

    /// Blocks of 512 bytes that a file may have: room for a few people.
    const BLOCKS: &str = "32";

    fn crowd(people: u64) -> Proof {
        let person = |number: u64| {
            json!({
                "key": number, "ages": [10, 5], "doubted_age": null, "from": [number, number, 1], "known": true,
                "doubted": 0, "certain": 0,
            })
        };
        // Keys are hashes: the table finds their places by the upper bits.
        let of = |number: u64| person((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let people: Vec<KeptPerson> = serde_json::from_value(Value::from_iter((0..people).map(of))).unwrap();
        let proof = Proof::default();
        proof.restore(&people, Moment::from_secs(100));
        proof
    }

    fn kept(folder: &Path) -> usize {
        let proof = Proof::default();
        restore(&proof, Moment::from_secs(200), folder);
        proof.people(Moment::from_secs(200)).len()
    }

    #[test]
    fn on_a_full_disk_those_who_were_kept_before_stay_and_the_error_says_so() {
        let folder = std::env::temp_dir().join(format!("sunbeam-people-full-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // A shell can have the signal ignored that comes with this error, and hands that on.
        let output = Command::new("/bin/sh")
            .args(["-c", r#"trap "" XFSZ; ulimit -S -f "$1"; shift; exec "$@""#, "sh", BLOCKS])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "judging::people::tests::keeps_until_full", "--ignored", "--nocapture"])
            .env(FOLDER, &folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // The few of before; and whole again as soon as there is room.
        assert_eq!(kept(&folder), 20);
        keep(&crowd(2_000), Moment::from_secs(100), &folder).unwrap();
        assert_eq!(kept(&folder), 2_000);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    #[ignore = "the process that `on_a_full_disk_those_who_were_kept_before_stay_and_the_error_says_so` bounds"]
    fn keeps_until_full() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let now = Moment::from_secs(100);
        keep(&crowd(20), now, &folder).unwrap();
        for _ in 0..2 {
            let error = keep(&crowd(2_000), now, &folder).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(error.to_string().contains("people.json"), "{error}");
            assert!(format!("{error}{source}").contains("File too large"), "{error}: {source}");
            assert_eq!(kept(&folder), 20);
            assert!(!folder.join("people.new").exists(), "half of it helps nobody");
        }
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_put_aside() {
        let folder = std::env::temp_dir().join(format!("sunbeam-people-damaged-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        keep(&crowd(20), Moment::from_secs(100), &folder).unwrap();
        let whole = fs::read(place(&folder)).unwrap();
        let half = &whole[..whole.len() / 2];
        for (damaged, aside) in [
            (half, "people.json.damaged"),
            (b"\xff\xfe", "people.json.damaged-2"),
            (b"", "people.json.damaged-3"),
        ] {
            fs::write(place(&folder), damaged).unwrap();
            assert_eq!(kept(&folder), 0);
            // As at the end of the node.
            keep(&crowd(1), Moment::from_secs(100), &folder).unwrap();
            assert_eq!(fs::read(folder.join(aside)).unwrap(), damaged, "{aside}");
        }
        fs::write(place(&folder), &whole).unwrap();
        assert_eq!(kept(&folder), 20);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn with_the_key_go_those_whom_nobody_can_know_again() {
        let folder = std::env::temp_dir().join(format!("sunbeam-people-key-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let first = key(&folder).unwrap().to_bytes();
        keep(&crowd(20), Moment::from_secs(100), &folder).unwrap();
        assert_eq!((key(&folder).unwrap().to_bytes(), kept(&folder)), (first, 20), "a key that is whole");
        let people = fs::read(place(&folder)).unwrap();
        for (name, aside) in [("damaged", "people.json.damaged"), ("gone", "people.json.damaged-2")] {
            fs::write(place(&folder), &people).unwrap();
            match name {
                "gone" => fs::remove_file(folder.join("judging.key")).unwrap(),
                _ => fs::write(folder.join("judging.key"), &first[..31]).unwrap(),
            }
            assert_ne!(key(&folder).unwrap().to_bytes(), first, "{name}");
            assert_eq!(kept(&folder), 0, "{name}");
            assert_eq!(fs::read(folder.join(aside)).unwrap(), people, "{name}");
        }
        assert_eq!(fs::read(folder.join("judging.key.damaged")).unwrap(), &first[..31]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
