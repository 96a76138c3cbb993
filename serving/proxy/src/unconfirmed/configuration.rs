// SPDX-License-Identifier: Apache-2.0
//! Takes a configuration back that nobody confirmed in time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{error, warn};

use super::AGAIN_AFTER;
use crate::core::{ChangeMode, Core, ReloadError};

impl Core {
    /// Goes back to the configuration before `generation` unless that is confirmed in time. What fails is said, and tried
    /// again: until then it waits on.
    pub(crate) fn take_back_after(self: &Arc<Self>, generation: u64, within: Duration) {
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            let mut wait = within;
            loop {
                tokio::time::sleep(wait).await;
                wait = AGAIN_AFTER;
                let core = Arc::clone(&core);
                let taken_back =
                    tokio::task::spawn_blocking(move || core.take_back_configuration(generation));
                // A panic in there was logged by the hook.
                if taken_back.await.unwrap_or(false) {
                    break;
                }
            }
        });
    }

    /// Whether nothing is left to be done.
    fn take_back_configuration(self: &Arc<Self>, generation: u64) -> bool {
        let Some(back_to) = self.begin_take_back(generation) else { return true };
        warn!(generation, "the change was not confirmed in time: taking it back");
        let mode = ChangeMode { only_after: Some(generation), ..ChangeMode::default() };
        let result = self.rollback(Some(back_to), mode);
        let (counted, status, said) = match &result {
            Ok(report) => ("taken_back", 200, format!("taken back, for nobody confirmed it: {report}")),
            Err(ReloadError::Superseded) => {
                ("superseded", 200, "it was changed again since, and stays so: the configuration".to_owned())
            }
            Err(error) => (
                "failed",
                500,
                format!("the configuration could not be taken back ({error}), and is tried again"),
            ),
        };
        self.shared.metrics.changes_confirmed(counted).inc();
        if let Err(error) = &result {
            error!(generation, %error, "an unconfirmed configuration could not be taken back");
        }
        self.trail(&json!({
            "who": "node",
            "from": "",
            "what": "unconfirmed configuration",
            "status": status,
            "said": said,
            "undo": result.as_ref().ok().and_then(|report| report.undo.clone()),
        }));
        let is_done = status == 200;
        if !is_done {
            self.wait_on(generation);
        }
        is_done
    }
}
