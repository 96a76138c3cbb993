// SPDX-License-Identifier: Apache-2.0
//! CPU time of a process, as the kernel accounts for it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What a process and each of its threads have used so far.
#[derive(Debug)]
pub(super) struct CpuTime {
    /// Nanoseconds on a processor by thread: exact, but gone with the thread.
    threads: BTreeMap<u32, u64>,
    /// Ticks of the whole process, ended threads included: coarse.
    ticks: u64,
}

impl CpuTime {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
            let entry = entry?;
            let thread = entry.file_name().to_string_lossy().parse()?;
            // A thread may end between the listing and here.
            let Ok(schedstat) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let on_cpu = schedstat.split_whitespace().next().context("schedstat is empty")?;
            threads.insert(thread, on_cpu.parse()?);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Self { threads, ticks: ticks(&stat).context("/proc/PID/stat")? })
    }

    /// What was used since `before`.
    ///
    /// # Errors
    /// When threads that ended in between took a noticeable part with them.
    pub(super) fn since(&self, before: &Self) -> Result<Duration> {
        let used = self.threads.iter().map(|(thread, now)| {
            let then = before.threads.get(thread).copied().unwrap_or_default();
            now.saturating_sub(then)
        });
        let exact = Duration::from_nanos(used.sum());
        let coarse = Duration::from_secs(self.ticks - before.ticks) / TICKS_PER_SEC;
        if coarse > exact + exact / 20 + Duration::from_millis(50) {
            bail!("the threads used {exact:?}, the process {coarse:?}: threads ended in between");
        }
        Ok(exact)
    }
}

/// `utime` + `stime`: fields 14 and 15; the second field, a name in parentheses, may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// `USER_HZ`, the same on every Linux.
const TICKS_PER_SEC: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 99 0 0";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn the_work_of_another_thread_is_accounted() {
        let before = CpuTime::of(std::process::id()).unwrap();
        let (worked, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let on_cpu = || fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            while on_cpu().split(' ').next().unwrap().parse::<u64>().unwrap() < 30_000_000 {}
            worked.send(()).unwrap();
            ended.recv().unwrap_err();
        });
        wait.recv().unwrap();
        let used = CpuTime::of(std::process::id()).unwrap().since(&before).unwrap();
        assert!(used >= Duration::from_millis(30), "{used:?}");
        drop(end);
        other.join().unwrap();
    }
}
