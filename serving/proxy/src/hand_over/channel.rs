// SPDX-License-Identifier: Apache-2.0
//! Messages between two processes of one user: whole or not at all, bounded, each with a deadline, with
//! descriptors beside them (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::{HandOverError, Role};

/// What this program speaks. A process that speaks another number is refused in words; `Hello` and
/// `Refused` stay as they are in every version, so that the words arrive.
pub(super) const PROTOCOL: u32 = 1;

/// Bytes of one message: [`SOCKETS_MAX`] lines and the rest.
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Descriptors in one message; the kernel takes 253.
pub(super) const SOCKETS_MAX: usize = 64;

/// What is said, in the order in which it is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum Message {
    /// New to old: who I am.
    Hello { protocol: u32, version: String, pid: i32 },
    /// Old to new, at any time: it will not be, and why. The old one goes on.
    Refused { why: String },
    /// Old to new: who I am; `sockets` descriptors follow.
    Offer { version: String, pid: i32, sockets: usize },
    /// Old to new: what the descriptors beside this message are.
    Sockets { sockets: Vec<SocketLine> },
    /// New to old: everything but the state is ready.
    TakeState,
    /// Old to new: the state is closed here.
    StateIsFree,
    /// New to old: everything is ready.
    Ready,
    /// Old to new: accept connections.
    Go,
    /// New to old: I do.
    Serving,
    /// Old to new: then I finish what I have, and end.
    Over,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SocketLine {
    pub(super) role: Role,
    /// As configured: with port 0 it stays the same listener.
    pub(super) address: SocketAddr,
}

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    peer: Peer,
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// 0: in a namespace that cannot be seen from here.
    pub(super) pid: i32,
}

impl Channel {
    /// Connects to a node.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket(SocketFlags::CLOEXEC)?;
        net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Self::new(socket.into())
    }

    /// One that is connected. Blocks from now on. Must not be called on a runtime's thread.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        // tokio's is the one safe way to ask that also knows of a process in another namespace, which has
        // no number here.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _inside = runtime.enter();
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixStream::from_std(socket)?;
        let credentials = socket.peer_cred()?;
        let peer = Peer { uid: credentials.uid(), pid: credentials.pid().unwrap_or_default() };
        let socket = socket.into_std()?;
        socket.set_nonblocking(false)?;
        Ok(Self { socket: socket.into(), peer })
    }

    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn send(&self, message: &Message, within: Duration) -> Result<(), HandOverError> {
        self.send_with(message, &[], within)
    }

    /// At most [`SOCKETS_MAX`] descriptors.
    pub(super) fn send_with(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> Result<(), HandOverError> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::from)?;
        sockopt::set_socket_timeout(&self.socket, Timeout::Send, Some(within)).map_err(io::Error::from)?;
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message").into());
        }
        let sent = rustix::io::retry_on_intr(|| {
            net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)
        });
        sent.map(drop).map_err(HandOverError::from_errno)
    }

    pub(super) fn receive(&self, within: Duration) -> Result<Message, HandOverError> {
        self.receive_with(within).map(|(message, _)| message)
    }

    /// The next message and the descriptors beside it. A refusal becomes an error.
    pub(super) fn receive_with(&self, within: Duration) -> Result<(Message, Vec<OwnedFd>), HandOverError> {
        // The kernel takes zero for "for ever".
        let within = within.max(Duration::from_millis(1));
        sockopt::set_socket_timeout(&self.socket, Timeout::Recv, Some(within)).map_err(io::Error::from)?;
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut room);
        let received = rustix::io::retry_on_intr(|| {
            net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut beside,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .map_err(HandOverError::from_errno)?;
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Err(HandOverError::Gone);
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(HandOverError::NotUnderstood);
        }
        let bytes = bytes.get(..received.bytes).unwrap_or_default();
        match serde_json::from_slice(bytes).map_err(|_| HandOverError::NotUnderstood)? {
            Message::Refused { why } => Err(HandOverError::Refused { why }),
            message => Ok((message, descriptors)),
        }
    }

    /// The next message, which must be `want`.
    pub(super) fn expect(&self, want: &Message, within: Duration) -> Result<(), HandOverError> {
        if self.receive(within)? == *want { Ok(()) } else { Err(HandOverError::NotUnderstood) }
    }
}

/// The door that a running node keeps for its successor: `path`, for its own user only.
///
/// Made beside and moved into place, so that a leftover of a killed node, and the door of the node that is
/// being replaced, give way in one step.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    const BACKLOG: i32 = 8;
    let fresh = path.with_extension("new");
    drop(std::fs::remove_file(&fresh));
    let socket = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    net::bind(&socket, &SocketAddrUnix::new(&fresh)?)?;
    // Nobody can connect before `listen`: there is no moment with other permissions.
    std::fs::set_permissions(&fresh, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    net::listen(&socket, BACKLOG)?;
    std::fs::rename(&fresh, path)?;
    Ok(socket.into())
}

/// Whether sockets and state may pass between this process and one of `uid`.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}
