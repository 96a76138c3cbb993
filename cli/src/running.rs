// SPDX-License-Identifier: Apache-2.0
//! A node in this process: start it, obey signals, drain it. Shared by `serve` and `up`.

use std::num::NonZero;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use sunbeam_config::{ConfigFiles, Loaded};
use sunbeam_proxy::{Config, Inherit, Node, NodeOptions, OnChange, StartError};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::exit::{CliError, ExitCode};
use crate::http1;
use crate::systemd::ServiceManager;

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
    upgrade: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    HangUp,
    Stop,
    /// Start a successor (SIGUSR2).
    Upgrade,
    /// The process of this number serves now.
    HandedOver(i32),
    /// The service manager wants a sign of life.
    Watchdog,
}

impl Signals {
    /// Listens from now on: a signal that comes while the node starts is not lost.
    pub(crate) fn new() -> Result<Self, CliError> {
        let failed = |error| CliError::failed(format!("failed to listen to signals: {error}"));
        let runtime = http1::runtime().map_err(failed)?;
        let (hang_up, terminate, interrupt, upgrade) = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).map_err(failed);
            (
                listen(SignalKind::hangup())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::interrupt())?,
                listen(SignalKind::user_defined2())?,
            )
        };
        Ok(Self { runtime, hang_up, terminate, interrupt, upgrade })
    }

    fn next(&mut self, successor: &mut watch::Receiver<Option<i32>>, pulse: &mut Pulse) -> Asked {
        let Self { runtime, hang_up, terminate, interrupt, upgrade } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = hang_up.recv() => Asked::HangUp,
                _ = terminate.recv() => Asked::Stop,
                _ = interrupt.recv() => Asked::Stop,
                _ = upgrade.recv() => Asked::Upgrade,
                pid = handed_over(successor) => Asked::HandedOver(pid),
                () = pulse.beat() => Asked::Watchdog,
            }
        })
    }

    /// Waits for `done`, or for another signal to stop; whether it was done.
    fn done_or_stop(
        &mut self,
        mut done: oneshot::Receiver<()>,
        manager: &ServiceManager,
        pulse: &mut Pulse,
    ) -> bool {
        let Self { runtime, terminate, interrupt, .. } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = &mut done => return true,
                    _ = terminate.recv() => return false,
                    _ = interrupt.recv() => return false,
                    () = pulse.beat() => manager.alive(),
                }
            }
        })
    }
}

async fn handed_over(successor: &mut watch::Receiver<Option<i32>>) -> i32 {
    if let Ok(pid) = successor.wait_for(Option::is_some).await
        && let Some(pid) = *pid
    {
        return pid;
    }
    // The node is gone: there is nothing to wait for.
    std::future::pending().await
}

/// When the service manager wants to hear something; never outside of one.
#[derive(Debug)]
struct Pulse(Option<Interval>);

impl Pulse {
    /// Must be called inside a runtime. Twice as often as it must be, as systemd recommends.
    fn new(watchdog: Option<Duration>) -> Self {
        Self(watchdog.map(|every| {
            let mut interval = interval((every / 2).max(Duration::from_millis(1)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    async fn beat(&mut self) {
        match &mut self.0 {
            Some(interval) => drop(interval.tick().await),
            None => std::future::pending().await,
        }
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
    inherit: Inherit,
) -> Result<Node, CliError> {
    let started = Node::start(NodeOptions {
        files,
        loaded,
        threads: threads(),
        certificate: None,
        on_change: Some(on_change),
        inherit,
        operator: crate::client::operator_here(),
    });
    started.map_err(|error| CliError::from_start(&error))
}

/// As [`start`] without files, for a caller that knows what to do about an error.
pub(crate) fn try_start(loaded: Loaded<Config>, certificate: Arc<CertifiedKey>) -> Result<Node, StartError> {
    Node::start(NodeOptions {
        files: None,
        loaded,
        threads: threads(),
        certificate: Some(certificate),
        on_change: None,
        inherit: Inherit::Nothing,
        operator: crate::client::operator_here(),
    })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs until a signal asks to stop or another process serves in this one's place, then drains: requests in
/// flight finish, within `limits.drain_secs`. A second signal ends at once. `successor` starts that process.
pub(crate) fn until_stopped(
    node: Node,
    mut signals: Signals,
    hang_up: HangUp,
    mut successor: Option<Command>,
) -> Result<ExitCode, CliError> {
    let manager = ServiceManager::from_env();
    let mut pulse = {
        let _inside = signals.runtime.enter();
        Pulse::new(manager.watchdog)
    };
    let mut handed_over = node.successor();
    manager.ready();
    loop {
        match signals.next(&mut handed_over, &mut pulse) {
            Asked::HangUp if hang_up == HangUp::Reload => {
                manager.reloading();
                // The node logs what came of it, and keeps what it has when the new configuration is refused.
                drop(node.reload());
                manager.ready();
            }
            Asked::HangUp | Asked::Stop => {
                tracing::info!("stopping: a second signal does not wait for open requests");
                manager.stopping();
                break;
            }
            Asked::Upgrade => start_successor(successor.as_mut()),
            Asked::HandedOver(pid) => {
                tracing::info!(pid, "another process serves now: finishing open requests");
                manager.main_process(pid);
                break;
            }
            Asked::Watchdog => tell_alive(&node, &signals.runtime, &manager),
        }
    }
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
    if signals.done_or_stop(done, &manager, &mut pulse) {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped before all requests were finished");
    }
    Ok(ExitCode::Done)
}

/// Only if the threads that serve answer: a process whose main thread alone lives is to be restarted.
fn tell_alive(node: &Node, runtime: &Runtime, manager: &ServiceManager) {
    let most = manager.watchdog.unwrap_or_default() / 4;
    if runtime.block_on(node.is_alive(most)) {
        manager.alive();
    } else {
        tracing::error!("a serving thread does not answer: the service manager is not told that it does");
    }
}

/// Starts the process that asks this one for its sockets.
fn start_successor(command: Option<&mut Command>) {
    let Some(command) = command else {
        tracing::warn!("this node has no configuration file to start another with");
        return;
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(%error, "failed to start a process to hand over to");
            return;
        }
    };
    tracing::info!(pid = child.id(), "started a process to hand over to");
    let waiting = thread::Builder::new().name("successor".to_owned()).spawn(move || {
        // Only one that fails ends before this process does; it has said why.
        if let Ok(status) = child.wait() {
            tracing::error!(%status, "the process that was to take over has ended; this one goes on");
        }
    });
    if let Err(error) = waiting {
        tracing::warn!(%error, "the new process is not watched");
    }
}
