// SPDX-License-Identifier: Apache-2.0
//! The certificates in use, and the TLS configuration made from them; both swapped whole.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::ticketer::TicketRotator;
use tracing::warn;

use super::certificate::{CertificateInfo, CertificateProblem, info, read_chain, read_pair};
use crate::config::{TlsSection, TlsVersion};
use crate::metrics::ListenerMetrics;

/// Serves the newest [`ServerConfig`]; a reload replaces it for the handshakes that begin afterwards.
pub struct TlsStore {
    config: ArcSwap<ServerConfig>,
    certificates: ArcSwap<Certificates>,
    /// The files as they were when they were last read, whatever came of it.
    seen: ArcSwap<Vec<(String, Option<Stamp>)>>,
    in_memory: Option<Arc<CertifiedKey>>,
    ticketer: Mutex<(TicketScope, Arc<dyn ProducesTickets>)>,
    metrics: ListenerMetrics,
}

/// Why a `[tls]` section cannot be used; each with the key's path.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.iter().map(|(key, message)| format!("`{key}`: {message}")).collect::<Vec<_>>().join("\n"))]
pub struct TlsStoreError {
    /// Key and message.
    pub problems: Vec<(String, String)>,
}

/// The pairs by name.
#[derive(Debug, Default)]
struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
    infos: Vec<CertificateInfo>,
    /// Files that are not there yet, `key: path`.
    missing: Vec<Missing>,
}

/// A file that is not there (yet).
#[derive(Debug)]
struct Missing {
    key: String,
    path: String,
    /// The certificate of its pair.
    cert_path: String,
}

/// What a session ticket may be good for: who had to show what. Tickets of another scope are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TicketScope {
    client_ca: Vec<u8>,
    required: bool,
    rotation_secs: u32,
}

impl TicketScope {
    fn of(section: &TlsSection) -> Self {
        Self {
            // A file that cannot be read stops the reload elsewhere.
            client_ca: fs::read(&section.client_ca_path).unwrap_or_default(),
            required: section.client_cert_required,
            rotation_secs: u32::try_from(section.ticket_rotation_secs).unwrap_or(u32::MAX),
        }
    }

    fn ticketer(&self) -> Result<Arc<dyn ProducesTickets>, TlsStoreError> {
        let rotator = TicketRotator::new(self.rotation_secs, || {
            let inner = Ticketer::new().map_err(|_| rustls::crypto::GetRandomFailed)?;
            Ok(Box::new(OneKey(inner)) as Box<dyn ProducesTickets>)
        });
        Ok(Arc::new(rotator.map_err(|error| TlsStoreError::one("tls", error.to_string()))?))
    }
}

/// What is served, and which files are missing (key and path).
pub type Inspected = (Vec<CertificateInfo>, Vec<(String, String)>);

/// What changes when a file does: time, size, and the inode (a renamed file keeps its time).
type Stamp = (SystemTime, u64, u64);

impl TlsStore {
    /// Reads everything that `section` names. `in_memory` serves all names that nothing else does.
    ///
    /// Files that do not exist (yet) are no error: their names fail the handshake until they come (row A14).
    ///
    /// # Errors
    /// When a file is broken, a pair does not match, or the section contradicts itself.
    pub fn new(
        section: &TlsSection,
        in_memory: Option<Arc<CertifiedKey>>,
        metrics: ListenerMetrics,
    ) -> Result<Arc<Self>, TlsStoreError> {
        let seen = stamps(section);
        let (certificates, config) = Self::check(section, in_memory.as_ref())?;
        let scope = TicketScope::of(section);
        let ticketer = scope.ticketer()?;
        let store = Self {
            config: ArcSwap::from_pointee(config),
            certificates: ArcSwap::from_pointee(Certificates::default()),
            seen: ArcSwap::from_pointee(seen),
            in_memory,
            ticketer: Mutex::new((scope, ticketer)),
            metrics,
        };
        let store = Arc::new(store);
        store.install(certificates, section)?;
        Ok(store)
    }

