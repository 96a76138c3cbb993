// SPDX-License-Identifier: Apache-2.0
//! How a node's configuration changes while it runs: whole, or not at all.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use sunbeam_config::{
    ConfigFiles, LoadError, Loaded, Problem, Secret, Section as _, Source, Sources, diff, load, load_sources,
};
use sunbeam_listeners::Scheme;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, watch};
use tracing::{error, info, warn};

use crate::admin::{Sessions, Traffic};
use crate::config::Config;
use crate::hand_over::{Giver, Inherited, Role};
use crate::judging;
use crate::judging::Additions;
use crate::node::{OnChange, StartError};
use crate::parts::Parts;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::state::{KeptConfiguration, State, StateError, write_private};
use crate::unconfirmed::Unconfirmed;
use crate::upstream::Checks;
use crate::worker::Order;

/// Why the running configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It loads, and a part of it cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A confirmation was asked for, and nothing is known to go back to.
    #[error(
        "the running configuration is not kept, so the change could not be taken back: leave `--confirm-within` out"
    )]
    NoWayBack,
    /// Another change came first.
    #[error("another change came first")]
    Superseded,
    /// A key marked `[restart]` changed.
    #[error("`{0}` can only be changed by a restart")]
    Restart(&'static str),
    /// A new process takes this node over.
    #[error("an upgrade is under way: the new process has read configuration and models itself")]
    HandingOver,
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
    /// How many rules of the WAF there are, where others than before came of it: also where only their files changed.
    pub rules: Option<usize>,
    /// What will bite.
    pub warnings: Vec<Problem>,
    /// Whether it was done.
    pub applied: bool,
    /// The command that puts the configuration before it in use again, if anything was done.
    pub undo: Option<String>,
    /// The command that keeps the change, if it is to be confirmed.
    pub confirm: Option<String>,
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.applied { "changed" } else { "would change" };
        match (self.changes.len(), self.rules) {
            (0, None) => return write!(f, "nothing {verb}"),
            (0, Some(_)) => {}
            (1, _) => write!(f, "1 key {verb}")?,
            (count, _) => write!(f, "{count} keys {verb}")?,
        }
        let Some(rules) = self.rules else { return Ok(()) };
        let comma = if self.changes.is_empty() { "" } else { ", " };
        let verb = if self.applied { "reloaded" } else { "would be reloaded" };
        write!(f, "{comma}rules {verb} ({rules} rules)")
    }
}

/// What changes touch; shared with the management API.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: State,
    pub(crate) files: Option<ConfigFiles>,
    pub(crate) token: ArcSwap<Secret>,
    pub(crate) token_path: ArcSwapOption<PathBuf>,
    /// Who is logged in to the console.
    pub(crate) sessions: Sessions,
    /// Changes over the management API that are being made.
    pub(crate) changes: Arc<Semaphore>,
    /// The last hour.
    pub(crate) traffic: Traffic,
    pub(crate) on_change: Option<OnChange>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) orders: Vec<UnboundedSender<Order>>,
    pub(crate) changing: Mutex<Changing>,
    /// Held while lists change in memory and on the disk: what one says, the other has to say too.
    pub(crate) listing: Mutex<()>,
    /// Changes beside the configuration that are taken back unless somebody confirms them.
    pub(crate) unconfirmed: Unconfirmed,
    /// The process that serves in this one's place.
    pub(crate) successor: watch::Sender<Option<i32>>,
}

/// Behind one lock: two changes at a time would interleave.
#[derive(Default)]
pub(crate) struct Changing {
    pub(crate) parts: Parts,
    checks: Checks,
    /// Why the configuration's files are not in use, if they are not.
    files_error: Option<String>,
    /// Why the certificates' files are not.
    tls_error: Option<String>,
    /// A new process is taking this node over.
    is_handing_over: bool,
    /// A change that is taken back unless somebody confirms it.
    unconfirmed: Option<Awaited>,
    /// The newest change: its generation, where to go back to, and when it was.
    newest: Option<(u64, u64, Instant)>,
}

