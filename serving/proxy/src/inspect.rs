// SPDX-License-Identifier: Apache-2.0
//! The WAF's step: rules over a request's head and the beginning of its body, before anybody else gets any of it, and
//! over its answer where somebody wants that.
//!
//! Slow: a body that comes too slowly is 408, as everywhere. Full: what is longer than `waf.max_inspected_body_bytes`,
//! or takes longer than `waf.regex_budget_ms`, is decided by the configuration, and counted. Broken: a body that is not
//! what its `Content-Encoding` says is 400; a panic is 500, and the request goes no further.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use sunbeam_encoding::{Coding, PrefixEnd, decode_prefix};
use sunbeam_pipeline::{
    Category, Decision, Interrupted, Judged, Judgement, RulesEngine, RulesFound, Scratch, WafSection,
    is_binary_type, is_file,
};
use sunbeam_traffic::RequestFacts;
use sunbeam_waf::engine::{Ends, InterruptionKind, RequestHead, ResponseHead, Transaction};
use sunbeam_waf::seclang::ast::EngineMode;
use sunbeam_wire::{header_lines, request_line_of};

use crate::body::{AnswerBody, BodyWatch, BoxError, PendingBody, boxed};
use crate::context::RequestContext;
use crate::error_page::Denial;
use crate::judging::Findings;
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamError;

/// A thread's memory for rules, while no request has it.
pub(crate) type Spare = Rc<RefCell<Option<Box<Transaction>>>>;

/// Header lines of most requests.
const LINES: usize = 32;

/// Rules at work on one request. Its context has it, so that its end is seen whatever becomes of the request; whoever
/// asks it something takes it out for that long ([`RequestContext::inspecting`]), so that a panic is its end.
#[derive(Debug)]
pub(crate) struct Inspection {
    transaction: Box<Transaction>,
    spare: Spare,
    /// `None`: it did not come to any.
    decision: Option<Decision>,
    category: Category,
    /// What it saw of the request's body.
    body: Bytes,
    /// Findings that the request's record has already.
    told: usize,
    limits: Limits,
    took: Duration,
}

/// Bounds that a request has hit, each counted once.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    is_oversized: bool,
    is_spent: bool,
    has_too_many_parameters: bool,
}

/// What this thread has worked: rules are not to be cut short because the machine had something else to do.
pub(crate) fn cpu_time() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let [seconds, nanoseconds] = [spent.tv_sec, spent.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// The clock of the rules' statistics.
fn nanoseconds() -> u64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGUN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What is looked at of a body.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    bytes: Bytes,
    /// There is more than that.
    is_cut: bool,
    is_undecodable: bool,
    /// There is a body, nobody looked at it, and it is of no kind that is known to be binary.
    is_unread: bool,
}

impl Looked {
    /// Nothing of a body of these types.
    fn unread(headers: &HeaderMap) -> Self {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        Self { is_unread: types.any(|kind| !is_binary_type(kind.as_bytes())), ..Self::default() }
    }

    /// What of the body rules see.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Inspection {
    /// Begins, if rules are to look at the request.
    pub(crate) fn begin(context: &RequestContext, spare: &Spare) -> Option<Self> {
        let rules = context.snapshot.waf.as_ref()?;
        let judged = context.judged.as_ref()?;
        if !context.snapshot.pipeline.inspects(judged) {
            return None;
        }
        let mut transaction =
            spare.take().unwrap_or_else(|| Box::new(Transaction::new(Arc::clone(&rules.set))));
        transaction.set_clock(nanoseconds);
        transaction.begin(&rules.set);
        transaction.set_collections(&context.shared.collections);
        transaction.set_moment(rules.moment(context.timestamp()));
        if let Some((method, uri)) = context.method_and_uri() {
            let (route, exceptions) = (judged.route(), &context.snapshot.exceptions);
            exceptions.tell(route, method.as_str(), uri.path(), &mut transaction);
        }
        let budget = u64::from(context.snapshot.config.waf.regex_budget_ms);
        transaction.set_budget(cpu_time, budget.saturating_mul(1_000_000));
        Some(Self {
            transaction,
            spare: Rc::clone(spare),
            decision: None,
            category: Category::None,
            body: Bytes::new(),
            told: 0,
            limits: Limits::default(),
            took: Duration::ZERO,
        })
    }

