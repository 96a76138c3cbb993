// SPDX-License-Identifier: Apache-2.0
//! The certificate of `sunbeam up`: made in memory, never written.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::CertificateProblem;

/// How long a certificate made in memory is valid: browsers take no longer ones.
const VALID: time::Duration = time::Duration::days(397);

/// A fresh self-signed certificate for `names` (host names and addresses).
///
/// # Errors
/// When a name is none.
pub fn self_signed(names: &[String]) -> Result<Arc<CertifiedKey>, CertificateProblem> {
    let failed = |error: rcgen::Error| CertificateProblem::Make { reason: error.to_string() };
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    // A fresh one is made at each start; a day earlier, because clocks differ.
    let today = time::OffsetDateTime::now_utc();
    params.not_before = today - time::Duration::DAY;
    params.not_after = today + VALID;
    params.distinguished_name.push(DnType::CommonName, "sunbeam self-signed");
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let signer =
        any_supported_type(&key).map_err(|error| CertificateProblem::Make { reason: error.to_string() })?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)))
}
