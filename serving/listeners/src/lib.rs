// SPDX-License-Identifier: Apache-2.0
//! Traffic comes in here: sockets, the connection guard, PROXY headers, TLS with its
//! reload, TCP passthrough.

mod accept;
mod address_table;
mod config;
mod guard;
mod metrics;
mod proxy_protocol;
mod sockets;
mod tcp_passthrough;
mod tls;

pub use accept::{ListenerChange, ListenerSet};
pub use address_table::AddressKey;
pub use config::{
    CertificateSection, LimitsSection, ListenAddress, ListenSection, SshSection, TlsSection, TlsVersion,
};
pub use guard::{ConnectionGuard, ConnectionPermit, HandshakePermit, reset};
pub use metrics::ListenerMetrics;
pub use proxy_protocol::{ProxyHeaderError, read_proxy_header};
pub use sockets::{BindError, ListenerKey, Scheme, bind, bind_beside, spread};
pub use tcp_passthrough::{Passthrough, PassthroughError};
pub use tls::{
    CertificateInfo, CertificateProblem, Inspected, TlsStore, TlsStoreError, self_signed, serial_of,
};