    /// The head. 403 and the like where a rule wants to stop the request already, and that is acted on.
    pub(crate) fn head(
        &mut self,
        context: &mut RequestContext,
        (parts, raw): (&Parts, &[u8]),
        facts: impl Fn(&RequestContext, &Bytes, &mut dyn FnMut(&RequestFacts<'_>)),
        has_body: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Denial> {
        let ends = ends(context);
        let id = context.id_value.to_str().unwrap_or_default();
        let is_stopped = self.run(|transaction| {
            transaction.connection(&ends);
            let head = Head::of(parts, raw, &context.authority);
            transaction.request_head(&head.as_sent(id)).is_some()
        });
        if !is_stopped {
            return Ok(());
        }
        self.decide(context, facts, &Looked::default(), has_body, scratch)
    }

    /// The body, and with it what all that comes to. 403 and the like where that is acted on.
    pub(crate) fn body(
        &mut self,
        context: &mut RequestContext,
        facts: impl Fn(&RequestContext, &Bytes, &mut dyn FnMut(&RequestFacts<'_>)),
        looked: &Looked,
        scratch: &mut Scratch,
    ) -> Result<(), Denial> {
        self.body = looked.bytes();
        self.run(|transaction| transaction.request_body(&looked.bytes, looked.is_cut).is_some());
        self.decide(context, facts, looked, false, scratch)
    }

    /// What is found so far, judged. Where it is not acted on, the rest of the phase runs, and is judged if it says more.
    fn decide(
        &mut self,
        context: &mut RequestContext,
        facts: impl Fn(&RequestContext, &Bytes, &mut dyn FnMut(&RequestFacts<'_>)),
        looked: &Looked,
        is_unread: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Denial> {
        loop {
            let found = found(&self.transaction, looked, is_unread);
            self.limits.note(context, &found);
            let begun = Instant::now();
            let Some(mut judged) = context.judged.take() else { return Ok(()) };
            let mut said = None;
            facts(context, &looked.bytes, &mut |facts| {
                said = Some(context.snapshot.pipeline.inspected(&mut judged, facts, &found, scratch));
            });
            context.judged = Some(judged);
            self.tell(context);
            self.took += begun.elapsed();
            let Some((decision, judgement)) = said else { return Ok(()) };
            self.note(context, decision);
            if decision == Decision::Blocked {
                return Err(self.denial(judgement.reason, judgement.status));
            }
            if !self.run(forgive) {
                return Ok(());
            }
        }
    }

    /// The answer's head.
    fn answer_head(
        &mut self,
        context: &mut RequestContext,
        response: &Response<AnswerBody>,
    ) -> Result<(), Denial> {
        self.run(|transaction| {
            let headers: Vec<(&[u8], &[u8])> = response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
                .collect();
            let head =
                ResponseHead { status: response.status().as_u16(), protocol: b"HTTP/1.1", headers: &headers };
            transaction.response_head(&head).is_some()
        });
        self.decide_answer(context)
    }

    /// The answer's body, as far as it is looked at.
    fn answer_body(&mut self, context: &mut RequestContext, looked: &Looked) -> Result<(), Denial> {
        self.run(|transaction| transaction.response_body(&looked.bytes, looked.is_cut).is_some());
        self.decide_answer(context)
    }

    fn decide_answer(&mut self, context: &mut RequestContext) -> Result<(), Denial> {
        while let Some(interruption) = interrupted(&self.transaction) {
            let Some(mut judged) = context.judged.take() else { return Ok(()) };
            let decision = context.snapshot.pipeline.answer_inspected(&mut judged, Some(interruption));
            let (reason, status) = (judged.reason, judged.status);
            context.judged = Some(judged);
            self.tell(context);
            self.note(context, decision);
            if decision == Decision::Blocked {
                return Err(self.denial(reason, status));
            }
            self.run(forgive);
        }
        Ok(())
    }

    /// Phase 5, whatever became of the request. Then its record has everything that was found, and its memory serves the
    /// next.
    pub(crate) fn end(mut self, context: &mut RequestContext) {
        self.run(Transaction::end);
        self.tell(context);
        if let Some(judged) = &mut context.judged {
            self.transaction.excepted().iter().for_each(|exception| judged.used.note(*exception));
        }
        if let Some(decision) = self.decision {
            context.snapshot.pipeline.count_inspected(decision, self.category, self.took);
        }
        if let Ok(mut spare) = self.spare.try_borrow_mut() {
            *spare = Some(self.transaction);
        }
    }

    /// Runs rules within what is left of their time.
    fn run<T>(&mut self, work: impl FnOnce(&mut Transaction) -> T) -> T {
        let begun = Instant::now();
        let result = work(&mut self.transaction);
        self.took += begun.elapsed();
        result
    }

    /// Keeps what was found for record and `why`.
    fn tell(&mut self, context: &mut RequestContext) {
        let found = self.transaction.findings().len();
        if found == self.told {
            return;
        }
        self.told = found;
        let snapshot = &context.snapshot;
        let cookies = snapshot.pipeline.rules().session_cookies();
        context.findings = Findings::of(&self.transaction, &snapshot.redaction, cookies, &self.body);
    }

    fn note(&mut self, context: &RequestContext, decision: Decision) {
        self.decision = Some(self.decision.map_or(decision, |before| before.max(decision)));
        self.category = context.findings.as_ref().map_or(Category::None, |found| found.category);
    }

    /// The page of a rule that has its own is a redirect, or none at all.
    fn denial(&self, reason: &str, status: u16) -> Denial {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
        let denial = Denial::new(status, format!("waf: {reason}")).blocking();
        match self.transaction.interruption().map(|interruption| &interruption.kind) {
            Some(InterruptionKind::Drop) => denial.closing(),
            Some(InterruptionKind::Redirect(_, to)) if status.is_redirection() => {
                match HeaderValue::from_str(to) {
                    Ok(to) => denial.header(header::LOCATION, to),
                    Err(_) => Denial::new(StatusCode::FORBIDDEN, format!("waf: {reason}")).blocking(),
                }
            }
            _ => denial,
        }
    }
}

impl Limits {
    fn note(&mut self, context: &RequestContext, found: &RulesFound) {
        for (limit, is_hit, was_hit) in [
            ("max_inspected_body_bytes", found.is_oversized, &mut self.is_oversized),
            ("regex_budget_ms", found.is_spent, &mut self.is_spent),
            ("max_parameters", found.has_too_many_parameters, &mut self.has_too_many_parameters),
        ] {
            if is_hit && !std::mem::replace(was_hit, true) {
                context.shared.listener_metrics.limit_hits(limit).inc();
            }
        }
    }
}

/// What a rule wanted is not acted on, so the rest of its phase runs: a rule behind it may be one whose word is. Whether
/// there is more to judge. Where a rule's own word was not acted on, no other's will be.
fn forgive(transaction: &mut Transaction) -> bool {
    let before = transaction.outcome();
    while transaction.forgive().is_some() {
        if before.is_by_score && !transaction.outcome().is_by_score {
            return true;
        }
    }
    before.is_by_score && transaction.outcome().score > before.score
}

/// The answer, as rules see it. What of its body is looked at is read first, the rest streams.
pub(crate) async fn inspect_answer(
    context: &mut RequestContext,
    mut response: Response<AnswerBody>,
) -> Result<Response<AnswerBody>, Denial> {
    context.inspecting(|inspection, context| inspection.answer_head(context, &response))?;
    let inspection = context.inspection.as_ref();
    let wants_body = inspection.is_some_and(|inspection| inspection.transaction.looks_at_response_body());
    let mut looked = Looked::default();
    if wants_body && !response.body().is_end_stream() {
        let max = context.snapshot.waf.as_ref().map_or(0, |rules| rules.set.settings().response_body_max);
        let coding = Coding::of(response.headers());
        let (parts, body) = response.into_parts();
        let ahead = LookedAt::read(body, max).await;
        let body = ahead.map_err(|error| answer_broke_off(&error))?;
        looked = decoded(coding, body.unread.clone(), body.is_whole, max);
        response = Response::from_parts(parts, boxed(body));
    }
    context.inspecting(|inspection, context| inspection.answer_body(context, &looked))?;
    context.end_inspection();
    Ok(response)
}

/// What rules find in a request that somebody made up.
#[derive(Debug)]
pub(crate) struct MadeUp {
    pub(crate) found: RulesFound,
    pub(crate) findings: Box<Findings>,
    pub(crate) judgement: Judgement,
}

/// Rules look at a request that somebody made up, and what that comes to is merged into what was decided; nothing is
/// counted. `None`: they are not asked.
pub(crate) fn made_up(
    snapshot: &Snapshot,
    judged: &mut Judged,
    facts: &RequestFacts<'_>,
    head: &Head<'_>,
    scratch: &mut Scratch,
) -> Option<MadeUp> {
    let rules = snapshot.waf.as_ref().filter(|_| snapshot.pipeline.inspects(judged))?;
    let section = &snapshot.config.waf;
    let headers = head.fields();
    let looked = if facts.body.is_empty() {
        Looked::default()
    } else if is_inspected(section, &headers) {
        let max = section.max_inspected_body_bytes;
        // One byte more tells whether that is all.
        let seen = facts.body.get(..=max).unwrap_or(facts.body);
        looked_at(&headers, Bytes::copy_from_slice(seen), seen.len() <= max, max)
    } else {
        Looked::unread(&headers)
    };
    let mut transaction = Transaction::new(Arc::clone(&rules.set));
    transaction.without_statistics();
    transaction.set_budget(cpu_time, u64::from(section.regex_budget_ms).saturating_mul(1_000_000));
    transaction.set_moment(rules.moment(Timestamp::now()));
    snapshot.exceptions.tell(facts.route, facts.method, facts.path, &mut transaction);
    let server = std::net::Ipv4Addr::UNSPECIFIED.into();
    transaction.connection(&Ends { client: facts.client, client_port: 0, server, server_port: 0 });
    let mut decide = |transaction: &mut Transaction, looked: &Looked, is_unread| {
        let facts = RequestFacts { body: &looked.bytes, ..*facts };
        loop {
            let found = found(transaction, looked, is_unread);
            let (decision, judgement) = snapshot.pipeline.inspected(judged, &facts, &found, scratch);
            let is_blocked = decision == Decision::Blocked;
            if is_blocked || !forgive(transaction) {
                return (is_blocked, found, judgement);
            }
        }
    };
    let is_stopped = transaction.request_head(&head.as_sent("")).is_some();
    let of_head = is_stopped.then(|| decide(&mut transaction, &Looked::default(), !facts.body.is_empty()));
    let (_, found, judgement) = match of_head {
        Some(of_head @ (true, ..)) => of_head,
        of_head => {
            transaction.request_body(&looked.bytes, looked.is_cut);
            let of_body = decide(&mut transaction, &looked, false);
            // The one that weighs more is the one to be told of.
            of_head.filter(|(.., judgement)| judgement.verdict > of_body.2.verdict).unwrap_or(of_body)
        }
    };
    transaction.end();
    let cookies = snapshot.pipeline.rules().session_cookies();
    let findings =
        Findings::of(&transaction, &snapshot.redaction, cookies, &looked.bytes).unwrap_or_default();
    Some(MadeUp { found, findings, judgement })
}

/// Reads as much of a body as is looked at; `None` where nothing of it is. What was read comes again.
///
/// # Errors
/// 400, 408, 413: the body's own faults.
pub(crate) async fn look_at_body(
    context: &mut RequestContext,
    headers: &HeaderMap,
    pending: &mut PendingBody,
    bounds: (u64, u64),
) -> Result<Looked, Denial> {
    if pending.is_end_stream() {
        return Ok(Looked::default());
    }
    let section = &context.snapshot.config.waf;
    if !is_inspected(section, headers) {
        return Ok(Looked::unread(headers));
    }
    let max = section.max_inspected_body_bytes;
    let (mut body, watch) = pending.take().into_body(bounds.0, bounds.1, context);
    let looked = body.look_ahead(max).await;
    context.client_us = context.client_us.saturating_add(watch.waited_us());
    let is_whole = looked.map_err(|error| broke_off(&watch, &error))?;
    let looked = looked_at(headers, body.seen().clone(), is_whole, max);
    *pending = PendingBody::Begun(body, watch);
    Ok(looked)
}

/// What rules see of a body that began so: nothing of a file that is sent as it is, but that there is more of it, or that
/// it is not what its coding says, is told all the same.
fn looked_at(headers: &HeaderMap, bytes: Bytes, is_whole: bool, max: usize) -> Looked {
    let looked = decoded(Coding::of(headers), bytes, is_whole, max);
    if !headers.contains_key(header::CONTENT_TYPE) && is_file(&looked.bytes) {
        return Looked { bytes: Bytes::new(), ..looked };
    }
    looked
}

/// By all that it says it is: of several types a backend may take any.
fn is_inspected(section: &WafSection, headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter().peekable();
    types.peek().is_none() || types.any(|kind| section.inspects(kind.as_bytes()))
}

fn decoded(coding: Option<Coding>, bytes: Bytes, is_whole: bool, max: usize) -> Looked {
    match coding {
        Some(Coding::Identity) => {
            let is_cut = !is_whole || bytes.len() > max;
            Looked { bytes: bytes.slice(..bytes.len().min(max)), is_cut, ..Looked::default() }
        }
        // An empty body needs no coding.
        Some(_) if bytes.is_empty() => Looked { is_cut: !is_whole, ..Looked::default() },
        Some(coding) => {
            let (decoded, end) = decode_prefix(coding, &bytes, max);
            let (is_cut, is_undecodable) = match end {
                PrefixEnd::Whole => (!is_whole, false),
                PrefixEnd::Full => (true, false),
                PrefixEnd::Truncated => (true, is_whole),
                PrefixEnd::Corrupt => (true, true),
            };
            Looked { bytes: decoded.into(), is_cut, is_undecodable, is_unread: false }
        }
        None => Looked { is_cut: true, is_undecodable: true, ..Looked::default() },
    }
}

fn broke_off(watch: &BodyWatch, error: &BoxError) -> Denial {
    let why = UpstreamError::Client { fault: watch.fault() };
    Denial::new(why.status(), format!("{why}: {error}")).closing()
}

fn answer_broke_off(error: &BoxError) -> Denial {
    match error.downcast_ref::<UpstreamError>() {
        Some(error @ UpstreamError::Client { .. }) => {
            Denial::new(error.status(), error.to_string()).closing()
        }
        _ => Denial::new(StatusCode::BAD_GATEWAY, format!("the answer broke off: {error}")),
    }
}

fn ends(context: &RequestContext) -> Ends {
    let (peer, local) = (context.connection.peer, context.connection.local);
    let is_peer = peer.ip().to_canonical() == context.client;
    Ends {
        client: context.client,
        // Of a client behind a proxy nobody knows it.
        client_port: if is_peer { peer.port() } else { 0 },
        server: local.ip().to_canonical(),
        server_port: local.port(),
    }
}

/// A request's head as the client wrote it.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    line: [&'a [u8]; 3],
    headers: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    fn of(parts: &'a Parts, raw: &'a [u8], authority: &'a str) -> Self {
        if let Some(line) = request_line_of(raw).filter(|_| !raw.is_empty()) {
            return Self { line, headers: header_lines(raw).collect() };
        }
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut headers: Vec<(&[u8], &[u8])> = Vec::with_capacity(LINES);
        if !parts.headers.contains_key(header::HOST) {
            headers.push((b"host", authority.as_bytes()));
        }
        headers
            .extend(parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
        Self { line: [parts.method.as_str().as_bytes(), target.as_bytes(), version(parts)], headers }
    }

    /// Somebody made it up.
    pub(crate) fn made_up(line: [&'a [u8]; 3], headers: Vec<(&'a [u8], &'a [u8])>) -> Self {
        Self { line, headers }
    }

    /// Its fields, as everything but rules sees them; what none can be is left out.
    fn fields(&self) -> HeaderMap {
        let field = |(name, value): &(&[u8], &[u8])| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        let mut fields = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in self.headers.iter().filter_map(field) {
            fields.append(name, value);
        }
        fields
    }

    pub(crate) fn as_sent<'b>(&'b self, id: &'b str) -> RequestHead<'b> {
        let [method, target, protocol] = self.line;
        RequestHead { method, target, protocol, headers: &self.headers, id }
    }
}

const fn version(parts: &Parts) -> &'static [u8] {
    match parts.version {
        Version::HTTP_2 => b"HTTP/2.0",
        Version::HTTP_10 => b"HTTP/1.0",
        _ => b"HTTP/1.1",
    }
}

/// What a transaction has come to.
pub(crate) fn found(transaction: &Transaction, looked: &Looked, is_unread: bool) -> RulesFound {
    let outcome = transaction.outcome();
    RulesFound {
        score: outcome.score,
        threshold: outcome.threshold,
        is_in_texts: transaction.finds_in_texts(),
        score_outside_texts: transaction.score_outside_texts(|tags| Category::is_attack(tags)),
        engine: match transaction.mode() {
            EngineMode::On => RulesEngine::On,
            EngineMode::DetectionOnly => RulesEngine::DetectionOnly,
            EngineMode::Off => RulesEngine::Off,
        },
        interruption: interrupted(transaction),
        is_spent: transaction.is_spent(),
        is_oversized: looked.is_cut && !looked.is_undecodable,
        is_undecodable: looked.is_undecodable,
        is_unread: is_unread || looked.is_unread,
        has_too_many_parameters: transaction.has_too_many_arguments(),
    }
}

fn interrupted(transaction: &Transaction) -> Option<Interrupted> {
    let interruption = transaction.interruption()?;
    if transaction.outcome().is_by_score {
        return Some(Interrupted::ByScore);
    }
    let status = match interruption.kind {
        InterruptionKind::Deny(status @ 400..=599) | InterruptionKind::Redirect(status @ 300..=399, _) => {
            status
        }
        InterruptionKind::Deny(_) | InterruptionKind::Redirect(..) | InterruptionKind::Drop => 403,
    };
    Some(Interrupted::ByRule { status })
}

/// An answer's body of which something was read: that comes first, then the rest.
#[derive(Debug)]
struct LookedAt<B> {
    unread: Bytes,
    trailers: Option<Box<HeaderMap>>,
    rest: B,
    is_whole: bool,
}

impl<B> LookedAt<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    /// Reads until there are more than `max` bytes, or no more.
    async fn read(mut rest: B, max: usize) -> Result<Self, BoxError> {
        let (mut joined, mut trailers, mut is_whole) = (BytesMut::new(), None, false);
        while joined.len() <= max {
            let Some(frame) = rest.frame().await else {
                is_whole = true;
                break;
            };
            match frame?.into_data() {
                Ok(data) => joined.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
        Ok(Self { unread: joined.freeze(), trailers, rest, is_whole })
    }
}

impl<B> Body for LookedAt<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.unread)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        if self.is_whole {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_empty() && self.trailers.is_none() && (self.is_whole || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = if self.is_whole { SizeHint::with_exact(0) } else { self.rest.size_hint() };
        let unread = self.unread.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(unread));
        }
        hint.set_lower(hint.lower().saturating_add(unread));
        hint
    }
}
