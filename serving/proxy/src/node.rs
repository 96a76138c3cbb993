// SPDX-License-Identifier: Apache-2.0
//! A node: its threads, its configuration over time, its end.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::sign::CertifiedKey;
use sunbeam_config::{ConfigFiles, Loaded, Sources};
use sunbeam_listeners::{
    BindError, ConnectionGuard, ListenerMetrics, PassthroughError, Scheme, TlsStore, TlsStoreError,
};
use sunbeam_metrics::Registry;
use sunbeam_pipeline::DetectionMetrics;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::{error, info, warn};

use crate::admin::{CHANGES_MAX, Sessions, Traffic};
use crate::audit_log::{AuditLog, AuditLogError};
use crate::challenge::Challenges;
use crate::config::Config;
use crate::core::{ChangeMode, Changing, Core, ReloadError, ReloadReport};
use crate::hand_over::{Deadlines, Giving, HandOver, HandOverError, Inherited};
use crate::judging::{self, Questions};
use crate::judging::{AdditionError, Additions};
use crate::metrics::ProxyMetrics;
use crate::parts::Part;
use crate::shared::{AddressHash, Events, Shared};
use crate::snapshot::{CompileError, Judging, Snapshot};
use crate::state::{State, StateError, folder_of};
use crate::telemetry::{Telemetry, TelemetryError};
use crate::unconfirmed::Unconfirmed;
use crate::why::store::Decisions;
use crate::worker::{Order, Worker};

/// How often configuration and certificate files are looked at. Polling sees what notification misses:
/// the swapped symbolic links of Kubernetes, network file systems.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long a node that ends waits for changes that are being made: whoever stops it waits, too.
const CHANGES_FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What a node starts with.
#[derive(Debug)]
pub struct NodeOptions {
    /// The files that a reload reads again; `None`: there are none.
    pub files: Option<ConfigFiles>,
    /// The checked configuration.
    pub loaded: Loaded<Config>,
    /// Threads that serve.
    pub threads: usize,
    /// A certificate made in memory, for names that no other serves.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// Called with each configuration that comes into use after the first.
    pub on_change: Option<OnChange>,
    /// Sockets that are open already.
    pub inherit: Inherit,
    /// Where whoever starts the node works from.
    pub operator: Option<IpAddr>,
}

/// What a node starts with that was there before it.
#[derive(Debug, Default)]
pub enum Inherit {
    /// Everything is bound anew.
    #[default]
    Nothing,
    /// Listening sockets of a service manager. Each must be of a configured address.
    Activated(Vec<TcpListener>),
    /// A running node, which ends when this one serves.
    HandOver(HandOver),
}

/// What the program around the node does with a new configuration (its log level, say).
pub struct OnChange(pub Box<dyn Fn(&Config) + Send + Sync>);

impl fmt::Debug for OnChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnChange")
    }
}

