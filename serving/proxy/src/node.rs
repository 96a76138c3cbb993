// SPDX-License-Identifier: Apache-2.0
//! A node: its threads, its configuration over time, its end.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use sunbeam_config::{
    ConfigFiles, LoadError, Loaded, Problem, Secret, Section as _, Sources, diff, load, load_sources,
};
use sunbeam_listeners::{
    BindError, ConnectionGuard, ListenerChange, ListenerKey, ListenerMetrics, Passthrough, PassthroughError,
    Scheme, TlsStore, TlsStoreError, bind,
};
use sunbeam_metrics::Registry;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::admin::{self, AdminServer};
use crate::audit_log::{AuditLog, AuditLogError};
use crate::config::Config;
use crate::metrics::ProxyMetrics;
use crate::shared::{AddressHash, Events, Shared};
use crate::snapshot::{CompileError, Snapshot};
use crate::state::{KeptConfiguration, State, StateError, write_private};
use crate::telemetry::{Telemetry, TelemetryError};
use crate::worker::{Order, Worker};

/// How often configuration and certificate files are looked at. Polling sees what notification misses:
/// the swapped symbolic links of Kubernetes, network file systems.
const WATCH_EVERY: Duration = Duration::from_secs(1);

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
    /// Traces.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The passthrough.
    #[error(transparent)]
    Passthrough(#[from] PassthroughError),
    /// Threads and runtimes.
    #[error("failed to start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why the running configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It loads, and a part of it cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A key marked `[restart]` changed.
    #[error("`{0}` can only be changed by a restart")]
    Restart(&'static str),
    /// There is nothing to read.
    #[error("this node was started without a configuration file")]
    NoFiles,
    /// No such configuration is kept.
    #[error("no earlier configuration is kept{}", id.map(|id| format!(" with id {id}")).unwrap_or_default())]
    NoHistory {
        /// The one asked for.
        id: Option<u64>,
    },
}

impl ReloadError {
    /// What is wrong with the text, if that is the reason.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Load(LoadError::Problems { problems }) => problems,
            _ => &[],
        }
    }
}

/// What a reload did, or would do.
#[derive(Clone, Debug)]
pub struct ReloadReport {
    /// Counts up with each change.
    pub generation: u64,
    /// `key: old -> new`
    pub changes: Vec<String>,
    /// What will bite.
    pub warnings: Vec<Problem>,
    /// Whether it was done.
    pub applied: bool,
    /// The command that puts the configuration before it in use again, if anything was done.
    pub undo: Option<String>,
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.applied { "changed" } else { "would change" };
        match self.changes.len() {
            0 => write!(f, "nothing {verb}"),
            1 => write!(f, "1 key {verb}"),
            count => write!(f, "{count} keys {verb}"),
        }
    }
}

/// A running node. Dropping it without [`Node::drain`] cuts its connections off.
pub struct Node {
    core: Arc<Core>,
    workers: Vec<Worker>,
    runtime: Option<Runtime>,
}

/// What reloads change; shared with the management API.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
    pub(crate) files: Option<ConfigFiles>,
    pub(crate) token: ArcSwap<Secret>,
    pub(crate) token_path: Option<PathBuf>,
    on_change: Option<OnChange>,
    runtime: tokio::runtime::Handle,
    orders: Vec<tokio::sync::mpsc::UnboundedSender<Order>>,
    changing: Mutex<Changing>,
}

/// Behind one lock: two reloads at a time would interleave.
struct Changing {
    listeners: BTreeMap<ListenerKey, SocketAddr>,
    passthrough: Option<PassthroughPart>,
    admin: AdminServers,
    last_error: Option<String>,
}

