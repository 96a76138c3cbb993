// SPDX-License-Identifier: Apache-2.0
//! The parts of a node that have sockets: each is started before a change, and put in place after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use sunbeam_listeners::{
    BindError, ListenerChange, ListenerKey, Passthrough, Scheme, bind, bind_beside, spread,
};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::admin::{self, AdminServer};
use crate::config::Config;
use crate::core::Core;
use crate::hand_over::{Inherited, Role};
use crate::node::StartError;
use crate::worker::Order;

/// What runs now.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) listeners: BTreeMap<ListenerKey, Bound>,
    pub(crate) passthrough: Option<Part<Passthrough>>,
    pub(crate) metrics: Option<Part<AdminServer>>,
    pub(crate) management: Option<Part<AdminServer>>,
}

/// A configured address that is served.
pub(crate) struct Bound {
    /// Port 0 has become a port.
    pub(crate) address: SocketAddr,
    /// Duplicates of what the threads accept from, to hand over.
    sockets: Vec<TcpListener>,
}

/// Something with one socket.
pub(crate) struct Part<T> {
    /// The configured address.
    address: SocketAddr,
    /// A duplicate, to hand over.
    pub(crate) socket: TcpListener,
    pub(crate) server: T,
}

impl Parts {
    /// Ports of this node that `config` gives up: a part of it may move onto one.
    fn leaving(&self, config: &Config) -> BTreeSet<u16> {
        let keys = listener_keys(config);
        let listeners =
            self.listeners.iter().filter(|(key, _)| !keys.contains(key)).map(|(_, bound)| bound.address);
        let goes =
            |running: Option<SocketAddr>, wanted: Option<SocketAddr>| running.filter(|_| running != wanted);
        let parts = [
            goes(configured(&self.passthrough), config.ssh.listen.map(|address| address.0)),
            goes(configured(&self.metrics), config.metrics_address()),
            goes(configured(&self.management), config.management.bind.map(|address| address.0)),
        ];
        listeners.chain(parts.into_iter().flatten()).map(|address| address.port()).collect()
    }

    /// Where the management API listens.
    pub(crate) fn management_address(&self) -> Option<SocketAddr> {
        self.management.as_ref().map(|part| part.server.address())
    }

    /// Every listening socket, for a process that takes this node over.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(Role, SocketAddr, TcpListener)>> {
        let mut all = Vec::new();
        for (key, bound) in &self.listeners {
            for socket in &bound.sockets {
                all.push((Role::from(key.scheme), key.address, socket.try_clone()?));
            }
        }
        let parts = [
            (Role::Passthrough, self.passthrough.as_ref().map(|part| (part.address, &part.socket))),
            (Role::Metrics, self.metrics.as_ref().map(|part| (part.address, &part.socket))),
            (Role::Management, self.management.as_ref().map(|part| (part.address, &part.socket))),
        ];
        for (role, part) in parts {
            if let Some((address, socket)) = part {
                all.push((role, address, socket.try_clone()?));
            }
        }
        Ok(all)
    }

    /// Lets go of the duplicates: what the threads close is closed then.
    pub(crate) fn drop_duplicates(&mut self) {
        for bound in self.listeners.values_mut() {
            bound.sockets.clear();
        }
    }
}

fn configured<T>(part: &Option<Part<T>>) -> Option<SocketAddr> {
    part.as_ref().map(|part| part.address)
}

/// What a configuration needs that does not run yet: everything in it can serve at once.
pub(crate) struct NextParts {
    keys: Vec<ListenerKey>,
    sockets: Vec<NextListener>,
    passthrough: Next<Part<Passthrough>>,
    metrics: Next<Part<AdminServer>>,
    management: Next<Part<AdminServer>>,
}

struct NextListener {
    key: ListenerKey,
    sockets: Vec<TcpListener>,
    /// Duplicates, as the threads get them.
    threads: Vec<Vec<TcpListener>>,
}

/// Where listening sockets come from.
struct Source<'a> {
    /// Ports that come free with this change.
    leaving: BTreeSet<u16>,
    inherited: &'a mut Inherited,
}