    /// Reads everything again, after a change of `section` or of the files. On an error the old
    /// certificates go on serving.
    ///
    /// # Errors
    /// As [`TlsStore::new`].
    pub fn reload(self: &Arc<Self>, section: &TlsSection) -> Result<(), TlsStoreError> {
        // Noted before the files are read: what changes meanwhile is read again. Noted even if they are
        // refused: they are told once, not with every look.
        self.seen.store(Arc::new(stamps(section)));
        let (certificates, _) = Self::check(section, self.in_memory.as_ref())?;
        self.refuse_losses(&certificates)?;
        self.install(certificates, section)
    }

    /// Whether a file differs from what was read.
    pub fn files_changed(&self) -> bool {
        self.seen.load().iter().any(|(path, seen)| stamp(path) != *seen)
    }

    /// The configuration for the next handshake.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Whether any certificate can be served.
    pub fn has_certificate(&self) -> bool {
        let certificates = self.certificates.load();
        certificates.default.is_some() || !certificates.by_name.is_empty()
    }

    /// What is served.
    pub fn infos(&self) -> Vec<CertificateInfo> {
        self.certificates.load().infos.clone()
    }

    /// Checks a section without using it: for `validate`. Returns what is served and which files are missing.
    ///
    /// # Errors
    /// As [`TlsStore::new`].
    pub fn inspect(section: &TlsSection) -> Result<Inspected, TlsStoreError> {
        let (certificates, _) = Self::check(section, None)?;
        let missing = certificates.missing.into_iter().map(|missing| (missing.key, missing.path));
        Ok((certificates.infos, missing.collect()))
    }

    fn check(
        section: &TlsSection,
        in_memory: Option<&Arc<CertifiedKey>>,
    ) -> Result<(Certificates, ServerConfig), TlsStoreError> {
        let mut problems = Vec::new();
        let certificates = Certificates::read(section, in_memory, &mut problems);
        match server_config(section) {
            Ok(config) if problems.is_empty() => Ok((certificates, config)),
            Ok(_) => Err(TlsStoreError { problems }),
            Err((key, message)) => {
                problems.push((key, message));
                Err(TlsStoreError { problems })
            }
        }
    }

    /// A file that was served and is gone is as broken as a broken one: whoever renews by removing first
    /// must not be offline in between. Only what was never there is waited for.
    fn refuse_losses(&self, next: &Certificates) -> Result<(), TlsStoreError> {
        let served = self.certificates.load();
        let is_loss = |missing: &&Missing| served.infos.iter().any(|info| info.path == missing.cert_path);
        let problems: Vec<_> = next
            .missing
            .iter()
            .filter(is_loss)
            .map(|missing| (missing.key.clone(), format!("`{}` is gone", missing.path)))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(TlsStoreError { problems }) }
    }

    /// The key that tickets are encrypted with, a new one when an old ticket could bring in a client
    /// that a full handshake would not.
    fn ticketer(&self, section: &TlsSection) -> Result<Arc<dyn ProducesTickets>, TlsStoreError> {
        let scope = TicketScope::of(section);
        let mut current = self.ticketer.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != scope {
            *current = (scope.clone(), scope.ticketer()?);
        }
        Ok(Arc::clone(&current.1))
    }

    fn install(
        self: &Arc<Self>,
        certificates: Certificates,
        section: &TlsSection,
    ) -> Result<(), TlsStoreError> {
        let mut config =
            server_config(section).map_err(|(key, message)| TlsStoreError::one(&key, message))?;
        config.ticketer = self.ticketer(section)?;
        for Missing { key, path, .. } in &certificates.missing {
            warn!(
                key,
                path, "certificate file does not exist yet: handshakes for its names fail until it does"
            );
        }
        for info in &certificates.infos {
            let name = info.names.first().map_or("", String::as_str);
            self.metrics.certificate_expiry(name).set(info.not_after);
        }
        self.certificates.store(Arc::new(certificates));
        config.cert_resolver = Arc::new(Resolver(Arc::clone(self)));
        self.config.store(Arc::new(config));
        Ok(())
    }
}

impl fmt::Debug for TlsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStore").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl TlsStoreError {
    fn one(key: &str, message: String) -> Self {
        Self { problems: vec![(key.to_owned(), message)] }
    }
}

