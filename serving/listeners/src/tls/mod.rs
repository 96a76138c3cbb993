// SPDX-License-Identifier: Apache-2.0
//! TLS towards clients: which certificate for which name, and how files change under a running node.

mod certificate;
mod self_signed;
mod store;

pub use certificate::{CertificateInfo, CertificateProblem, serial_of};
pub use self_signed::self_signed;
pub use store::{Inspected, TlsStore, TlsStoreError};
