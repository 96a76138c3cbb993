// SPDX-License-Identifier: Apache-2.0
//! Programs of others, held to a time and a number of requests.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::node::Read;
use super::{REQUESTS_MAX, Scene};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs a tool to its end, or to the bound that it meets first. How it ends says nothing: scanners end with
/// an error when they found nothing.
pub(super) fn run(scene: &Scene<'_>, words: &[&str], most: Duration) -> Result<()> {
    let (program, arguments) = words.split_first().context("a program")?;
    let output = File::create(scene.work.join("tool.log"))?;
    let mut child = Command::new(filled(scene, program))
        .args(arguments.iter().map(|word| filled(scene, word)))
        // What they keep between runs would change the next one.
        .env("HOME", home(scene.work)?)
        .env("LANG", "C.UTF-8")
        // wapiti would fetch lists and report to its makers: there is no way out.
        .env("https_proxy", "http://127.0.0.1:9")
        .env("no_proxy", "127.0.0.1")
        .current_dir(scene.work)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .with_context(|| format!("`{program}` does not start; `./dev setup bench` installs it"))?;
    let held = hold(scene, &mut child, most);
    end(&mut child);
    held
}

/// The end of what the tool printed.
pub(super) fn last_words(work: &Path) -> String {
    let text = fs::read(work.join("tool.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let skipped = text.chars().count().saturating_sub(2000);
    text.chars().skip(skipped).collect()
}

fn hold(scene: &Scene<'_>, child: &mut Child, most: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut read = Read::default();
    while child.try_wait()?.is_none() && begun.elapsed() < most && read.lines < REQUESTS_MAX {
        sleep(LOOK_EVERY);
        scene.node.count(&mut read)?;
    }
    Ok(())
}

/// Ends the tool and all that it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may be gone.
        kill_process_group(group, Signal::KILL).unwrap_or_default();
    }
    drop(child.wait());
}

fn home(work: &Path) -> Result<std::path::PathBuf> {
    let home = work.join("home");
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    Ok(home)
}

fn filled(scene: &Scene<'_>, word: &str) -> String {
    word.replace("@URL@", &scene.node.url())
        .replace("@HTTPS@", &scene.node.https_url())
        .replace("@WORK@", &scene.work.display().to_string())
        .replace("@ROOT@", &scene.root.display().to_string())
}