/// A configuration that waits to be confirmed.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    generation: u64,
    /// The kept configuration before it.
    back_to: u64,
    /// When it is taken back.
    until: Timestamp,
    /// It is being taken back just now, and can be confirmed no more.
    is_ending: bool,
}

/// Series of backends that are gone go with them: a fleet that comes and goes must not fill the memory.
const PER_BACKEND: [&str; 5] = [
    "sunbeam_backend_checks_total",
    "sunbeam_backend_up",
    "sunbeam_upstream_errors_total",
    "sunbeam_upstream_in_flight",
    "sunbeam_upstream_requests_total",
];

/// How long after the watch of the files has used a change a command may still ask for its confirmation.
const CONFIRMABLE_FOR: Duration = Duration::from_secs(600);

/// How a change is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChangeMode {
    /// Say what would change, change nothing.
    pub(crate) dry_run: bool,
    /// Take the change back after so long unless it is confirmed.
    pub(crate) confirm_within: Option<Duration>,
    /// Only while this generation runs: what came after it stays.
    pub(crate) only_after: Option<u64>,
}

/// Kept configurations that a change can go back to.
#[derive(Clone, Copy, Debug)]
struct WayBack {
    /// By command.
    undo: Option<u64>,
    /// By itself, unless it is confirmed.
    unless_confirmed: Option<u64>,
}

