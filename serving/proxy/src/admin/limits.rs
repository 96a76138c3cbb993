// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/limits`: what has a bound, and how near it is.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use sunbeam_decisions::Class;
use sunbeam_pipeline::EXCEPTIONS_MAX;

use super::console::sessions::SESSIONS_MAX;
use crate::core::Core;
use crate::judging::added_rules::FILES_MAX;
use crate::judging::switches::SWITCHES_MAX;
use crate::why::store;

/// Files of the decision store that are looked at: it has fewer.
const FILES_LOOKED_AT: usize = 1_024;

/// Each with the key that sets it, where there is one. Counts what is there, and asks the system for what it knows.
pub(super) fn limits(core: &Core) -> Value {
    let snapshot = core.shared.snapshot();
    let (limits, decisions) = (&snapshot.config.limits, &snapshot.config.decisions);
    let mut all = vec![
        one("connections", "limits.max_connections", core.shared.guard.active(), limits.max_connections),
        one("exceptions", "", snapshot.exceptions.added().iter().len(), EXCEPTIONS_MAX),
        one("added rules", "", snapshot.added_rules.iter().count(), FILES_MAX),
        one("switched layers", "", core.shared.additions().switches.all().len(), SWITCHES_MAX),
        one("console sessions", "", core.sessions.count(Instant::now()), SESSIONS_MAX),
    ];
    if decisions.max_bytes > 0 {
        let used = bytes_of(&store::folder(&snapshot.config));
        all.push(one("decisions kept, bytes", "decisions.max_bytes", used, decisions.max_bytes));
    }
    if let (Some(most), Ok(open)) = (getrlimit(Resource::Nofile).current, fs::read_dir("/proc/self/fd")) {
        all.push(one("open files", "", open.count(), most));
    }
    Value::from(all)
}

fn one(name: &str, key: &str, used: impl Into<Value>, max: impl Into<Value>) -> Value {
    json!({"name": name, "key": Some(key).filter(|key| !key.is_empty()), "used": used.into(), "max": max.into()})
}

/// What cannot be read is not counted: it is told as less, and the log has why it cannot be written.
fn bytes_of(folder: &Path) -> u64 {
    let rings = Class::ALL.into_iter().filter_map(|class| fs::read_dir(folder.join(class.name())).ok());
    let files = rings.flatten().flatten().take(FILES_LOOKED_AT);
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}
