// SPDX-License-Identifier: Apache-2.0
//! A backend that speaks bytes, for answers that no server library would give.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The backend. One thread a connection.
#[derive(Debug)]
pub struct RawUpstream {
    address: SocketAddr,
    requests: Requests,
    ends: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

type Requests = Arc<Mutex<Vec<String>>>;

/// One connection from the proxy.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    requests: Requests,
}

impl RawUpstream {
    /// Listens on a free port; `handle` has each connection for itself, which closes when it returns.
    pub fn start(handle: impl Fn(&mut RawConnection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("the bound address");
        let (requests, ends) = (Requests::default(), Arc::new(AtomicBool::new(false)));
        let (memory, ending, handle) = (Arc::clone(&requests), Arc::clone(&ends), Arc::new(handle));
        let accepting = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ending.load(Ordering::Relaxed) {
                    return;
                }
                let (handle, requests) = (Arc::clone(&handle), Arc::clone(&memory));
                std::thread::spawn(move || handle(&mut RawConnection { stream, requests }));
            }
        });
        Self { address, requests, ends, accepting: Some(accepting) }
    }

    /// Takes every request and never answers.
    pub fn silent() -> Self {
        Self::start(|connection| while connection.read_request().is_some() {})
    }

    /// Answers the first request of each connection with these bytes and closes it.
    pub fn answering(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::start(move |connection| {
            if connection.read_request().is_some() {
                connection.write(answer.as_ref());
            }
        })
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request it read so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the accepting thread; a listener that is gone already needs no waking.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl RawConnection {
    /// The next request, with its body if it has a Content-Length; `None` when the proxy hung up.
    pub fn read_request(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while !is_whole(&bytes) {
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        let request = String::from_utf8_lossy(&bytes).into_owned();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        Some(request)
    }

    /// What came since the last call, as bytes; `None` when the proxy hung up.
    pub fn read_bytes(&mut self) -> Option<Vec<u8>> {
        let mut piece = vec![0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => {
                    piece.truncate(count);
                    return Some(piece);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends bytes; a proxy that has hung up is not the backend's business.
    pub fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// The connection will end with a reset, as when a process dies: what was not read yet is lost.
    pub fn reset(&mut self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
