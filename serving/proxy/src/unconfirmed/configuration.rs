// SPDX-License-Identifier: Apache-2.0
//! Takes a configuration back that nobody confirmed in time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{error, warn};

use super::AGAIN_AFTER;
use crate::admin::cut;
use crate::core::{ChangeMode, Core, ReloadError};

impl Core {
    /// Goes back to the configuration before `generation` unless that is confirmed in time. What fails is said, and tried
    /// again: until then it waits on.
    pub(crate) fn take_back_after(self: &Arc<Self>, generation: u64, within: Duration) {
        let core = Arc::clone(self);
        self.runtime.spawn(async move {
            let (mut wait, mut failure) = (within, None);
            loop {
                tokio::time::sleep(wait).await;
                wait = AGAIN_AFTER;
                let core = Arc::clone(&core);
                let taken_back =
                    tokio::task::spawn_blocking(move || core.take_back_configuration(generation, failure));
                // A panic in there was logged by the hook.
                failure = match taken_back.await {
                    Ok(None) => break,
                    Ok(why) => why,
                    Err(_) => None,
                };
            }
        });
    }

    /// Why it failed; `None`: nothing is left to be done. `before` is why it failed last: what fails again and again is told
    /// once, or the trail would have nothing else in it.
    fn take_back_configuration(self: &Arc<Self>, generation: u64, before: Option<String>) -> Option<String> {
        let back_to = self.begin_take_back(generation)?;
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
        let failure = result.as_ref().err().filter(|_| status != 200).map(ToString::to_string);
        if let Some(error) = &failure {
            error!(generation, error, "an unconfirmed configuration could not be taken back");
            self.wait_on(generation);
        }
        if failure.is_none() || failure != before {
            self.trail(&json!({
                "who": "node",
                "from": "",
                "what": "unconfirmed configuration",
                "status": status,
                "said": cut(&said),
                "undo": result.as_ref().ok().and_then(|report| report.undo.clone()),
            }));
        }
        failure
    }
}
