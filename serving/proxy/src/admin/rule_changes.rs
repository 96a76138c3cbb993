// SPDX-License-Identifier: Apache-2.0
//! Rules of the WAF added and taken away over the API, while the node runs.

use serde::Deserialize;
use serde_json::{Value, json};

use super::lists::Refused;
use crate::core::Core;
use crate::judging::Additions;
use crate::judging::added_rules::{FILES_MAX, PREFIX, TEXT_MAX, check_name, forget, keep};
use crate::snapshot::Snapshot;

/// `POST /api/v1/rules`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesRequest {
    /// What they are known by from now on; those of this name are replaced.
    name: String,
    /// `SecLang`, as in a file.
    rules: String,
    /// Say what would be done, do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was added, and is still there.
pub(super) fn added(running: &Snapshot) -> Value {
    let rules: Vec<Value> = running
        .added_rules
        .iter()
        .map(|(name, text)| json!({"name": name, "ids": ids(running, name), "rules": text}))
        .collect();
    json!({"total": rules.len(), "is_asked": running.waf.is_some(), "rules": rules})
}

/// The numbers of its rules; none where no route asks rules.
fn ids(running: &Snapshot, name: &str) -> Vec<u64> {
    let file = format!("{PREFIX}{name}");
    let Some(in_use) = &running.waf else { return Vec::new() };
    in_use.set.rules().iter().filter(|rule| *rule.span.file == *file).map(|rule| rule.id).collect()
}

/// Rules are kept, and asked from the next request on.
pub(super) fn add(core: &Core, request: RulesRequest) -> Result<Value, Refused> {
    let RulesRequest { name, rules: text, dry_run } = request;
    check_name(&name).map_err(|bad| Refused::Wrong(bad.to_string()))?;
    if text.len() > TEXT_MAX {
        return Err(Refused::Wrong(format!("the rules have {} bytes; {TEXT_MAX} are the most", text.len())));
    }
    let mut replaced = None;
    let change = |running: &Snapshot, additions: &mut Additions| {
        if running.waf.is_none() {
            return Err(Refused::Conflict(
                "no route asks the WAF's rules: see `waf.enabled`, `waf.mode`".into(),
            ));
        }
        replaced = additions.rules.get(&name).map(str::to_owned);
        if replaced.is_none() && additions.rules.iter().len() >= FILES_MAX {
            return Err(Refused::Conflict(format!("{FILES_MAX} are added already: remove one first")));
        }
        additions.rules = additions.rules.with(&name, text.clone());
        Ok(())
    };
    core.change_additions(dry_run, change, || keep(core.state.folder(), &name, &text))?;
    let verb = match (dry_run, &replaced) {
        (true, None) => "would be added",
        (true, Some(_)) => "would be replaced",
        (false, None) => "added",
        (false, Some(_)) => "replaced",
    };
    Ok(json!({
        "success": true,
        "message": format!("rules `{name}` {verb}: they are asked from the next request on, also after a restart"),
        "ids": if dry_run { Vec::new() } else { ids(&core.shared.snapshot(), &name) },
        // Whoever replaces rules has to send the old ones again to undo it.
        "undo": replaced.is_none().then(|| format!("sunbeam waf remove {name}")),
        "replaced": replaced,
    }))
}

/// Rules are asked no more.
pub(super) fn remove(core: &Core, name: &str, dry_run: bool) -> Result<Value, Refused> {
    let mut removed = None;
    let change = |_: &Snapshot, additions: &mut Additions| {
        removed = additions.rules.get(name).map(str::to_owned);
        if removed.is_none() {
            return Err(Refused::Missing(format!("no rules `{}` were added", name.escape_debug())));
        }
        additions.rules = additions.rules.without(name);
        Ok(())
    };
    core.change_additions(dry_run, change, || forget(core.state.folder(), name))?;
    let verb = if dry_run { "would be" } else { "are" };
    Ok(json!({
        "success": true,
        "message": format!("rules `{name}` {verb} asked no more"),
        "ids": [],
        "undo": null,
        "replaced": removed,
    }))
}
