// SPDX-License-Identifier: Apache-2.0
//! `sunbeam test attack`

mod print;
mod probes;
mod target;
mod verdict;
mod wire;
mod witness;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use sunbeam_proxy::ExplainRequest;

use self::probes::{HELLO, PROBES, Probe};
use self::target::{Own, Pace};
use self::verdict::{Found, Tried};
use self::wire::{Answer, Wire};
use self::witness::{Record, Witness};
use crate::api::{ExplainedLayer, Explanation};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::{CliError, ExitCode};
use crate::output::{escape, note};

/// Send harmless attacks and ordinary requests, and tell which layer stopped what
///
/// Without `--target` the node's own listener is asked, from this host. Each request's verdict is what the node itself says
/// of it. Attacks read what nobody would miss, and write nothing; a site that lets all of them through may answer with
/// what they ask for. Few are sent, slowly, so that the node does not take your address for an attacker's: where nothing is
/// stopped that takes some minutes. Exit code 1: an attack came through, or an ordinary request was stopped.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Attack {
    /// The node from outside: https://www.example.org [default: its own listener]
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// The host to ask for, where the node has several
    #[arg(long, value_name = "NAME", value_parser = host)]
    host: Option<String>,
    /// A PEM file with a root to believe of `--target`, besides nobody else's
    #[arg(long, value_name = "FILE", requires = "target")]
    ca: Option<PathBuf>,
    /// Send it although no node that you manage says that the target is itself; verdicts are then told from the status alone
    #[arg(long, requires = "target")]
    yes_it_is_mine: bool,
}

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);

/// Requests by which a node is asked whether it is the target.
const HELLOS: usize = 4;

/// What an answer of a node has; who does not send it is none.
const NO_ID: &str = "its answers have no `X-Request-Id`";

fn host(text: &str) -> Result<String, String> {
    let is_host =
        text.parse::<http::uri::Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
    if is_host { Ok(text.to_owned()) } else { Err("a name, or a name with a port".to_owned()) }
}

impl Attack {
    pub(super) fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let (round, hello) = self.prepare(global)?;
        hello.may_be_tested(&round)?;
        let tried = round.send_all(&hello)?;
        print::print(global.printer(), &round, &tried)
    }

    /// The target, known to be ours; and what came of the first request to it.
    fn prepare(&self, global: &GlobalArgs) -> Result<(Round, Hello), CliError> {
        let client = Client::connect(global);
        match (&self.target, client) {
            (None, client) => {
                let client = client?;
                let own = Own::find(&client, self.host.as_deref())?;
                let pace = Pace::of(&client)?;
                own.first_that_serves(Node { witness: Witness::start(global)?, client }, pace)
            }
            (Some(target), Ok(client)) if client.get("/api/v1/status").is_ok() => {
                let (wire, host) = target::named(target, self.host.as_deref(), self.ca.as_deref())?;
                let (pace, url) = (Pace::of(&client)?, client.url());
                let node = Node { witness: Witness::start(global)?, client };
                let mut round = Round { wire, host, node: Some(node), pace };
                let hello = round.hello()?;
                if hello.record.is_none() {
                    let why = if hello.answer.id.is_none() { NO_ID } else { "it did not see the request" };
                    self.insist(&format!("the node at {url} says that it is not this target: {why}"))?;
                    round.node = None;
                    round.pace = Some(Pace::UNKNOWN);
                }
                Ok((round, hello))
            }
            (Some(url), client) => {
                let why = client.err().map_or_else(|| "it does not answer".to_owned(), |error| error.message);
                self.insist(&format!(
                    "no node that you manage can be asked whether it is this target ({why})"
                ))?;
                let (wire, host) = target::named(url, self.host.as_deref(), self.ca.as_deref())?;
                let round = Round { wire, host, node: None, pace: Some(Pace::UNKNOWN) };
                let hello = round.hello()?;
                Ok((round, hello))
            }
        }
    }

    fn insist(&self, why: &str) -> Result<(), CliError> {
        if self.yes_it_is_mine {
            note(format_args!("{why}; whatever stops a request, its status alone tells"));
            return Ok(());
        }
        Err(CliError::failed(why).hint(
            "nothing was tried: test only what is yours. If it is: `--node` names its management API, or add `--yes-it-is-mine`",
        ))
    }
}

impl Own {
    /// The first listener that neither redirects nor cannot be reached.
    fn first_that_serves(self, node: Node, pace: Option<Pace>) -> Result<(Round, Hello), CliError> {
        let mut node = Some(node);
        let mut failed = None;
        for wire in self.wires {
            let round = Round { wire, host: self.host.clone(), node: node.take(), pace };
            match round.hello() {
                Ok(hello) if hello.record.is_none() => {
                    failed = Some(CliError::failed(format!(
                        "what listens at {} is not this node, or its events cannot be watched",
                        round.wire.authority
                    )));
                    node = round.node;
                }
                Ok(hello) if hello.is_redirected() => {
                    failed = Some(hello.redirected());
                    node = round.node;
                }
                Ok(hello) => return Ok((round, hello)),
                Err(error) => {
                    failed = Some(error);
                    node = round.node;
                }
            }
        }
        Err(failed.unwrap_or_else(|| CliError::failed("the node listens nowhere")))
    }
}

/// A target, and who says what came of a request.
pub(super) struct Round {
    wire: Wire,
    host: String,
    /// `None`: the status alone.
    node: Option<Node>,
    /// `None`: as fast as it goes.
    pace: Option<Pace>,
}

