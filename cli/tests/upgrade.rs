// SPDX-License-Identifier: Apache-2.0
//! `sunbeam serve --upgrade`: another process takes the node over, and nobody notices (rows A13, J01).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use sunbeam_testkit::{Load, LoadTarget, RawUpstream, TestCa, TestFolder, TestUpstream, eventually};

use crate::program::{Serving, get, listens, sunbeam, write_config_of};

/// A node on ports that its configuration leaves to the system, so that a successor that bound its own
/// would be somewhere else.
struct Upgrading {
    node: Serving,
    ca: TestCa,
    successors: Vec<Child>,
    failing: Option<Child>,
}

impl Upgrading {
    fn start(more: &str) -> Self {
        let (folder, ca) = (TestFolder::new(), TestCa::new());
        // The load is one client that connects hundreds of times a second.
        let limits = "[limits]\nnew_connections_per_ip = 100000\nmax_connections_per_ip = 100000\n";
        let more = more.strip_prefix("[limits]\n").unwrap_or(more);
        write_config_of(&folder, &ca, &format!("{limits}{more}"));
        Self { node: Serving::start_in(folder, &[]), ca, successors: Vec::new(), failing: None }
    }

    fn folder(&self) -> &TestFolder {
        &self.node.folder
    }

    fn config(&self) -> String {
        fs::read_to_string(self.folder().join("config.toml")).expect("the configuration")
    }

    /// Starts the next process and waits until it is ready. Its log is its own.
    fn upgrade(&mut self) {
        let number = self.successors.len() + 1;
        let mut child = self.spawn(number);
        eventually("the new process is ready", || {
            let ended = child.try_wait().expect("look after the process");
            assert!(
                ended.is_none(),
                "the new process ended: {}\nold: {}",
                self.log(number),
                self.log(number - 1)
            );
            self.log(number).contains("ready").then_some(())
        });
        self.successors.push(child);
    }

    fn spawn(&self, number: usize) -> Child {
        let log = fs::File::create(self.folder().join(&log_name(number))).expect("make the log file");
        let config = self.folder().join("config.toml");
        let mut command = sunbeam(self.folder());
        command.args(["serve", "--upgrade", "--config"]).arg(config).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("start sunbeam")
    }

    /// A new process that does not make it; its exit code and its log.
    fn fail(&self) -> (i32, String) {
        let mut child = self.spawn(99);
        let status =
            eventually("the new process gives up", || child.try_wait().expect("look after the process"));
        (status.code().unwrap_or(-1), self.log(99))
    }

    fn log(&self, number: usize) -> String {
        fs::read_to_string(self.folder().join(&log_name(number))).unwrap_or_default()
    }

    fn target(&self) -> LoadTarget {
        LoadTarget {
            http: self.node.http,
            https: self.node.https,
            roots: self.ca.roots(),
            host: "localhost".to_owned(),
        }
    }

    /// The process that serves, as the management API says.
    fn pid(&self) -> u32 {
        let (code, out, err) = self.node.ask(&["status", "-o", "json"]);
        assert_eq!(code, 0, "{out}{err}");
        let status: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        u32::try_from(status["pid"].as_u64().expect("a number")).expect("a process")
    }
}

impl Drop for Upgrading {
    fn drop(&mut self) {
        for child in self.successors.iter_mut().chain(&mut self.failing) {
            drop((child.kill(), child.wait()));
        }
    }
}

fn log_name(number: usize) -> String {
    if number == 0 { "log".to_owned() } else { format!("log.{number}") }
}

fn route(backend: &str) -> String {
    format!("[[routes]]\nhost = \"localhost\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n")
}

fn file_mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("the file").permissions().mode() & 0o777
}

fn some_more(load: &Load, count: u64) {
    let before = load.result().sent;
    eventually("some requests", || (load.result().sent >= before + count).then_some(()));
}

