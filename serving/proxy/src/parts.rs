// SPDX-License-Identifier: Apache-2.0
//! The parts of a node that have sockets: each is started before a change, and put in place after it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use sunbeam_listeners::{BindError, ListenerChange, ListenerKey, Passthrough, Scheme, bind, bind_beside};
use tokio::sync::oneshot;
use tracing::error;

use crate::admin::{self, AdminServer};
use crate::config::Config;
use crate::core::Core;
use crate::node::StartError;
use crate::worker::Order;

/// What runs now.
#[derive(Default)]
pub(crate) struct Parts {
    /// The configured address and the bound one.
    pub(crate) listeners: BTreeMap<ListenerKey, SocketAddr>,
    pub(crate) passthrough: Option<PassthroughPart>,
    pub(crate) metrics: Option<AdminPart>,
    pub(crate) management: Option<AdminPart>,
}

impl Parts {
    /// Ports of this node that `config` gives up: a part of it may move onto one.
    fn leaving(&self, config: &Config) -> BTreeSet<u16> {
        let keys = listener_keys(config);
        let listeners =
            self.listeners.iter().filter(|(key, _)| !keys.contains(key)).map(|(_, address)| *address);
        let goes =
            |running: Option<SocketAddr>, wanted: Option<SocketAddr>| running.filter(|_| running != wanted);
        let admin = |part: &Option<AdminPart>| part.as_ref().map(|(address, _)| *address);
        let passthrough = self.passthrough.as_ref().map(|(address, _)| *address);
        let parts = [
            goes(passthrough, config.ssh.listen.map(|address| address.0)),
            goes(admin(&self.metrics), config.metrics_address()),
            goes(admin(&self.management), config.management.bind.map(|address| address.0)),
        ];
        listeners.chain(parts.into_iter().flatten()).map(|address| address.port()).collect()
    }

    /// Binds for `config`, which may give the port up elsewhere.
    fn bind(
        &self,
        address: SocketAddr,
        threads: usize,
        config: &Config,
    ) -> Result<Vec<TcpListener>, BindError> {
        if self.leaving(config).contains(&address.port()) {
            return bind_beside(address, threads);
        }
        bind(address, threads)
    }

    /// Where the management API listens.
    pub(crate) fn management_address(&self) -> Option<SocketAddr> {
        self.management.as_ref().map(|(_, server)| server.address())
    }
}

/// The configured address and what runs there.
type PassthroughPart = (SocketAddr, Passthrough);
type AdminPart = (SocketAddr, AdminServer);

/// What a configuration needs that does not run yet: everything in it can serve at once.
pub(crate) struct NextParts {
    keys: Vec<ListenerKey>,
    sockets: Vec<(ListenerKey, Vec<TcpListener>)>,
    passthrough: Next<PassthroughPart>,
    metrics: Next<AdminPart>,
    management: Next<AdminPart>,
}

/// What a change does with a part.
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

impl Core {
    /// Starts what `config` needs beside what runs. On an error nothing has changed.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        running: &Parts,
        config: &Config,
    ) -> Result<NextParts, StartError> {
        let keys = listener_keys(config);
        let mut sockets = Vec::new();
        for key in keys.iter().filter(|key| !running.listeners.contains_key(key)) {
            sockets.push((*key, running.bind(key.address, self.orders.len(), config)?));
        }
        let management = config.management.bind.map(|address| address.0);
        Ok(NextParts {
            keys,
            sockets,
            passthrough: self.next_passthrough(running, config)?,
            metrics: self.next_admin(
                &running.metrics,
                config.metrics_address(),
                |address| running.bind(address, 1, config),
                admin::metrics_router(self),
            )?,
            management: self.next_admin(
                &running.management,
                management,
                |address| running.bind(address, 1, config),
                admin::management_router(self),
            )?,
        })
    }

    /// Puts prepared parts in place; what they replace ends. Cannot fail.
    pub(crate) fn install(&self, parts: &mut Parts, next: NextParts) {
        self.install_listeners(parts, &next.keys, next.sockets);
        next.passthrough.put(&mut parts.passthrough);
        next.metrics.put(&mut parts.metrics);
        next.management.put(&mut parts.management);
        if let Some((_, passthrough)) = &parts.passthrough {
            let snapshot = self.shared.snapshot();
            let timeout = Duration::from_secs(snapshot.config.limits.connect_timeout_secs);
            passthrough.route_to(&snapshot.config.ssh.backend, timeout);
        }
    }

    fn install_listeners(
        &self,
        parts: &mut Parts,
        keys: &[ListenerKey],
        sockets: Vec<(ListenerKey, Vec<TcpListener>)>,
    ) {
        if sockets.is_empty() && parts.listeners.keys().all(|key| keys.contains(key)) {
            return;
        }
        parts.listeners.retain(|key, _| keys.contains(key));
        let kept: BTreeSet<_> = parts.listeners.keys().copied().collect();
        let mut changes: Vec<ListenerChange> =
            self.orders.iter().map(|_| ListenerChange { keep: kept.clone(), add: Vec::new() }).collect();
        for (key, listeners) in sockets {
            let bound = listeners.first().and_then(|listener| listener.local_addr().ok());
            parts.listeners.insert(key, bound.unwrap_or(key.address));
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

    /// A new passthrough if its address is new; a new backend alone needs no new socket.
    fn next_passthrough(
        &self,
        running: &Parts,
        config: &Config,
    ) -> Result<Next<PassthroughPart>, StartError> {
        let address = running.passthrough.as_ref().map(|(address, _)| *address);
        match config.ssh.listen.map(|address| address.0) {
            wanted if wanted == address => Ok(Next::Same),
            None => Ok(Next::Off),
            Some(address) => {
                let listener = running.bind(address, 1, config)?.remove(0);
                let _inside = self.runtime.enter();
                let (guard, metrics) = (Arc::clone(&self.shared.guard), self.shared.listener_metrics.clone());
                Ok(Next::New((address, Passthrough::start(listener, guard, metrics)?)))
            }
        }
    }

    fn next_admin(
        &self,
        running: &Option<AdminPart>,
        wanted: Option<SocketAddr>,
        bind: impl FnOnce(SocketAddr) -> Result<Vec<TcpListener>, BindError>,
        router: axum::Router,
    ) -> Result<Next<AdminPart>, StartError> {
        match (running.as_ref().map(|(address, _)| *address), wanted) {
            (running, wanted) if running == wanted => Ok(Next::Same),
            (_, None) => Ok(Next::Off),
            (_, Some(address)) => {
                let listener = bind(address)?.remove(0);
                let _inside = self.runtime.enter();
                Ok(Next::New((address, AdminServer::start(listener, router)?)))
            }
        }
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