/// Why a node does not start. Nothing of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsStoreError),
    /// Files changed since the check.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A model that was installed.
    #[error(transparent)]
    Addition(#[from] AdditionError),
    /// Traces.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The passthrough.
    #[error(transparent)]
    Passthrough(#[from] PassthroughError),
    /// A socket of the service manager.
    #[error(
        "the service manager passed a socket of {address}, which is none of the configured addresses; change `[listen]` or the socket unit"
    )]
    Unclaimed {
        /// Where it is bound.
        address: SocketAddr,
    },
    /// The running node was not taken over.
    #[error(transparent)]
    HandOver(#[from] HandOverError),
    /// Threads and runtimes.
    #[error("failed to start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A running node. Dropping it without [`Node::drain`] cuts its connections off.
pub struct Node {
    core: Arc<Core>,
    workers: Vec<Worker>,
    /// For the process that will take this node over.
    door: Option<Giving>,
    runtime: Option<Runtime>,
}

impl Node {
    /// Starts everything, or nothing.
    ///
    /// # Errors
    /// [`StartError`]: a configured part that cannot start stops the start.
    pub fn start(options: NodeOptions) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(8)
            .thread_name("control")
            .enable_all()
            .build()?;
        let NodeOptions { files, loaded, threads, certificate, on_change, inherit, operator } = options;
        let Loaded { config, sources, warnings } = loaded;
        for warning in &warnings {
            warn!("{warning}");
        }
        let (mut inherited, hand_over) = inherit.split()?;
        // A node that runs has the state until everything else is there.
        let state = if hand_over.is_none() { Some(State::open(&config.state.path)?) } else { None };
        let (shared, questions) = make_shared(config, sources, certificate, &runtime)?;
        let shared = Arc::new(shared);
        let workers: Vec<Worker> = (0..threads.max(1))
            .map(|index| Worker::start(index, Arc::clone(&shared)))
            .collect::<Result<_, _>>()?;
        let config = shared.snapshot().config.clone();
        let state = match (state, &hand_over) {
            (Some(state), _) => state,
            (None, hand_over) => {
                hand_over.as_ref().map_or(Ok(()), HandOver::take_state)?;
                State::open(&config.state.path)?
            }
        };
        let (token, token_path) = state.token(&config.management.token)?;
        shared.challenge.sign_with(&state.challenge_secret()?);
        let core = Arc::new(Core {
            orders: workers.iter().map(|worker| worker.orders.clone()).collect(),
            runtime: runtime.handle().clone(),
            changing: Mutex::new(Changing::default()),
            listing: Mutex::default(),
            unconfirmed: Unconfirmed::default(),
            shared,
            state,
            files,
            token: ArcSwap::from_pointee(token),
            token_path: ArcSwapOption::from_pointee(token_path),
            sessions: Sessions::default(),
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            traffic: Traffic::default(),
            on_change,
            successor: watch::Sender::new(None),
        });
        judging::restore(&core)?;
        if let Some(operator) = operator {
            core.exempt_operator(operator);
        }
        judging::start(&core, questions);
        let mut node = Self { core, workers, door: None, runtime: Some(runtime) };
        node.open(&config, &mut inherited, hand_over)?;
        node.core.shared.show_node(&config, None);
        node.core.shared.show_models();
        node.core.keep(&node.core.shared.snapshot().sources, "start");
        node.watch_files();
        Ok(node)
    }

    /// Takes sockets over or binds them, and accepts.
    fn open(
        &mut self,
        config: &Config,
        inherited: &mut Inherited,
        hand_over: Option<HandOver>,
    ) -> Result<(), StartError> {
        let core = Arc::clone(&self.core);
        let mut changing = core.changing();
        let parts = core.prepare(&changing.parts, config, inherited)?;
        let unclaimed = std::mem::take(inherited).rest();
        if let Some(hand_over) = &hand_over {
            for address in unclaimed {
                info!(%address, "no longer configured: the old process closes it");
            }
            hand_over.ready()?;
        } else if let Some(address) = unclaimed.first() {
            return Err(StartError::Unclaimed { address: *address });
        }
        core.install(&mut changing.parts, parts);
        core.follow_backends(&mut changing);
        drop(changing);
        if let Some(hand_over) = hand_over {
            hand_over.serving()?;
        }
        core.write_node_file(&core.changing());
        let _inside = core.runtime.enter();
        match Giving::open(core.state.folder(), &core, Deadlines::default()) {
            Ok(door) => self.door = Some(door),
            Err(error) => warn!(%error, "this node cannot be upgraded with `serve --upgrade`"),
        }
        Ok(())
    }

    /// Tells when another process serves in this one's place: its number. This node is to be drained then.
    pub fn successor(&self) -> watch::Receiver<Option<i32>> {
        self.core.successor.subscribe()
    }

    /// Whether every serving thread answers within `most`.
    pub async fn is_alive(&self, most: Duration) -> bool {
        let answers: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (alive, answer) = oneshot::channel();
                // A thread that is gone does not answer either.
                drop(worker.orders.send(Order::Answer(alive)));
                answer
            })
            .collect();
        let all = async {
            for answer in answers {
                if answer.await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(most, all).await.unwrap_or(false)
    }

    /// What it listens on, as bound.
    pub fn listeners(&self) -> Vec<(Scheme, SocketAddr)> {
        self.core.listeners()
    }

    /// The passthrough's address.
    pub fn passthrough_address(&self) -> Option<SocketAddr> {
        self.core.changing().parts.passthrough.as_ref().map(|part| part.server.address())
    }

    /// The management API's address.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.core.changing().parts.management_address()
    }

    /// The metrics' address.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.core.metrics_address()
    }

    /// The file with the API's token, if the node made one.
    pub fn token_path(&self) -> Option<PathBuf> {
        self.core.token_path.load_full().map(|path| PathBuf::clone(&path))
    }

    /// The metrics, for whoever runs the node in its own process.
    pub fn registry(&self) -> &Registry {
        &self.core.shared.registry
    }

    /// Reads the files again. Blocks while it does.
    ///
    /// # Errors
    /// [`ReloadError`]; the running configuration goes on.
    pub fn reload(&self) -> Result<ReloadReport, ReloadError> {
        self.core.reload(ChangeMode::default())
    }

    /// Takes nothing new, finishes what there is, at most `limits.drain_secs`. Blocks.
    pub fn drain(mut self) {
        let shared = Arc::clone(&self.core.shared);
        shared.draining.send_replace(true);
        info!(connections = shared.guard.active(), "draining");
        let has_successor = self.core.successor.borrow().is_some();
        if let Some(door) = self.door.take().filter(|_| !has_successor) {
            door.remove();
        }
        self.close_sockets(has_successor);
        for worker in &self.workers {
            // A worker whose thread is gone has nothing left to finish.
            drop(worker.orders.send(Order::Finish));
        }
        for worker in self.workers.drain(..) {
            if worker.thread.join().is_err() {
                error!("a serving thread had panicked");
            }
        }
        self.finish_changes();
        shared.telemetry.close();
        shared.audit.close();
        shared.decisions.close();
        if !has_successor {
            judging::flush(&self.core);
        }
        drop(std::mem::take(&mut self.core.changing().parts));
        // A node file without a node would send the command line to a closed door; a successor wrote its own.
        if !has_successor {
            drop(std::fs::remove_file(self.core.node_file()));
        }
    }

    /// What was asked of the management API is finished and in the audit trail, also where nobody waits for the answer; and
    /// nothing more begins.
    fn finish_changes(&self) {
        let all = u32::try_from(CHANGES_MAX).unwrap_or(u32::MAX);
        let finished =
            async { tokio::time::timeout(CHANGES_FINISH_WITHIN, self.core.changes.acquire_many(all)).await };
        if self.core.runtime.block_on(finished).is_err() {
            warn!("changes over the management API are not finished, and may be missing in the audit trail");
        }
        self.core.changes.close();
    }

    /// What accepts beside the serving threads: probes and the API answer for the node that drains, until
    /// there is another.
    fn close_sockets(&self, has_successor: bool) {
        let (passthrough, own) = {
            let mut changing = self.core.changing();
            changing.parts.drop_duplicates();
            let parts = &mut changing.parts;
            let own = has_successor.then(|| (parts.metrics.take(), parts.management.take()));
            (parts.passthrough.take(), own)
        };
        drop(own);
        if let Some(Part { socket, server, .. }) = passthrough {
            drop(socket);
            self.core.runtime.block_on(server.finish());
        }
    }

    fn watch_files(&self) {
        let core = Arc::clone(&self.core);
        let Some(runtime) = &self.runtime else { return };
        runtime.spawn(async move {
            // Nothing counts as read yet: a file may have changed between its reading and now.
            let (mut read, mut before) = (Vec::new(), Vec::new());
            let mut ticks = tokio::time::interval(WATCH_EVERY);
            loop {
                ticks.tick().await;
                if core.is_handing_over() {
                    continue;
                }
                let uptime = i64::try_from(core.shared.started.elapsed().as_secs()).unwrap_or(i64::MAX);
                core.shared.metrics.uptime_seconds().set(uptime);
                let core = Arc::clone(&core);
                let now = core.stamps();
                // Still since the last look: a file that is being written is not read in the middle.
                let config_changed = now != read && now == before;
                if config_changed {
                    read.clone_from(&now);
                }
                before = now;
                let look = tokio::task::spawn_blocking(move || core.look(config_changed));
                // A panic in there was logged by the hook; the next look is a second away.
                drop(look.await);
            }
        });
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("listeners", &self.listeners()).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for worker in &self.workers {
            drop(worker.orders.send(Order::Finish));
        }
        self.core.shared.audit.close();
        self.core.shared.decisions.close();
        if let Some(runtime) = self.runtime.take() {
            // Blocking on it would panic when the node is dropped inside another runtime (tests do).
            runtime.shutdown_background();
        }
        // Tasks that are still about to end hold it, and whoever starts the next node opens it at once.
        self.core.state.lend();
    }
}