#[test]
fn two_upgrades_under_load_fail_no_request_and_the_old_processes_end() {
    let backend = TestUpstream::forgetful_echo();
    let mut node = Upgrading::start(&route(&backend.url()));
    assert_eq!(file_mode(&node.folder().join("state/upgrade.sock")), 0o600);
    let token = fs::read_to_string(node.folder().join("state/management.token")).unwrap();
    // Something for the history before.
    let config = node.config();
    fs::write(node.folder().join("config.toml"), format!("{config}\n# changed\n")).unwrap();
    assert_eq!(node.node.ask(&["reload"]).0, 0);
    let load = Load::start(&node.target(), 2);
    some_more(&load, 50);
    for number in 1..=2 {
        node.upgrade();
        let pid = node.successors.last().unwrap().id();
        assert_eq!(node.pid(), pid, "the node file and the API are the new process's");
        some_more(&load, 100);
        assert!(node.log(number).contains("taking over from the running node"), "{}", node.log(number));
        assert!(node.log(number).contains("listening sockets taken over"), "{}", node.log(number));
        // The old one has nothing left to do once idle connections are closed.
        let code = if number == 1 { node.node.wait() } else { wait(&mut node.successors[0]) };
        assert_eq!(code, 0, "{}", node.log(number - 1));
        assert_eq!(node.pid(), pid, "the old one took nothing away at its end");
        some_more(&load, 50);
    }
    let result = load.stop();
    assert_eq!((result.failed, result.told), (0, Vec::new()), "of {}", result.sent);
    assert!(result.closed > 0, "kept connections moved to the new process");
    let history = node.node.ask(&["rollback", "--list"]).1;
    assert!(history.contains("start") && history.contains("reload"), "{history}");
    assert_eq!(fs::read_to_string(node.folder().join("state/management.token")).unwrap(), token);
    // Every request of all three processes, each once, in whole lines.
    let audit = || fs::read_to_string(node.folder().join("audit.log")).unwrap();
    eventually("the last lines", || {
        let count = audit().lines().filter(|line| line.contains("\"/load\"")).count() as u64;
        (count == result.sent).then_some(())
    });
    let is_whole = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(audit().lines().all(is_whole));
}

fn wait(child: &mut Child) -> i32 {
    eventually("the process ends", || child.try_wait().expect("look after the process")).code().unwrap_or(-1)
}

