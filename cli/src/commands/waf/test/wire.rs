// SPDX-License-Identifier: Apache-2.0
//! Tests over a socket: bytes out exactly as a test has them, bytes in as they come.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf_suite::expectation::{Miss, Outcome, Scope, Verdict, judge, log_line};
use sunbeam_waf_suite::format::{Output, Stage};
use sunbeam_waf_suite::request::build;

use super::audit_lines::{AuditLines, Found};
use super::{Asked, Ran, Runner};
use crate::exit::CliError;

pub(super) struct Wire {
    address: SocketAddr,
    log: AuditLines,
    texts: Texts,
    connections: usize,
}

/// What rules say of themselves, by their numbers: message and tags.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<u64, (String, Vec<Arc<str>>)>);

/// What came of each stage of a test.
type Outcomes = Vec<Result<Outcome, Miss>>;

/// How long a request and its answer may take: longer than a node waits for the rest of a request.
const EXCHANGE_MAX: Duration = Duration::from_secs(20);
/// How long the audit log may take for its lines after the last answer.
const LOG_MAX: Duration = Duration::from_secs(5);
/// Of an answer; what is longer is cut.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Texts {
    pub(super) fn of(rules: &RuleSet) -> Self {
        let text = |rule: &sunbeam_waf::compile::Rule| (rule.id, (rule.message(), rule.tags.clone()));
        Self(rules.rules().iter().map(text).collect())
    }

    /// As a log has it: by what a node tells of each match, else by what the rule says of itself.
    fn lines(&self, found: &Found) -> Vec<String> {
        let none = (String::new(), Vec::new());
        let of = |rule: u64| self.0.get(&rule).unwrap_or(&none);
        let told =
            found.matches.iter().map(|one| log_line(one.rule, &one.message, &one.data, &of(one.rule).1));
        let is_told = |rule: &&u64| found.matches.iter().any(|one| one.rule == **rule);
        let untold = found.rules.iter().filter(|rule| !is_told(rule)).map(|rule| {
            let (message, tags) = of(*rule);
            log_line(*rule, message, "", tags)
        });
        told.chain(untold).collect()
    }
}

impl Wire {
    pub(super) fn new(
        address: SocketAddr,
        log: &Path,
        texts: Texts,
        connections: usize,
    ) -> Result<Self, CliError> {
        Ok(Self { address, log: AuditLines::open(log)?, texts, connections })
    }

    /// Sends all, then reads what came of all of them from the log.
    fn exchange_all(&mut self, tests: &[Vec<&Stage>]) -> Result<Vec<Outcomes>, CliError> {
        let mut outcomes = self.send_all(tests)?;
        let ids: Vec<String> = outcomes.iter().flatten().flatten().filter_map(request_id).collect();
        let found = self.log.found_in(&ids, LOG_MAX)?;
        let mut found: HashMap<String, Option<Found>> = ids.into_iter().zip(found).collect();
        for outcome in outcomes.iter_mut().flatten().flatten() {
            let Some(id) = request_id(outcome) else { continue };
            match found.remove(&id).flatten() {
                Some(found) => {
                    outcome.log = Some(self.texts.lines(&found));
                    outcome.rules = found.rules;
                }
                None => {
                    let message = format!("the audit log has no line for request {id} after {LOG_MAX:?}");
                    outcome.error = Some(message);
                }
            }
        }
        Ok(outcomes)
    }

