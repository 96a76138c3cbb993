// SPDX-License-Identifier: Apache-2.0
//! What became of an attack.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;

use serde::Serialize;

use crate::target::{Shape, Stream, Target};

/// Counts of all its connections.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Connections tried.
    pub(crate) tried: Cell<u64>,
    /// Those that came to stand: after the TLS handshake, where the kind makes one.
    pub(crate) connected: Cell<u64>,
    /// Those that did not.
    pub(crate) refused: Cell<u64>,
    /// Those that the server ended.
    pub(crate) closed_by_server: Cell<u64>,
    /// The most that stood at the same time.
    pub(crate) held_max: Cell<u64>,
    /// HTTP/2 frames sent.
    pub(crate) frames_sent: Cell<u64>,
    /// Other bytes sent.
    pub(crate) bytes_sent: Cell<u64>,
    /// GOAWAYs, by error code.
    pub(crate) goaways: RefCell<BTreeMap<u32, u64>>,
    /// RST_STREAM frames that came, by error code.
    pub(crate) resets: RefCell<BTreeMap<u32, u64>>,
    /// Answers by status (HTTP/1: those that were seen whole; HTTP/2: heads, under 0).
    pub(crate) answers: RefCell<BTreeMap<u16, u64>>,
    #[serde(skip)]
    held: Cell<u64>,
}

/// A connection counts as held until this goes.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a Report);

impl Report {
    pub(super) fn count(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }

    pub(super) fn add(counter: &Cell<u64>, count: usize) {
        counter.set(counter.get() + u64::try_from(count).unwrap_or(0));
    }

    pub(super) fn count_in<K: Ord>(counters: &RefCell<BTreeMap<K, u64>>, key: K) {
        *counters.borrow_mut().entry(key).or_default() += 1;
    }

    /// Counts what `connecting` comes to.
    pub(super) async fn connecting<T>(
        &self,
        connecting: impl Future<Output = io::Result<T>>,
    ) -> io::Result<(T, Held<'_>)> {
        Self::count(&self.tried);
        match connecting.await {
            Ok(stream) => {
                Self::count(&self.connected);
                self.held.set(self.held.get() + 1);
                self.held_max.set(self.held_max.get().max(self.held.get()));
                Ok((stream, Held(self)))
            }
            Err(error) => {
                Self::count(&self.refused);
                Err(error)
            }
        }
    }

    /// A connection as the target wants it, reset at its end.
    pub(super) async fn open(&self, target: &Target) -> io::Result<(Stream, Held<'_>)> {
        self.connecting(target.connect(RESET)).await
    }
}

pub(super) const RESET: Shape = Shape { receive_buffer: 0, reset_at_end: true };

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get().saturating_sub(1));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = Cell::get;
        writeln!(
            f,
            "connections: {} tried, {} made, {} refused, {} closed by the server, at most {} at once",
            number(&self.tried),
            number(&self.connected),
            number(&self.refused),
            number(&self.closed_by_server),
            number(&self.held_max)
        )?;
        writeln!(f, "sent: {} frames, {} other bytes", number(&self.frames_sent), number(&self.bytes_sent))?;
        write!(
            f,
            "GOAWAYs by code {:?}, resets by code {:?}, answers {:?}",
            self.goaways.borrow(),
            self.resets.borrow(),
            self.answers.borrow()
        )
    }
}
