// SPDX-License-Identifier: Apache-2.0
//! What a service manager is told, and what it passes: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::exit::CliError;

/// The way to the service manager; none outside of one.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    notify: Option<(UnixDatagram, SocketAddr)>,
    /// How long it waits for a sign of life.
    pub(crate) watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let notify = variable("NOTIFY_SOCKET").and_then(|path| connect(path.as_bytes()));
        let watchdog = watchdog(text("WATCHDOG_USEC"), text("WATCHDOG_PID")).filter(|_| notify.is_some());
        Self { notify, watchdog }
    }

    /// Started.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Reads its configuration; [`ServiceManager::ready`] follows.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The service goes on in another process.
    pub(crate) fn main_process(&self, pid: i32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// Is alive.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, text: &str) {
        let Some((socket, to)) = &self.notify else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), to) {
            tracing::warn!(%error, "failed to tell the service manager `{text}`");
        }
    }
}

/// The listening sockets that the service manager passed to this process.
///
/// Must be called before there are other threads: it takes the variables out of the environment.
///
/// # Errors
/// When one of them is no TCP socket.
pub(crate) fn passed_sockets() -> Result<Vec<TcpListener>, CliError> {
    // Without the number, or with another's, they are meant for somebody else (a parent that passed its
    // environment on).
    if std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let mut passed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let failed =
            |error| CliError::failed(format!("the service manager passed what is no TCP socket: {error}"));
        sockets.extend(passed.take_tcp_listener(index).map_err(failed)?);
    }
    Ok(sockets)
}

/// A path, or a name in the abstract namespace (`@name`).
fn connect(path: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    match address.and_then(|address| Ok((UnixDatagram::unbound()?, address))) {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
            None
        }
    }
}

/// `None`: no watchdog, or another process's.
fn watchdog(micros: Option<String>, pid: Option<String>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(std::process::id())) {
        return None;
    }
    micros?.parse().ok().filter(|micros| *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = std::env::temp_dir().join(format!("sunbeam-notify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("notify");
        let name = format!("sunbeam-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        for (socket, told) in
            [(at_path, path.as_os_str().as_bytes().to_vec()), (at_name, format!("@{name}").into_bytes())]
        {
            let manager = ServiceManager { notify: connect(&told), watchdog: None };
            manager.ready();
            manager.reloading();
            manager.main_process(7);
            let mut heard = Vec::new();
            for _ in 0..3 {
                let mut bytes = [0; 100];
                let count = socket.recv(&mut bytes).unwrap();
                heard.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
            assert_eq!((heard[0].as_str(), heard[2].as_str()), ("READY=1", "MAINPID=7"));
            let micros = heard[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(micros.parse::<u64>().unwrap() > 0);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let own = Some(std::process::id().to_string());
        for (micros, pid, want) in [
            (Some("30000000"), own.clone(), Some(Duration::from_secs(30))),
            (Some("30000000"), None, Some(Duration::from_secs(30))),
            (Some("30000000"), Some("1".to_owned()), None),
            (Some("0"), own.clone(), None),
            (Some("x"), own, None),
            (None, None, None),
        ] {
            assert_eq!(watchdog(micros.map(str::to_owned), pid), want);
        }
    }
}
