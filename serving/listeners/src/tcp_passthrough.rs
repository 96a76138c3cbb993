// SPDX-License-Identifier: Apache-2.0
//! `[ssh]`: bytes go through as they are, whatever they mean.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{Instrument as _, debug, info_span, warn};

use crate::guard::{ConnectionGuard, ConnectionPermit, reset};
use crate::metrics::ListenerMetrics;

/// A running passthrough. Dropping it stops accepting; what waited in the socket is still let through, and
/// connections go on.
#[derive(Debug)]
pub struct Passthrough {
    address: SocketAddr,
    target: Arc<ArcSwap<Target>>,
    /// Dropped: accept what waits, then nothing more.
    open: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Why the passthrough cannot start.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the passthrough: {0}")]
pub struct PassthroughError(#[from] io::Error);

#[derive(Clone)]
struct Gate {
    target: Arc<ArcSwap<Target>>,
    guard: Arc<ConnectionGuard>,
    metrics: ListenerMetrics,
}

/// Where connections go; a reload swaps it.
#[derive(Debug)]
struct Target {
    backend: String,
    connect_timeout: Duration,
}

impl Passthrough {
    /// Accepts on `listener`; [`Passthrough::route_to`] says where connections go. Must be called
    /// inside a runtime.
    ///
    /// A backend that cannot be reached within the connect timeout closes the client's connection, is
    /// logged and counted. An established connection has no deadline: an SSH session may rest for days.
    ///
    /// # Errors
    /// When the socket cannot be registered with the runtime.
    pub fn start(
        listener: std::net::TcpListener,
        guard: Arc<ConnectionGuard>,
        metrics: ListenerMetrics,
    ) -> Result<Self, PassthroughError> {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let nowhere = Target { backend: String::new(), connect_timeout: Duration::from_secs(1) };
        let target = Arc::new(ArcSwap::from_pointee(nowhere));
        let gate = Gate { target: Arc::clone(&target), guard, metrics };
        let (open, closed) = oneshot::channel();
        Ok(Self { address, target, open, task: tokio::spawn(accept(listener, gate, closed)) })
    }

    /// Stops accepting. Afterwards every connection that the kernel had accepted has its place in the guard.
    pub async fn finish(self) {
        drop(self.open);
        // A panic in there was logged by the hook.
        drop(self.task.await);
    }

    /// Sends new connections to `backend` (`name:port`, resolved for each connection).
    pub fn route_to(&self, backend: &str, connect_timeout: Duration) {
        self.target.store(Arc::new(Target { backend: backend.to_owned(), connect_timeout }));
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, gate: Gate, mut closed: oneshot::Receiver<()>) {
    /// Wait after a refused accept: without descriptors it would be refused again at once.
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut closed => break,
        };
        match accepted {
            Ok((client, peer)) => admit(client, peer, &gate),
            Err(error) => {
                gate.metrics.limit_hits("file_descriptors").inc();
                warn!(%error, "failed to accept a passthrough connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((client, peer)) = listener.accept() {
        if let Ok(()) = client.set_nonblocking(true)
            && let Ok(client) = TcpStream::from_std(client)
        {
            admit(client, peer, &gate);
        }
    }
}

/// Gives the connection its place and a task, or closes it when the node is full.
fn admit(client: TcpStream, peer: SocketAddr, gate: &Gate) {
    let Some(permit) = gate.guard.admit(peer.ip()) else {
        gate.metrics.passthrough("refused").inc();
        return reset(&client);
    };
    let span = info_span!("passthrough", %peer);
    tokio::spawn(connect(client, gate.clone(), permit).instrument(span));
}

async fn connect(mut client: TcpStream, gate: Gate, _permit: ConnectionPermit) {
    let target = gate.target.load_full();
    let backend = timeout(target.connect_timeout, TcpStream::connect(&*target.backend)).await;
    let mut backend = match backend.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(backend) => backend,
        Err(error) => {
            gate.metrics.passthrough("unreachable").inc();
            warn!(%error, backend = %target.backend, "passthrough backend unreachable");
            return;
        }
    };
    gate.metrics.passthrough("ok").inc();
    // Interactive sessions feel Nagle's algorithm; a socket that refuses the option still works.
    drop((client.set_nodelay(true), backend.set_nodelay(true)));
    match copy_bidirectional(&mut client, &mut backend).await {
        Ok((up, down)) => debug!(up, down, "passthrough closed"),
        Err(error) => debug!(%error, "passthrough broke off"),
    }
}
