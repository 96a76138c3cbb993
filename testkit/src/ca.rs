// SPDX-License-Identifier: Apache-2.0
//! A certificate authority for one test.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::folder::TestFolder;

/// Issues certificates that its own root verifies.
#[derive(Debug)]
pub struct TestCa {
    root: CertificateDer<'static>,
    root_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Clone, Debug)]
pub struct TestCertificate {
    /// Chain.
    pub cert_pem: String,
    /// Private key.
    pub key_pem: String,
    /// Serial number, hexadecimal with colons.
    pub serial: String,
}

impl TestCa {
    /// A new authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("CA parameters");
        params.distinguished_name.push(DnType::CommonName, "Sunbeam test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("CA key");
        let root = params.self_signed(&key).expect("CA certificate");
        Self { root: root.der().clone(), root_pem: root.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for servers and clients.
    pub fn issue(&self, names: &[&str]) -> TestCertificate {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("certificate parameters");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        let info = sunbeam_listeners::serial_of(certificate.der()).expect("serial");
        TestCertificate { cert_pem: certificate.pem(), key_pem: key.serialize_pem(), serial: info }
    }

    /// The root, for `curl --cacert`.
    pub fn write_root(&self, folder: &TestFolder) -> PathBuf {
        folder.write("ca.pem", &self.root_pem)
    }

    /// The root's private key, for `openssl ocsp`.
    pub fn write_root_key(&self, folder: &TestFolder) -> PathBuf {
        folder.write("ca.key", self.issuer.key().serialize_pem())
    }

    /// A rustls configuration that trusts what this authority issued.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::new(ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth())
    }

    /// The root, for a client in this process.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("the test root is well-formed");
        Arc::new(roots)
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl TestCertificate {
    /// Writes `NAME.crt` and `NAME.key`.
    pub fn write(&self, folder: &TestFolder, name: &str) -> (PathBuf, PathBuf) {
        (
            folder.write(&format!("{name}.crt"), &self.cert_pem),
            folder.write(&format!("{name}.key"), &self.key_pem),
        )
    }
}
