// SPDX-License-Identifier: Apache-2.0
//! TLS towards servers that the program fetches from: always verified.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::exit::CliError;
use crate::http1::TIMEOUT;
use crate::placed_file::{refused, shown};

/// Whom a client believes: who a root of this system vouches for, or one of the file `ca`.
///
/// # Errors
/// When there is no root at all.
pub(crate) fn connector(ca: Option<&Path>) -> Result<TlsConnector, CliError> {
    let roots = ca.map_or_else(system_roots, roots_of)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| CliError::failed(error.to_string()))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into())
}

/// Believes anybody: for a node that is known by something else, and is sent nothing that others may not read.
///
/// # Errors
/// When this system's cryptography does not start.
pub(crate) fn unverified() -> Result<TlsConnector, CliError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| CliError::failed(error.to_string()))?;
    let verifier = Arc::new(Anybody(provider));
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()).into())
}

fn system_roots() -> Result<RootCertStore, CliError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(CliError::failed("this system has no root certificates")
            .hint("install ca-certificates, or name a root with `--ca`"));
    }
    Ok(roots)
}

fn roots_of(path: &Path) -> Result<RootCertStore, CliError> {
    let pem = std::fs::read(path).map_err(|error| refused("read", path, &error))?;
    let wrong = |why: String| CliError::usage(format!("{} names no root: {why}", shown(path)));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no PEM block `CERTIFICATE`".to_owned()));
    }
    Ok(roots)
}

/// Speaks TLS to `host`, a name or an address.
///
/// # Errors
/// When it takes longer than [`TIMEOUT`], or the host is not who it says.
pub(crate) async fn greet(
    connector: &TlsConnector,
    host: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name);
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("TLS took longer than {TIMEOUT:?}"));
    let greeted = timeout(TIMEOUT, connector.connect(name, stream)).await.map_err(|_| late())?;
    greeted.map_err(|error| io::Error::new(error.kind(), reason(&error)))
}

/// What was wrong with a greeting, for people.
fn reason(error: &io::Error) -> String {
    use CertificateError::{BadSignature, UnknownIssuer};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match tls {
        // A root of the same name that did not sign it is no other case for whoever reads this.
        Some(TlsError::InvalidCertificate(UnknownIssuer | BadSignature)) => {
            "nobody known vouches for its certificate (`--ca FILE` names a root)".to_owned()
        }
        Some(TlsError::InvalidCertificate(why)) => format!("its certificate is not good: {why}"),
        Some(TlsError::InvalidMessage(_)) => "what answers there speaks no TLS".to_owned(),
        Some(other) => format!("TLS failed: {other}"),
        None => format!("TLS failed: {error}"),
    }
}

/// That the peer holds the key of its certificate is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn a_file_without_a_root_is_refused() {
        let folder = std::env::temp_dir().join(format!("sunbeam-https-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
        for (name, text, part) in [
            ("nothing", "", "no PEM block"),
            ("cut off", &empty[..40], "names no root"),
            ("no certificate", empty, "names no root"),
        ] {
            let path = folder.join("ca.pem");
            std::fs::write(&path, text).unwrap();
            let error = connector(Some(&path)).map(drop).unwrap_err();
            assert!(error.code == ExitCode::Usage && error.message.contains(part), "{name}: {error:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(connector(Some(&folder)).map(drop).unwrap_err().code, ExitCode::Usage);
    }
}
