// SPDX-License-Identifier: Apache-2.0
//! Four backends that tell what they read: nginx, uvicorn, a lenient Node.js, and one that takes nothing
//! but what [`super::strict`] takes.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sunbeam_testkit::{Peer, RawUpstream, TestFolder};

use super::strict::{self, Read};

/// A request as a backend read it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn id(&self) -> &str {
        strict::value(&self.headers, "x-request-id").unwrap_or_default()
    }
}

/// One of them.
pub(super) struct Reader {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    source: Source,
}

enum Source {
    Bytes(Recorder),
    /// The recorder stands behind nginx, whose own log is in the folder.
    Nginx(Recorder, PathBuf, #[expect(dead_code, reason = "lives as long as the reader")] Peer),
    Log(PathBuf, #[expect(dead_code, reason = "lives as long as the reader")] Peer),
}

/// All four. The folder holds what they write.
pub(super) fn start(folder: &TestFolder) -> Vec<Reader> {
    let bytes = Recorder::start();
    let behind = Recorder::start();
    let root = folder.join("nginx");
    let backend = behind.upstream.address().to_string();
    let arguments = ["nginx", "--root", path(&root), "--conf", "reader.nginx.conf", "--backend", &backend];
    let nginx = Peer::start("daemon.py", &arguments);
    let (python_log, node_log) = (folder.write("python.log", ""), folder.write("node.log", ""));
    let python = Peer::start("reader.py", &["--log", path(&python_log)]);
    let node = Peer::start("reader.mjs", &["--log", path(&node_log)]);
    vec![
        Reader { name: "bytes", address: bytes.upstream.address(), source: Source::Bytes(bytes) },
        Reader {
            name: "nginx",
            address: nginx.address(),
            source: Source::Nginx(behind, root.join("access.log"), nginx),
        },
        Reader { name: "python", address: python.address(), source: Source::Log(python_log, python) },
        Reader { name: "node", address: node.address(), source: Source::Log(node_log, node) },
    ]
}

impl Reader {
    /// Every request that it read to its end.
    pub(super) fn seen(&self) -> Vec<Seen> {
        match &self.source {
            Source::Bytes(recorder) | Source::Nginx(recorder, ..) => recorder.seen(),
            Source::Log(path, _) => lines(path).iter().map(seen_of).collect(),
        }
    }

    /// Forgets what it read so far.
    pub(super) fn forget(&self) {
        match &self.source {
            Source::Bytes(recorder) | Source::Nginx(recorder, ..) => {
                recorder.memory.lock().unwrap_or_else(PoisonError::into_inner).seen.clear();
            }
            Source::Log(path, _) => fs::write(path, "").expect("empty a log"),
        }
    }

    /// What it could not read, or read in more than one way.
    pub(super) fn complaints(&self) -> Vec<String> {
        match &self.source {
            Source::Bytes(recorder) => recorder.complaints(),
            Source::Nginx(recorder, log, _) => {
                let mut complaints = recorder.complaints();
                let told = lines(log);
                // 499: the proxy gave a request up whose body broke off. 400 in mid-body is the same.
                let refused = told.iter().filter(|line| {
                    let text = |name: &str| line[name].as_str().unwrap_or_default();
                    let method = text("line").split(' ').next().unwrap_or_default();
                    // To nginx a method in small letters is none.
                    let is_odd = method.contains(|c: char| c.is_ascii_lowercase());
                    text("status").starts_with('4')
                        && text("status") != "499"
                        && text("id").is_empty()
                        && !is_odd
                });
                complaints.extend(refused.map(|line| format!("nginx refused: {line}")));
                complaints
            }
            Source::Log(..) => Vec::new(),
        }
    }
}

/// Takes requests with [`strict::request`], and nothing else.
struct Recorder {
    upstream: RawUpstream,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    seen: Vec<Seen>,
    complaints: Vec<String>,
}

impl Recorder {
    fn start() -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let kept = Arc::clone(&memory);
        let upstream = RawUpstream::start(move |connection| {
            let mut bytes = Vec::new();
            while let Some(more) = connection.read_bytes() {
                bytes.extend(more);
                loop {
                    match strict::request(&bytes) {
                        Read::Whole(request, length) => {
                            bytes.drain(..length);
                            let answer = answer_to(&request);
                            let seen = Seen {
                                method: request.method,
                                target: request.target,
                                headers: request.headers,
                                body: request.body,
                            };
                            kept.lock().unwrap_or_else(PoisonError::into_inner).seen.push(seen);
                            connection.write(answer.as_bytes());
                        }
                        Read::Partial => break,
                        Read::Malformed(why) => {
                            let text = format!("{why}: {:?}", String::from_utf8_lossy(&bytes));
                            kept.lock().unwrap_or_else(PoisonError::into_inner).complaints.push(text);
                            return;
                        }
                    }
                }
            }
        });
        Self { upstream, memory }
    }

    fn seen(&self) -> Vec<Seen> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    fn complaints(&self) -> Vec<String> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).complaints.clone()
    }
}

fn answer_to(request: &strict::Request) -> String {
    let told = format!("{} {} {}\n", request.method, request.target, request.body.len());
    let body = if request.method == "HEAD" { "" } else { told.as_str() };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Reader: bytes\r\n\r\n{body}", told.len())
}

fn lines(path: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn seen_of(line: &Value) -> Seen {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = line["headers"].as_array().into_iter().flatten();
    Seen {
        method: text(&line["method"]),
        target: text(&line["target"]),
        headers: headers.map(|pair| (text(&pair[0]).to_ascii_lowercase(), text(&pair[1]))).collect(),
        body: text(&line["body"]).chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
    }
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("a path in text")
}