#[test]
fn a_download_an_upload_and_half_a_head_finish_on_the_old_process() {
    let (asked, is_asked) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let gate = Mutex::new((asked, may_go));
    let backend = RawUpstream::start(move |connection| {
        while let Some(request) = connection.read_request() {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let target = head.split(' ').nth(1).unwrap();
            if target == "/slow" {
                let gate = gate.lock().unwrap();
                gate.0.send(()).unwrap();
                gate.1.recv().unwrap();
            }
            let text = format!("{target} {}", body.len());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            connection.write(answer.as_bytes());
        }
    });
    let mut node = Upgrading::start(&route(&backend.url()));
    let address = node.node.http;
    let slow = std::thread::spawn(move || get(address, "/slow"));
    is_asked.recv().unwrap();
    let mut half = TcpStream::connect(address).unwrap();
    half.write_all(b"GET /half HTTP/1.1\r\nHost: loc").unwrap();
    let mut upload = TcpStream::connect(address).unwrap();
    upload.write_all(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc").unwrap();
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET /one HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_until(&mut idle, "/one 0");
    let before = node.node.log().matches("draining").count();
    node.upgrade();
    // The new process serves a moment before the old one begins to drain.
    eventually("the old process drains", || {
        (node.node.log().matches("draining").count() > before).then_some(())
    });
    // A request on a connection that was idle when the drain began: answered, and told that it is the last.
    idle.write_all(b"GET /two HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let last = read_rest(&mut idle);
    assert!(last.ends_with("/two 0") && last.to_lowercase().contains("connection: close"), "{last}");
    upload.write_all(b"def").unwrap();
    assert!(read_until(&mut upload, "/up 6").starts_with("HTTP/1.1 200"));
    half.write_all(b"alhost\r\n\r\n").unwrap();
    assert!(read_rest(&mut half).ends_with("/half 0"));
    assert!(node.node.child.try_wait().unwrap().is_none(), "the old process has a request yet");
    assert!(get(address, "/new").ends_with("/new 0"));
    go.send(()).unwrap();
    assert!(slow.join().unwrap().ends_with("/slow 0"));
    assert_eq!(node.node.wait(), 0);
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.ends_with(end) {
        let count = stream.read(&mut bytes).expect("read");
        assert!(count > 0, "ended after {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

fn read_rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("read");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_new_process_that_fails_hangs_or_is_killed_leaves_the_old_one_as_it_was() {
    let backend = TestUpstream::forgetful_echo();
    let mut node = Upgrading::start(&route(&backend.url()));
    let (config, pid) = (node.config(), node.pid());
    let load = Load::start(&node.target(), 1);
    let path = node.folder().join("config.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    for (name, text, code, told) in [
        ("a key that is none", config.replace("[[routes]]", "[[routs]]"), 2, "did you mean `routes`?"),
        (
            // Found out when the state is the new process's already.
            "a port that is taken",
            config.replace("metrics_port = 0", &format!("metrics_port = {}", taken.port())),
            1,
            "another program listens there",
        ),
        ("no key", config.replace("server.key", "server.crt"), 2, "no usable private key"),
    ] {
        // The watch of the files must not find the broken one: it is put in place under another name.
        let other = node.folder().write("other.toml", &text);
        let output =
            sunbeam(node.folder()).args(["serve", "--upgrade", "--config"]).arg(other).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {log}");
        assert!(log.contains(told), "{name}: {log}");
        assert_eq!(node.pid(), pid, "{name}");
        let (code, history, err) = node.node.ask(&["rollback", "--list"]);
        assert!(code == 0 && history.contains("start"), "{name}: the state is back: {history}{err}");
    }
    // A pipe that nobody reads: opening it for the audit log hangs for ever.
    let pipe = node.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let hanging = config.replace(&format!("{:?}", node.folder().join("audit.log")), &format!("{pipe:?}"));
    let hanging_path = node.folder().write("hanging.toml", &hanging);
    let log = fs::File::create(node.folder().join("log.98")).unwrap();
    let hangs = sunbeam(node.folder())
        .args(["serve", "--upgrade", "--config"])
        .arg(hanging_path)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    node.failing = Some(hangs);
    eventually("it has the sockets", || node.log(98).contains("taking over").then_some(()));
    let (code, told) = node.fail();
    assert!(code == 1 && told.contains("another upgrade is under way"), "{code} {told}");
    // Nothing but the upgrade may change the node now.
    let (code, _, told) = node.node.ask(&["reload"]);
    assert!(code == 1 && told.contains("an upgrade is under way"), "{code} {told}");
    some_more(&load, 50);
    let mut hangs = node.failing.take().unwrap();
    hangs.kill().unwrap();
    hangs.wait().unwrap();
    eventually("the old process knows", || node.log(0).contains("an upgrade failed").then_some(()));
    assert_eq!(node.node.ask(&["reload"]).0, 0, "as if nothing had happened");
    // Somebody who connects and says nothing keeps nobody waiting.
    let silent = std::os::unix::net::UnixStream::connect(node.folder().join("state/upgrade.sock"));
    assert!(silent.is_err(), "the door speaks in whole messages, not in a stream");
    some_more(&load, 50);
    assert_eq!(node.pid(), pid);
    fs::write(&path, &config).unwrap();
    node.upgrade();
    assert_eq!(node.node.wait(), 0);
    let result = load.stop();
    assert_eq!((result.failed, result.told), (0, Vec::new()), "of {}", result.sent);
}

#[test]
fn other_addresses_come_and_go_with_the_new_configuration() {
    let backend = TestUpstream::echo();
    let mut node = Upgrading::start(&route(&backend.url()));
    let (plain, tls) = (node.node.http, node.node.https);
    let new = sunbeam_testkit::free_address();
    let config = node.config();
    // HTTPS goes, an address comes, plain HTTP stays where it is.
    let changed = config
        .replace("http = \"127.0.0.1:0\"", &format!("http = [\"127.0.0.1:0\", \"{new}\"]"))
        .replace("https = \"127.0.0.1:0\"", "https = []");
    // Not by a reload: the file changes when nobody looks at it any more.
    let other = node.folder().write("other.toml", &changed);
    let log = fs::File::create(node.folder().join(&log_name(1))).unwrap();
    let child = sunbeam(node.folder())
        .args(["serve", "--upgrade", "--config"])
        .arg(other)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    node.successors.push(child);
    assert_eq!(node.node.wait(), 0, "{}", node.log(1));
    for address in [plain, new] {
        assert!(get(address, "/x").ends_with("GET /x"), "{address}: {}", node.log(1));
    }
    assert!(!listens(tls), "nobody holds what nobody wants");
}

#[test]
fn another_user_gets_nothing() {
    let folder = TestFolder::new();
    if fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).unwrap() != 0 {
        // Only root can become somebody else; who is asked for is also tested without (in `hand_over`).
        return;
    }
    let program = folder.join("sunbeam");
    let built = env!("CARGO_BIN_EXE_sunbeam");
    fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
    let backend = TestUpstream::echo();
    let node = Upgrading::start(&route(&backend.url()));
    let door = node.folder().join("state/upgrade.sock");
    let ask = || {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["serve", "--upgrade", "--config"])
            .arg(node.folder().join("config.toml"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = ask();
    assert!(code == Some(4) && told.contains("the node's user only"), "{code:?} {told}");
    // Even where the file would let them: the node asks the kernel who it is.
    fs::set_permissions(&door, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let (code, told) = ask();
    assert!(code == Some(1) && told.contains("only the node's own user and root may"), "{code:?} {told}");
    assert!(node.log(0).contains("uid 65534 asked for the node's sockets"), "{}", node.log(0));
    assert!(get(node.node.http, "/x").ends_with("GET /x"));
}

#[test]
fn without_a_node_there_is_nothing_to_take_over_and_a_killed_one_starts_again() {
    let backend = TestUpstream::echo();
    let mut node = Upgrading::start(&route(&backend.url()));
    node.node.child.kill().unwrap();
    node.node.child.wait().unwrap();
    // Its door is still there, and nobody behind it.
    assert!(node.folder().join("state/upgrade.sock").exists());
    let (code, told) = node.fail();
    assert!(code == 3 && told.contains("no node runs with the state in"), "{code} {told}");
    let folder = std::mem::take(&mut node.node.folder);
    node.node = Serving::start_in(folder, &[]);
    assert!(get(node.node.http, "/again").ends_with("GET /again"));
    node.upgrade();
    assert_eq!(node.node.wait(), 0);
    let last = node.successors.last_mut().unwrap();
    assert!(Command::new("kill").args(["-TERM", &last.id().to_string()]).status().unwrap().success());
    assert_eq!(wait(last), 0);
    for name in ["upgrade.sock", "node.json"] {
        assert!(!node.folder().join("state").join(name).exists(), "{name}");
    }
}

#[test]
fn a_signal_starts_the_successor() {
    let backend = TestUpstream::echo();
    let mut node = Upgrading::start(&route(&backend.url()));
    let before = node.pid();
    node.node.signal("USR2");
    assert_eq!(node.node.wait(), 0, "{}", node.log(0));
    let pid = node.pid();
    assert_ne!(pid, before);
    assert!(get(node.node.http, "/x").ends_with("GET /x"));
    assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
    eventually("the successor ends", || (!listens(node.node.http)).then_some(()));
}

/// A WebSocket stays where it is until the drain's end; then it is closed, and the old process ends.
#[test]
fn a_tunnel_stays_with_the_old_process_until_the_drain_is_over() {
    let echo = RawUpstream::start(|connection| {
        if connection.read_request().is_some() {
            connection.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            while let Some(bytes) = connection.read_bytes() {
                connection.write(&bytes);
            }
        }
    });
    let mut node =
        Upgrading::start(&format!("[limits]\ndrain_secs = 4\n{}websocket = true\n", route(&echo.url())));
    let mut socket = TcpStream::connect(node.node.http).unwrap();
    socket
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut answer = [0; 1024];
    let count = socket.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    let audit = eventually("audit", || {
        fs::read_to_string(node.folder().join("audit.log"))
            .ok()
            .filter(|text| !text.is_empty() || answer.contains("101"))
    });
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer} {audit:?}");
    node.upgrade();
    for _ in 0..3 {
        socket.write_all(b"still there?").unwrap();
        read_until(&mut socket, "still there?");
    }
    assert_eq!(read_rest(&mut socket), "", "closed at the drain's end, not reset");
    assert_eq!(node.node.wait(), 0);
}

/// Who logged in at the old process is known to the new one.
#[test]
fn people_are_handed_over() {
    const PEOPLE: u64 = 30;
    // Without these it would be no person's request, and the scanner would doubt it.
    const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: de,en;q=0.5\r\n";
    let backend = TestUpstream::with(|seen| {
        let mut response = http::Response::new("welcome".into());
        if let Some((_, who)) = seen.target.split_once("/login?") {
            let cookie = format!("session=real-{who}; Path=/; HttpOnly").parse().unwrap();
            response.headers_mut().insert(http::header::SET_COOKIE, cookie);
        }
        response
    });
    let mut node = Upgrading::start(&route(&backend.url()));
    let config = node.config().replacen("[listen]\n", "[listen]\ntrusted_proxies = [\"127.0.0.1/32\"]\n", 1);
    let config = config.replacen("[audit]", "[rate_limit]\nlogin_cookies = [\"session\"]\n[audit]", 1);
    fs::write(node.folder().join("config.toml"), config).unwrap();
    assert_eq!(node.node.ask(&["reload"]).0, 0);
    let log_in = |node: &Upgrading, number: u64| {
        for (target, cookie) in [
            (format!("/login?{number}"), String::new()),
            ("/account".to_owned(), format!("Cookie: session=real-{number}\r\n")),
        ] {
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.18.{number}.7\r\n{BROWSER}{cookie}\
                 Connection: close\r\n\r\n"
            );
            let answer = sunbeam_testkit::raw_exchange(node.node.http, request.as_bytes());
            assert!(answer.ends_with("welcome"), "{answer}");
        }
    };
    (0..PEOPLE).for_each(|number| log_in(&node, number));
    let scanner = |node: &Upgrading| {
        let (code, out, err) = node.node.ask(&["-o", "json", "enforce", "--plan"]);
        assert_eq!(code, 0, "{out}{err}");
        let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let layers = told["layers"].as_array().or_else(|| told.as_array()).expect("layers");
        layers.iter().find(|layer| layer["layer"] == "scanner").expect("the scanner").clone()
    };
    // All of them came today for the first time.
    let people = |node: &Upgrading| scanner(node)["proof"]["newcomers"].as_u64();
    assert_eq!(people(&node), Some(PEOPLE), "{}", scanner(&node));
    node.upgrade();
    assert_eq!(node.node.wait(), 0, "{}", node.log(0));
    assert_eq!(people(&node), Some(PEOPLE), "{}", scanner(&node));
    // Who comes again is who came before, and not one more: hashes have the same key.
    log_in(&node, 3);
    assert_eq!(people(&node), Some(PEOPLE));
    log_in(&node, PEOPLE);
    assert_eq!(people(&node), Some(PEOPLE + 1));
    assert_eq!(file_mode(&node.folder().join("state/people.json")), 0o600);
}
