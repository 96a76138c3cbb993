// SPDX-License-Identifier: Apache-2.0
//! The machine: clock, kernel, file limit, disk.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{Access, access, statvfs};

use super::{Finding, Patient, existing};
use crate::output::escape_lines;

/// 2026-01-01: no clock that is right is before this version was written.
const EARLIEST: i64 = 1_767_225_600;
/// 2100-01-01
const LATEST: i64 = 4_102_444_800;

/// Whether the time can be right.
pub(super) fn clock() -> Vec<Finding> {
    let now = Timestamp::now();
    if !(EARLIEST..LATEST).contains(&now.as_second()) {
        let text = format!("the clock says {now:.0}: certificates and expiries will be judged wrongly");
        return vec![Finding::failed("clock", text, "`timedatectl set-ntp true`, or set it by hand")];
    }
    vec![
        Finding::ok("clock", format!("{now:.0} is plausible")),
        Finding::not_checked("time service", "whether the clock is kept right: `timedatectl` tells"),
    ]
}

/// Which kernel runs.
pub(super) fn kernel() -> Vec<Finding> {
    let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") else {
        return vec![Finding::not_checked(
            "kernel",
            format!("{} does not tell it in /proc", std::env::consts::OS),
        )];
    };
    let release = release.trim();
    vec![if version(release) < Some((4, 5)) {
        Finding::warning(
            "kernel",
            format!("Linux {release} is older than 4.5"),
            "update it: such kernels get no security fixes",
        )
    } else {
        Finding::ok("kernel", format!("Linux {release}"))
    }]
}

/// File descriptors: one for the client and one for the backend of each connection.
pub(super) fn file_limit(patient: &Patient) -> Vec<Finding> {
    let path = match &patient.node {
        Some(node) => format!("/proc/{}/limits", node.pid),
        None => "/proc/self/limits".to_owned(),
    };
    let limit = match fs::read_to_string(&path).map(|text| open_files(&text)) {
        Ok(Some(limit)) => limit,
        Ok(None) => return vec![Finding::not_checked("open files", format!("{path} does not tell"))],
        Err(error) => return vec![Finding::not_checked("open files", format!("{path}: {error}"))],
    };
    let connections = u64::try_from(patient.config.limits.max_connections).unwrap_or(u64::MAX);
    let needed = connections.saturating_mul(2);
    let whose = if patient.node.is_some() { "the node" } else { "this shell" };
    vec![if limit < needed {
        let text =
            format!("{whose} may open {limit} files; limits.max_connections = {connections} needs {needed}");
        let remedy = format!(
            "LimitNOFILE={needed} in the service's unit, or `ulimit -n {needed}`, or a lower limits.max_connections"
        );
        Finding::warning("open files", text, remedy)
    } else {
        Finding::ok("open files", format!("{whose} may open {limit}, {needed} are enough"))
    }]
}

/// Whether the state can be kept.
pub(super) fn state_directory(patient: &Patient) -> Vec<Finding> {
    let path = Path::new(&patient.config.state.path);
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    vec![writable("state", directory, "or set `state.path` to a place that it can write")]
}

/// Whether decisions are kept, or can be.
pub(super) fn decision_store(patient: &Patient) -> Vec<Finding> {
    let section = &patient.config.decisions;
    if section.max_bytes == 0 {
        return vec![Finding::ok("decisions", "are not to be kept (`decisions.max_bytes` is 0)")];
    }
    if let Some(error) = patient.node.as_ref().and_then(|node| node.decisions_error.as_ref()) {
        let text = format!("the node keeps none, `sunbeam why` knows nothing: {}", escape_lines(error));
        return vec![Finding::failed("decisions", text, "mend its folder, then restart the node")];
    }
    let beside_state = Path::new(&patient.config.state.path).with_file_name("decisions");
    let folder =
        if section.path.is_empty() { beside_state.as_path() } else { Path::new(section.path.as_str()) };
    if fs::symlink_metadata(folder).is_ok() && !folder.is_dir() {
        let text = format!("{} is no folder: none will be kept from the next start on", folder.display());
        return vec![Finding::failed("decisions", text, "move it away, or set `decisions.path`")];
    }
    vec![writable("decisions", folder, "or set `decisions.path` to a place that it can write")]
}

/// Whether the audit log can be written, and for how long.
pub(super) fn audit_disk(patient: &Patient) -> Vec<Finding> {
    let audit = &patient.config.audit;
    if !audit.enabled || audit.path.is_empty() {
        return vec![Finding::ok(
            "audit log",
            if audit.enabled { "goes to standard output" } else { "is off" },
        )];
    }
    let path = Path::new(&audit.path);
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut findings =
        vec![writable("audit log", directory, "or set `audit.path` to a place that it can write")];
    let files = u64::try_from(audit.keep_files).unwrap_or(u64::MAX).saturating_add(1);
    let needed = audit.rotate_bytes.saturating_mul(files);
    findings.push(match statvfs(existing(directory)) {
        Ok(disk) => space(disk.f_bavail.saturating_mul(disk.f_frsize), needed, directory),
        Err(error) => Finding::not_checked("disk", io::Error::from(error).to_string()),
    });
    findings
}

fn writable(check: &'static str, directory: &Path, otherwise: &str) -> Finding {
    let place = existing(directory);
    match access(place, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) if place == directory => Finding::ok(check, format!("{} can be written", directory.display())),
        Ok(()) => Finding::ok(check, format!("{} can be made", directory.display())),
        // The service's user may be allowed to.
        Err(_) => Finding::warning(
            check,
            format!("this user cannot write {}", place.display()),
            format!("run as the service's user to know whether it can, {otherwise}"),
        ),
    }
}

fn space(free: u64, needed: u64, directory: &Path) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let text = format!(
        "{} MiB free in {}, the audit log may take {} MiB",
        free / MIB,
        directory.display(),
        needed / MIB
    );
    let remedy = "lower audit.rotate_bytes or audit.keep_files, or make room";
    match free {
        free if free < 64 * MIB => Finding::failed("disk", text, remedy),
        free if free < needed => Finding::warning("disk", text, remedy),
        _ => Finding::ok("disk", text),
    }
}

/// The soft limit in a `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Outcome;

    #[test]
    fn what_the_system_tells_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(open_files(""), None);
        assert_eq!(version("6.12.3-amd64"), Some((6, 12)));
        assert_eq!(version("x"), None);
    }

    #[test]
    fn space_is_judged_by_what_the_log_may_take() {
        for (free, needed, want) in
            [(1, 1, Outcome::Failed), (1 << 30, 1 << 31, Outcome::Warning), (1 << 32, 1 << 31, Outcome::Ok)]
        {
            assert_eq!(space(free, needed, Path::new("/x")).outcome, want, "{free}");
        }
    }
}
