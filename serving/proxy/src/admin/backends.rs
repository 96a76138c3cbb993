// SPDX-License-Identifier: Apache-2.0
//! `/api/v1/backends`: who is there, who is left out, and why.

use serde_json::{Value, json};

use crate::snapshot::Snapshot;
use crate::upstream::BackendGroup;

/// Every list of backends, in the order of the file.
pub(super) fn backends(snapshot: &Snapshot) -> Value {
    snapshot.groups().iter().map(group).collect()
}

/// For `status`: how many backends there are, and those that are left out.
pub(super) fn summary(snapshot: &Snapshot) -> Value {
    let states = || snapshot.backend_states();
    let mut out: Vec<_> = states().filter(|state| !state.is_in()).collect();
    out.sort_by_key(|state| state.backend.url.as_str());
    json!({
        "total": states().count(),
        "unhealthy": out.iter().map(|state| {
            let (standing, last_error) = state.standing();
            json!({"backend": state.backend.url.as_str(), "state": standing, "last_error": last_error.as_deref()})
        }).collect::<Vec<_>>(),
    })
}

fn group(group: &BackendGroup) -> Value {
    let members = group.seats.iter().map(|seat| {
        let (standing, last_error) = seat.state.standing();
        json!({
            "backend": seat.state.backend.url.as_str(),
            "weight": seat.weight,
            "state": standing,
            "in_flight": seat.state.counts.in_flight.get(),
            "last_error": last_error.as_deref(),
        })
    });
    json!({
        "name": group.config.name,
        "key": group.config.key,
        "balance": group.config.balance.to_string(),
        "check": group.config.health.check.as_ref().map(|check| check.path.as_str()),
        "members": members.collect::<Vec<_>>(),
    })
}
