// SPDX-License-Identifier: Apache-2.0
//! What the node itself says of each request: its audit records, as they happen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cli::GlobalArgs;
use crate::client::Client;
use crate::exit::CliError;

/// How long a record may take after its answer.
const WAIT: Duration = Duration::from_secs(3);

/// Records that are remembered: of a busy site most are not ours, and those that are come within moments.
const RECORDS_MAX: usize = 50_000;

/// What a record says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) request_id: String,
    pub(super) client_ip: String,
    /// Who answered; nobody where the node did.
    pub(super) backend: String,
    /// What went wrong.
    pub(super) error: Option<String>,
    /// `pass`, `observe`, `challenge`, `block`; empty where it was not judged.
    pub(super) decision: String,
    pub(super) layer: String,
    pub(super) reason: String,
}

/// Watches a node.
pub(super) struct Witness(Arc<Mutex<HashMap<String, Record>>>);

impl Witness {
    /// Begins to watch; the node is found as for every command.
    ///
    /// # Errors
    /// When there is none, or it may not be asked.
    pub(super) fn start(global: &GlobalArgs) -> Result<Self, CliError> {
        let client = Client::connect(global)?;
        client.get("/api/v1/status")?;
        let records = Arc::new(Mutex::new(HashMap::new()));
        let kept = Arc::clone(&records);
        // It ends with the program; when the node goes away there is nothing more to see.
        thread::spawn(move || {
            drop(client.events("/api/v1/events", |name, data| {
                if let Some(record) = (name == "request").then(|| read(data)).flatten() {
                    let mut kept = locked(&kept);
                    if kept.len() >= RECORDS_MAX {
                        kept.clear();
                    }
                    kept.insert(record.request_id.clone(), record);
                }
                Ok(())
            }));
        });
        Ok(Self(records))
    }

    /// What it saw of this request; `None`: nothing, although it waited.
    pub(super) fn saw(&self, id: &str) -> Option<Record> {
        let until = Instant::now() + WAIT;
        loop {
            if let Some(record) = locked(&self.0).remove(id) {
                return Some(record);
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn locked(records: &Mutex<HashMap<String, Record>>) -> MutexGuard<'_, HashMap<String, Record>> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(data: &str) -> Option<Record> {
    serde_json::from_str(data).ok()
}