/// A node of a test of this crate: what changes a node is tried on a whole one.
#[cfg(test)]
pub(crate) struct TestNode {
    pub(crate) core: Arc<Core>,
    folder: PathBuf,
    /// Dropped before its folder goes.
    node: Option<Node>,
}

#[cfg(test)]
impl TestNode {
    pub(crate) fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sunbeam-node-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "listen.http = \"127.0.0.1:0\"\nlisten.https = []\ntelemetry.metrics_port = 0\n\
             management.bind = \"127.0.0.1:0\"\naudit.path = {:?}\nstate.path = {:?}\n\
             [[routes]]\nhost_prefix = \"shop\"\nbackend = \"http://127.0.0.1:9\"\n\
             disable_secure_redirection = true\n",
            folder.join("audit.log"),
            folder.join("state.redb")
        );
        let source = sunbeam_config::Source { name: "test".to_owned(), path: None, text };
        let loaded = sunbeam_config::load_sources(Sources(vec![source]), Config::check).unwrap();
        let node = Node::start(NodeOptions {
            files: None,
            loaded,
            threads: 1,
            certificate: None,
            on_change: None,
            inherit: Inherit::Nothing,
            operator: None,
        })
        .unwrap();
        Self { core: Arc::clone(&node.core), folder, node: Some(node) }
    }
}

