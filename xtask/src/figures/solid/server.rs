// SPDX-License-Identifier: Apache-2.0
//! The servers of a comparison: the backend, and each proxy, started from `benchmarks/peers`.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use regex::Regex;

use super::super::text_of;

/// The proxy under test has this one alone.
pub(in crate::figures) const PROXY_CORE: u32 = 0;
/// Backend and load generator share this one.
pub(in crate::figures) const LOAD_CORE: u32 = 1;

/// A command that may only use one core.
pub(in crate::figures) fn pinned(core: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}

/// How a proxy is started. Each runs as one process with one worker.
struct Product {
    name: &'static str,
    program: Program,
    version: &'static [&'static str],
    /// Its configuration in `benchmarks/peers`.
    config: &'static str,
    /// What stands in it for `@JUDGING@`.
    judging: &'static [&'static str],
    arguments: &'static [&'static str],
}

enum Program {
    /// What is measured.
    Ours,
    /// On the path: a Debian package.
    Installed(&'static str),
    /// From `benchmarks/requirements.txt`.
    Venv(&'static str),
}

pub(super) const OURS: &str = "Sunbeam";
/// The same with every layer off.
pub(super) const UNJUDGED: &str = "Sunbeam-unjudged";

/// Every layer as it is shipped but the WAF, which is off.
pub(super) const WITHOUT_WAF: &str = "Sunbeam-without-waf";
/// The same with the Core Rule Set, which lies (or a link to it) beside the server's folder as `crs`.
pub(super) const WITH_CORE_RULE_SET: &str = "Sunbeam-with-crs";
/// nginx with libmodsecurity, and the rules of `rules.conf` beside its folder.
pub(super) const NGINX_MODSECURITY: &str = "nginx-modsecurity";

/// All load comes from one address of the loopback network: it is not spared, and not refused.
const JUDGED: &str = "\
[ddos]
request_threshold = 0
error_threshold = 0
[rate_limit]
bypass_cidrs = []
[rate_limit.unauthenticated]
burst = 10000000
rate = 10000000
";

const NOT_JUDGED: &str = "\
[ddos]
enabled = false
[scanner]
enabled = false
[rate_limit]
enabled = false
";

const NO_WAF: &str = "[waf]\nenabled = false\n";
const CORE_RULE_SET: &str = "[waf]\nruleset = \"crs\"\ncrs_path = \"@WORK@/../crs\"\n";

const PRODUCTS: &[Product] = &[
    Product {
        name: OURS,
        program: Program::Ours,
        version: &["--version"],
        config: "sunbeam.toml",
        judging: &[JUDGED],
        arguments: &["serve", "--config", "@CONFIG@"],
    },
    Product {
        name: UNJUDGED,
        program: Program::Ours,
        version: &["--version"],
        config: "sunbeam.toml",
        judging: &[NOT_JUDGED],
        arguments: &["serve", "--config", "@CONFIG@"],
    },
    Product {
        name: "nginx",
        program: Program::Installed("nginx"),
        version: &["-v"],
        config: "nginx.conf",
        judging: &[],
        // Without -e nginx opens the log that it was compiled with first.
        arguments: &["-e", "@WORK@/error.log", "-p", "@WORK@", "-c", "@CONFIG@"],
    },
    Product {
        name: WITHOUT_WAF,
        program: Program::Ours,
        version: &["--version"],
        config: "sunbeam.toml",
        judging: &[JUDGED, NO_WAF],
        arguments: &["serve", "--config", "@CONFIG@"],
    },
    Product {
        name: WITH_CORE_RULE_SET,
        program: Program::Ours,
        version: &["--version"],
        config: "sunbeam.toml",
        judging: &[JUDGED, CORE_RULE_SET],
        arguments: &["serve", "--config", "@CONFIG@"],
    },
    Product {
        name: NGINX_MODSECURITY,
        program: Program::Installed("nginx"),
        version: &["-v"],
        config: "nginx.conf",
        judging: &["modsecurity on;\n", "modsecurity_rules_file @WORK@/../rules.conf;\n"],
        arguments: &[
            "-e",
            "@WORK@/error.log",
            "-p",
            "@WORK@",
            "-c",
            "@CONFIG@",
            "-g",
            "load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;",
        ],
    },
    Product {
        name: "HAProxy",
        program: Program::Installed("haproxy"),
        version: &["-v"],
        config: "haproxy.cfg",
        judging: &[],
        arguments: &["-db", "-f", "@CONFIG@"],
    },
    Product {
        name: "Envoy",
        program: Program::Venv("envoy"),
        version: &["--version"],
        config: "envoy.yaml",
        judging: &[],
        arguments: &[
            "--config-path",
            "@CONFIG@",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "200",
            "--log-level",
            "error",
        ],
    },
    Product {
        name: "Caddy",
        program: Program::Venv("caddy"),
        version: &["version"],
        config: "Caddyfile",
        judging: &[],
        arguments: &["run", "--config", "@CONFIG@", "--adapter", "caddyfile"],
    },
];

/// What all servers of a run share: the backend, the files, a certificate.
#[derive(Debug)]
pub(super) struct Site<'a> {
    root: &'a Path,
    work: &'a Path,
    binary: PathBuf,
    backend: u16,
    _backend: Process,
}

impl<'a> Site<'a> {
    /// Lays out `work` and starts the backend.
    pub(super) fn start(root: &'a Path, work: &'a Path, binary: PathBuf) -> Result<Self> {
        let files = work.join("files");
        fs::create_dir_all(&files)?;
        fs::write(files.join("1k.txt"), small_body())?;
        fs::write(files.join("1m.txt"), large_body())?;
        certificate(work)?;
        let backend = free_port()?;
        let folder = folder(work, "backend")?;
        let values = [
            ("WORK", folder.display().to_string()),
            ("FILES", files.display().to_string()),
            ("BACKEND", backend.to_string()),
            ("BODY", small_body()),
        ];
        let config = folder.join("backend.conf");
        fs::write(&config, filled(&template(root, "backend.conf")?, &values))?;
        let mut command = pinned(LOAD_CORE, "nginx");
        command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(&config);
        let mut process = Process::start(command, &folder.join("output"))?;
        process.wait_for(backend)?;
        Ok(Self { root, work, binary, backend, _backend: process })
    }

