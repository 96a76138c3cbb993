// SPDX-License-Identifier: Apache-2.0
//! Traffic comes in here: sockets, the connection guard, TLS with its reload, TCP passthrough.

mod accept;
mod config;
mod guard;
mod metrics;
mod sockets;
mod tcp_passthrough;
mod tls;

pub use accept::{ListenerChange, ListenerSet};
pub use config::{
    CertificateSection, LimitsSection, ListenAddress, ListenSection, SshSection, TlsSection, TlsVersion,
};
pub use guard::{ConnectionGuard, ConnectionPermit};
pub use metrics::ListenerMetrics;
pub use sockets::{BindError, ListenerKey, Scheme, bind, bind_beside, spread};
pub use tcp_passthrough::{Passthrough, PassthroughError};
pub use tls::{
    CertificateInfo, CertificateProblem, Inspected, TlsStore, TlsStoreError, self_signed, serial_of,
};