impl Source<'_> {
    /// Sockets for an address: taken over, or bound for so many threads.
    fn open(
        &mut self,
        role: Role,
        address: SocketAddr,
        threads: usize,
    ) -> Result<Vec<TcpListener>, BindError> {
        let taken = self.inherited.take(role, address);
        if !taken.is_empty() {
            info!(%role, %address, sockets = taken.len(), "listening sockets taken over");
            return Ok(taken);
        }
        if self.leaving.contains(&address.port()) {
            bind_beside(address, threads)
        } else {
            bind(address, threads)
        }
    }
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
        inherited: &mut Inherited,
    ) -> Result<NextParts, StartError> {
        let mut leaving = running.leaving(config);
        // What the process that is being replaced has and this configuration does not want.
        leaving.extend(inherited.rest().iter().map(SocketAddr::port));
        let mut source = Source { leaving, inherited };
        let keys = listener_keys(config);
        let threads = self.orders.len();
        let mut next = Vec::new();
        for key in keys.iter().filter(|key| !running.listeners.contains_key(key)) {
            let mut sockets = source.open(key.scheme.into(), key.address, threads)?;
            let threads = spread(&mut sockets, threads)?;
            next.push(NextListener { key: *key, sockets, threads });
        }
        Ok(NextParts {
            keys,
            sockets: next,
            passthrough: self.next_passthrough(running, config, &mut source)?,
            metrics: self.next_admin(
                Role::Metrics,
                &running.metrics,
                config.metrics_address(),
                &mut source,
                admin::metrics_router(self),
            )?,
            management: self.next_admin(
                Role::Management,
                &running.management,
                config.management.bind.map(|address| address.0),
                &mut source,
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
        if let Some(Part { server: passthrough, .. }) = &parts.passthrough {
            let snapshot = self.shared.snapshot();
            let timeout = Duration::from_secs(snapshot.config.limits.connect_timeout_secs);
            passthrough.route_to(&snapshot.config.ssh.backend, timeout);
        }
    }

    fn install_listeners(&self, parts: &mut Parts, keys: &[ListenerKey], sockets: Vec<NextListener>) {
        if sockets.is_empty() && parts.listeners.keys().all(|key| keys.contains(key)) {
            return;
        }
        // The duplicates go first: a socket that is given up closes when its thread has emptied it.
        parts.listeners.retain(|key, _| keys.contains(key));
        let kept: BTreeSet<_> = parts.listeners.keys().copied().collect();
        let mut changes: Vec<ListenerChange> =
            self.orders.iter().map(|_| ListenerChange { keep: kept.clone(), add: Vec::new() }).collect();
        for NextListener { key, sockets, threads } in sockets {
            let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
            parts.listeners.insert(key, Bound { address: bound.unwrap_or(key.address), sockets });
            for (change, sockets) in changes.iter_mut().zip(threads) {
                change.add.extend(sockets.into_iter().map(|socket| (key, socket)));
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
        source: &mut Source<'_>,
    ) -> Result<Next<Part<Passthrough>>, StartError> {
        match config.ssh.listen.map(|address| address.0) {
            wanted if wanted == configured(&running.passthrough) => Ok(Next::Same),
            None => Ok(Next::Off),
            Some(address) => {
                let (listener, socket) = pair(source.open(Role::Passthrough, address, 1)?)?;
                let _inside = self.runtime.enter();
                let (guard, metrics) = (Arc::clone(&self.shared.guard), self.shared.listener_metrics.clone());
                let server = Passthrough::start(listener, guard, metrics)?;
                Ok(Next::New(Part { address, socket, server }))
            }
        }
    }

    fn next_admin(
        &self,
        role: Role,
        running: &Option<Part<AdminServer>>,
        wanted: Option<SocketAddr>,
        source: &mut Source<'_>,
        router: axum::Router,
    ) -> Result<Next<Part<AdminServer>>, StartError> {
        match wanted {
            wanted if wanted == configured(running) => Ok(Next::Same),
            None => Ok(Next::Off),
            Some(address) => {
                let (listener, socket) = pair(source.open(role, address, 1)?)?;
                let _inside = self.runtime.enter();
                Ok(Next::New(Part { address, socket, server: AdminServer::start(listener, router)? }))
            }
        }
    }
}

/// The one socket, to accept from and to hand over.
fn pair(sockets: Vec<TcpListener>) -> io::Result<(TcpListener, TcpListener)> {
    let socket = sockets.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
    Ok((socket.try_clone()?, socket))
}

fn listener_keys(config: &Config) -> Vec<ListenerKey> {
    let keys = |scheme, addresses: &[sunbeam_listeners::ListenAddress]| {
        addresses.iter().map(|address| ListenerKey { scheme, address: address.0 }).collect::<Vec<_>>()
    };
    let mut all = keys(Scheme::Http, &config.listen.http.0);
    all.extend(keys(Scheme::Https, &config.listen.https.0));
    all
}
