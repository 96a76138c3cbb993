// SPDX-License-Identifier: Apache-2.0
//! The side of the node that runs: it keeps a door for its successor, and gives only to its own user.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::channel::{self, Channel, Message, PROTOCOL, Peer, SOCKETS_MAX, SocketLine};
use super::{HandOverError, Role, STEP, door};

/// Who talk at the same time. Each has a thread; a real successor says who it is at once.
const TALKS_MAX: usize = 4;

/// How long a process that was refused may take to hang up.
const LINGER: Duration = Duration::from_secs(1);

/// How long each step of the other process may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Who it is.
    pub(crate) hello: Duration,
    /// Certificates, audit log, threads: what it does before it wants the state.
    pub(crate) prepare: Duration,
    /// State, new sockets; the state is closed here meanwhile.
    pub(crate) ready: Duration,
    /// The first accept.
    pub(crate) serving: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(3),
            prepare: Duration::from_secs(60),
            ready: Duration::from_secs(15),
            serving: STEP,
        }
    }
}

/// What is given away: the node behind the door.
pub(crate) trait Giver: Send + Sync + 'static {
    /// From now on nothing else changes the node. `Err`: why it cannot be now.
    fn begin(&self) -> Result<Vec<(Role, std::net::SocketAddr, TcpListener)>, String>;
    /// Closes the state.
    fn lend_state(&self);
    /// Connections may go to both processes from now on.
    fn share(&self);
    /// It did not come to pass: everything as before `begin`.
    fn take_back(&self);
    /// The process `pid` serves.
    fn give_up(&self, pid: i32);
}

/// The open door. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Giving {
    task: JoinHandle<()>,
    path: PathBuf,
}

impl Giving {
    /// Opens the door beside the state. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the socket cannot be made, above all because the folder's path is longer than some 90 bytes.
    pub(crate) fn open<G: Giver>(folder: &Path, giver: &Arc<G>, deadlines: Deadlines) -> io::Result<Self> {
        let path = door(folder);
        let socket = UnixListener::from_std(channel::listen(&path)?)?;
        let giver = Arc::clone(giver);
        Ok(Self { task: tokio::spawn(answer(socket, giver, deadlines)), path })
    }

    /// Takes the door away; after a hand-over it is the successor's.
    pub(crate) fn remove(&self) {
        drop(std::fs::remove_file(&self.path));
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer<G: Giver>(socket: UnixListener, giver: Arc<G>, deadlines: Deadlines) {
    /// Wait after a refused accept: without descriptors it would be refused again at once.
    const PAUSE: Duration = Duration::from_millis(200);
    let talks = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = socket.accept().await.and_then(|(stream, _)| stream.into_std());
        match accepted {
            Ok(stream) if talks.load(Ordering::Relaxed) < TALKS_MAX => {
                talk(stream, &giver, &talks, deadlines)
            }
            Ok(_) => warn!("too many processes ask for an upgrade at once: one was turned away"),
            Err(error) => {
                warn!(%error, "failed to accept a process that asks for an upgrade");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// On a thread of its own: a silent process keeps nobody waiting but itself.
fn talk<G: Giver>(stream: UnixStream, giver: &Arc<G>, talks: &Arc<AtomicUsize>, deadlines: Deadlines) {
    let (giver, counter) = (Arc::clone(giver), Arc::clone(talks));
    talks.fetch_add(1, Ordering::Relaxed);
    let started = std::thread::Builder::new().name("hand-over".to_owned()).spawn(move || {
        match Channel::new(stream) {
            Ok(channel) => answer_one(&channel, &*giver, deadlines),
            Err(error) => warn!(%error, "an upgrade was asked for by nobody knows whom"),
        }
        counter.fetch_sub(1, Ordering::Relaxed);
    });
    if let Err(error) = started {
        talks.fetch_sub(1, Ordering::Relaxed);
        warn!(%error, "failed to start a thread for an upgrade");
    }
}

fn answer_one(channel: &Channel, giver: &impl Giver, deadlines: Deadlines) {
    match give(channel, giver, deadlines) {
        Ok(pid) => info!(pid, "handed over"),
        Err(error) => {
            error!(error = %Told(&error), "an upgrade failed; this process goes on");
            if !matches!(error, HandOverError::Gone) {
                let refused = Message::Refused { why: Told(&error).to_string() };
                // Closed with something unread, the connection would lose the refusal: the other side closes.
                drop(channel.send(&refused, STEP).and_then(|()| channel.receive(LINGER)));
            }
        }
    }
}

/// The errors' words are the new process's; here they are about it.
struct Told<'a>(&'a HandOverError);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            HandOverError::OtherUser { uid } => {
                write!(f, "uid {uid} asked for the node's sockets: only the node's own user and root may")
            }
            HandOverError::Refused { why } => f.write_str(why),
            HandOverError::NotUnderstood => f.write_str("the new process speaks another version"),
            other => other.fmt(f),
        }
    }
}

/// The whole conversation. Returns the process that serves now.
pub(super) fn give(
    channel: &Channel,
    giver: &impl Giver,
    deadlines: Deadlines,
) -> Result<i32, HandOverError> {
    let peer = channel.peer();
    if !channel::is_trusted(peer.uid) {
        return Err(HandOverError::OtherUser { uid: peer.uid });
    }
    let Message::Hello { protocol, version, pid } = channel.receive(deadlines.hello)? else {
        return Err(HandOverError::NotUnderstood);
    };
    if protocol != PROTOCOL {
        let why = format!(
            "version {} hands over by protocol {PROTOCOL}, version {version} by {protocol}: stop the one and start the other",
            env!("CARGO_PKG_VERSION")
        );
        return Err(HandOverError::Refused { why });
    }
    info!(pid, version, "a new process asks to take over");
    let sockets = giver.begin().map_err(|why| HandOverError::Refused { why })?;
    let begun = Begun { giver, is_over: false };
    offer(channel, &sockets)?;
    drop(sockets);
    channel.expect(&Message::TakeState, deadlines.prepare)?;
    giver.lend_state();
    channel.send(&Message::StateIsFree, STEP)?;
    if let Err(error) = channel.expect(&Message::Ready, deadlines.ready) {
        if matches!(error, HandOverError::Silent) {
            end(peer, pid);
        }
        return Err(error);
    }
    giver.share();
    channel.send(&Message::Go, STEP)?;
    channel.expect(&Message::Serving, deadlines.serving)?;
    begun.over(pid);
    // It serves already; should it have died since, there is nobody to tell.
    drop(channel.send(&Message::Over, STEP));
    Ok(pid)
}

/// Takes everything back unless it came to an end.
struct Begun<'a, G: Giver> {
    giver: &'a G,
    is_over: bool,
}