impl Core {
    pub(crate) fn listeners(&self) -> Vec<(Scheme, SocketAddr)> {
        self.changing().parts.listeners.iter().map(|(key, bound)| (key.scheme, bound.address)).collect()
    }

    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.changing().parts.metrics.as_ref().map(|part| part.server.address())
    }

    /// Why the files are not in use, if they are not.
    pub(crate) fn last_error(&self) -> Option<String> {
        let changing = self.changing();
        changing.files_error.clone().or_else(|| changing.tls_error.clone())
    }

    /// Reads the files again.
    pub(crate) fn reload(self: &Arc<Self>, mode: ChangeMode) -> Result<ReloadReport, ReloadError> {
        let load_files = || {
            let files = self.files.as_ref().ok_or(ReloadError::NoFiles)?;
            Ok(load(files, Config::check)?)
        };
        self.change(load_files, "reload", mode)
    }

    /// Uses a text that came over the API.
    pub(crate) fn apply(self: &Arc<Self>, text: &str, mode: ChangeMode) -> Result<ReloadReport, ReloadError> {
        let source = Source { name: "request".into(), path: None, text: text.to_owned() };
        self.change(|| Ok(load_sources(Sources(vec![source]), Config::check)?), "apply", mode)
    }

    /// Uses an earlier configuration: the one before the newest, or the one asked for.
    pub(crate) fn rollback(
        self: &Arc<Self>,
        to: Option<u64>,
        mode: ChangeMode,
    ) -> Result<ReloadReport, ReloadError> {
        let history = self.state.history().map_err(StartError::from)?;
        let running = self.shared.snapshot();
        let is_running = |kept: &&KeptConfiguration| kept.sources().same_texts(&running.sources);
        let current = history.iter().rposition(|kept| is_running(&kept)).unwrap_or(history.len());
        let target = match to {
            Some(id) => history.iter().find(|kept| kept.id == id),
            None => current.checked_sub(1).and_then(|before| history.get(before)),
        };
        let target = target.ok_or(ReloadError::NoHistory { id: to })?;
        self.change(|| Ok(load_sources(target.sources(), Config::check)?), "rollback", mode)
    }

    /// Keeps a change that would have been taken back. `false`: there is none.
    pub(crate) fn confirm(&self) -> bool {
        let confirmed = self.changing().unconfirmed.take_if(|awaited| !awaited.is_ending).is_some();
        if confirmed {
            self.shared.metrics.changes_confirmed("confirmed").inc();
        }
        confirmed
    }

    /// When the configuration goes back to the one before, if nobody confirms it.
    pub(crate) fn unconfirmed_configuration(&self) -> Option<Timestamp> {
        self.changing().unconfirmed.map(|awaited| awaited.until)
    }

    /// Where to go back to from a configuration that nobody confirmed in time; from now on nobody can. `None`: somebody did,
    /// or another change came after it.
    pub(crate) fn begin_take_back(&self, generation: u64) -> Option<u64> {
        let mut changing = self.changing();
        let awaited = changing.unconfirmed.as_mut().filter(|awaited| awaited.generation == generation)?;
        awaited.is_ending = true;
        Some(awaited.back_to)
    }

    /// It could not be taken back yet, and can be confirmed again.
    pub(crate) fn wait_on(&self, generation: u64) {
        let mut changing = self.changing();
        let awaited = changing.unconfirmed.as_mut().filter(|awaited| awaited.generation == generation);
        if let Some(awaited) = awaited {
            awaited.is_ending = false;
        }
    }

    /// Makes a configuration the running one: whole, or not at all.
    fn change(
        self: &Arc<Self>,
        load: impl FnOnce() -> Result<Loaded<Config>, ReloadError>,
        note: &str,
        mode: ChangeMode,
    ) -> Result<ReloadReport, ReloadError> {
        // Read behind the lock: of two reloads the one that comes later has read later, too.
        let mut changing = self.changing();
        let result = if changing.is_handing_over && !mode.dry_run {
            Err(ReloadError::HandingOver)
        } else {
            load().and_then(|loaded| self.change_locked(&mut changing, loaded, note, mode))
        };
        self.forget_backends();
        if mode.dry_run {
            return result;
        }
        let metrics = &self.shared.metrics;
        // Whether the files are good is told by reading them, not by what came over the API.
        let is_of_files = note == "reload";
        match &result {
            Ok(report) => {
                metrics.config_reloads("ok").inc();
                // Every change reads the certificates too.
                changing.tls_error = None;
                if is_of_files {
                    changing.files_error = None;
                }
                let changes = report.changes.len();
                info!(generation = report.generation, changes, by = note, "configuration in use");
                for warning in &report.warnings {
                    warn!("{warning}");
                }
            }
            // Nothing is wrong with the configuration: there was none to read, or it is not asked for.
            Err(ReloadError::NoFiles | ReloadError::NoHistory { .. } | ReloadError::Superseded) => {}
            Err(error @ ReloadError::HandingOver) => warn!("{error}"),
            Err(error) => {
                metrics.config_reloads("failed").inc();
                error!("the new configuration was refused, the running one stays: {error}");
                if is_of_files {
                    changing.files_error = Some(error.to_string());
                }
            }
        }
        self.show_errors(&changing);
        result
    }

    fn change_locked(
        self: &Arc<Self>,
        changing: &mut Changing,
        loaded: Loaded<Config>,
        note: &str,
        mode: ChangeMode,
    ) -> Result<ReloadReport, ReloadError> {
        let running = self.shared.snapshot();
        let Loaded { config, warnings, sources } = loaded;
        if let Some(key) = needs_restart(&running.config, &config) {
            return Err(ReloadError::Restart(key));
        }
        if mode.only_after.is_some_and(|generation| generation != running.generation) {
            return Err(ReloadError::Superseded);
        }
        let changes = diff(&running.config.shown(), &config.shown());
        let generation = running.generation + u64::from(!mode.dry_run);
        let way_back = self.way_back(changing, &running, &changes, mode)?;
        let mut report = ReloadReport {
            generation,
            rules: None,
            undo: way_back.undo.map(|id| format!("sunbeam rollback --to {id}")),
            confirm: way_back.unless_confirmed.map(|_| "sunbeam reload --confirm".to_owned()),
            changes,
            warnings,
            applied: !mode.dry_run,
        };
        let next = Snapshot::compile(
            config,
            sources,
            generation,
            &self.shared.metrics,
            &self.shared.judging(),
            Some(&running),
        )
        .map_err(StartError::from)?;
        let is_other =
            |rules: &&Arc<_>| running.waf.as_ref().is_none_or(|before| !Arc::ptr_eq(before, rules));
        report.rules = next.waf.as_ref().filter(is_other).map(|rules| rules.set.rules().len());
        if mode.dry_run {
            return Ok(report);
        }
        // Everything that can fail comes before anything that is seen.
        let parts = self.prepare(&changing.parts, &next.config, &mut Inherited::default())?;
        let (token, token_path) =
            self.state.token(&next.config.management.token).map_err(StartError::from)?;
        self.switch_outputs(&running.config, &next.config)?;
        self.keep(&next.sources, note);
        self.shared.guard.set_bounds(&next.config.limits, &next.config.listen);
        self.shared.show_node(&next.config, Some(&running.config));
        self.shared.memory.lists.configure(&next.config.lists);
        self.shared.snapshot.store(Arc::new(next));
        self.shared.show_models();
        let old_token = self.token.swap(Arc::new(token));
        // Who logged in by a token that is worth nothing any more is out with it; and where the console is off.
        if *old_token != **self.token.load() || !self.shared.snapshot().config.management.console {
            self.sessions.clear();
        }
        let told = (changing.parts.management_address(), self.token_path.swap(token_path.map(Arc::new)));
        self.install(&mut changing.parts, parts);
        self.follow_backends(changing);
        if told != (changing.parts.management_address(), self.token_path.load_full()) {
            self.write_node_file(changing);
        }
        if let Some(OnChange(call)) = &self.on_change {
            call(&self.shared.snapshot().config);
        }
        self.remember(changing, &running, generation, way_back, mode);
        Ok(report)
    }

    /// Puts other models or rules beside the configuration: whole, or not at all. Requests that begin afterwards are
    /// judged by them; the configuration stays what it is, and its generation with it. `write` is called when nothing
    /// else can fail.
    pub(crate) fn change_additions<E: From<ReloadError>>(
        &self,
        dry_run: bool,
        change: impl FnOnce(&Snapshot, &mut Additions) -> Result<(), E>,
        write: impl FnOnce() -> Result<(), StateError>,
    ) -> Result<(), E> {
        let mut changing = self.changing();
        if changing.is_handing_over {
            return Err(ReloadError::HandingOver.into());
        }
        let running = self.shared.snapshot();
        let mut judging = self.shared.judging();
        change(&running, &mut judging.additions)?;
        let started = |error: StartError| E::from(ReloadError::from(error));
        let mut next = Snapshot::compile(
            running.config.clone(),
            running.sources.clone(),
            running.generation,
            &self.shared.metrics,
            &judging,
            Some(&running),
        )
        .map_err(|error| started(error.into()))?;
        if dry_run {
            return Ok(());
        }
        write().map_err(|error| started(error.into()))?;
        next.loaded_at = running.loaded_at;
        *self.shared.additions() = judging.additions;
        self.shared.snapshot.store(Arc::new(next));
        self.shared.show_models();
        self.follow_backends(&mut changing);
        Ok(())
    }

    /// See [`Core::listing`].
    pub(crate) fn listing(&self) -> MutexGuard<'_, ()> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backends of the configuration that is in use now: their company, their checks.
    pub(crate) fn follow_backends(&self, changing: &mut Changing) {
        let snapshot = self.shared.snapshot();
        snapshot.tell_company();
        changing.checks.follow(&self.shared, &self.runtime);
    }

    /// Drops the series of backends that no route has, also those of a change that was only tried.
    fn forget_backends(&self) {
        let snapshot = self.shared.snapshot();
        let is_configured =
            |url: &str| snapshot.backend_states().any(|state| state.backend.url.as_str() == url);
        for name in PER_BACKEND {
            for series in self.shared.registry.series(name) {
                if series.label("backend").is_some_and(|url| !is_configured(url)) {
                    let labels = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                    self.shared.metrics.forget(name, &labels.collect());
                }
            }
        }
    }

    /// Where a change can go back to.
    ///
    /// # Errors
    /// When it is to be confirmed and there is no way back.
    fn way_back(
        &self,
        changing: &Changing,
        running: &Snapshot,
        changes: &[String],
        mode: ChangeMode,
    ) -> Result<WayBack, ReloadError> {
        let kept = self.state.id_of(&running.sources).unwrap_or_else(|error| {
            error!(%error, "the kept configurations cannot be read");
            None
        });
        let undo = kept.filter(|_| !mode.dry_run && !changes.is_empty());
        // Nothing to do because the watch of the files was quicker: its change is the one that is meant.
        let watched = changing.newest.filter(|(of, _, at)| {
            changes.is_empty() && *of == running.generation && at.elapsed() < CONFIRMABLE_FOR
        });
        let known = undo.or_else(|| watched.map(|(_, id, _)| id));
        let unless_confirmed = known.filter(|_| mode.confirm_within.is_some());
        let is_asked = mode.confirm_within.is_some() && !mode.dry_run && !changes.is_empty();
        if is_asked && unless_confirmed.is_none() {
            return Err(ReloadError::NoWayBack);
        }
        Ok(WayBack { undo, unless_confirmed })
    }

    fn remember(
        self: &Arc<Self>,
        changing: &mut Changing,
        before: &Snapshot,
        generation: u64,
        way_back: WayBack,
        mode: ChangeMode,
    ) {
        if let Some(id) = way_back.undo {
            changing.newest = Some((generation, id, Instant::now()));
        } else if let Some((of, _, _)) = &mut changing.newest {
            // Nothing but the generation changed.
            *of += u64::from(*of == before.generation);
        }
        changing.unconfirmed = None;
        if let (Some(back_to), Some(within)) = (way_back.unless_confirmed, mode.confirm_within) {
            let within_secs = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
            let until = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(within_secs));
            let until = until.unwrap_or(Timestamp::MAX);
            changing.unconfirmed = Some(Awaited { generation, back_to, until, is_ending: false });
            self.take_back_after(generation, within);
        }
    }

    /// Audit log, certificates, traces: each keeps what it has when the new cannot be had, and those
    /// that had moved already go back.
    fn switch_outputs(&self, running: &Config, next: &Config) -> Result<(), StartError> {
        if next.audit != running.audit {
            self.shared.audit.reopen(&next.audit)?;
        }
        let back = |audit, tls| {
            if audit && let Err(error) = self.shared.audit.reopen(&running.audit) {
                error!(%error, "failed to go back to the running audit log");
            }
            if tls && let Err(error) = self.shared.tls.reload(&running.tls) {
                error!(%error, "failed to go back to the running certificates");
            }
        };
        if let Err(error) = self.shared.tls.reload(&next.tls) {
            back(next.audit != running.audit, false);
            return Err(error.into());
        }
        if next.telemetry != running.telemetry || next.platform != running.platform {
            let _inside = self.runtime.enter();
            if let Err(error) = self.shared.telemetry.configure(next) {
                back(next.audit != running.audit, true);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Remembers a configuration that comes into use. A full disk costs the memory of it, not its use.
    pub(crate) fn keep(&self, sources: &Sources, note: &str) {
        if let Err(error) = self.state.keep(sources, note) {
            error!(%error, "the configuration is in use, but a rollback will not find it");
        }
    }

    /// Looks at the files once.
    pub(crate) fn look(self: &Arc<Self>, config_changed: bool) {
        if config_changed && !self.files_are_running() {
            // Told in the log and the metric.
            drop(self.reload(ChangeMode::default()));
        }
        let snapshot = self.shared.snapshot();
        if self.is_handing_over() || !snapshot.config.tls.watch || !self.shared.tls.files_changed() {
            return;
        }
        let mut changing = self.changing();
        let reloads = |result| self.shared.metrics.config_reloads(result).inc();
        match self.shared.tls.reload(&self.shared.snapshot().config.tls) {
            Ok(()) => {
                reloads("ok");
                changing.tls_error = None;
                info!("certificates in use from the next handshake on");
            }
            Err(error) => {
                reloads("failed");
                error!("the changed certificate files were refused, the old ones serve: {error}");
                changing.tls_error = Some(error.to_string());
            }
        }
        self.show_errors(&changing);
    }

    /// Whether the files hold what is in use: nothing to do when only their time changed, or when a
    /// command has read them already.
    fn files_are_running(&self) -> bool {
        let Some(files) = &self.files else { return true };
        let running = self.shared.snapshot();
        let is_same = files.read().is_ok_and(|sources| sources.same_texts(&running.sources));
        is_same && self.changing().files_error.is_none()
    }

    /// Whether a new process is taking this node over, or has.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.changing().is_handing_over
    }

    fn show_errors(&self, changing: &Changing) {
        let failed = changing.files_error.is_some() || changing.tls_error.is_some();
        self.shared.metrics.config_reload_failed().set(i64::from(failed));
    }

    pub(crate) fn stamps(&self) -> Vec<Option<(SystemTime, u64, u64)>> {
        use std::os::unix::fs::MetadataExt as _;
        let paths = self.files.as_ref().map(ConfigFiles::paths).unwrap_or_default();
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        };
        paths.iter().map(stamp).collect()
    }

    /// Tells the command line where the API is.
    pub(crate) fn write_node_file(&self, changing: &Changing) {
        let address = changing.parts.management_address();
        let file = serde_json::json!({
            "api": address.map(|address| format!("http://{address}")),
            "token_path": self.token_path.load_full().map(|path| path.display().to_string()),
            "pid": std::process::id(),
            "started_at": Timestamp::now().to_string(),
        });
        let path = self.node_file();
        if let Err(error) = write_private(&path, file.to_string().as_bytes()) {
            warn!(%error, "the command line will not find this node by itself");
        }
    }

    pub(crate) fn node_file(&self) -> PathBuf {
        self.state.folder().join("node.json")
    }

    pub(crate) fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Giver for Core {
    fn begin(&self) -> Result<Vec<(Role, SocketAddr, TcpListener)>, String> {
        let mut changing = self.changing();
        if changing.is_handing_over {
            return Err("another upgrade is under way".to_owned());
        }
        if self.shared.is_draining() {
            return Err("it is stopping".to_owned());
        }
        if changing.unconfirmed.is_some() || self.unconfirmed.len() > 0 {
            return Err("a change waits to be confirmed: `sunbeam confirm`, or wait until it is taken back"
                .to_owned());
        }
        let sockets = changing.parts.sockets().map_err(|error| error.to_string())?;
        changing.is_handing_over = true;
        Ok(sockets)
    }

    fn lend_state(&self) {
        judging::flush(self);
        self.state.lend();
    }

    fn share(&self) {
        self.shared.audit.share(true);
    }

    fn take_back(&self) {
        self.shared.audit.share(false);
        if let Err(error) = self.state.take_back() {
            error!(%error, "the state cannot be opened again; it is tried with each use");
        }
        self.changing().is_handing_over = false;
        self.shared.metrics.upgrades("failed").inc();
    }

    fn give_up(&self, pid: i32) {
        self.shared.metrics.upgrades("ok").inc();
        self.successor.send_replace(Some(pid));
    }
}

/// The first key marked `[restart]` that differs.
fn needs_restart(running: &Config, next: &Config) -> Option<&'static str> {
    [
        ("platform.mode", running.platform.mode != next.platform.mode),
        ("state.path", running.state.path != next.state.path),
        ("decisions.path", running.decisions.path != next.decisions.path),
        ("decisions.max_bytes", running.decisions.max_bytes != next.decisions.max_bytes),
        ("decisions.max_age_days", running.decisions.max_age_days != next.decisions.max_age_days),
        ("ddos.memory_bytes", running.ddos.memory_bytes != next.ddos.memory_bytes),
        ("rate_limit.max_identities", running.rate_limit.max_identities != next.rate_limit.max_identities),
        ("telemetry.log_format", running.telemetry.log_format != next.telemetry.log_format),
    ]
    .into_iter()
    .find_map(|(key, differs)| differs.then_some(key))
}
