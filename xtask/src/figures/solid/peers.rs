// SPDX-License-Identifier: Apache-2.0
//! What a request costs: Sunbeam beside nginx, HAProxy, Envoy and Caddy on the same job.

use std::path::Path;

use anyhow::Result;

use super::super::Recorder;

pub(super) fn measure(root: &Path, recorder: &mut Recorder) -> Result<()> {
    if recorder.wants("peers") {
        super::binary(root)?;
    }
    Ok(())
}
