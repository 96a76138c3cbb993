// SPDX-License-Identifier: Apache-2.0
//! What tests stand on: proxies on free ports (several in one process), backends that remember what
//! they were asked, certificates, a client, real peers as child processes.
//!
//! Everything is synchronous for the test; runtimes live inside. Nothing sleeps: [`eventually`] waits
//! for a condition with a deadline. A helper that fails panics with what it was doing: that is a test's
//! way of telling.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a failing helper fails the test that called it"
)]

mod ca;
mod client;
mod dns;
mod folder;
mod keys;
mod load;
mod otlp;
mod peers;
mod ports;
mod proxy;
mod raw;
pub mod raw_http2;
mod raw_upstream;
mod upstream;
mod wait;

pub use ca::{TestCa, TestCertificate};
pub use client::{TestClient, TestResponse};
pub use dns::{DnsBehaviour, TestDns};
pub use folder::TestFolder;
pub use keys::TestKey;
pub use load::{Load, LoadResult, LoadTarget};
pub use otlp::{OtlpReceiver, span_attribute};
pub use peers::{Peer, dev_folder, node, peers_folder, python, run, run_client};
pub use ports::free_address;
pub use proxy::{AuditTap, TestProxy, TestProxyBuilder};
pub use raw::{
    connect_from, exchange, exchange_tls, raw_exchange, raw_exchange_tls, served_serial, try_connect_from,
};
pub use raw_upstream::{RawConnection, RawUpstream};
pub use upstream::{Seen, TestUpstream};
pub use wait::{eventually, eventually_within};

/// Must run before anything uses TLS; any number of calls is fine.
pub fn install_crypto() {
    // The second call finds the first's provider, which is the same.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
