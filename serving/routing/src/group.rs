// SPDX-License-Identifier: Apache-2.0
//! The backends of a `backend` key, compiled: who, how they are chosen, when one is left out.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Balance, HealthSection, Http2Mode};
use crate::url::BackendUrl;

/// One or several backends that do the same.
#[derive(Debug)]
pub struct Group {
    /// Its place in [`crate::Table::groups`].
    pub index: usize,
    /// What people call it: the route's name, and the prefix behind it.
    pub name: String,
    /// The key that names it: `routes[0].backend`.
    pub key: String,
    /// In the order of the file; at least one.
    pub members: Vec<Member>,
    /// How one is chosen.
    pub balance: Balance,
    /// When one is left out.
    pub health: Health,
}

/// A backend of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// How it is spoken to.
    pub backend: Arc<Backend>,
    /// 1 to 1000.
    pub weight: u32,
}

/// A backend and how it is spoken to. Equal backends share their connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where.
    pub url: BackendUrl,
    /// Which HTTP.
    pub http2: Http2Mode,
    /// PEM file of roots; empty for the system's.
    pub ca_path: String,
    /// Verify its certificate.
    pub verify: bool,
}

/// Of the address alone: it is hashed twice a request, and two backends at one address are rare.
impl Hash for Backend {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.host.hash(state);
        self.url.port.hash(state);
    }
}

/// When a backend is left out, and when it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Health {
    /// The active check, if there is one.
    pub check: Option<Check>,
    /// Failures in a row, of checks or of requests, after which a backend is left out.
    pub unhealthy_after: u32,
}

/// An active check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What is asked, with its query.
    pub path: String,
    /// The Host that is sent; `None`: the backend's own.
    pub host: Option<String>,
    /// Between two checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Good checks in a row after which a backend is back.
    pub healthy_after: u32,
}

impl Health {
    pub(crate) fn new(section: &HealthSection, host: Option<String>) -> Self {
        let check = (!section.path.is_empty()).then(|| Check {
            path: section.path.clone(),
            host,
            interval: Duration::from_secs(section.interval_secs),
            timeout: Duration::from_secs(section.timeout_secs),
            healthy_after: section.healthy_after,
        });
        Self { check, unhealthy_after: section.unhealthy_after }
    }
}
