// SPDX-License-Identifier: Apache-2.0
//! A whole node on free ports, in this process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::Value;
use sunbeam_config::{ConfigFiles, load};
use sunbeam_listeners::Scheme;
use sunbeam_proxy::{Config, Inherit, Node, NodeOptions, StartError};
use sunbeam_traffic::AuditRecord;

use crate::ca::{TestCa, TestCertificate};
use crate::client::{TestClient, TestResponse};
use crate::folder::TestFolder;
use crate::wait::eventually;

/// Names that the test certificate covers.
const NAMES: [&str; 5] = ["localhost", "*.example.test", "example.test", "*.other.test", "127.0.0.1"];

/// A running node with everything it wrote.
#[derive(Debug)]
pub struct TestProxy {
    node: Option<Node>,
    folder: TestFolder,
    ca: TestCa,
    certificate: TestCertificate,
}

/// What the node is started with.
#[derive(Debug)]
pub struct TestProxyBuilder {
    text: String,
    threads: usize,
    folder: TestFolder,
}

impl TestProxy {
    /// Free ports on 127.0.0.1, a certificate for `*.example.test`, audit log and state in a temporary
    /// folder, no metrics port. All of a test comes from one address, so the limits of addresses are wide.
    pub fn builder() -> TestProxyBuilder {
        crate::install_crypto();
        TestProxyBuilder { text: String::new(), threads: 1, folder: TestFolder::new() }
    }

    /// A proxy with this configuration on top of the builder's.
    pub fn start(text: &str) -> Self {
        Self::builder().config(text).start()
    }

    /// A client that trusts this proxy's certificate.
    pub fn client(&self) -> TestClient {
        TestClient::new(self.http(), self.https(), self.ca.roots())
    }

    /// The plain listener (or the HTTPS one, where there is none).
    pub fn http(&self) -> SocketAddr {
        self.address(Scheme::Http).or_else(|| self.address(Scheme::Https)).expect("a listener")
    }

    /// The HTTPS listener (or the plain one, where there is none).
    pub fn https(&self) -> SocketAddr {
        self.address(Scheme::Https).or_else(|| self.address(Scheme::Http)).expect("a listener")
    }

    /// The node itself.
    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("the node runs")
    }

    /// The temporary folder.
    pub const fn folder(&self) -> &TestFolder {
        &self.folder
    }

    /// The authority that issued its certificate.
    pub const fn ca(&self) -> &TestCa {
        &self.ca
    }

    /// The certificate that it started with.
    pub const fn certificate(&self) -> &TestCertificate {
        &self.certificate
    }

    /// The root as a file, for `curl --cacert`.
    pub fn ca_path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// `curl` that trusts it, with every https:// name leading to its HTTPS listener.
    pub fn curl(&self) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--cacert"]).arg(self.ca_path());
        command.args(["--connect-to", &format!("::{}", self.https())]);
        command
    }

    /// A rustls configuration that trusts it.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.ca.client_config()
    }

    /// The file that the builder's `config` text went to; a change of it is a reload.
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("config.test.toml")
    }

    /// Replaces that text, whole; the node sees it within seconds.
    pub fn write_config(&self, text: &str) {
        let fresh = self.folder.write("config.test.toml.new", text);
        fs::rename(fresh, self.config_path()).expect("replace the configuration");
    }

    /// Replaces that text and reloads at once.
    ///
    /// # Errors
    /// Why the reload was refused.
    pub fn reload(&self, text: &str) -> Result<sunbeam_proxy::ReloadReport, sunbeam_proxy::ReloadError> {
        self.write_config(text);
        self.node().reload()
    }

    /// What the audit log holds.
    pub fn audit(&self) -> AuditTap {
        AuditTap { path: self.folder.join("audit.log") }
    }

    /// The sum of a metric's series that hold the labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.node().registry().sum(name, labels)
    }

    /// Asks the management API, with its token.
    pub fn api(&self, method: &str, target: &str, body: &str) -> TestResponse {
        let address = self.node().management_address().expect("a management API");
        let token = self.node().token_path().map(|path| fs::read_to_string(path).expect("the token's file"));
        let mut client = TestClient::new(address, address, self.ca.roots()).plain().method(method);
        if let Some(token) = token {
            client = client.header("authorization", &format!("Bearer {}", token.trim()));
        }
        client.body(body.to_owned()).get(&address.to_string(), target)
    }

    /// Asks the management API without a token.
    pub fn api_client(&self) -> TestClient {
        self.client_to(self.node().management_address().expect("a management API"))
    }

    /// A client for another plain listener of the node: one more port, the metrics.
    pub fn client_to(&self, address: SocketAddr) -> TestClient {
        TestClient::new(address, address, self.ca.roots()).plain()
    }

    /// Drains the node; the folder stays until the proxy is dropped.
    pub fn drain(&mut self) {
        if let Some(node) = self.node.take() {
            node.drain();
        }
    }

    fn address(&self, scheme: Scheme) -> Option<SocketAddr> {
        self.node().listeners().into_iter().find(|(found, _)| *found == scheme).map(|(_, address)| address)
    }
}

