// SPDX-License-Identifier: Apache-2.0
//! A disk that is full: what does not fit is lost and said, what was there stays whole, and it goes on.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};
use sunbeam_decisions::{AppendError, Class, QueueBounds, Recorder};

use crate::store::{append, entry, numbers, open};
use crate::testing::TestFolder;

const FOLDER: &str = "SUNBEAM_TEST_FULL";

/// Blocks of 512 bytes that a file may have: more than a short entry, less than a long one.
const BLOCKS: &str = "64";
const LONG: usize = 40_000;

#[test]
fn what_does_not_fit_on_the_disk_is_lost_alone() {
    let folder = TestFolder::new();
    // A shell can have the signal ignored that comes with this error, and hands that on.
    let output = Command::new("/bin/sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -S -f "$1"; shift; exec "$@""#, "sh", BLOCKS])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full_disk::writes_until_full", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(numbers(folder.path()), [1, 3, 4, 5, 6, 8]);
    let (_writer, repaired) = open(folder.path());
    assert!(repaired.is_nothing(), "{repaired:?}");
}

#[test]
#[ignore = "the process that `what_does_not_fit_on_the_disk_is_lost_alone` bounds"]
fn writes_until_full() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (mut writer, _) = open(&folder);
    append(&mut writer, &[entry(Class::Content, 1, 10)]);
    for _ in 0..3 {
        let appended = writer.append(&[entry(Class::Content, 2, LONG)]);
        assert_eq!((appended.written, appended.failed), (0, 1));
        assert!(matches!(appended.error, Some(AppendError::Disk { .. })), "{:?}", appended.error);
    }
    append(&mut writer, &[entry(Class::Content, 3, 10)]);
    // The other rings do not care, whatever the batch.
    let appended = writer.append(&[
        entry(Class::Limits, 4, 10),
        entry(Class::Content, 2, LONG),
        entry(Class::Passes, 5, 10),
    ]);
    assert_eq!((appended.written, appended.failed), (2, 1));

    let bounds = QueueBounds { entries: 10, bytes: 1000 };
    let bytes_of = |number: u64| if number.is_multiple_of(2) && number < 8 { 10 } else { LONG };
    let recorder =
        Recorder::start(writer, bounds, move |number| Some(entry(Class::Content, number, bytes_of(number))))
            .unwrap();
    let wait_for = |written, failed| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while (recorder.counts().written, recorder.counts().failed) != (written, failed) {
            assert!(std::time::Instant::now() < deadline, "{:?}", recorder.counts());
            std::thread::yield_now();
        }
    };
    assert!(recorder.try_send(6, 1));
    wait_for(1, 0);
    assert!(recorder.try_send(7, 1));
    wait_for(1, 1);
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = limit.maximum;
    setrlimit(Resource::Fsize, limit).unwrap();
    assert!(recorder.try_send(8, 1));
    recorder.close();
    assert_eq!((recorder.counts().written, recorder.counts().failed), (2, 1));
}