    /// Several tests at a time; the stages of one go one after another.
    fn send_all(&self, tests: &[Vec<&Stage>]) -> Result<Vec<Outcomes>, CliError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut sent = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(stages) = tests.get(number) else { return Ok(sent) };
                let outcomes: Result<Outcomes, CliError> =
                    stages.iter().map(|stage| self.send(stage)).collect();
                sent.push((number, outcomes?));
            }
        };
        let sent: Result<Vec<_>, CliError> = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.connections).map(|_| scope.spawn(work)).collect();
            let joined = workers.into_iter().map(ScopedJoinHandle::join);
            joined.map(|sent| sent.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let mut sent: Vec<(usize, Outcomes)> = sent?.into_iter().flatten().collect();
        sent.sort_by_key(|(number, _)| *number);
        Ok(sent.into_iter().map(|(_, outcomes)| outcomes).collect())
    }

    fn send(&self, stage: &Stage) -> Result<Result<Outcome, Miss>, CliError> {
        match build(&stage.input) {
            Ok(bytes) => Ok(Ok(self.exchange(&bytes)?)),
            Err(error) => Ok(Err(Miss::NotSent { why: error.to_string() })),
        }
    }

    /// # Errors
    /// Only when nobody listens there: everything else is what came of the request.
    fn exchange(&self, bytes: &[u8]) -> Result<Outcome, CliError> {
        let until = Instant::now() + EXCHANGE_MAX;
        let connected = TcpStream::connect_timeout(&self.address, EXCHANGE_MAX);
        let mut stream = connected.map_err(|error| unreachable(self.address, &error))?;
        // A server that has answered already need not read on.
        let sent = stream.set_write_timeout(Some(EXCHANGE_MAX)).and_then(|()| stream.write_all(bytes));
        let mut answer = Answer { is_to_head: bytes.starts_with(b"HEAD "), ..Answer::default() };
        let read = answer.read(&mut stream, until);
        let error = match (answer.status(), read, sent) {
            (Some(_), ..) => None,
            (None, Err(error), _) | (None, Ok(()), Err(error)) => Some(error.to_string()),
            (None, Ok(()), Ok(())) if answer.bytes.is_empty() => {
                Some("the connection was closed without an answer".to_owned())
            }
            (None, Ok(()), Ok(())) => Some("what came is no answer of HTTP".to_owned()),
        };
        Ok(Outcome { status: answer.status(), response: answer.bytes, error, ..Outcome::default() })
    }
}

impl Runner for Wire {
    /// A node writes its log in batches, too.
    const AT_ONCE: usize = 128;

    fn run(&mut self, tests: &[Asked]) -> Result<Vec<Ran>, CliError> {
        let stages: Vec<Vec<&Stage>> =
            tests.iter().map(|asked| asked.case.test.stages.iter().collect()).collect();
        let mut outcomes = self.exchange_all(&stages)?;
        let mut again = Vec::new();
        for (stages, outcomes) in stages.iter().zip(&mut outcomes) {
            for (stage, outcome) in stages.iter().zip(outcomes) {
                let has_failed = matches!(verdict(&stage.output, outcome), Verdict::Failed(_));
                if stage.output.retry_once == Some(true) && has_failed {
                    again.push((*stage, outcome));
                }
            }
        }
        if !again.is_empty() {
            let stages: Vec<Vec<&Stage>> = again.iter().map(|(stage, _)| vec![*stage]).collect();
            let second = self.exchange_all(&stages)?.into_iter().flatten();
            again.into_iter().zip(second).for_each(|((_, first), second)| *first = second);
        }
        let ran = |(asked, outcomes): (&Asked, Outcomes)| {
            let mut ran = Ran::default();
            for (stage, outcome) in asked.case.test.stages.iter().zip(&outcomes) {
                ran.verdict = ran.verdict.and(verdict(&stage.output, outcome));
                ran.log.extend(outcome.iter().flat_map(|outcome| outcome.log.iter().flatten().cloned()));
            }
            ran.without_override = asked.all_without_override(outcomes.iter(), verdict);
            ran
        };
        Ok(tests.iter().zip(outcomes).map(ran).collect())
    }
}

fn verdict(output: &Output, outcome: &Result<Outcome, Miss>) -> Verdict {
    match outcome {
        Ok(outcome) => judge(output, outcome, Scope::Wire),
        Err(miss) => Verdict::Failed(miss.clone()),
    }
}