impl TestProxyBuilder {
    /// Adds configuration; it is laid over the base.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self.text.push('\n');
        self
    }

    /// Adds a route by host prefix.
    #[must_use]
    pub fn route(self, prefix: &str, backend: &str) -> Self {
        self.config(&format!("[[routes]]\nhost_prefix = \"{prefix}\"\nbackend = \"{backend}\""))
    }

    /// Threads that serve; one by default.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The folder that the node will have, to put files in first.
    pub const fn folder(&self) -> &TestFolder {
        &self.folder
    }

    /// Starts the node.
    pub fn start(self) -> TestProxy {
        self.try_start().unwrap_or_else(|error| panic!("the node did not start: {error}"))
    }

    /// As [`TestProxyBuilder::start`]; a configuration that does not load still panics.
    ///
    /// # Errors
    /// Why the node did not start.
    pub fn try_start(self) -> Result<TestProxy, StartError> {
        let ca = TestCa::new();
        ca.write_root(&self.folder);
        let certificate = ca.issue(&NAMES);
        let (cert_path, key_path) = certificate.write(&self.folder, "server");
        let path = self.folder.write("config.toml", base(&self.folder, &cert_path, &key_path));
        self.folder.write("config.test.toml", &self.text);
        let files = ConfigFiles { path, profile: Some("test".to_owned()) };
        let loaded = load(&files, Config::check).unwrap_or_else(|error| panic!("{error}"));
        let options = NodeOptions {
            files: Some(files),
            loaded,
            threads: self.threads,
            certificate: None,
            on_change: None,
            inherit: Inherit::Nothing,
            operator: None,
        };
        Ok(TestProxy { node: Some(Node::start(options)?), folder: self.folder, ca, certificate })
    }
}

fn base(folder: &TestFolder, cert_path: &Path, key_path: &Path) -> String {
    format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n\
         [tls]\ncert_path = {cert_path:?}\nkey_path = {key_path:?}\n\
         [telemetry]\nmetrics_port = 0\n[management]\nbind = \"127.0.0.1:0\"\n\
         [audit]\npath = {:?}\n[state]\npath = {:?}\n[limits]\ndrain_secs = 5\n\
         max_connections_per_ip = 100000\nnew_connections_per_ip = 100000\nmax_tls_handshakes = 100000\n",
        folder.join("audit.log"),
        folder.join("state.redb"),
    )
}

/// Reads the audit log.
#[derive(Debug)]
pub struct AuditTap {
    path: PathBuf,
}

impl AuditTap {
    /// Every record so far. A line that is none fails the test.
    pub fn records(&self) -> Vec<AuditRecord> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        whole
            .lines()
            .map(|line| AuditRecord::read_line(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Every line so far, as JSON.
    pub fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a record that `matches`.
    pub fn wait_for(&self, what: &str, matches: impl Fn(&AuditRecord) -> bool) -> AuditRecord {
        eventually(&format!("an audit record: {what}"), || {
            self.records().into_iter().find(|record| matches(record))
        })
    }
}
