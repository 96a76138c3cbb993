// SPDX-License-Identifier: Apache-2.0
//! Listening sockets: one a thread and address, so that the kernel spreads connections over the threads.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What tells one listener from another: the configured address, not the bound one, so that port 0
/// stays the same listener over reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerKey {
    /// What is spoken.
    pub scheme: Scheme,
    /// The address in the configuration.
    pub address: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}: {source}{}", hint(source))]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// The system's word.
    pub source: io::Error,
}

/// `threads` sockets on one address; all of them, or none.
///
/// IPv6 sockets take IPv6 only (`IPV6_V6ONLY`), so that `0.0.0.0:80` and `[::]:80` stand side by side.
///
/// # Errors
/// When the address is taken by another program, is not this host's, or needs a privilege.
pub fn bind(address: SocketAddr, threads: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    // SO_REUSEPORT would let a second node of the same user share the port unseen and take half of its
    // connections; a probe without it finds out. (Upgrades hand the sockets over instead.)
    if address.port() != 0 {
        drop(socket(address, false).map_err(failed)?);
    }
    bind_beside(address, threads)
}

/// As [`bind`], on a port that this node itself holds until the new sockets are in place: from
/// `127.0.0.1:80` to `0.0.0.0:80`.
///
/// # Errors
/// As [`bind`]; a second node of the same user is not found out.
pub fn bind_beside(address: SocketAddr, threads: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    let first = socket(address, true).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..threads {
        listeners.push(socket(bound, true).map_err(failed)?);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    /// Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
    const BACKLOG: i32 = 4096;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE (setcap cap_net_bind_service+ep)"
        }
        io::ErrorKind::AddrInUse => "; another program listens there (ss -ltnp shows which)",
        io::ErrorKind::AddrNotAvailable => "; the address is not one of this host's",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_stacks_stand_on_one_port_and_threads_share_it() {
        let v4 = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let port = v4[0].local_addr().unwrap().port();
        assert!(v4.iter().all(|listener| listener.local_addr().unwrap().port() == port));
        let v6 = bind(SocketAddr::new("::1".parse().unwrap(), port), 1).unwrap();
        assert!(socket2::SockRef::from(&v6[0]).only_v6().unwrap());
    }

    #[test]
    fn a_taken_port_is_told_even_though_ports_are_shared_inside() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = bind(first[0].local_addr().unwrap(), 1).unwrap_err();
        assert!(error.to_string().contains("another program listens there"), "{error}");
    }
}
