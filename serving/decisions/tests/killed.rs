// SPDX-License-Identifier: Apache-2.0
//! A process that is killed in mid-write loses nothing that `append` returned for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sunbeam_decisions::Class;

use crate::store::{append, entry, numbers, open};
use crate::testing::TestFolder;

const FOLDER: &str = "SUNBEAM_TEST_KILLED";

/// How long the texts are: some as long as they may be, so that a write takes a while to be killed in.
fn text_bytes(number: u64) -> usize {
    if number.is_multiple_of(7) { 10 } else { 60_000 }
}

#[test]
fn what_append_returned_for_survives_a_kill() {
    let folder = TestFolder::new();
    let mut next = 0;
    for round in 0..15_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::appends_until_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        for line in lines {
            let line = line.unwrap();
            said.extend(line.strip_prefix("kept up to ").and_then(|number| number.parse::<u64>().ok()));
            if said.len() as u64 == 1 + round % 4 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it was killed");
        let kept = *said.last().expect("it said something");
        let found = numbers(folder.path());
        assert!(found.len() as u64 > kept, "round {round}: {kept} were kept, {} are there", found.len());
        assert!(found.iter().copied().eq(0..found.len() as u64), "round {round}: one is missing");
        let (writer, repaired) = open(folder.path());
        assert_eq!((repaired.records_lost, repaired.segments_left), (0, 0), "round {round}");
        drop(writer);
        // Whole records that nobody was told of may have come to light.
        assert!(numbers(folder.path()).starts_with(&found), "round {round}");
        assert!(kept >= next, "round {round}: it went on");
        next = numbers(folder.path()).len() as u64;
    }
}

#[test]
#[ignore = "the process that `what_append_returned_for_survives_a_kill` kills"]
fn appends_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut next = numbers(&folder).len() as u64;
    let (mut writer, _) = open(&folder);
    loop {
        let batch = 1 + next % 20;
        let entries: Vec<_> =
            (next..next + batch).map(|number| entry(Class::Content, number, text_bytes(number))).collect();
        append(&mut writer, &entries);
        next += batch;
        let mut out = std::io::stdout().lock();
        writeln!(out, "kept up to {}", next - 1).unwrap();
        out.flush().unwrap();
    }
}
