// SPDX-License-Identifier: Apache-2.0
//! A thread that serves: its own runtime, its own sockets, its own backend connections.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use sunbeam_listeners::{ListenerChange, ListenerKey, ListenerSet, reset};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{interval, sleep};
use tracing::{error, warn};

use crate::connection;
use crate::offenders::Offenders;
use crate::service::Service;
use crate::share::Shares;
use crate::shared::Shared;
use crate::upstream::Pool;

/// Threads for look-ups of names and reads of files, beside the one that serves.
const BLOCKING_THREADS: usize = 32;

/// How often unused backend connections are dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Connections accepted before those that are there get their turn: in a flood they would pile up unserved.
const ACCEPTS_A_TURN: u32 = 16;

/// Wait after a refused accept: without descriptors it would be refused again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the node tells its workers.
pub(crate) enum Order {
    /// Change the listeners; answered when it is done.
    Listen(ListenerChange, oneshot::Sender<()>),
    /// Say that you are alive.
    Answer(oneshot::Sender<()>),
    /// Accept nothing more, finish what there is, and end.
    Finish,
}

/// A running worker.
pub(crate) struct Worker {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread. It serves nothing until it gets listeners.
    pub(crate) fn start(index: usize, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let runtime = Builder::new_current_thread();
        let thread = std::thread::Builder::new().name(format!("serve-{index}")).spawn(move || {
            let mut runtime = runtime;
            runtime.enable_all().max_blocking_threads(BLOCKING_THREADS);
            match runtime.build_local(LocalOptions::default()) {
                Ok(runtime) => runtime.block_on(run(index, shared, inbox)),
                Err(error) => error!(%error, "failed to start a serving thread"),
            }
        })?;
        Ok(Self { orders, thread })
    }
}

async fn run(index: usize, shared: Arc<Shared>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let service = Rc::new(Service {
        shared: Arc::clone(&shared),
        pool: Rc::new(Pool::new(index)),
        shares: Shares::new(Arc::clone(&shared.guard)),
        offenders: Offenders::new(),
        spare: Default::default(),
        scratch: RefCell::default(),
    });
    let mut listeners = ListenerSet::default();
    let mut sweep = interval(SWEEP_EVERY);
    let mut accepted_in_a_row = 0;
    loop {
        tokio::select! {
            accepted = listeners.accept() => match accepted {
                Ok((key, stream, peer)) => {
                    admit(&service, key, stream, peer);
                    accepted_in_a_row += 1;
                    if accepted_in_a_row >= ACCEPTS_A_TURN {
                        accepted_in_a_row = 0;
                        yield_now().await;
                    }
                }
                Err(error) => {
                    shared.listener_metrics.limit_hits("file_descriptors").inc();
                    warn!(%error, "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            order = inbox.recv() => match order {
                Some(Order::Listen(change, done)) => {
                    match listeners.apply(change) {
                        Ok(waiting) => {
                            for (key, stream, peer) in waiting {
                                admit(&service, key, stream, peer);
                            }
                        }
                        Err(error) => error!(%error, "failed to change the listeners"),
                    }
                    // Whoever asked may have stopped waiting.
                    let _unheard = done.send(());
                }
                // Whoever asked may have stopped waiting.
                Some(Order::Answer(alive)) => drop(alive.send(())),
                Some(Order::Finish) | None => break,
            },
            _ = sweep.tick() => {
                let snapshot = shared.snapshot();
                service.pool.sweep(|backend| snapshot.has_backend(backend));
            }
        }
    }
    // What waits in the sockets' queues was accepted by the kernel: it is served too.
    if let Ok(waiting) = listeners.apply(ListenerChange::default()) {
        for (key, stream, peer) in waiting {
            admit(&service, key, stream, peer);
        }
    }
    finish(&shared).await;
}

/// Gives the connection a task of its own, or resets it when a bound is reached.
fn admit(service: &Rc<Service>, key: ListenerKey, stream: std::net::TcpStream, peer: std::net::SocketAddr) {
    let shared = &service.shared;
    shared.listener_metrics.connections(key.scheme.as_str()).inc();
    let Some(permit) = shared.guard.admit(peer.ip()) else { return reset(&stream) };
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return warn!(%error, "failed to register a connection"),
    };
    let service = Rc::clone(service);
    spawn_local(async move {
        let shared = Arc::clone(&service.shared);
        let serving = connection::serve(service, stream, peer, key.scheme, permit);
        if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
            shared.metrics.panics().inc();
            error!("a connection made the program panic; this is a defect");
        }
    });
}

/// Waits for the connections, at most as long as draining may take.
async fn finish(shared: &Shared) {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let most = Duration::from_secs(shared.snapshot.load().config.limits.drain_secs);
    let drained = async {
        while shared.guard.active() > 0 {
            sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(most, drained).await.is_err() {
        warn!(connections = shared.guard.active(), "drain took too long: the rest is cut off");
    }
}
