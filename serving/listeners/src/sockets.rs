// SPDX-License-Identifier: Apache-2.0
//! Listening sockets: one a thread and address, so that the kernel spreads connections over the threads.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

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

/// Shares `sockets` of one address out over `threads`: each socket is accepted from by some thread, each
/// thread accepts from some socket.
///
/// Fewer sockets than threads, as another process with fewer threads or systemd leaves them: more are bound
/// beside them (which takes no connection away while all of them stay open), or threads share a socket where
/// that cannot be. What is bound is added to `sockets`; the threads get duplicates.
///
/// # Errors
/// When the system has no more descriptors.
pub fn spread(sockets: &mut Vec<TcpListener>, threads: usize) -> Result<Vec<Vec<TcpListener>>, BindError> {
    let threads = threads.max(1);
    let mut spread: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    let Some(first) = sockets.first() else { return Ok(spread) };
    let address = first.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let failed = |source| BindError { address, source };
    let may_share = SockRef::from(first).reuse_port().map_err(failed)?;
    while may_share && sockets.len() < threads {
        match socket(address, true) {
            Ok(beside) => sockets.push(beside),
            // A low port, and the privilege that bound it is gone: the threads share what there is.
            Err(_) => break,
        }
    }
    let places = threads.max(sockets.len());
    for (place, socket) in sockets.iter().cycle().take(places).enumerate() {
        if let Some(thread) = spread.get_mut(place % threads) {
            thread.push(socket.try_clone().map_err(failed)?);
        }
    }
    Ok(spread)
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
        assert!(SockRef::from(&v6[0]).only_v6().unwrap());
    }

    #[test]
    fn every_socket_has_a_thread_and_every_thread_a_socket() {
        let address = "127.0.0.1:0".parse().unwrap();
        let counts = |sockets: &mut Vec<TcpListener>, threads| -> Vec<usize> {
            spread(sockets, threads).unwrap().iter().map(Vec::len).collect()
        };
        for (name, had, threads, want, then) in [
            ("as many", 2, 2, vec![1, 1], 2),
            ("fewer threads", 5, 2, vec![3, 2], 5),
            ("more threads", 1, 3, vec![1, 1, 1], 3),
        ] {
            let mut sockets = bind(address, had).unwrap();
            assert_eq!(counts(&mut sockets, threads), want, "{name}");
            assert_eq!(sockets.len(), then, "{name}");
            let ports: std::collections::BTreeSet<_> =
                sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
            assert_eq!(ports.len(), 1, "{name}");
        }
        // Of another program that does not share the port: all threads accept from the one socket.
        let mut alone = vec![TcpListener::bind(address).unwrap()];
        assert_eq!((counts(&mut alone, 3), alone.len()), (vec![1, 1, 1], 1));
    }

    #[test]
    fn a_taken_port_is_told_even_though_ports_are_shared_inside() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let error = bind(first[0].local_addr().unwrap(), 1).unwrap_err();
        assert!(error.to_string().contains("another program listens there"), "{error}");
    }
}
