// SPDX-License-Identifier: Apache-2.0
//! One process takes a node over from another: first the listening sockets, then the state, then the
//! connections that come. No socket is ever closed while connections wait in it, and until the new process
//! serves, the old one does.
//!
//! ```text
//! new                                        old
//!  Hello                     ->               checks who asks, and that nothing else is going on
//!                            <-   Offer, Sockets …
//!  (certificates, audit log, threads)
//!  TakeState                 ->               closes the state's database
//!                            <-   StateIsFree
//!  (opens it, binds what is new)
//!  Ready                     ->
//!                            <-   Go
//!  accepts; Serving          ->
//!                            <-   Over        drains, and ends
//! ```
//!
//! Whatever goes wrong before `Over`, the old process opens its state again and goes on; the new one ends.

mod channel;
mod giving;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sunbeam_listeners::Scheme;
use tracing::{info, warn};

use channel::{Channel, Message, PROTOCOL, SOCKETS_MAX};
pub(crate) use giving::{Deadlines, Giver, Giving};

/// The door's name, beside the state file.
const DOOR: &str = "upgrade.sock";

/// How long the other process may take to say the next thing, where it has nothing else to do.
const STEP: Duration = Duration::from_secs(10);

/// Sockets that are taken over: some addresses, a socket for each thread.
const ALL_SOCKETS_MAX: usize = 16 * 1024;

/// Why a node was not taken over. The node that runs goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// Nobody is there.
    #[error("no node runs with the state in `{}`", path.parent().unwrap_or(path).display())]
    NoNode {
        /// The door that was knocked at.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("`{}` may be used by the node's user only", path.display())]
    Denied {
        /// The door.
        path: PathBuf,
    },
    /// Neither this process's user nor root.
    #[error("the node belongs to another user (uid {uid})")]
    OtherUser {
        /// Whose it is.
        uid: u32,
    },
    /// It said no.
    #[error("the running node refuses: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// It speaks another version, or something else.
    #[error("the running node does not understand this version; stop it and start this one")]
    NotUnderstood,
    /// It ended, or closed the connection.
    #[error("the other process ended in the middle of the upgrade")]
    Gone,
    /// It is silent.
    #[error("the other process did not answer in time")]
    Silent,
    /// The system.
    #[error("the upgrade failed: {0}")]
    Io(#[from] io::Error),
}

impl HandOverError {
    fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::Silent,
            Errno::PIPE | Errno::CONNRESET => Self::Gone,
            other => Self::Io(other.into()),
        }
    }
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Http,
    Https,
    Passthrough,
    Metrics,
    Management,
}

impl From<Scheme> for Role {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Http => Self::Http,
            Scheme::Https => Self::Https,
        }
    }
}

/// Sockets that were open before this node: another process's, or systemd's.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<InheritedSocket>);

#[derive(Debug)]
struct InheritedSocket {
    /// What it was for, and where it was configured; systemd does not say.
    was: Option<(Role, SocketAddr)>,
    bound: SocketAddr,
    listener: TcpListener,
}

impl Inherited {
    fn push(&mut self, was: Option<(Role, SocketAddr)>, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.0.push(InheritedSocket { was, bound: listener.local_addr()?, listener });
        Ok(())
    }

    /// From a service manager.
    pub(crate) fn activated(listeners: Vec<TcpListener>) -> io::Result<Self> {
        let mut inherited = Self::default();
        for listener in listeners {
            inherited.push(None, listener)?;
        }
        Ok(inherited)
    }

    /// The sockets for a configured address; none: it must be bound.
    pub(crate) fn take(&mut self, role: Role, address: SocketAddr) -> Vec<TcpListener> {
        let same = |socket: &InheritedSocket| socket.was == Some((role, address));
        let taken = self.take_if(same);
        if !taken.is_empty() {
            return taken;
        }
        // systemd's, or one that served something else.
        self.take_if(|socket| socket.bound == address)
    }

    fn take_if(&mut self, wanted: impl Fn(&InheritedSocket) -> bool) -> Vec<TcpListener> {
        let (taken, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(wanted);
        self.0 = rest;
        taken.into_iter().map(|socket| socket.listener).collect()
    }

    /// Where those are bound that nobody took.
    pub(crate) fn rest(&self) -> BTreeSet<SocketAddr> {
        self.0.iter().map(|socket| socket.bound).collect()
    }
}

/// A running node that is ready to be replaced by the one that this process starts.
#[derive(Debug)]
pub struct HandOver {
    channel: Channel,
    pid: i32,
    version: String,
    pub(crate) inherited: Inherited,
}

impl HandOver {
    /// Asks the node whose state lies at `state_path` for its sockets. Blocks for some seconds at most.
    ///
    /// # Errors
    /// [`HandOverError`]; nothing has changed then.
    pub fn ask(state_path: &str) -> Result<Self, HandOverError> {
        let path = door(Path::new(state_path).parent().unwrap_or_else(|| Path::new("")));
        let channel = Channel::connect(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                HandOverError::NoNode { path: path.clone() }
            }
            io::ErrorKind::PermissionDenied => HandOverError::Denied { path: path.clone() },
            _ => HandOverError::Io(error),
        })?;
        let uid = channel.peer().uid;
        if !channel::is_trusted(uid) {
            return Err(HandOverError::OtherUser { uid });
        }
        Self::over(channel)
    }

    fn over(channel: Channel) -> Result<Self, HandOverError> {
        let hello = Message::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
        };
        channel.send(&hello, STEP)?;
        let Message::Offer { version, pid, sockets } = channel.receive(STEP)? else {
            return Err(HandOverError::NotUnderstood);
        };
        let mut inherited = Inherited::default();
        while inherited.0.len() < sockets.min(ALL_SOCKETS_MAX) {
            let (message, descriptors) = channel.receive_with(STEP)?;
            let Message::Sockets { sockets } = message else { return Err(HandOverError::NotUnderstood) };
            if sockets.is_empty() || sockets.len() != descriptors.len() || sockets.len() > SOCKETS_MAX {
                return Err(HandOverError::NotUnderstood);
            }
            for (line, descriptor) in sockets.into_iter().zip(descriptors) {
                inherited.push(Some((line.role, line.address)), descriptor.into())?;
            }
        }
        info!(pid, version, sockets, "taking over from the running node");
        Ok(Self { channel, pid, version, inherited })
    }

    /// The node's process.
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The node's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Has the node close its state, so that this process can open it.
    pub(crate) fn take_state(&self) -> Result<(), HandOverError> {
        self.channel.send(&Message::TakeState, STEP)?;
        self.channel.expect(&Message::StateIsFree, STEP)
    }

    /// Says that all is ready; returns when connections may be accepted.
    pub(crate) fn ready(&self) -> Result<(), HandOverError> {
        self.channel.send(&Message::Ready, STEP)?;
        self.channel.expect(&Message::Go, STEP)
    }

    /// Says that connections are accepted. After this the node finishes what it has.
    pub(crate) fn serving(self) -> Result<(), HandOverError> {
        let told = self.channel.send(&Message::Serving, STEP);
        match told.and_then(|()| self.channel.expect(&Message::Over, STEP)) {
            // It died between two words: nobody else serves, so this process does.
            Err(HandOverError::Gone) => {
                warn!(pid = self.pid, "the old node ended before it could say so");
                Ok(())
            }
            other => other,
        }
    }
}

/// The door of the node whose state lies in `folder`.
fn door(folder: &Path) -> PathBuf {
    folder.join(DOOR)
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Passthrough => "tcp",
            Self::Metrics => "metrics",
            Self::Management => "management",
        })
    }
}