#[derive(Default)]
struct AdminServers {
    metrics: Option<(SocketAddr, AdminServer)>,
    management: Option<(SocketAddr, AdminServer)>,
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
        let NodeOptions { files, loaded, threads, certificate, on_change } = options;
        let Loaded { config, sources, warnings } = loaded;
        for warning in &warnings {
            warn!("{warning}");
        }
        let state = State::open(&config.state.path)?;
        let shared = Arc::new(make_shared(config, sources, certificate, &runtime)?);
        let workers: Vec<Worker> = (0..threads.max(1))
            .map(|index| Worker::start(index, Arc::clone(&shared)))
            .collect::<Result<_, _>>()?;
        let config = shared.snapshot().config.clone();
        let (token, token_path) = state.token(&config.management.token)?;
        let core = Arc::new(Core {
            orders: workers.iter().map(|worker| worker.orders.clone()).collect(),
            runtime: runtime.handle().clone(),
            changing: Mutex::new(Changing {
                listeners: BTreeMap::new(),
                passthrough: None,
                admin: AdminServers::default(),
                last_error: None,
            }),
            shared,
            state,
            files,
            token: ArcSwap::from_pointee(token),
            token_path,
            on_change,
        });
        let node = Self { core, workers, runtime: Some(runtime) };
        node.core.start_parts(&config)?;
        node.core.state.keep(&node.core.shared.snapshot().sources, "start")?;
        node.watch_files();
        Ok(node)
    }

    /// What it listens on, as bound.
    pub fn listeners(&self) -> Vec<(Scheme, SocketAddr)> {
        self.core.listeners()
    }

    /// The passthrough's address.
    pub fn passthrough_address(&self) -> Option<SocketAddr> {
        self.core.changing().passthrough.as_ref().map(|(_, passthrough)| passthrough.address())
    }

    /// The management API's address.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.core.changing().admin.management.as_ref().map(|(_, server)| server.address())
    }

    /// The metrics' address.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.core.metrics_address()
    }

    /// The file with the API's token, if the node made one.
    pub fn token_path(&self) -> Option<&Path> {
        self.core.token_path.as_deref()
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
        self.core.reload(false)
    }

    /// Takes nothing new, finishes what there is, at most `limits.drain_secs`. Blocks.
    pub fn drain(mut self) {
        let shared = Arc::clone(&self.core.shared);
        info!(connections = shared.guard.active(), "draining");
        shared.draining.send_replace(true);
        drop(self.core.changing().passthrough.take());
        for worker in &self.workers {
            // A worker whose thread is gone has nothing left to finish.
            drop(worker.orders.send(Order::Finish));
        }
        for worker in self.workers.drain(..) {
            if worker.thread.join().is_err() {
                error!("a serving thread had panicked");
            }
        }
        shared.telemetry.close();
        shared.audit.close();
        drop(std::mem::take(&mut self.core.changing().admin));
        // A node file without a node would send the command line to a closed door.
        drop(std::fs::remove_file(self.core.node_file()));
    }

    fn watch_files(&self) {
        let core = Arc::clone(&self.core);
        let Some(runtime) = &self.runtime else { return };
        runtime.spawn(async move {
            let mut stamps = core.stamps();
            let mut ticks = tokio::time::interval(WATCH_EVERY);
            loop {
                ticks.tick().await;
                let uptime = i64::try_from(core.shared.started.elapsed().as_secs()).unwrap_or(i64::MAX);
                core.shared.metrics.uptime_seconds().set(uptime);
                let core = Arc::clone(&core);
                let now = core.stamps();
                let config_changed = now != stamps;
                stamps = now;
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
        if let Some(runtime) = self.runtime.take() {
            // Blocking on it would panic when the node is dropped inside another runtime (tests do).
            runtime.shutdown_background();
        }
    }
}

fn make_shared(
    config: Config,
    sources: Sources,
    certificate: Option<Arc<CertifiedKey>>,
    runtime: &Runtime,
) -> Result<Shared, StartError> {
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
    Ok(Shared {
        guard: ConnectionGuard::new(config.limits.max_connections, listener_metrics.clone()),
        snapshot: ArcSwap::from_pointee(Snapshot::compile(config, sources, 1)?),
        tls,
        registry,
        metrics,
        listener_metrics,
        audit,
        events: Events::new(),
        telemetry,
        address_hash: AddressHash::new(),
        draining: watch::Sender::new(false),
        started: Instant::now(),
    })
}

impl Core {
    pub(crate) fn listeners(&self) -> Vec<(Scheme, SocketAddr)> {
        self.changing().listeners.iter().map(|(key, address)| (key.scheme, *address)).collect()
    }

    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.changing().admin.metrics.as_ref().map(|(_, server)| server.address())
    }

    /// Why the files are not in use, if they are not.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.changing().last_error.clone()
    }

    /// Reads the files again.
    pub(crate) fn reload(self: &Arc<Self>, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let load_files = || {
            let files = self.files.as_ref().ok_or(ReloadError::NoFiles)?;
            Ok(load(files, Config::check)?)
        };
        self.change(load_files(), "reload", dry_run)
    }

    /// Uses a text that came over the API.
    pub(crate) fn apply(self: &Arc<Self>, text: &str, dry_run: bool) -> Result<ReloadReport, ReloadError> {
        let source = sunbeam_config::Source { name: "request".into(), path: None, text: text.to_owned() };
        self.change(Ok(load_sources(Sources(vec![source]), Config::check)?), "apply", dry_run)
    }

    /// Uses an earlier configuration: the one before the newest, or the one asked for.
    pub(crate) fn rollback(
        self: &Arc<Self>,
        to: Option<u64>,
        dry_run: bool,
    ) -> Result<ReloadReport, ReloadError> {
        let history = self.state.history().map_err(StartError::from)?;
        let running = self.shared.snapshot();
        let is_running = |kept: &&KeptConfiguration| {
            kept.sources().0.iter().map(|source| &source.text).eq(running
                .sources
                .0
                .iter()
                .map(|source| &source.text))
        };
        let current = history.iter().rposition(|kept| is_running(&kept)).unwrap_or(history.len());
        let target = match to {
            Some(id) => history.iter().find(|kept| kept.id == id),
            None => current.checked_sub(1).and_then(|before| history.get(before)),
        };
        let target = target.ok_or(ReloadError::NoHistory { id: to })?;
        self.change(Ok(load_sources(target.sources(), Config::check)?), "rollback", dry_run)
    }

    /// Makes a configuration the running one: whole, or not at all.
    fn change(
        self: &Arc<Self>,
        loaded: Result<Loaded<Config>, ReloadError>,
        note: &str,
        dry_run: bool,
    ) -> Result<ReloadReport, ReloadError> {
        let mut changing = self.changing();
        let result = loaded.and_then(|loaded| self.change_locked(&mut changing, loaded, note, dry_run));
        if dry_run {
            return result;
        }
        let metrics = &self.shared.metrics;
        match &result {
            Ok(report) => {
                metrics.config_reloads("ok").inc();
                metrics.config_reload_failed().set(0);
                changing.last_error = None;
                info!(
                    generation = report.generation,
                    changes = report.changes.len(),
                    by = note,
                    "configuration in use"
                );
                for warning in &report.warnings {
                    warn!("{warning}");
                }
            }
            // Nothing is wrong with the configuration: there was none to read.
            Err(ReloadError::NoFiles | ReloadError::NoHistory { .. }) => {}
            Err(error) => {
                metrics.config_reloads("failed").inc();
                metrics.config_reload_failed().set(1);
                error!("the new configuration was refused, the running one stays: {error}");
                changing.last_error = Some(error.to_string());
            }
        }
        result
    }

    fn change_locked(
        self: &Arc<Self>,
        changing: &mut Changing,
        loaded: Loaded<Config>,
        note: &str,
        dry_run: bool,
    ) -> Result<ReloadReport, ReloadError> {
        let running = self.shared.snapshot();
        let Loaded { config, warnings, sources } = loaded;
        if config.platform.mode != running.config.platform.mode {
            return Err(ReloadError::Restart("platform.mode"));
        }
        if config.telemetry.log_format != running.config.telemetry.log_format {
            return Err(ReloadError::Restart("telemetry.log_format"));
        }
        if config.state.path != running.config.state.path {
            return Err(ReloadError::Restart("state.path"));
        }
        let changes = diff(&running.config.shown(), &config.shown());
        let generation = running.generation + u64::from(!dry_run);
        let before = self.state.id_of(&running.sources).map_err(StartError::from)?;
        let undo = before.filter(|_| !dry_run && !changes.is_empty()).map(|id| format!("sunbeam rollback --to {id}"));
        let report = ReloadReport { generation, changes, warnings, applied: !dry_run, undo };
        let next = Snapshot::compile(config, sources, generation).map_err(StartError::from)?;
        if dry_run {
            return Ok(report);
        }
        // Everything that can fail comes before anything that is seen.
        let sockets = self.bind_new(changing, &next.config)?;
        let passthrough = self.next_passthrough(changing, &next.config)?;
        let (token, _) = self.state.token(&next.config.management.token).map_err(StartError::from)?;
        let admin = self.next_admin(changing, &next.config)?;
        if next.config.audit != running.config.audit {
            self.shared.audit.reopen(&next.config.audit).map_err(StartError::from)?;
        }
        if let Err(error) = self.shared.tls.reload(&next.config.tls) {
            // The audit log is the one part that had moved already.
            drop(self.shared.audit.reopen(&running.config.audit));
            return Err(StartError::from(error).into());
        }
        if next.config.telemetry != running.config.telemetry
            || next.config.platform != running.config.platform
        {
            let _inside = self.runtime.enter();
            if let Err(error) = self.shared.telemetry.configure(&next.config) {
                drop(self.shared.tls.reload(&running.config.tls));
                drop(self.shared.audit.reopen(&running.config.audit));
                return Err(StartError::from(error).into());
            }
        }
        self.shared.guard.set_bound(next.config.limits.max_connections);
        let keys = listener_keys(&next.config);
        self.state.keep(&next.sources, note).map_err(StartError::from)?;
        self.shared.snapshot.store(Arc::new(next));
        self.token.store(Arc::new(token));
        self.install_listeners(changing, &keys, sockets);
        self.install_passthrough(changing, passthrough);
        let moved = !matches!(admin.management, Next::Same);
        admin.install(changing);
        if moved {
            self.write_node_file(changing);
        }
        if let Some(OnChange(call)) = &self.on_change {
            call(&self.shared.snapshot().config);
        }
        Ok(report)
    }

    /// Looks at the files once.
    fn look(self: &Arc<Self>, config_changed: bool) {
        if config_changed && self.files.is_some() {
            // Told in the log and the metric.
            drop(self.reload(false));
        }
        let snapshot = self.shared.snapshot();
        if snapshot.config.tls.watch && self.shared.tls.files_changed() {
            let _one_at_a_time = self.changing();
            match self.shared.tls.reload(&snapshot.config.tls) {
                Ok(()) => {
                    self.shared.metrics.config_reloads("ok").inc();
                    info!("certificates in use from the next handshake on");
                }
                Err(error) => {
                    warn!("the changed certificate files were refused, the old ones serve: {error}")
                }
            }
        }
    }

    fn stamps(&self) -> Vec<Option<(SystemTime, u64, u64)>> {
        use std::os::unix::fs::MetadataExt as _;
        let paths = self.files.as_ref().map(ConfigFiles::paths).unwrap_or_default();
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        paths.iter().map(stamp).collect()
    }

    fn start_parts(self: &Arc<Self>, config: &Config) -> Result<(), StartError> {
        let mut changing = self.changing();
        let sockets = self.bind_new(&changing, config)?;
        let passthrough = self.next_passthrough(&changing, config)?;
        let admin = self.next_admin(&changing, config)?;
        self.install_listeners(&mut changing, &listener_keys(config), sockets);
        self.install_passthrough(&mut changing, passthrough);
        admin.install(&mut changing);
        self.write_node_file(&changing);
        Ok(())
    }

    fn bind_new(
        &self,
        changing: &Changing,
        config: &Config,
    ) -> Result<Vec<(ListenerKey, Vec<std::net::TcpListener>)>, StartError> {
        let mut sockets = Vec::new();
        for key in listener_keys(config) {
            if !changing.listeners.contains_key(&key) {
                sockets.push((key, bind(key.address, self.orders.len())?));
            }
        }
        Ok(sockets)
    }

    fn install_listeners(
        &self,
        changing: &mut Changing,
        keys: &[ListenerKey],
        sockets: Vec<(ListenerKey, Vec<std::net::TcpListener>)>,
    ) {
        if sockets.is_empty() && changing.listeners.keys().all(|key| keys.contains(key)) {
            return;
        }
        changing.listeners.retain(|key, _| keys.contains(key));
        let kept: std::collections::BTreeSet<_> = changing.listeners.keys().copied().collect();
        let mut changes: Vec<ListenerChange> =
            self.orders.iter().map(|_| ListenerChange { keep: kept.clone(), add: Vec::new() }).collect();
        for (key, listeners) in sockets {
            let bound = listeners.first().and_then(|listener| listener.local_addr().ok());
            changing.listeners.insert(key, bound.unwrap_or(key.address));
            for (change, listener) in changes.iter_mut().zip(listeners) {
                change.add.push((key, listener));
            }
        }
        for (orders, change) in self.orders.iter().zip(changes) {
            let (done, _unawaited) = oneshot::channel();
            if orders.send(Order::Listen(change, done)).is_err() {
                error!("a serving thread is gone: its listeners were not changed");
            }
        }
    }

    /// A new passthrough if its address is new; a new backend alone is installed without a new socket.
    fn next_passthrough(
        &self,
        changing: &Changing,
        config: &Config,
    ) -> Result<Next<PassthroughPart>, StartError> {
        let running = changing.passthrough.as_ref().map(|(address, _)| *address);
        match config.ssh.listen.map(|address| address.0) {
            address if address == running => Ok(Next::Same),
            None => Ok(Next::Off),
            Some(address) => {
                let listener = bind(address, 1)?.remove(0);
                let _inside = self.runtime.enter();
                let (guard, metrics) = (Arc::clone(&self.shared.guard), self.shared.listener_metrics.clone());
                Ok(Next::New((address, Passthrough::start(listener, guard, metrics)?)))
            }
        }
    }

    fn next_admin(self: &Arc<Self>, changing: &Changing, config: &Config) -> Result<NextAdmin, StartError> {
        let next = |running: &Option<(SocketAddr, AdminServer)>,
                    wanted: Option<SocketAddr>,
                    router: axum::Router| {
            match (running.as_ref().map(|(address, _)| *address), wanted) {
                (running, wanted) if running == wanted => Ok(Next::Same),
                (_, None) => Ok(Next::Off),
                (_, Some(address)) => {
                    let listener = bind(address, 1)?.remove(0);
                    let _inside = self.runtime.enter();
                    Ok::<_, StartError>(Next::New((address, AdminServer::start(listener, router)?)))
                }
            }
        };
        let management = config.management.bind.map(|address| address.0);
        Ok(NextAdmin {
            metrics: next(&changing.admin.metrics, config.metrics_address(), admin::metrics_router(self))?,
            management: next(&changing.admin.management, management, admin::management_router(self))?,
        })
    }

    /// Tells the command line where the API is.
    fn write_node_file(&self, changing: &Changing) {
        let address = changing.admin.management.as_ref().map(|(_, server)| server.address());
        let file = serde_json::json!({
            "api": address.map(|address| format!("http://{address}")),
            "token_path": self.token_path,
            "pid": std::process::id(),
            "started_at": Timestamp::now().to_string(),
        });
        let path = self.node_file();
        if let Err(error) = write_private(&path, file.to_string().as_bytes()) {
            warn!(%error, "the command line will not find this node by itself");
        }
    }

    fn node_file(&self) -> PathBuf {
        self.state.folder().join("node.json")
    }

    fn install_passthrough(&self, changing: &mut Changing, next: Next<PassthroughPart>) {
        next.put(&mut changing.passthrough);
        if let Some((_, passthrough)) = &changing.passthrough {
            let snapshot = self.shared.snapshot();
            let timeout = Duration::from_secs(snapshot.config.limits.connect_timeout_secs);
            passthrough.route_to(&snapshot.config.ssh.backend, timeout);
        }
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The configured address and what runs there.
type PassthroughPart = (SocketAddr, Passthrough);

/// What a reload does with a part.
enum Next<T> {
    Same,
    Off,
    New(T),
}

impl<T> Next<T> {
    fn put(self, place: &mut Option<T>) {
        match self {
            Self::Same => {}
            Self::Off => *place = None,
            Self::New(part) => *place = Some(part),
        }
    }
}

struct NextAdmin {
    metrics: Next<(SocketAddr, AdminServer)>,
    management: Next<(SocketAddr, AdminServer)>,
}

impl NextAdmin {
    fn install(self, changing: &mut Changing) {
        self.metrics.put(&mut changing.admin.metrics);
        self.management.put(&mut changing.admin.management);
    }
}

fn listener_keys(config: &Config) -> Vec<ListenerKey> {
    let keys = |scheme, addresses: &[sunbeam_listeners::ListenAddress]| {
        addresses.iter().map(|address| ListenerKey { scheme, address: address.0 }).collect::<Vec<_>>()
    };
    let mut all = keys(Scheme::Http, &config.listen.http.0);
    all.extend(keys(Scheme::Https, &config.listen.https.0));
    all
}