impl Certificates {
    fn read(
        section: &TlsSection,
        in_memory: Option<&Arc<CertifiedKey>>,
        problems: &mut Vec<(String, String)>,
    ) -> Self {
        let mut all = Self { default: in_memory.cloned(), ..Self::default() };
        if section.cert_path.is_empty() != section.key_path.is_empty() {
            problems.push(("tls.cert_path".into(), "`cert_path` and `key_path` belong together".into()));
        } else if !section.cert_path.is_empty() {
            let pair = all.pair(&section.cert_path, &section.key_path, "", "tls.cert_path", problems);
            all.default = pair.map(|(pair, _)| pair).or(all.default);
        }
        for (index, entry) in section.certificates.iter().enumerate() {
            let key = format!("tls.certificates[{index}]");
            if entry.cert_path.is_empty() || entry.key_path.is_empty() {
                problems.push((key, "needs `cert_path` and `key_path`".into()));
                continue;
            }
            let read = all.pair(&entry.cert_path, &entry.key_path, &entry.ocsp_path, &key, problems);
            let Some((pair, own_names)) = read else { continue };
            let names = if entry.names.is_empty() { own_names } else { entry.names.clone() };
            for name in names {
                all.by_name.insert(name.to_ascii_lowercase(), Arc::clone(&pair));
            }
        }
        if let Some(pair) = in_memory
            && all.default.as_ref().is_some_and(|default| Arc::ptr_eq(default, pair))
        {
            all.infos.extend(info(pair, "").ok());
        }
        all
    }

    fn pair(
        &mut self,
        cert_path: &str,
        key_path: &str,
        ocsp_path: &str,
        key: &str,
        problems: &mut Vec<(String, String)>,
    ) -> Option<(Arc<CertifiedKey>, Vec<String>)> {
        let read = read_pair(cert_path, key_path, ocsp_path).and_then(|pair| {
            let pair = Arc::new(pair);
            let info = info(&pair, cert_path)?;
            Ok((pair, info))
        });
        match read {
            Ok((pair, info)) => {
                let names = info.names.clone();
                self.infos.push(info);
                Some((pair, names))
            }
            Err(CertificateProblem::Missing { path }) => {
                let (key, cert_path) = (key.to_owned(), cert_path.to_owned());
                self.missing.push(Missing { key, path, cert_path });
                None
            }
            Err(problem) => {
                problems.push((key.to_owned(), problem.to_string()));
                None
            }
        }
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let exact = |name: &str| self.by_name.get(name);
        let wildcard = |name: &str| self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        name.and_then(|name| exact(name).or_else(|| wildcard(name))).or(self.default.as_ref()).cloned()
    }
}

struct Resolver(Arc<TlsStore>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = self.0.certificates.load().find(name.as_deref());
        if found.is_none() {
            self.0.metrics.tls_handshakes("no_certificate").inc();
        }
        found
    }
}

/// A ticketer as [`TicketRotator`] wants it: one key; the rotation is the rotator's.
#[derive(Debug)]
struct OneKey(Arc<dyn ProducesTickets>);

