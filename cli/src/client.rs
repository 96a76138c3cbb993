// SPDX-License-Identifier: Apache-2.0
//! Talks to the management API of a node.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::cli::GlobalArgs;
use crate::discover::{self, NodeAddress};
use crate::exit::{CliError, ExitCode};
use crate::http1;
use crate::output::escape;

/// A node and the right to talk to it.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    address: NodeAddress,
    /// Where whoever types this comes from, if it is known: the node does not block it.
    operator: Option<IpAddr>,
}

/// The header that carries [`Client::operator`].
const OPERATOR_HEADER: &str = "sunbeam-operator";

/// POSTs that change nothing.
const ASKING: [&str; 2] = ["/api/v1/explain", "/api/v1/config/validate"];

impl Client {
    /// How long the answer to a change may take: a reload reads files, and an exception is held against what was decided
    /// before; others may be waiting for the same lock.
    const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

    /// Bytes that an answer may have; the effective configuration is the largest.
    const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

    /// Finds the node that the options mean.
    ///
    /// # Errors
    /// When there is none, or its token cannot be read.
    pub(crate) fn connect(global: &GlobalArgs) -> Result<Self, CliError> {
        let address = discover::find(global)?;
        let runtime = http1::runtime()
            .map_err(|error| CliError::failed(format!("failed to start a runtime: {error}")))?;
        let operator = operator_here();
        Ok(Self { runtime, address, operator })
    }

    /// As [`Client::connect`], when something else can be done without a node: `None` if there is none.
    pub(crate) fn connect_if_running(global: &GlobalArgs) -> Result<Option<Self>, CliError> {
        let client = match Self::connect(global) {
            Ok(client) => client,
            Err(error) if error.code == ExitCode::Unreachable => return Ok(None),
            Err(error) => return Err(error),
        };
        match client.get("/health") {
            Err(error) if error.code == ExitCode::Unreachable => Ok(None),
            _ => Ok(Some(client)),
        }
    }

    /// The node's API, for messages.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address.authority)
    }

    /// GET of a JSON document.
    pub(crate) fn get(&self, path: &str) -> Result<Value, CliError> {
        self.call(Method::GET, path, String::new())
    }

    /// POST of `body`, which may be empty.
    pub(crate) fn post(&self, path: &str, body: String) -> Result<Value, CliError> {
        self.call(Method::POST, path, body)
    }

    /// POST of `body` as JSON.
    pub(crate) fn post_json(&self, path: &str, body: &impl Serialize) -> Result<Value, CliError> {
        let text = serde_json::to_string(body)
            .map_err(|error| CliError::failed(format!("failed to write the request as JSON: {error}")))?;
        self.call(Method::POST, path, text)
    }

    /// DELETE.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, CliError> {
        self.call(Method::DELETE, path, String::new())
    }

    /// Calls `each` with the name and the data of every server-sent event, until it fails or the node
    /// goes away.
    pub(crate) fn events(
        &self,
        path: &str,
        mut each: impl FnMut(&str, &str) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.runtime.block_on(async {
            let request = self.request(Method::GET, path, String::new())?;
            let answer = self.send(request).await?;
            let status = answer.status();
            let mut body = answer.into_body();
            if !status.is_success() {
                let text =
                    http1::whole(body, Self::ANSWER_BYTES_MAX).await.map_err(|error| self.lost(&error))?;
                return Err(refused(status, &text));
            }
            let mut events = Events::default();
            // An end and a broken connection mean the same here.
            while let Ok(Some(data)) = http1::piece(&mut body).await {
                events.feed(&data, &mut each)?;
            }
            Err(CliError::unreachable(format!("the node at {} went away", self.url())))
        })
    }

    fn call(&self, method: Method, path: &str, body: String) -> Result<Value, CliError> {
        let is_change = method != Method::GET && !ASKING.contains(&path);
        let request = self.request(method, path, body)?;
        // What is sent may be done, whatever becomes of the answer.
        let lost = |error: io::Error| if is_change { self.unsure(&error) } else { self.lost(&error) };
        let limit = if is_change { Self::CHANGE_TIMEOUT } else { http1::TIMEOUT };
        let (status, text) = self.runtime.block_on(async {
            let stream = self.connected().await?;
            let answer = http1::exchange(stream, request, limit).await.map_err(lost)?;
            let status = answer.status();
            let text = http1::whole(answer.into_body(), Self::ANSWER_BYTES_MAX).await;
            text.map(|text| (status, text)).map_err(lost)
        })?;
        if !status.is_success() {
            return Err(refused(status, &text));
        }
        serde_json::from_slice(&text).map_err(|error| {
            CliError::failed(format!("{}{path} did not answer JSON: {error}", self.url()))
                .hint("is another program listening there? `--node URL` names the node")
        })
    }

    fn request(&self, method: Method, path: &str, body: String) -> Result<Request<String>, CliError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address.authority)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.address.token))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("sunbeam/", env!("CARGO_PKG_VERSION")));
        if let Some(operator) = self.operator {
            request = request.header(OPERATOR_HEADER, operator.to_string());
        }
        request
            .body(body)
            .map_err(|error| CliError::usage(format!("not a request that can be sent: {error}")))
    }

    async fn send(
        &self,
        request: Request<String>,
    ) -> Result<http::Response<hyper::body::Incoming>, CliError> {
        let stream = self.connected().await?;
        http1::exchange(stream, request, http1::TIMEOUT).await.map_err(|error| self.lost(&error))
    }

    async fn connected(&self) -> Result<TcpStream, CliError> {
        let connected = http1::connect(&self.address.authority, http1::TIMEOUT).await;
        connected.map_err(|error| self.lost(&error))
    }

    /// A change was asked for, and its answer did not come.
    fn unsure(&self, error: &io::Error) -> CliError {
        CliError::unreachable(format!(
            "the node at {} was asked, and its answer did not come: {error}. The change may have been made",
            self.url()
        ))
        .hint(
            "look before you ask again: the node's audit trail (`audit-trail.jsonl` beside its state, or Changes in the \
             console) has what came of it, and how to undo it",
        )
    }

    fn lost(&self, error: &io::Error) -> CliError {
        CliError::unreachable(format!("failed to reach the node at {}: {error}", self.url()))
            .hint("is it running? `sunbeam doctor` looks around; `--node URL` names another one")
    }
}

