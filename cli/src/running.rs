// SPDX-License-Identifier: Apache-2.0
//! A node in this process: start it, obey signals, drain it. Shared by `serve` and `up`.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use rustls::sign::CertifiedKey;
use sunbeam_config::{ConfigFiles, Loaded};
use sunbeam_proxy::{Config, Node, NodeOptions, OnChange, StartError};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::exit::{CliError, ExitCode};
use crate::http1;

/// What a hang-up (SIGHUP) asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HangUp {
    /// Read the files again: what operators expect of a server.
    Reload,
    /// Stop: the terminal was closed.
    Stop,
}

/// The signals that this process listens to, from its construction on.
#[derive(Debug)]
pub(crate) struct Signals {
    runtime: Runtime,
    hang_up: Signal,
    terminate: Signal,
    interrupt: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    HangUp,
    Stop,
}

impl Signals {
    /// Listens from now on: a signal that comes while the node starts is not lost.
    pub(crate) fn new() -> Result<Self, CliError> {
        let failed = |error| CliError::failed(format!("failed to listen to signals: {error}"));
        let runtime = http1::runtime().map_err(failed)?;
        let (hang_up, terminate, interrupt) = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).map_err(failed);
            (
                listen(SignalKind::hangup())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::interrupt())?,
            )
        };
        Ok(Self { runtime, hang_up, terminate, interrupt })
    }

    fn next(&mut self) -> Asked {
        let Self { runtime, hang_up, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = hang_up.recv() => Asked::HangUp,
                _ = terminate.recv() => Asked::Stop,
                _ = interrupt.recv() => Asked::Stop,
            }
        })
    }

    /// Waits for `done`, or for another signal to stop; whether it was done.
    fn done_or_stop(&mut self, done: oneshot::Receiver<()>) -> bool {
        let Self { runtime, terminate, interrupt, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = done => true,
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
            }
        })
    }
}

/// Starts a node with a thread for each processor.
///
/// # Errors
/// Exit code 4 when a permission is missing, 1 for everything else.
pub(crate) fn start(
    files: Option<ConfigFiles>,
    loaded: Loaded<Config>,
    on_change: OnChange,
) -> Result<Node, CliError> {
    try_start(files, loaded, None, Some(on_change)).map_err(|error| CliError::from_start(&error))
}

/// As [`start`], for a caller that knows what to do about an error.
pub(crate) fn try_start(
    files: Option<ConfigFiles>,
    loaded: Loaded<Config>,
    certificate: Option<Arc<CertifiedKey>>,
    on_change: Option<OnChange>,
) -> Result<Node, StartError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    Node::start(NodeOptions { files, loaded, threads, certificate, on_change })
}

/// Runs until a signal asks to stop, then drains: requests in flight finish, within
/// `limits.drain_secs`. A second signal ends at once.
pub(crate) fn until_stopped(node: Node, mut signals: Signals, hang_up: HangUp) -> Result<ExitCode, CliError> {
    while signals.next() == Asked::HangUp && hang_up == HangUp::Reload {
        // The node logs what came of it, and keeps what it has when the new configuration is refused.
        drop(node.reload());
    }
    tracing::info!("stopping: a second signal does not wait for open requests");
    let (tell, done) = oneshot::channel();
    thread::Builder::new()
        .name("drain".to_owned())
        .spawn(move || {
            node.drain();
            if tell.send(()).is_err() {
                tracing::debug!("a second signal came before the drain was over");
            }
        })
        .map_err(|error| CliError::failed(format!("failed to start the drain: {error}")))?;
    if signals.done_or_stop(done) {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped before all requests were finished");
    }
    Ok(ExitCode::Done)
}