impl ProducesTickets for OneKey {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

fn server_config(section: &TlsSection) -> Result<ServerConfig, (String, String)> {
    let versions: &[&rustls::SupportedProtocolVersion] = match (section.min_version, section.max_version) {
        (TlsVersion::Tls12, TlsVersion::Tls12) => &[&rustls::version::TLS12],
        (TlsVersion::Tls13, TlsVersion::Tls13) => &[&rustls::version::TLS13],
        (TlsVersion::Tls12, TlsVersion::Tls13) => &[&rustls::version::TLS13, &rustls::version::TLS12],
        (TlsVersion::Tls13, TlsVersion::Tls12) => {
            return Err(("tls.min_version".into(), "is above `max_version`".into()));
        }
    };
    let provider = provider(section)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(|error| ("tls.cipher_suites".to_owned(), error.to_string()))?;
    let builder = if section.client_ca_path.is_empty() {
        if section.client_cert_required {
            return Err(("tls.client_cert_required".into(), "needs `client_ca_path`".into()));
        }
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_verifier(client_verifier(section)?)
    };
    let mut config = builder.with_cert_resolver(Arc::new(NoCertificate));
    for protocol in &section.alpn {
        if protocol != "h2" && protocol != "http/1.1" {
            return Err(("tls.alpn".into(), format!("`{protocol}` is not one of `h2`, `http/1.1`")));
        }
        config.alpn_protocols.push(protocol.clone().into_bytes());
    }
    config.send_tls13_tickets = 2;
    Ok(config)
}

fn client_verifier(
    section: &TlsSection,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, (String, String)> {
    let wrong = |message: String| ("tls.client_ca_path".to_owned(), message);
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(&section.client_ca_path).map_err(|problem| wrong(problem.to_string()))? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
    let builder = if section.client_cert_required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| wrong(error.to_string()))
}

fn provider(section: &TlsSection) -> Result<CryptoProvider, (String, String)> {
    let mut provider = aws_lc_rs::default_provider();
    if section.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let mut chosen = Vec::new();
    for name in &section.cipher_suites {
        let suite = provider.cipher_suites.iter().find(|suite| suite_names(suite).contains(name));
        let Some(suite) = suite else {
            let known: Vec<String> = provider
                .cipher_suites
                .iter()
                .filter_map(|suite| suite_names(suite).into_iter().next())
                .collect();
            return Err(("tls.cipher_suites".into(), format!("`{name}` is not one of {}", known.join(", "))));
        };
        chosen.push(*suite);
    }
    provider.cipher_suites = chosen;
    Ok(provider)
}

/// The IANA name, and the library's own.
fn suite_names(suite: &SupportedCipherSuite) -> [String; 2] {
    let own = format!("{:?}", suite.suite());
    [own.replacen("TLS13_", "TLS_", 1), own]
}

/// Stands in until [`TlsStore::install`] puts the store itself in its place.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Every file of a section as it is now.
fn stamps(section: &TlsSection) -> Vec<(String, Option<Stamp>)> {
    let own = [&section.cert_path, &section.key_path, &section.client_ca_path];
    let more =
        section.certificates.iter().flat_map(|entry| [&entry.cert_path, &entry.key_path, &entry.ocsp_path]);
    let paths = own.into_iter().chain(more).filter(|path| !path.is_empty());
    paths.map(|path| (path.clone(), stamp(path))).collect()
}

fn stamp(path: &str) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use sunbeam_metrics::Registry;

    use super::*;
    use crate::config::CertificateSection;
    use crate::tls::self_signed;