    /// What the backend or the file answers.
    pub(super) fn expected(&self, path: &str) -> Result<Vec<u8>> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let name = if path == "/" { "1k.txt" } else { path.trim_start_matches('/') };
        Ok(fs::read(self.work.join("files").join(name))?)
    }

    /// Starts a proxy by its name.
    pub(super) fn proxy(&self, name: &'static str) -> Result<Server> {
        let product = PRODUCTS.iter().find(|product| product.name == name).context("a known product")?;
        let program = match product.program {
            Program::Ours => self.binary.clone(),
            Program::Installed(name) => PathBuf::from(name),
            Program::Venv(name) => self.root.join(".dev/bench-venv/bin").join(name),
        };
        let version = version(&program, product.version).with_context(|| {
            format!("{name} is not here; `./dev setup bench` installs what the comparison needs")
        })?;
        let work = folder(self.work, name)?;
        let log = work.join("access.log");
        let (http, https) = (free_port()?, free_port()?);
        let values = [
            // It may name the others.
            ("JUDGING", product.judging.concat()),
            ("WORK", work.display().to_string()),
            ("FILES", self.work.join("files").display().to_string()),
            ("LOG", log.display().to_string()),
            ("CERTIFICATE", self.work.join("certificate.pem").display().to_string()),
            ("KEY", self.work.join("key.pem").display().to_string()),
            ("PEM", self.work.join("both.pem").display().to_string()),
            ("HTTP", http.to_string()),
            ("HTTPS", https.to_string()),
            ("BACKEND", self.backend.to_string()),
            ("CONFIG", work.join(product.config).display().to_string()),
        ];
        fs::write(work.join(product.config), filled(&template(self.root, product.config)?, &values))?;
        let mut command = pinned(PROXY_CORE, &program);
        command.args(product.arguments.iter().map(|argument| filled(argument, &values)));
        command.env("XDG_DATA_HOME", &work).env("XDG_CONFIG_HOME", &work);
        // HAProxy has no other log file than its standard output.
        let output = if name == "HAProxy" { log.clone() } else { work.join("output") };
        let mut process = Process::start(command, &output)?;
        process.wait_for(http)?;
        process.wait_for(https)?;
        Ok(Server { name, version, http, https, log, process })
    }
}

/// A proxy that runs.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) http: u16,
    pub(super) https: u16,
    log: PathBuf,
    process: Process,
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Name and version.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Empties the access log; every server here appends.
    pub(super) fn forget_log(&self) -> Result<()> {
        Ok(File::options().write(true).open(&self.log)?.set_len(0)?)
    }

    /// Waits until the log has at least `lines`, and says how many there are.
    pub(super) fn log_lines(&self, lines: u64) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let printed = text_of(pinned(LOAD_CORE, "wc").arg("-l").arg(&self.log))?;
            let found = printed.split(' ').next().unwrap_or_default().parse()?;
            if found >= lines {
                return Ok(found);
            }
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("{} wrote {found} lines of log for {lines} requests", self.name);
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// A child that ends with its owner.
#[derive(Debug)]
pub(in crate::figures) struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    pub(in crate::figures) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(in crate::figures) fn start(mut command: Command, output: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child, output: output.to_owned() })
    }

    pub(in crate::figures) fn wait_for(&mut self, port: u16) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.child.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(20) {
                bail!("a server did not start: {}", fs::read_to_string(&self.output)?);
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has served its purpose, however it ends.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn version(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("{program:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let found = Regex::new(r"\d+\.\d+\.\d+")?.find(&text).context("a version")?;
    Ok(found.as_str().to_owned())
}

/// ECDSA P-256, for all alike.
pub(super) fn certificate(work: &Path) -> Result<()> {
    let (certificate, key) = (work.join("certificate.pem"), work.join("key.pem"));
    text_of(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    Ok(fs::write(work.join("both.pem"), [fs::read(certificate)?, fs::read(key)?].concat())?)
}

/// 1 KiB
fn small_body() -> String {
    "0123456789abcdef".repeat(64)
}

/// 1 MiB in which no stretch repeats: bytes in the wrong place are seen.
fn large_body() -> String {
    (0..65_536).map(|line| format!("{line:015}\n")).collect()
}

fn folder(work: &Path, name: &str) -> Result<PathBuf> {
    let folder = work.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn template(root: &Path, name: &str) -> Result<String> {
    let path = root.join("benchmarks/peers").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// `@NAME@` becomes the value of NAME.
fn filled(text: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

pub(in crate::figures) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