impl<G: Giver> Begun<'_, G> {
    fn over(mut self, pid: i32) {
        self.is_over = true;
        self.giver.give_up(pid);
    }
}

impl<G: Giver> Drop for Begun<'_, G> {
    fn drop(&mut self) {
        if !self.is_over {
            self.giver.take_back();
        }
    }
}

fn offer(
    channel: &Channel,
    sockets: &[(Role, std::net::SocketAddr, TcpListener)],
) -> Result<(), HandOverError> {
    let offer = Message::Offer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
        sockets: sockets.len(),
    };
    channel.send(&offer, STEP)?;
    for some in sockets.chunks(SOCKETS_MAX) {
        let lines = some.iter().map(|(role, address, _)| SocketLine { role: *role, address: *address });
        let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(|(_, _, socket)| socket.as_fd()).collect();
        channel.send_with(&Message::Sockets { sockets: lines.collect() }, &descriptors, STEP)?;
    }
    Ok(())
}

/// A process that hangs with the state open would keep this node from its own state for ever.
fn end(peer: Peer, told: i32) {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    // In another namespace the number would mean somebody else.
    if peer.pid != told || told == own {
        return;
    }
    if let Some(pid) = rustix::process::Pid::from_raw(told) {
        warn!(pid = told, "the new process hangs and holds the state: ending it");
        if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            warn!(%error, "failed to end it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::thread;

    use super::super::HandOver;
    use super::*;

    /// A node that notes what is asked of it.
    #[derive(Default)]
    struct Noting {
        calls: Mutex<Vec<String>>,
        refuses: Option<&'static str>,
        sockets: usize,
    }

    impl Noting {
        fn note(&self, call: impl Into<String>) {
            self.calls.lock().unwrap().push(call.into());
        }

        fn calls(&self) -> Vec<String> {
            self.calls.lock().unwrap().clone()
        }
    }

    impl Giver for Noting {
        fn begin(&self) -> Result<Vec<(Role, SocketAddr, TcpListener)>, String> {
            if let Some(why) = self.refuses {
                return Err(why.to_owned());
            }
            self.note("begin");
            let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
            Ok((0..self.sockets).map(|_| (Role::Http, any, TcpListener::bind(any).unwrap())).collect())
        }

        fn lend_state(&self) {
            self.note("lend");
        }

        fn share(&self) {
            self.note("share");
        }

        fn take_back(&self) {
            self.note("take back");
        }

        fn give_up(&self, pid: i32) {
            self.note(format!("give up {pid}"));
        }
    }

    fn short() -> Deadlines {
        let most = Duration::from_millis(300);
        Deadlines { hello: most, prepare: most, ready: most, serving: most }
    }

    fn pair() -> (Channel, Channel) {
        let (one, two) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (Channel::new(one.into()).unwrap(), Channel::new(two.into()).unwrap())
    }

    /// What the node was asked, and what came of it, when the other side does `other`.
    fn with(
        giver: Noting,
        deadlines: Deadlines,
        other: impl FnOnce(Channel) + Send + 'static,
    ) -> (Vec<String>, Result<i32, HandOverError>) {
        let (ours, theirs) = pair();
        let other = thread::spawn(move || other(theirs));
        let result = give(&ours, &giver, deadlines);
        drop(ours);
        other.join().unwrap();
        (giver.calls(), result)
    }

    #[test]
    fn hundreds_of_sockets_pass_and_are_the_same() {
        let giver = Noting { sockets: 3 * SOCKETS_MAX + 1, ..Noting::default() };
        let (calls, result) = with(giver, Deadlines::default(), |channel| {
            let mut taken = HandOver::over(channel).unwrap();
            let sockets = taken.inherited.take(Role::Http, "127.0.0.1:0".parse().unwrap());
            assert_eq!(sockets.len(), 3 * SOCKETS_MAX + 1);
            let ports: std::collections::BTreeSet<u16> =
                sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
            assert_eq!(ports.len(), sockets.len());
            taken.take_state().unwrap();
            taken.ready().unwrap();
            taken.serving().unwrap();
        });
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(result.unwrap(), own);
        assert_eq!(calls, ["begin", "lend", "share", &format!("give up {own}")]);
    }

    #[test]
    fn whoever_is_silent_or_ends_at_any_step_leaves_the_node_as_it_was() {
        type Other = fn(Channel);
        let cases: [(&str, Other, &[&str]); 8] = [
            ("silent at once", |channel| drop(channel.receive(Duration::from_secs(10))), &[]),
            ("gone at once", drop, &[]),
            (
                "gone with the sockets",
                |channel| drop(HandOver::over(channel).unwrap()),
                &["begin", "take back"],
            ),
            (
                "silent with the sockets",
                |channel| {
                    let taken = HandOver::over(channel).unwrap();
                    drop(taken.channel.receive(Duration::from_secs(10)));
                },
                &["begin", "take back"],
            ),
            (
                "gone with the state",
                |channel| HandOver::over(channel).unwrap().take_state().unwrap(),
                &["begin", "lend", "take back"],
            ),
            (
                "silent with the state",
                |channel| {
                    let taken = HandOver::over(channel).unwrap();
                    taken.take_state().unwrap();
                    drop(taken.channel.receive(Duration::from_secs(10)));
                },
                &["begin", "lend", "take back"],
            ),
            (
                "silent before it serves",
                |channel| {
                    let taken = HandOver::over(channel).unwrap();
                    taken.take_state().unwrap();
                    taken.ready().unwrap();
                    drop(taken.channel.receive(Duration::from_secs(10)));
                },
                &["begin", "lend", "share", "take back"],
            ),
            (
                "in another order",
                |channel| {
                    let taken = HandOver::over(channel).unwrap();
                    assert!(taken.ready().is_err());
                },
                &["begin", "take back"],
            ),
        ];
        for (name, other, want) in cases {
            let (calls, result) = with(Noting { sockets: 1, ..Noting::default() }, short(), other);
            assert!(result.is_err(), "{name}");
            assert_eq!(calls, want, "{name}");
        }
    }

    #[test]
    fn another_version_and_a_busy_node_say_so() {
        let (calls, result) = with(Noting::default(), short(), |channel| {
            let hello = Message::Hello { protocol: 2, version: "9.9".to_owned(), pid: 1 };
            channel.send(&hello, STEP).unwrap();
        });
        let told = result.unwrap_err().to_string();
        assert!(told.contains("9.9") && calls.is_empty(), "{told}");
        let busy = Noting { refuses: Some("another upgrade is under way"), ..Noting::default() };
        let (ours, theirs) = pair();
        let other = thread::spawn(move || HandOver::over(theirs).unwrap_err().to_string());
        answer_one(&ours, &busy, short());
        assert_eq!(other.join().unwrap(), "the running node refuses: another upgrade is under way");
    }

    #[test]
    fn only_root_and_the_own_user_are_trusted() {
        let own = rustix::process::geteuid().as_raw();
        assert!(channel::is_trusted(own) && channel::is_trusted(0));
        assert!(!channel::is_trusted(own.wrapping_add(4711)));
    }
}
