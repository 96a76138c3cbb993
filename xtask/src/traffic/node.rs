// SPDX-License-Identifier: Apache-2.0
//! The node that records: everything is judged as in shadow mode, nothing is refused.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sunbeam_testkit::{TestCa, free_address};

/// All of a run comes from one address, or from few: bounds on addresses would change the recording. The
/// scanner's layer stays off, because it asks DNS who a crawler is. Answers are not compressed: wapiti says
/// that it knows Brotli, does not, and would find no link.
const CONFIG: &str = r#"
[listen]
http = ["@LISTEN@"]
https = ["@HTTPS@"]
[tls]
cert_path = "@WORK@/certificate.pem"
key_path = "@WORK@/key.pem"
[telemetry]
metrics_port = 0
log_level = "error"
[management]
bind = ""
[state]
path = "@WORK@/state.redb"
[audit]
path = "@WORK@/audit.jsonl"
[limits]
max_connections_per_ip = 10000
new_connections_per_ip = 100000
max_concurrent_requests_per_ip = 10000
drain_secs = 1
[detection]
mode = "observe"
[scanner]
enabled = false
[rate_limit]
bypass_cidrs = []
[[routes]]
host = "*"
backend = "http://@BACKEND@"
disable_secure_redirection = true
compress = false
"#;

/// How long no line may come before a run counts as over.
const QUIET: Duration = Duration::from_millis(400);

/// Where reading stopped, and how many lines there were.
#[derive(Debug, Default)]
pub(super) struct Read {
    bytes: u64,
    pub(super) lines: u64,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    address: SocketAddr,
    https: SocketAddr,
    audit: PathBuf,
}

impl Node {
    pub(super) fn start(binary: &Path, work: &Path, backend: SocketAddr) -> Result<Self> {
        let (address, https) = (free_address(), free_address());
        let certificate = TestCa::new().issue(&["localhost", "127.0.0.1"]);
        fs::write(work.join("certificate.pem"), certificate.cert_pem)?;
        fs::write(work.join("key.pem"), certificate.key_pem)?;
        let config = work.join("config.toml");
        let text = CONFIG
            .replace("@LISTEN@", &address.to_string())
            .replace("@HTTPS@", &https.to_string())
            .replace("@BACKEND@", &backend.to_string())
            .replace("@WORK@", &work.display().to_string());
        fs::write(&config, text)?;
        let output = work.join("node.log");
        let log = File::create(&output)?;
        let child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| binary.display().to_string())?;
        let mut node = Self { child, address, https, audit: work.join("audit.jsonl") };
        node.wait(&output)?;
        Ok(node)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// HTTP/2 too.
    pub(super) fn https_url(&self) -> String {
        format!("https://{}", self.https)
    }

    /// Begins a new recording; the node appends, so the file may be cut under it.
    pub(super) fn forget(&self) -> Result<()> {
        self.quiet()?;
        match File::options().write(true).open(&self.audit) {
            Ok(file) => Ok(file.set_len(0)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies what was recorded once nothing more comes; the number of lines.
    pub(super) fn keep(&self, to: &Path) -> Result<u64> {
        let lines = self.quiet()?;
        fs::copy(&self.audit, to)?;
        Ok(lines)
    }

    /// Counts the lines that came since.
    pub(super) fn count(&self, read: &mut Read) -> Result<()> {
        let Ok(mut file) = File::open(&self.audit) else { return Ok(()) };
        file.seek(SeekFrom::Start(read.bytes))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        read.bytes += text.len() as u64;
        read.lines += text.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(())
    }

    /// Waits until the log rests, ten seconds at most; its lines.
    fn quiet(&self) -> Result<u64> {
        let mut read = Read::default();
        let begun = Instant::now();
        let mut since = Instant::now();
        while since.elapsed() < QUIET && begun.elapsed() < Duration::from_secs(10) {
            let before = read.lines;
            self.count(&mut read)?;
            if read.lines != before {
                since = Instant::now();
            }
            sleep(Duration::from_millis(50));
        }
        Ok(read.lines)
    }

    fn wait(&mut self, output: &Path) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if self.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(20) {
                bail!("the node did not start: {}", fs::read_to_string(output)?);
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has served its purpose, however it ends.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