/// Where whoever types this works from, if it is an SSH session.
pub(crate) fn operator_here() -> Option<IpAddr> {
    operator(["SSH_CONNECTION", "SSH_CLIENT"].map(|name| std::env::var(name).ok()))
}

/// The client's address in what the SSH server says of its session: the first word, in the first of the
/// variables that has one.
fn operator(sessions: [Option<String>; 2]) -> Option<IpAddr> {
    let address = |session: String| {
        // A link-local address may name its interface: `fe80::1%eth0`.
        let word = session.split([' ', '%']).next()?;
        word.parse::<IpAddr>().ok().map(|address| address.to_canonical())
    };
    sessions.into_iter().flatten().find_map(address)
}

/// Reads an answer into a type.
pub(crate) fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, CliError> {
    serde_json::from_value(value.clone()).map_err(|error| {
        CliError::failed(format!("the node answered something unexpected: {error}"))
            .hint("is it of another version? `sunbeam version` shows this one, `sunbeam status` the node's")
    })
}

/// What a refusal means for the exit code, in one line, and a line a problem.
fn refused(status: StatusCode, text: &[u8]) -> CliError {
    let answer: Value = serde_json::from_slice(text).unwrap_or_default();
    let problems: Vec<String> =
        answer.get("problems").and_then(Value::as_array).into_iter().flatten().map(problem_line).collect();
    let message = match answer.get("error").and_then(Value::as_str) {
        // The error is the problems in another form.
        Some(_) if !problems.is_empty() => {
            format!("the node refused it, and runs on as before:\n  {}", problems.join("\n  "))
        }
        Some(error) => escape(error),
        None => format!("the node answered {status}"),
    };
    match status {
        StatusCode::UNAUTHORIZED => CliError::not_permitted(message)
            .hint("give the node's token with `--token-file FILE`, or run as the node's user"),
        StatusCode::FORBIDDEN => CliError::not_permitted(message)
            .hint("name the node by its address, as in `--node http://127.0.0.1:9999`"),
        StatusCode::UNPROCESSABLE_ENTITY => CliError::usage(message),
        _ => CliError::failed(message),
    }
}

/// A problem of the API as `validate` prints it.
pub(crate) fn problem_line(problem: &Value) -> String {
    if let Some(text) = problem.as_str() {
        return escape(text);
    }
    let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| problem.get(key).and_then(Value::as_u64).unwrap_or_default();
    let severity = if text("severity") == "warning" { "warning: " } else { "" };
    let key = if text("key").is_empty() { String::new() } else { format!("`{}`: ", text("key")) };
    escape(&format!(
        "{}:{}:{}: {severity}{key}{}",
        text("file"),
        number("line"),
        number("column"),
        text("message")
    ))
}

/// The server-sent events in a stream of bytes.
#[derive(Debug, Default)]
struct Events {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Events {
    /// Bytes of one line and of one event; what is longer is cut.
    const BYTES_MAX: usize = 1024 * 1024;

    fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&str, &str) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.take(String::from_utf8_lossy(&line).trim_end_matches('\r'), each)?;
                }
                _ if self.line.len() < Self::BYTES_MAX => self.line.push(*byte),
                _ => {}
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        line: &str,
        each: &mut impl FnMut(&str, &str) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return if data.is_empty() { Ok(()) } else { each(&name, &data) };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" if self.data.len() + value.len() < Self::BYTES_MAX => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream =
            b": hello\n\nevent: request\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\ndata: unfinished\n";
        for size in [1, 3, stream.len()] {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for piece in stream.chunks(size) {
                events
                    .feed(piece, &mut |name, data| {
                        seen.push(format!("{name}={data}"));
                        Ok(())
                    })
                    .unwrap();
            }
            assert_eq!(seen, ["request={\"a\":1}", "=x\ny"], "pieces of {size}");
        }
    }

    #[test]
    fn a_refusal_has_the_right_code_and_all_its_problems() {
        let problem = json!({"file": "c.toml", "line": 1, "column": 2, "key": "a.b", "message": "no", "severity": "error"});
        let body = json!({"error": "2 problems", "problems": [problem, "plain"]}).to_string();
        for (status, code) in [
            (401, ExitCode::NotPermitted),
            (403, ExitCode::NotPermitted),
            (422, ExitCode::Usage),
            (404, ExitCode::Findings),
        ] {
            let error = refused(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(error.code, code);
            assert_eq!(
                error.message,
                "the node refused it, and runs on as before:\n  c.toml:1:2: `a.b`: no\n  plain"
            );
        }
        assert!(refused(StatusCode::BAD_GATEWAY, b"<html>").message.contains("502"));
    }

    #[test]
    fn the_operators_address_is_what_the_ssh_session_says() {
        for (name, connection, client, want) in [
            ("a session", Some("192.0.2.7 51234 198.51.100.1 22"), None, Some("192.0.2.7")),
            ("both", Some("192.0.2.7 1 198.51.100.1 22"), Some("192.0.2.8 1 22"), Some("192.0.2.7")),
            ("the older variable", None, Some("2001:db8::7 51234 22"), Some("2001:db8::7")),
            ("mapped", Some("::ffff:192.0.2.7 1 ::1 22"), None, Some("192.0.2.7")),
            ("with its interface", Some("fe80::1%eth0 1 fe80::2%eth0 22"), None, Some("fe80::1")),
            ("unknown to the server", Some("UNKNOWN 65535 UNKNOWN 65535"), None, None),
            ("a name", Some("laptop.example 1 2 3"), None, None),
            ("a header of its own", Some("192.0.2.7\r\nX: y"), None, None),
            ("empty", Some(""), Some(" 192.0.2.7"), None),
            ("no session", None, None, None),
        ] {
            let found = operator([connection, client].map(|session| session.map(str::to_owned)));
            assert_eq!(found, want.map(|address| address.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn a_change_whose_answer_does_not_come_may_have_been_made() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        // Takes what is asked, and goes.
        let node = std::thread::spawn(move || {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 4096];
                assert!(io::Read::read(&mut stream, &mut head).unwrap() > 0);
            }
        });
        let address = NodeAddress { authority, token: "t".into() };
        let client = Client { runtime: http1::runtime().unwrap(), address, operator: None };
        for (name, asked, may_be_made) in [
            ("a change", client.post("/api/v1/layers", "{}".to_owned()), true),
            ("a question", client.get("/api/v1/layers"), false),
            ("a question with a body", client.post("/api/v1/explain", "{}".to_owned()), false),
        ] {
            let error = asked.unwrap_err();
            assert_eq!(
                error.message.contains("may have been made"),
                may_be_made,
                "{name}: {}",
                error.message
            );
            assert_eq!(error.code, ExitCode::Unreachable, "{name}");
        }
        node.join().unwrap();
        // Nobody was asked.
        let error = client.post("/api/v1/layers", "{}".to_owned()).unwrap_err();
        assert!(!error.message.contains("may have been made"), "{}", error.message);
    }

    #[test]
    fn every_request_names_the_operator_when_there_is_one() {
        let address = NodeAddress { authority: "127.0.0.1:1".into(), token: "t".into() };
        for operator in [None, Some(IpAddr::from([192, 0, 2, 7]))] {
            let client = Client { runtime: http1::runtime().unwrap(), address: address.clone(), operator };
            let request = client.request(Method::GET, "/api/v1/status", String::new()).unwrap();
            let sent = request.headers().get(OPERATOR_HEADER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(sent, operator.map(|address| address.to_string()));
        }
    }
}
