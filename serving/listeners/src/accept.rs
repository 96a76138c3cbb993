// SPDX-License-Identifier: Apache-2.0
//! Accepts from several sockets in turn, so that a flood on one never starves the others.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, ready};

use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sockets::ListenerKey;

/// One thread's listening sockets.
#[derive(Debug, Default)]
pub struct ListenerSet {
    listeners: Vec<(ListenerKey, AsyncFd<TcpListener>)>,
    next: usize,
}

/// What a reload changes: keys that stay, sockets that are new.
#[derive(Debug, Default)]
pub struct ListenerChange {
    /// Listeners that go on.
    pub keep: BTreeSet<ListenerKey>,
    /// New ones, non-blocking.
    pub add: Vec<(ListenerKey, TcpListener)>,
}

impl ListenerSet {
    /// Applies a change. Connections that wait on a removed socket are returned, not lost.
    ///
    /// # Errors
    /// When a new socket cannot be registered with the runtime.
    pub fn apply(&mut self, change: ListenerChange) -> io::Result<Vec<(ListenerKey, TcpStream, SocketAddr)>> {
        let mut waiting = Vec::new();
        let (kept, removed): (Vec<_>, Vec<_>) =
            self.listeners.drain(..).partition(|(key, _)| change.keep.contains(key));
        self.listeners = kept;
        for (key, listener) in removed {
            let listener = listener.into_inner();
            while let Ok((stream, peer)) = accept_now(&listener) {
                waiting.push((key, stream, peer));
            }
        }
        for (key, listener) in change.add {
            self.listeners.push((key, registered(listener)?));
        }
        Ok(waiting)
    }

    /// The next connection, not registered with the runtime: one that is refused at once need not be. The
    /// listener behind the one that gave the last is asked first.
    ///
    /// # Errors
    /// When the system refuses, above all for want of file descriptors; try again a little later.
    pub async fn accept(&mut self) -> io::Result<(ListenerKey, TcpStream, SocketAddr)> {
        poll_fn(|cx| {
            let count = self.listeners.len();
            for step in 0..count {
                let index = (self.next + step) % count;
                let Some((key, listener)) = self.listeners.get(index) else { continue };
                if let Poll::Ready(accepted) = poll_accept(listener, cx) {
                    self.next = index + 1;
                    return Poll::Ready(accepted.map(|(stream, peer)| (*key, stream, peer)));
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[expect(
    deprecated,
    reason = "it is unsound for types that lie about their descriptor; its successor is `unsafe`"
)]
fn registered(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

fn poll_accept(
    listener: &AsyncFd<TcpListener>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    loop {
        let mut ready = ready!(listener.poll_read_ready(cx))?;
        // Would block: the readiness was that of an earlier connection.
        if let Ok(accepted) = ready.try_io(|listener| accept_now(listener.get_ref())) {
            return Poll::Ready(accepted);
        }
    }
}

/// Non-blocking from the start.
fn accept_now(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or_else(|| io::Error::other("a connection from nowhere"))?;
    Ok((stream.into(), peer))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::{ListenerChange, ListenerKey, ListenerSet};
    use crate::sockets::{Scheme, bind};

    fn key(address: &str) -> ListenerKey {
        ListenerKey { scheme: Scheme::Http, address: address.parse().unwrap() }
    }

    #[tokio::test]
    async fn a_flood_on_one_stack_leaves_every_second_turn_to_the_other() {
        let (v4_key, v6_key) = (key("127.0.0.1:0"), key("[::1]:0"));
        let v4 = bind(v4_key.address, 1).unwrap().remove(0);
        let v6 = bind(v6_key.address, 1).unwrap().remove(0);
        let (v4_at, v6_at) = (v4.local_addr().unwrap(), v6.local_addr().unwrap());
        let mut set = ListenerSet::default();
        let change = ListenerChange { add: vec![(v4_key, v4), (v6_key, v6)], ..Default::default() };
        set.apply(change).unwrap();
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(TcpStream::connect(v4_at).await.unwrap());
        }
        for _ in 0..5 {
            clients.push(TcpStream::connect(v6_at).await.unwrap());
        }
        let mut order = Vec::new();
        for _ in 0..10 {
            order.push(set.accept().await.unwrap().0);
        }
        assert_eq!(order.iter().filter(|key| **key == v6_key).count(), 5, "{order:?}");
    }

    #[tokio::test]
    async fn a_removed_listener_hands_its_waiting_connections_over() {
        let key = key("127.0.0.1:0");
        let socket = bind(key.address, 1).unwrap().remove(0);
        let address = socket.local_addr().unwrap();
        let mut set = ListenerSet::default();
        set.apply(ListenerChange { add: vec![(key, socket)], ..Default::default() }).unwrap();
        let _clients =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        assert_eq!(set.apply(ListenerChange::default()).unwrap().len(), 2);
    }
}
