// SPDX-License-Identifier: Apache-2.0
//! Tests over a socket: bytes out exactly as a test has them, bytes in as they come.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use sunbeam_waf::compile::RuleSet;
use sunbeam_waf_suite::expectation::{Miss, Outcome, Scope, Verdict, judge};
use sunbeam_waf_suite::format::Stage;
use sunbeam_waf_suite::request::build;

use super::audit_lines::AuditLines;
use super::{Asked, Ran, Runner};
use crate::exit::CliError;

pub(super) struct Wire {
    address: SocketAddr,
    log: AuditLines,
    texts: Texts,
}

/// What rules say of themselves, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<u64, String>);

/// How long a request and its answer may take: longer than a node waits for the rest of a request.
const EXCHANGE_MAX: Duration = Duration::from_secs(20);
/// How long the audit log may take for its lines after the last answer.
const LOG_MAX: Duration = Duration::from_secs(5);
/// Of an answer; what is longer is cut.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Texts {
    pub(super) fn of(rules: &RuleSet) -> Self {
        let text = |rule: &sunbeam_waf::compile::Rule| {
            let tags: String = rule.tags.iter().map(|tag| format!(" [tag \"{tag}\"]")).collect();
            (rule.id, format!("[msg \"{}\"]{tags}", rule.message()))
        };
        Self(rules.rules().iter().map(text).collect())
    }

    /// As a log has it.
    fn line(&self, rule: u64) -> String {
        match self.0.get(&rule) {
            Some(text) => format!("[id \"{rule}\"] {text}"),
            None => format!("[id \"{rule}\"]"),
        }
    }
}

impl Wire {
    pub(super) fn new(address: SocketAddr, log: &Path, texts: Texts) -> Result<Self, CliError> {
        Ok(Self { address, log: AuditLines::open(log)?, texts })
    }

    /// Sends all, then reads what came of all of them from the log; the outcomes in order.
    fn exchange_all(&mut self, stages: &[&Stage]) -> Result<Vec<Result<Outcome, Miss>>, CliError> {
        let mut outcomes = Vec::with_capacity(stages.len());
        let mut ids = Vec::new();
        for stage in stages {
            let outcome = match build(&stage.input) {
                Ok(bytes) => Ok(self.exchange(&bytes)?),
                Err(error) => Err(Miss::NotSent { why: error.to_string() }),
            };
            ids.extend(outcome.as_ref().ok().and_then(request_id));
            outcomes.push(outcome);
        }
        let rules = self.log.rules_of(&ids, LOG_MAX)?;
        let mut rules: HashMap<String, Option<Vec<u64>>> = ids.into_iter().zip(rules).collect();
        for outcome in outcomes.iter_mut().flatten() {
            let Some(id) = request_id(outcome) else { continue };
            match rules.remove(&id).flatten() {
                Some(found) => {
                    outcome.log = Some(found.iter().map(|rule| self.texts.line(*rule)).collect());
                    outcome.rules = found;
                }
                None => {
                    let message = format!("the audit log has no line for request {id} after {LOG_MAX:?}");
                    outcome.error = Some(message);
                }
            }
        }
        Ok(outcomes)
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

    fn judged(&mut self, stages: &[&Stage]) -> Result<Vec<(Verdict, Vec<String>)>, CliError> {
        let outcomes = self.exchange_all(stages)?;
        let judged = |(stage, outcome): (&&Stage, Result<Outcome, Miss>)| match outcome {
            Ok(outcome) => (judge(&stage.output, &outcome, Scope::Wire), outcome.log.unwrap_or_default()),
            Err(miss) => (Verdict::Failed(miss), Vec::new()),
        };
        Ok(stages.iter().zip(outcomes).map(judged).collect())
    }
}

impl Runner for Wire {
    /// A node writes its log in batches, too.
    const AT_ONCE: usize = 128;

    fn run(&mut self, tests: &[Asked]) -> Result<Vec<Ran>, CliError> {
        let stages: Vec<&Stage> = tests.iter().flat_map(|asked| &asked.case.test.stages).collect();
        let mut judged = self.judged(&stages)?;
        let is_tried_again = |(stage, (verdict, _)): (&&Stage, &(Verdict, Vec<String>))| {
            stage.output.retry_once == Some(true) && matches!(verdict, Verdict::Failed(_))
        };
        let again: Vec<usize> = (0..stages.len())
            .filter(|place| stages.get(*place).zip(judged.get(*place)).is_some_and(is_tried_again))
            .collect();
        let stages_again: Vec<&Stage> =
            again.iter().filter_map(|place| stages.get(*place).copied()).collect();
        if !stages_again.is_empty() {
            for (place, second) in again.into_iter().zip(self.judged(&stages_again)?) {
                if let Some(first) = judged.get_mut(place) {
                    *first = second;
                }
            }
        }
        let mut judged = judged.into_iter();
        let of_test = |asked: &Asked| {
            let (mut verdict, mut log) = (Verdict::NotJudged, Vec::new());
            for (of_stage, lines) in judged.by_ref().take(asked.case.test.stages.len()) {
                verdict = verdict.and(of_stage);
                log.extend(lines);
            }
            Ran { verdict, log }
        };
        Ok(tests.iter().map(of_test).collect())
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