/// The node that is the target.
struct Node {
    witness: Witness,
    client: Client,
}

/// The first request.
struct Hello {
    sent: usize,
    answer: Answer,
    record: Option<Record>,
}

impl Round {
    /// Asks until the node has said that it was asked: its events are watched from some moment on.
    fn hello(&self) -> Result<Hello, CliError> {
        let mut hello = Hello { sent: 1, answer: self.wire.send(&HELLO.bytes(&self.host))?, record: None };
        let Some(Node { witness, .. }) = &self.node else { return Ok(hello) };
        for _ in 1..HELLOS {
            hello.record = hello.answer.id.as_deref().and_then(|id| witness.saw(id));
            if hello.record.is_some() || hello.answer.id.is_none() {
                break;
            }
            hello.answer = self.wire.send(&HELLO.bytes(&self.host))?;
            hello.sent += 1;
        }
        Ok(hello)
    }

    fn send_all(&self, hello: &Hello) -> Result<Vec<Tried>, CliError> {
        let mut passed: VecDeque<Instant> = vec![Instant::now(); hello.sent].into();
        let mut all = Vec::new();
        for probe in PROBES {
            self.rest(&mut passed, hello.client());
            let tried = self.send(probe)?;
            if !matches!(tried.found, Found::Stopped { .. }) {
                passed.push_back(Instant::now());
            }
            let is_banned = tried.found.is_ban();
            all.push(tried);
            if is_banned {
                note("your address is blocked now: what follows would not be tested");
                break;
            }
            thread::sleep(PAUSE);
        }
        Ok(all)
    }

    fn send(&self, probe: &'static Probe) -> Result<Tried, CliError> {
        let answer = self.wire.send(&probe.bytes(&self.host))?;
        let record = match (&self.node, &answer.id) {
            (Some(node), Some(id)) => node.witness.saw(id),
            _ => None,
        };
        let found = Found::of(&answer, record.as_ref(), self.node.is_some());
        Ok(Tried { probe, found, status: answer.status, id: answer.id })
    }

    /// Whether the node would let this client's next request pass, whatever it has been doing.
    fn is_unsuspicious(&self, client: Option<IpAddr>) -> bool {
        let (Some(node), Some(ip)) = (&self.node, client) else { return false };
        let scheme = if self.wire.is_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{}/", self.host);
        let request =
            ExplainRequest { method: "GET".to_owned(), url, ip: Some(ip), ..ExplainRequest::default() };
        let answer = node.client.post_json("/api/v1/explain", &request);
        let explained: Result<Explanation, CliError> = answer.and_then(|answer| typed(&answer));
        let is_passed = |layer: &ExplainedLayer| layer.layer == "ddos" && layer.verdict == "pass";
        explained.is_ok_and(|explained| explained.layers.iter().any(is_passed))
    }

    /// Waits until one request more makes nobody suspicious: the node says whether it is, or its numbers do.
    fn rest(&self, passed: &mut VecDeque<Instant>, client: Option<IpAddr>) {
        let Some(pace) = &self.pace else { return };
        while passed.front().is_some_and(|at| at.elapsed() > pace.within) {
            passed.pop_front();
        }
        let most = usize::try_from(pace.requests).unwrap_or(usize::MAX);
        let Some(first) = passed.len().checked_sub(most).and_then(|before| passed.get(before)) else {
            return;
        };
        if self.is_unsuspicious(client) {
            return;
        }
        let wait = pace.within.saturating_sub(first.elapsed()) + PAUSE;
        note(format_args!(
            "waiting {} s, so that the node does not take you for an attacker",
            wait.as_secs() + 1
        ));
        thread::sleep(wait);
    }
}

impl Hello {
    /// Who we are to the node; nothing where its records do not tell.
    fn client(&self) -> Option<IpAddr> {
        self.record.as_ref()?.client_ip.parse().ok()
    }

    fn is_redirected(&self) -> bool {
        self.answer.status == Some(308)
            && self.answer.location.as_deref().is_some_and(|to| to.starts_with("https://"))
    }

    fn redirected(&self) -> CliError {
        let to = self.answer.location.as_deref().map(escape).unwrap_or_default();
        CliError::failed("the target only redirects to https: nothing would be tested")
            .hint(format!("name it: `--target` as in {to}"))
    }

    /// Whether a test would say anything.
    fn may_be_tested(&self, round: &Round) -> Result<(), CliError> {
        if self.is_redirected() {
            return Err(self.redirected());
        }
        if self.answer.status == Some(421) {
            return Err(CliError::usage(format!("no route answers to `{}`", escape(&round.host)))
                .hint("name a host that one answers to: `--host NAME`"));
        }
        let Some(record) = &self.record else { return Ok(()) };
        let address = escape(&record.client_ip);
        if record.layer == "lists" && record.decision != "block" {
            return Err(CliError::failed(format!(
                "the node exempts your address {address} ({}): no layer looks at what it asks for",
                escape(&record.reason)
            ))
            .hint("run it on the node itself without `--target`, or from elsewhere; `sunbeam lists` shows who is exempt"));
        }
        if record.decision == "block" {
            return Err(CliError::failed(format!(
                "an ordinary first request was stopped already ({}: {}), from {address}",
                escape(&record.layer),
                escape(&record.reason)
            ))
            .hint(format!(
                "is the address blocked? `sunbeam unblock {address}`, or `sunbeam why {address}`"
            )));
        }
        Ok(())
    }
}
