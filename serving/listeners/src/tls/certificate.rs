// SPDX-License-Identifier: Apache-2.0
//! Certificates from files.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What `cert ls` and the API show of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Names that clients may ask for.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    /// The file; empty for one made in memory.
    pub path: String,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateProblem {
    /// A file is not there (yet).
    #[error("`{path}` does not exist")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file cannot be read.
    #[error("failed to read `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's word.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("`{path}` holds no usable {what}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Certificate, private key.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// Certificate and key are of different pairs.
    #[error("the key in `{key_path}` does not belong to the certificate in `{cert_path}`")]
    Mismatch {
        /// Certificate.
        cert_path: String,
        /// Key.
        key_path: String,
    },
    /// It could not be made in memory.
    #[error("failed to make a certificate: {reason}")]
    Make {
        /// Why.
        reason: String,
    },
}

impl CertificateProblem {
    /// Whether waiting may mend it: the file may come.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// Reads chain and key, and checks that they belong together.
pub(super) fn read_pair(
    cert_path: &str,
    key_path: &str,
    ocsp_path: &str,
) -> Result<CertifiedKey, CertificateProblem> {
    let chain = read_chain(cert_path)?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(key_path)?).map_err(|error| CertificateProblem::Malformed {
            path: key_path.into(),
            what: "private key",
            reason: error.to_string(),
        })?;
    let signer = any_supported_type(&key).map_err(|error| CertificateProblem::Malformed {
        path: key_path.into(),
        what: "private key",
        reason: error.to_string(),
    })?;
    let mut pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => {
            return Err(CertificateProblem::Mismatch {
                cert_path: cert_path.into(),
                key_path: key_path.into(),
            });
        }
    }
    if !ocsp_path.is_empty() {
        pair.ocsp = Some(read(ocsp_path)?);
    }
    Ok(pair)
}

pub(super) fn read_chain(path: &str) -> Result<Vec<CertificateDer<'static>>, CertificateProblem> {
    let malformed =
        |reason: String| CertificateProblem::Malformed { path: path.into(), what: "certificate", reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(error.to_string()))?;
    if chain.is_empty() {
        return Err(malformed("no PEM block `CERTIFICATE`".to_owned()));
    }
    Ok(chain)
}

fn read(path: &str) -> Result<Vec<u8>, CertificateProblem> {
    fs::read(Path::new(path)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CertificateProblem::Missing { path: path.into() },
        _ => CertificateProblem::Read { path: path.into(), source },
    })
}

/// What a certificate says of itself.
pub(super) fn info(pair: &Arc<CertifiedKey>, path: &str) -> Result<CertificateInfo, CertificateProblem> {
    let malformed =
        |reason: String| CertificateProblem::Malformed { path: path.into(), what: "certificate", reason };
    let leaf = pair.cert.first().ok_or_else(|| malformed("empty chain".to_owned()))?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| malformed(error.to_string()))?;
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    if names.is_empty() {
        names.extend(
            certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned),
        );
    }
    Ok(CertificateInfo {
        names,
        issuer: certificate.issuer().to_string(),
        serial: certificate.raw_serial_as_string(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        path: path.to_owned(),
    })
}

/// The serial number of a DER certificate, as [`CertificateInfo`] shows it.
///
/// # Errors
/// When it is none.
pub fn serial_of(certificate: &CertificateDer<'_>) -> Result<String, CertificateProblem> {
    let parsed = X509Certificate::from_der(certificate).map_err(|error| CertificateProblem::Malformed {
        path: String::new(),
        what: "certificate",
        reason: error.to_string(),
    });
    parsed.map(|(_, certificate)| certificate.raw_serial_as_string())
}

fn address(bytes: &[u8]) -> Option<String> {
    use std::net::IpAddr;
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
        .map(|address| address.to_string())
}
