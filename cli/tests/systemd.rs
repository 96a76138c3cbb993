// SPDX-License-Identifier: Apache-2.0
//! What systemd passes and what it is told (row J15): a parent that speaks its protocol.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sunbeam_testkit::{TestFolder, TestUpstream, eventually, free_address};

use crate::program::{get, read_file, sunbeam, write_config};

/// Binds the addresses, puts them at descriptor 3 and on, and becomes the program, as systemd does.
const PARENT: &str = r#"
import os, socket, sys
program, addresses = sys.argv[1], [a for a in sys.argv[2].split(",") if a]
kept = []
for address in addresses:
    host, port = address.rsplit(":", 1)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port)))
    s.listen(64)
    kept.append(os.dup2(s.fileno(), 100 + len(kept), inheritable=True))
for i, fd in enumerate(kept):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(100, 110)
os.environ.update(LISTEN_FDS=str(len(kept)), LISTEN_PID=str(os.getpid()), WATCHDOG_PID=str(os.getpid()))
os.execv(program, [program] + sys.argv[3:])
"#;

struct Unit {
    child: Child,
    folder: TestFolder,
    notified: UnixDatagram,
    heard: Vec<String>,
}

impl Unit {
    fn start(folder: TestFolder, addresses: &[SocketAddr]) -> Self {
        let path = folder.join("notify");
        let notified = UnixDatagram::bind(&path).expect("bind the notification socket");
        notified.set_read_timeout(Some(Duration::from_millis(50))).expect("set a timeout");
        let log = std::fs::File::create(folder.join("log")).expect("make the log file");
        let environment: Vec<_> = sunbeam(&folder)
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
            .collect();
        let mut command = Command::new("python3");
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let child = command
            .args(["-c", PARENT, env!("CARGO_BIN_EXE_sunbeam"), &addresses.join(","), "serve", "--config"])
            .arg(folder.join("config.toml"))
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "1000000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the parent");
        Self { child, folder, notified, heard: Vec::new() }
    }

    /// Waits until the service manager is told something that begins so; what came before is dropped.
    fn hears(&mut self, begin: &str) -> String {
        eventually(&format!("{begin} is told"), || {
            let mut bytes = [0; 256];
            while let Ok(count) = self.notified.recv(&mut bytes) {
                self.heard.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
            let found = self.heard.iter().position(|told| told.starts_with(begin))?;
            self.heard.drain(..=found).next_back()
        })
    }

    fn signal(&self, pid: &str, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), pid]).status().expect("run kill").success());
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

fn config(folder: &TestFolder, http: SocketAddr, backend: &str) {
    write_config(
        folder,
        &format!(
            "[[routes]]\nhost = \"localhost\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n"
        ),
    );
    let path = folder.join("config.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let text = text.replacen("http = \"127.0.0.1:0\"", &format!("http = \"{http}\""), 1);
    std::fs::write(path, text).expect("write the configuration");
}

#[test]
fn a_service_takes_its_sockets_tells_what_it_does_and_is_upgraded() {
    let backend = TestUpstream::echo();
    let (folder, http) = (TestFolder::new(), free_address());
    config(&folder, http, &backend.url());
    let mut unit = Unit::start(folder, &[http]);
    // It waits in the socket since before the program runs.
    let early = std::thread::spawn(move || {
        let connected = eventually("the parent listens", || std::net::TcpStream::connect(http).ok());
        drop(connected);
        get(http, "/early")
    });
    unit.hears("READY=1");
    assert!(early.join().unwrap().ends_with("GET /early"));
    assert!(read_file(&unit.folder.join("log")).contains("listening sockets taken over"));
    unit.hears("WATCHDOG=1");
    let pid = unit.child.id().to_string();
    unit.signal(&pid, "HUP");
    assert!(unit.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    unit.hears("READY=1");
    unit.signal(&pid, "USR2");
    let successor = unit.hears("MAINPID=").replace("MAINPID=", "");
    assert!(get(http, "/after").ends_with("GET /after"));
    assert_eq!(eventually("the old process ends", || unit.child.try_wait().unwrap()).code(), Some(0));
    unit.hears("WATCHDOG=1");
    unit.signal(&successor, "TERM");
    unit.hears("STOPPING=1");
    eventually("the end", || std::net::TcpStream::connect(http).is_err().then_some(()));
}

#[test]
fn a_socket_that_nobody_wants_and_one_of_another_process() {
    let backend = TestUpstream::echo();
    let (folder, http, other) = (TestFolder::new(), free_address(), free_address());
    config(&folder, http, &backend.url());
    let mut unit = Unit::start(folder, &[http, other]);
    let code = eventually("it gives up", || unit.child.try_wait().unwrap()).code();
    let log = read_file(&unit.folder.join("log"));
    assert!(code == Some(1) && log.contains(&format!("passed a socket of {other}")), "{code:?} {log}");

    // The variables of somebody else's: everything is bound as usual.
    let mut command = sunbeam(&unit.folder);
    let log = std::fs::File::create(unit.folder.join("log")).unwrap();
    command.args(["serve", "--config"]).arg(unit.folder.join("config.toml")).stderr(log);
    unit.child = command.env("LISTEN_FDS", "2").env("LISTEN_PID", "1").spawn().unwrap();
    eventually("it serves", || read_file(&unit.folder.join("log")).contains("ready").then_some(()));
    assert!(get(http, "/x").ends_with("GET /x"));
}
