// SPDX-License-Identifier: Apache-2.0
//! A proxy as one writes it in an afternoon: it looks for the end of the head and for a length, and passes
//! on what it has. The oracle is held against it: what does not find its faults finds none.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sunbeam_testkit::RawUpstream;

use super::oracle::Record;
use super::strict::{self, Read};

pub(super) struct NaiveProxy {
    pub(super) listener: RawUpstream,
    records: Arc<Mutex<Vec<(String, Record)>>>,
}

impl NaiveProxy {
    pub(super) fn start(backend: SocketAddr) -> Self {
        let records: Arc<Mutex<Vec<_>>> = Arc::default();
        let (kept, number) = (Arc::clone(&records), AtomicUsize::new(0));
        let listener = RawUpstream::start(move |client| {
            let mut upstream = TcpStream::connect(backend).expect("the backend listens");
            // A backend that waits for more than it gets would hold us for minutes.
            upstream.set_read_timeout(Some(Duration::from_secs(1))).expect("set a read timeout");
            let (mut bytes, mut answers) = (Vec::new(), Vec::new());
            while let Some(more) = client.read_bytes() {
                bytes.extend(more);
                while let Some((head, length)) = whole(&bytes) {
                    let message: Vec<u8> = bytes.drain(..length).collect();
                    let id = format!("naive-{}", number.fetch_add(1, Ordering::Relaxed));
                    let mut words = head.split_whitespace();
                    let method = words.next().unwrap_or_default().to_owned();
                    let target = words.next().unwrap_or_default().to_owned();
                    let line = message.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    let field = format!("X-Request-Id: {id}\r\n");
                    drop(
                        upstream.write_all(&[&message[..line], field.as_bytes(), &message[line..]].concat()),
                    );
                    let Some((status, answer)) = next_answer(&mut upstream, &mut answers, &method) else {
                        return;
                    };
                    let record = Record { method, target, status, is_refusal: false };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push((id, record));
                    let end = answer.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                    client.write(&[&answer[..end], field.as_bytes(), &answer[end..]].concat());
                }
            }
        });
        Self { listener, records }
    }

    pub(super) fn records(&self) -> Vec<(String, Record)> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A head and the bytes of its message, once they are here.
fn whole(bytes: &[u8]) -> Option<(String, usize)> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let end = ["\r\n\r\n", "\n\n"].iter().filter_map(|blank| Some(text.find(blank)? + blank.len())).min()?;
    let (head, rest) = text.split_at(end);
    let lower = head.to_ascii_lowercase();
    let body = if lower.contains("\ntransfer-encoding: chunked") {
        rest.find("0\r\n\r\n")? + 5
    } else {
        let value = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        value.and_then(|value| value.trim().parse::<usize>().ok()).unwrap_or(0)
    };
    (rest.len() >= body).then(|| (head.to_owned(), end + body))
}

fn next_answer(upstream: &mut TcpStream, bytes: &mut Vec<u8>, method: &str) -> Option<(u16, Vec<u8>)> {
    loop {
        if let Read::Whole(answer, length) = strict::answer(bytes, method, false) {
            return Some((answer.status, bytes.drain(..length).collect()));
        }
        let mut piece = [0; 4096];
        let count = upstream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend(&piece[..count]);
    }
}