fn unreachable(address: SocketAddr, error: &io::Error) -> CliError {
    let unreachable = CliError::unreachable(format!("failed to reach http://{address}: {error}"));
    match error.kind() {
        io::ErrorKind::ConnectionReset => unreachable.hint(
            "a node resets connections of an address that makes too many: raise `limits.new_connections_per_ip` on it",
        ),
        _ => unreachable,
    }
}

fn request_id(outcome: &Outcome) -> Option<String> {
    let head = head(&outcome.response)?.0;
    let value = field(head, b"x-request-id")?;
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// An answer while it comes.
#[derive(Debug, Default)]
struct Answer {
    bytes: Vec<u8>,
    is_to_head: bool,
}

impl Answer {
    /// Reads until it is whole, the other side is done, or the time is over.
    fn read(&mut self, stream: &mut TcpStream, until: Instant) -> io::Result<()> {
        let mut piece = vec![0; 16 << 10];
        loop {
            self.skip_interim();
            if self.is_whole() || self.bytes.len() >= ANSWER_BYTES_MAX {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer after {EXCHANGE_MAX:?}"),
                ));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => self.bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The next look at the time ends it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `100 Continue` is no answer yet.
    fn skip_interim(&mut self) {
        while self.status().is_some_and(|status| (100..200).contains(&status) && status != 101) {
            let Some((_, body)) = head(&self.bytes) else { return };
            self.bytes = body.to_vec();
        }
    }

    /// Of a head that has come to its end.
    fn status(&self) -> Option<u16> {
        let (head, _) = head(&self.bytes)?;
        let line = head.split(|byte| *byte == b'\n').next()?;
        let mut words = line.split(|byte| *byte == b' ');
        words.next().filter(|version| version.starts_with(b"HTTP/"))?;
        std::str::from_utf8(words.next()?.trim_ascii()).ok()?.parse().ok()
    }

    fn is_whole(&self) -> bool {
        let Some((head, body)) = head(&self.bytes) else { return false };
        if self.is_to_head || matches!(self.status(), Some(101 | 204 | 304)) {
            return true;
        }
        if field(head, b"transfer-encoding").is_some() {
            return body.ends_with(b"0\r\n\r\n");
        }
        let length = field(head, b"content-length").and_then(|value| std::str::from_utf8(value).ok());
        length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| body.len() >= length)
    }
}

/// A head without its last line, and what follows it.
fn head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 4..)?))
}

fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let is_meant = line.get(..colon)?.eq_ignore_ascii_case(name);
        is_meant.then(|| line.get(colon + 1..).unwrap_or_default().trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: &str) -> Answer {
        let mut answer = Answer { bytes: bytes.as_bytes().to_vec(), is_to_head: false };
        answer.skip_interim();
        answer
    }

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        for (name, bytes, status, is_whole) in [
            ("half a head", "HTTP/1.1 200 OK\r\n", None, false),
            ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Some(200), true),
            ("half a body", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Some(200), false),
            (
                "chunks",
                "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
                Some(403),
                true,
            ),
            ("half of them", "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na", Some(403), false),
            ("until it is closed", "HTTP/1.0 200 OK\r\n\r\nab", Some(200), false),
            ("no body", "HTTP/1.1 204 No Content\r\n\r\n", Some(204), true),
            ("not yet", "HTTP/1.1 100 Continue\r\n\r\n", None, false),
            ("not yet, and then", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 204 N\r\n\r\n", Some(204), true),
            ("something else", "SSH-2.0-x\r\n\r\n", None, false),
        ] {
            let answer = answer(bytes);
            assert_eq!((answer.status(), answer.is_whole()), (status, is_whole), "{name}");
        }
    }

    #[test]
    fn the_request_is_known_by_its_id() {
        let response = b"HTTP/1.1 200 OK\r\nX-Request-ID: 1-2 \r\n\r\nx-request-id: 3".to_vec();
        let outcome = Outcome { response, ..Outcome::default() };
        assert_eq!(request_id(&outcome).as_deref(), Some("1-2"));
    }
}