    struct Files(std::path::PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sunbeam-tls-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn pair(&self, stem: &str, names: &[&str]) -> (String, String) {
            let certified =
                rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>())
                    .unwrap();
            let (cert, key) = (self.0.join(format!("{stem}.crt")), self.0.join(format!("{stem}.key")));
            fs::write(&cert, certified.cert.pem()).unwrap();
            fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
            (cert.display().to_string(), key.display().to_string())
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn store(section: &TlsSection) -> Result<Arc<TlsStore>, TlsStoreError> {
        TlsStore::new(section, None, ListenerMetrics::register(&Registry::new()))
    }

    #[test]
    fn the_name_chooses_the_certificate() {
        let files = Files::new("names");
        let (cert_path, key_path) = files.pair("default", &["default.example"]);
        let (a, a_key) = files.pair("a", &["a.example", "*.w.example"]);
        let section = TlsSection {
            cert_path,
            key_path,
            certificates: vec![CertificateSection { cert_path: a, key_path: a_key, ..Default::default() }],
            ..Default::default()
        };
        let store = store(&section).unwrap();
        let certificates = store.certificates.load();
        let (first, default) =
            (certificates.find(Some("a.example")).unwrap(), certificates.find(None).unwrap());
        assert!(Arc::ptr_eq(&first, &certificates.find(Some("x.w.example")).unwrap()));
        assert!(!Arc::ptr_eq(&first, &default));
        assert!(Arc::ptr_eq(&default, &certificates.find(Some("x.y.w.example")).unwrap()));
    }

    #[test]
    fn a_missing_file_waits_and_a_broken_one_is_refused_while_the_old_serves() {
        let files = Files::new("reload");
        let path = |name: &str| files.0.join(name).display().to_string();
        let section = TlsSection { cert_path: path("d.crt"), key_path: path("d.key"), ..Default::default() };
        let store = store(&section).unwrap();
        assert!(!store.has_certificate());
        files.pair("d", &["one.example"]);
        assert!(store.files_changed());
        store.reload(&section).unwrap();
        assert!(store.has_certificate() && !store.files_changed());
        fs::write(path("d.crt"), "junk").unwrap();
        assert!(store.files_changed());
        let error = store.reload(&section).unwrap_err().to_string();
        assert!(error.contains("holds no usable certificate"), "{error}");
        assert_eq!(store.infos()[0].names, ["one.example"]);
        let (other, _) = files.pair("other", &["two.example"]);
        let mixed = TlsSection { cert_path: other, ..section };
        files.pair("d", &["one.example"]);
        let error = store.reload(&mixed).unwrap_err().to_string();
        assert!(error.contains("does not belong to the certificate"), "{error}");
    }

    #[test]
    fn a_file_that_was_served_and_is_gone_leaves_the_old_pair_in_use() {
        let files = Files::new("gone");
        let (cert_path, key_path) = files.pair("d", &["one.example"]);
        let section = TlsSection { cert_path: cert_path.clone(), key_path, ..Default::default() };
        let store = store(&section).unwrap();
        fs::remove_file(&cert_path).unwrap();
        assert!(store.files_changed());
        let error = store.reload(&section).unwrap_err().to_string();
        assert!(error.contains("is gone"), "{error}");
        assert!(store.has_certificate() && !store.files_changed());
        files.pair("d", &["two.example"]);
        store.reload(&section).unwrap();
        assert_eq!(store.infos()[0].names, ["two.example"]);
    }

    #[test]
    fn tickets_end_with_what_clients_had_to_show() {
        let files = Files::new("tickets");
        let (cert_path, key_path) = files.pair("d", &["one.example"]);
        let section = TlsSection { cert_path: cert_path.clone(), key_path, ..Default::default() };
        let store = store(&section).unwrap();
        let before = store.server_config().ticketer.encrypt(b"session").unwrap();
        store.reload(&section).unwrap();
        let reads = |ticket: &[u8]| store.server_config().ticketer.decrypt(ticket).is_some();
        assert!(reads(&before), "a reload alone keeps sessions");
        let strict = TlsSection { client_ca_path: cert_path, client_cert_required: true, ..section };
        store.reload(&strict).unwrap();
        assert!(!reads(&before), "a session without a certificate must not be resumed");
    }

    #[test]
    fn contradictions_and_unknown_names_are_refused() {
        let with = |change: fn(&mut TlsSection)| {
            let mut section = TlsSection::default();
            change(&mut section);
            store(&section).unwrap_err().to_string()
        };
        for (change, want) in [
            (
                (|s| (s.min_version, s.max_version) = (TlsVersion::Tls13, TlsVersion::Tls12))
                    as fn(&mut TlsSection),
                "`tls.min_version`: is above",
            ),
            (|s| s.cipher_suites = vec!["RC4".into()], "`tls.cipher_suites`: `RC4` is not one of TLS_AES"),
            (|s| s.alpn = vec!["h3".into()], "`tls.alpn`: `h3` is not one of"),
            (|s| s.client_cert_required = true, "`tls.client_cert_required`: needs"),
            (
                |s| s.client_ca_path = "/nonexistent".into(),
                "`tls.client_ca_path`: `/nonexistent` does not exist",
            ),
            (|s| s.cert_path = "/x".into(), "`tls.cert_path`: `cert_path` and `key_path` belong together"),
        ] {
            let told = with(change);
            assert!(told.contains(want), "{told}");
        }
    }

    #[test]
    fn a_certificate_made_in_memory_serves_every_name() {
        let pair = self_signed(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        let store =
            TlsStore::new(&TlsSection::default(), Some(pair), ListenerMetrics::register(&Registry::new()))
                .unwrap();
        assert!(store.has_certificate());
        assert_eq!(store.infos()[0].names, ["localhost", "127.0.0.1"]);
    }
}