#[cfg(test)]
impl Drop for TestNode {
    fn drop(&mut self) {
        drop(self.node.take());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Inherit {
    fn split(self) -> std::io::Result<(Inherited, Option<HandOver>)> {
        Ok(match self {
            Self::Nothing => (Inherited::default(), None),
            Self::Activated(listeners) => (Inherited::activated(listeners)?, None),
            Self::HandOver(mut hand_over) => (std::mem::take(&mut hand_over.inherited), Some(hand_over)),
        })
    }
}

pub(crate) fn make_shared(
    config: Config,
    sources: Sources,
    certificate: Option<Arc<CertifiedKey>>,
    runtime: &Runtime,
) -> Result<(Shared, Questions), StartError> {
    let registry = Registry::new();
    let metrics = ProxyMetrics::register(&registry);
    let listener_metrics = ListenerMetrics::register(&registry);
    metrics.build_info(env!("CARGO_PKG_VERSION")).set(1);
    for result in ["written", "dropped", "failed"] {
        metrics.audit_lines(result).inc_by(0);
    }
    let tls = TlsStore::new(&config.tls, certificate, listener_metrics.clone())?;
    let audit = AuditLog::open(&config.audit, metrics.clone(), listener_metrics.clone())?;
    let telemetry = Telemetry::default();
    {
        let _inside = runtime.enter();
        telemetry.configure(&config)?;
    }
    let detection = DetectionMetrics::register(&registry);
    let key = judging::people::key(folder_of(&config.state.path))?;
    let (memory, questions) = judging::memory(&config, detection.layers.crawler_proofs("dropped"), key);
    let decisions = Decisions::open(&config, listener_metrics.clone());
    metrics.decision_store_failed().set(i64::from(decisions.error().is_some()));
    let additions = Additions::open(folder_of(&config.state.path))?;
    let of_judging = Judging { memory: &memory, metrics: &detection, additions: additions.clone() };
    let snapshot = Snapshot::compile(config.clone(), sources, 1, &metrics, &of_judging, None)?;
    let shared = Shared {
        guard: ConnectionGuard::new(&config.limits, &config.listen, listener_metrics.clone()),
        snapshot: ArcSwap::from_pointee(snapshot),
        tls,
        registry,
        metrics,
        collections: Shared::collections(&listener_metrics),
        listener_metrics,
        audit,
        decisions,
        events: Events::new(),
        telemetry,
        address_hash: AddressHash::new(),
        draining: watch::Sender::new(false),
        started: Instant::now(),
        detection,
        memory,
        additions: Mutex::new(additions),
        drift: Mutex::default(),
        challenge: Challenges::default(),
    };
    Ok((shared, questions))
}
