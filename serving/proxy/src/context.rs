// SPDX-License-Identifier: Apache-2.0
//! What is known about one request, from its head to its last byte.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use jiff::Timestamp;
use sunbeam_decisions::Row;
use sunbeam_ensemble::probability;
use sunbeam_features::{Finished, HeaderOrder, is_ours};
use sunbeam_listeners::{ConnectionPermit, Scheme};
use sunbeam_pipeline::{Answer, Decision, Judged};
use sunbeam_traffic::{
    AuditRecord, AuditScores, AuditTarget, FetchMetadata, Layer, RequestFacts, Thousandths,
};
use tracing::error;
use uuid::Uuid;

use crate::config::ClientIp;
use crate::error_page::Denial;
use crate::inspect::Inspection;
use crate::judging::Findings;
use crate::offenders::Turn;
use crate::request_counter::{self, Labels};
use crate::share::{OpenRequest, Share, Shares};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::why::capture::Capture;
use crate::why::decision::{Ended, JudgedFacts};
use crate::why::refused::Refused;
use crate::why::store::{Admitting, decision_number, layer_number, row};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CF_CONNECTING_IP: HeaderName = HeaderName::from_static("cf-connecting-ip");
const CF_IPCOUNTRY: HeaderName = HeaderName::from_static("cf-ipcountry");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Of most lines.
const LINE_BYTES: usize = 1_024;

/// What is known about a connection. Made once, shared by its requests.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: SocketAddr,
    /// Where it came in; nothing while no rules are loaded.
    pub(crate) local: SocketAddr,
    /// The peer's address as text.
    pub(crate) peer_value: HeaderValue,
    pub(crate) scheme: Scheme,
    /// `TLSv1.3`; empty for plain HTTP.
    pub(crate) tls_version: &'static str,
    /// The fingerprint of the client's TLS; empty for plain HTTP.
    pub(crate) ja4: Box<str>,
    /// HTTP/2: bytes that have come of a DATA frame that is not whole yet.
    pub(crate) partial_data: Cell<u32>,
    /// HTTP/2: it is to end at once.
    pub(crate) is_cut: Cell<bool>,
    /// Of the thread's time; before the permit, because what it gives back belongs to the permit's address.
    pub(crate) share: Option<Rc<Share>>,
    /// Its place in the connection count. A tunnel outlives the task of its connection and holds
    /// this with its request: it counts, and a drain waits for it.
    pub(crate) permit: ConnectionPermit,
}

impl ConnectionInfo {
    pub(crate) fn new(
        peer: SocketAddr,
        scheme: Scheme,
        tls_version: &'static str,
        permit: ConnectionPermit,
        shares: &Rc<Shares>,
    ) -> Self {
        let peer_value = address_value(peer.ip().to_canonical());
        let share = shares.of(&permit);
        let (partial_data, is_cut, ja4) = (Cell::default(), Cell::default(), Box::default());
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self { peer, local, peer_value, scheme, tls_version, ja4, partial_data, is_cut, share, permit }
    }

    /// With where it came in.
    pub(crate) fn at(self, local: SocketAddr) -> Self {
        Self { local, ..self }
    }

    /// With the fingerprint of its TLS.
    pub(crate) fn of_make(self, ja4: Box<str>) -> Self {
        Self { ja4, ..self }
    }
}

/// The only per-request state: made once, passed along, and written to the audit log when it goes,
/// whatever happened.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Before the connection, which its address's limits hang on.
    pub(crate) open: Option<OpenRequest>,
    /// How it came to be worked on, and when.
    pub(crate) turn: Turn,
    pub(crate) turned: Instant,
    /// Too many of its address wait: what was asked nobody knows.
    pub(crate) is_turned_away: bool,
    pub(crate) connection: Rc<ConnectionInfo>,
    pub(crate) id: Uuid,
    /// The id as text.
    pub(crate) id_value: HeaderValue,
    pub(crate) started: Instant,
    pub(crate) client: IpAddr,
    pub(crate) from_trusted_proxy: bool,
    /// The scheme the client used, as a trusted proxy says or as we see.
    pub(crate) scheme: Scheme,
    /// As sent: `name:port`.
    pub(crate) authority: String,
    /// Lower case, no port.
    pub(crate) host: String,
    /// The route's configured name.
    pub(crate) route: Option<Arc<sunbeam_routing::Route>>,
    /// The backend that was asked.
    pub(crate) backend: String,
    /// When the backend was asked, and how long it took to answer.
    pub(crate) upstream_us: u64,
    /// How long its body was waited for before anybody was asked.
    pub(crate) client_us: u64,
    pub(crate) error: Option<String>,
    /// What judging said; `None` until it was asked.
    pub(crate) judged: Option<Judged>,
    /// The WAF's rules at work on it.
    pub(crate) inspection: Option<Inspection>,
    /// What they found, if anything.
    pub(crate) findings: Option<Box<Findings>>,
    /// The decision that was last asked about whether it is kept, and whether it is.
    asked: Option<(Decision, &'static str)>,
    kept: Option<Admitting>,
    /// Who refused it without a layer.
    refused: Option<Refused>,
    /// What it looked like, where it is kept and no plain pass.
    capture: Option<Box<Capture>>,
    /// Judging was told of its end already.
    is_observed: bool,
    /// The answer is a challenge's: what the route sets on answers does not replace what that needs.
    pub(crate) is_challenge: bool,
    /// Claims of the session cookies that the site set.
    pub(crate) sessions_set: Vec<u64>,
    /// Those of them that it sets at a log-in.
    pub(crate) log_ins_set: Vec<u64>,
    /// The auth server that let it in.
    pub(crate) auth_gate: Option<u64>,
    /// What the auth server said, when it said no.
    pub(crate) auth_status: Option<u16>,
    /// The site sent the client to where one logs in.
    pub(crate) is_login_redirect: bool,
    /// 0 until an answer's head is known.
    pub(crate) status: u16,
    pub(crate) added_us: u64,
    pub(crate) response_bytes: u64,
    pub(crate) span: crate::telemetry::RequestSpan,
    head: HeadFacts,
}

/// What the audit record keeps of the head. References to what was read: nothing is copied until a
/// line is written.
#[derive(Debug, Default)]
struct HeadFacts {
    timestamp: Timestamp,
    line: RequestLine,
    content_length: u64,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    accept_language: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    has_cookies: bool,
    cf_country: Option<HeaderValue>,
    http_version: &'static str,
    header_count: u32,
    header_order: u64,
    /// Fields by which proxies say whom they speak for.
    has_forwarding: bool,
    is_page_made: bool,
}

/// Method and target, from a head that was read or from one that was refused.
#[derive(Debug)]
enum RequestLine {
    Read { method: Method, uri: Uri },
    Refused { method: String, path: String, query: String },
}

impl Default for RequestLine {
    fn default() -> Self {
        Self::Read { method: Method::GET, uri: Uri::default() }
    }
}

impl RequestLine {
    fn method(&self) -> &str {
        match self {
            Self::Read { method, .. } => method.as_str(),
            Self::Refused { method, .. } => method,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Read { uri, .. } => uri.path(),
            Self::Refused { path, .. } => path,
        }
    }

    fn query(&self) -> Option<&str> {
        match self {
            Self::Read { uri, .. } => uri.query(),
            Self::Refused { query, .. } => Some(query.as_str()).filter(|query| !query.is_empty()),
        }
    }
}

impl RequestContext {
    pub(crate) fn new(shared: &Arc<Shared>, connection: &Rc<ConnectionInfo>, parts: &Parts) -> Self {
        let snapshot = shared.snapshot();
        let peer = connection.peer.ip().to_canonical();
        let from_trusted_proxy = snapshot.is_trusted(peer);
        let headers = &parts.headers;
        let (mut client, mut scheme) = (peer, connection.scheme);
        if from_trusted_proxy {
            let forwarded = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
            client = sunbeam_traffic::client_address(
                peer,
                forwarded.collect::<Vec<_>>().into_iter(),
                text(headers, &CF_CONNECTING_IP),
                &snapshot.trusted_proxies,
            );
            let is_https = |proto: &str| proto.trim().eq_ignore_ascii_case("https");
            if text(headers, &X_FORWARDED_PROTO).is_some_and(is_https) {
                scheme = Scheme::Https;
            }
        }
        let (id, started) = (Uuid::new_v4(), Instant::now());
        let mut context = Self {
            shared: Arc::clone(shared),
            open: None,
            turn: Turn::Ordinary,
            turned: started,
            is_turned_away: false,
            connection: Rc::clone(connection),
            id,
            id_value: HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            started,
            client,
            from_trusted_proxy,
            scheme,
            authority: String::new(),
            host: String::new(),
            route: None,
            backend: String::new(),
            upstream_us: 0,
            client_us: 0,
            error: None,
            judged: None,
            inspection: None,
            findings: None,
            asked: None,
            kept: None,
            refused: None,
            capture: None,
            is_observed: false,
            is_challenge: false,
            sessions_set: Vec::new(),
            log_ins_set: Vec::new(),
            auth_gate: None,
            auth_status: None,
            is_login_redirect: false,
            status: 0,
            added_us: 0,
            response_bytes: 0,
            span: crate::telemetry::RequestSpan::default(),
            head: HeadFacts::default(),
            snapshot,
        };
        context.head = context.facts(parts);
        context.span = shared.telemetry.start_span(&context, parts);
        context
    }

    /// What it took since its turn came, without waiting for its client or a backend.
    pub(crate) fn worked(&self) -> Duration {
        let waited = Duration::from_micros(self.upstream_us.saturating_add(self.client_us));
        self.turned.elapsed().saturating_sub(waited)
    }

    /// The audit record shows the refused request line in place of the stand-in.
    pub(crate) fn describe_refused(&mut self, line: &str) {
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.head = HeadFacts {
            timestamp: self.head.timestamp,
            line: RequestLine::Refused {
                method: method.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
            },
            ..HeadFacts::default()
        };
    }

    pub(crate) fn is_http_2(&self) -> bool {
        self.head.http_version == version_text(Version::HTTP_2)
    }

    pub(crate) fn method(&self) -> &str {
        self.head.line.method()
    }

    pub(crate) fn path(&self) -> &str {
        self.head.line.path()
    }

    /// Of a head that was read.
    pub(crate) fn method_and_uri(&self) -> Option<(&Method, &Uri)> {
        match &self.head.line {
            RequestLine::Read { method, uri } => Some((method, uri)),
            RequestLine::Refused { .. } => None,
        }
    }

    /// Keeps what a request looks like of which judging says more than a plain pass. In a flood most are alike and are
    /// not kept: nothing is done for those.
    pub(crate) fn capture(&mut self, route: usize, headers: &HeaderMap, body: &Bytes) {
        let is_plain = self.judged.as_ref().is_none_or(|judged| judged.decision == Decision::Passed);
        if is_plain {
            return;
        }
        self.admit();
        if self.kept.is_some() {
            self.capture = Capture::of(self, route, headers, body.clone());
        }
    }

    /// Finds out whether the decision is kept; asked again only where it became another.
    fn admit(&mut self) {
        let Some(judged) = &self.judged else { return };
        let decision = (judged.decision, judged.reason);
        if self.kept.is_some() || self.asked == Some(decision) {
            return;
        }
        let (id, sample) = (self.id.as_u128(), self.snapshot.config.decisions.sample_passes);
        self.kept = self.shared.decisions.admit(judged, id, sample, || self.shared.now());
        self.asked = Some(decision);
    }

    /// The query as it was sent.
    pub(crate) fn raw_query(&self) -> Option<&str> {
        self.head.line.query()
    }

    /// Asks rules something, if they are at work. If they panic they are gone.
    pub(crate) fn inspecting(
        &mut self,
        ask: impl FnOnce(&mut Inspection, &mut Self) -> Result<(), Denial>,
    ) -> Result<(), Denial> {
        let Some(mut inspection) = self.inspection.take() else { return Ok(()) };
        let asked = ask(&mut inspection, self);
        self.inspection = Some(inspection);
        asked
    }

    /// Rules have seen all that they are to see.
    pub(crate) fn end_inspection(&mut self) {
        let Some(inspection) = self.inspection.take() else { return };
        // Also where a request breaks off, which is no place for a panic.
        if catch_unwind(AssertUnwindSafe(|| inspection.end(self))).is_err() {
            self.shared.metrics.panics().inc();
            error!(request_id = %self.id, "rules panicked at the end of a request; this is a defect");
            self.note_error("panic");
        }
    }

    /// Notes what went wrong; the first cause stays.
    pub(crate) fn note_error(&mut self, error: impl Into<String>) {
        self.error.get_or_insert_with(|| error.into());
    }

    /// The metric label of the route.
    pub(crate) fn route_name(&self) -> &str {
        self.route.as_ref().map_or("other", |route| route.name.as_str())
    }

    /// When its head was there.
    pub(crate) const fn timestamp(&self) -> Timestamp {
        self.head.timestamp
    }

    fn facts(&self, parts: &Parts) -> HeadFacts {
        let headers = &parts.headers;
        let (mut order, mut has_forwarding) = (HeaderOrder::default(), false);
        for name in headers.keys() {
            order.add(name.as_str());
            has_forwarding |= matches!(name.as_str(), "x-forwarded-for" | "cf-connecting-ip" | "forwarded");
        }
        let kept = |name: &HeaderName| headers.get(name).cloned();
        HeadFacts {
            timestamp: Timestamp::now(),
            line: RequestLine::Read { method: parts.method.clone(), uri: parts.uri.clone() },
            content_length: text(headers, &header::CONTENT_LENGTH)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            user_agent: kept(&header::USER_AGENT),
            referer: kept(&header::REFERER),
            accept_language: kept(&header::ACCEPT_LANGUAGE),
            accept: kept(&header::ACCEPT),
            has_cookies: headers.contains_key(header::COOKIE),
            cf_country: self.from_trusted_proxy.then(|| kept(&CF_IPCOUNTRY)).flatten(),
            http_version: version_text(parts.version),
            header_count: u32::try_from(headers.len()).unwrap_or(u32::MAX),
            header_order: order.finish(),
            has_forwarding,
            is_page_made: is_page_made(headers),
        }
    }

    /// What judging is told, but for what only the head has.
    pub(crate) fn request_facts<'a>(&'a self, route: usize, user_agent: &'a str) -> RequestFacts<'a> {
        let bytes =
            |value: &'a Option<HeaderValue>| value.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        RequestFacts {
            client: self.client,
            has_untrusted_forwarding: self.head.has_forwarding && !self.from_trusted_proxy,
            route,
            method: self.head.line.method(),
            host: &self.host,
            path: self.head.line.path(),
            query: self.head.line.query().unwrap_or_default(),
            user_agent,
            referer: bytes(&self.head.referer),
            accept: bytes(&self.head.accept),
            accept_language: bytes(&self.head.accept_language),
            cookies: &[],
            authorization: b"",
            content_length: self.head.content_length,
            // Bodies are not waited for: that is the WAF's part.
            content_type: b"",
            body: b"",
            header_order: self.head.header_order,
            ja4: &self.connection.ja4,
            is_page_made: self.head.is_page_made,
        }
    }

    /// The path and the query, as the client sent them.
    pub(crate) fn target(&self) -> (&str, &str) {
        (self.head.line.path(), self.head.line.query().unwrap_or_default())
    }

    /// As the audit record has it.
    pub(crate) fn user_agent(&self) -> Cow<'_, str> {
        lossy(&self.head.user_agent)
    }

    /// As its audit record tells it (an end-to-end test compares the features of both).
    fn finished(&self, took: Duration) -> Finished<'_> {
        let is_sent = |value: &Option<HeaderValue>| value.as_ref().is_some_and(|value| !value.is_empty());
        Finished {
            method: self.head.line.method(),
            has_cookies: self.head.has_cookies,
            has_referer: is_sent(&self.head.referer),
            has_language: is_sent(&self.head.accept_language),
            status: self.status,
            is_ours: is_ours(&self.backend, self.status, self.error.is_some()),
            is_cheap: self.backend == "static" && self.status < 400,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            content_length: self.head.content_length,
        }
    }

    /// Tells judging what the answer is. A tunnel is over with that, as far as judging goes: it may last for days.
    pub(crate) fn note_answer(&mut self, is_tunnel: bool) {
        let Some(judged) = &self.judged else { return };
        let answer = Answer {
            finished: self.finished(self.started.elapsed()),
            site_status: self.auth_status,
            is_login_redirect: self.is_login_redirect,
            gate: self.auth_gate,
            sessions_set: &self.sessions_set,
            log_ins_set: &self.log_ins_set,
        };
        let (pipeline, now) = (&self.snapshot.pipeline, self.shared.now());
        if is_tunnel {
            pipeline.observe(judged, &answer.finished, now);
            self.is_observed = true;
        } else {
            pipeline.answered(judged, &answer, now);
        }
    }

    /// It is refused, and no layer had a word in it.
    pub(crate) fn note_refused(&mut self, refused: Option<Refused>) {
        let is_plain = self.judged.as_ref().is_none_or(|judged| judged.decision == Decision::Passed);
        if is_plain && self.kept.is_none() {
            self.refused = refused;
        }
    }

    /// By what the decision about it is found, where it is kept.
    fn admitted(&mut self) -> Option<(Admitting, Row)> {
        let numbers = if let Some(refused) = self.refused {
            let is_known = self.judged.as_ref().is_some_and(|judged| judged.identity.is_logged_in);
            let now = self.shared.now();
            self.kept = self.shared.decisions.admit_refused(refused, self.client, is_known, now);
            (refused.number(), decision_number(Decision::Blocked))
        } else {
            self.admit();
            let judged = self.judged.as_ref()?;
            (judged.layer.map_or(0, layer_number), decision_number(judged.decision))
        };
        let admitting = self.kept?;
        let micros = u64::try_from(self.head.timestamp.as_microsecond()).unwrap_or(0);
        let names = (&*self.client_text(), self.host.as_str(), self.path());
        Some((admitting, row(self.id.as_u128(), micros, names, numbers)))
    }

    /// Tells judging what became of the request.
    fn observe(&self, took: Duration) {
        if let Some(judged) = self.judged.as_ref().filter(|_| !self.is_observed) {
            self.snapshot.pipeline.observe(judged, &self.finished(took), self.shared.now());
        }
    }

    /// The client's address as the audit log may show it.
    pub(crate) fn client_text(&self) -> Cow<'_, str> {
        match self.snapshot.config.audit.client_ip {
            ClientIp::Full => self
                .client_value()
                .to_str()
                .map_or_else(|_| self.client.to_string().into(), |text| Cow::Owned(text.to_owned())),
            ClientIp::Truncated | ClientIp::Hashed => {
                self.shared.address_text(self.client, &self.snapshot.config.audit, self.head.timestamp).into()
            }
        }
    }

    /// The client's address as a header's value.
    pub(crate) fn client_value(&self) -> HeaderValue {
        if self.client == self.connection.peer.ip().to_canonical() {
            // Most clients are no proxies: their address was turned into text once, for the connection.
            return self.connection.peer_value.clone();
        }
        address_value(self.client)
    }

    fn record(&self, took: Duration, findings: Option<&Findings>) -> AuditRecord<Cow<'_, str>> {
        let head = &self.head;
        let judged = |word: fn(&Judged) -> &'static str| self.judged.as_ref().map_or("", word).into();
        AuditRecord {
            target: AuditTarget::Audit,
            client_ip: self.client_text(),
            timestamp: head.timestamp,
            request_id: self.id_value.to_str().unwrap_or_default().into(),
            method: head.line.method().into(),
            host: self.host.as_str().into(),
            path: head.line.path().into(),
            query: self.snapshot.redaction.query(head.line.query().unwrap_or_default()),
            status: self.status,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            content_length: head.content_length,
            user_agent: lossy(&head.user_agent),
            referer: match lossy(&head.referer) {
                Cow::Borrowed(referer) => self.snapshot.redaction.url(referer),
                Cow::Owned(referer) => self.snapshot.redaction.url(&referer).into_owned().into(),
            },
            accept_language: lossy(&head.accept_language),
            accept: lossy(&head.accept),
            has_cookies: head.has_cookies,
            cf_country: head.cf_country.as_ref().and_then(|value| value.to_str().ok()).map(Cow::Borrowed),
            backend: self.backend.as_str().into(),
            error: self.error.as_deref().map(Cow::Borrowed),
            response_bytes: self.response_bytes,
            http_version: head.http_version.into(),
            header_count: head.header_count,
            route: self.route_name().into(),
            tls_version: self.connection.tls_version.into(),
            ja4: (&*self.connection.ja4).into(),
            identity_kind: judged(|judged| judged.identity.kind.as_str()),
            decision: judged(|judged| judged.decision.as_str()),
            layer: judged(|judged| judged.layer.map_or("", Layer::as_str)),
            reason: judged(|judged| judged.reason),
            scores: self.judged.as_ref().map(scores).unwrap_or_default(),
            rules: findings.map(|findings| findings.rules.clone()).unwrap_or_default(),
            matches: match findings {
                Some(findings) if self.snapshot.config.audit.matches => findings.matches.clone(),
                _ => Vec::new(),
            },
            added_us: self.added_us,
            upstream_us: self.upstream_us,
        }
    }
}

impl Drop for RequestContext {
    /// The end of a request, however it came: counted, traced, written.
    fn drop(&mut self) {
        /// nginx's status for a client that left before it was answered.
        const CLIENT_CLOSED_REQUEST: u16 = 499;
        // Of a request that broke off while rules were at work.
        if !std::thread::panicking() {
            self.end_inspection();
        }
        if self.status == 0 {
            self.status = CLIENT_CLOSED_REQUEST;
            self.note_error("the client left before the answer");
        }
        let metrics = &self.shared.metrics;
        if let Some(judged) = self.judged.as_ref().filter(|judged| !judged.used.is_empty()) {
            self.snapshot.exceptions.note(judged, self.head.timestamp.as_second(), metrics);
        }
        let labels = Labels {
            method: method_label(self.head.line.method()),
            route: self.route_name(),
            status: self.status,
            backend: &self.backend,
        };
        request_counter::count(metrics, self.snapshot.generation, labels);
        let took = self.started.elapsed();
        self.observe(took);
        metrics.request_seconds().observe(took.as_secs_f64());
        let mut span = std::mem::take(&mut self.span);
        span.finish(self.status, self.error.as_deref(), self.route_name(), &self.backend);
        let kept = self.admitted();
        if kept.is_some() || self.snapshot.config.audit.enabled || self.shared.events.is_watched() {
            let (capture, findings) = (self.capture.take(), self.findings.take());
            let mut record = self.record(took, findings.as_deref());
            self.shared.events.publish(&record);
            if self.snapshot.config.audit.enabled {
                self.shared.audit.write(&record);
            }
            if let Some((admitting, row)) = kept {
                // The audit log has what layers decided, and nothing else.
                if let Some(refused) = self.refused {
                    record.decision = Decision::Blocked.as_str().into();
                    (record.layer, record.reason) = (refused.layer().into(), refused.reason.into());
                }
                let mut line = Vec::with_capacity(LINE_BYTES);
                record.write_line(&mut line);
                let (class, stands_for) = (admitting.class, admitting.stands_for);
                let facts = self.judged.as_ref().map(|judged| {
                    let whom = self.snapshot.pipeline.whom(judged, &self.connection.ja4);
                    JudgedFacts::of(judged, whom)
                });
                let facts = facts.unwrap_or_default();
                self.shared.decisions.keep(Ended { line, capture, findings, facts, class, row, stands_for });
            }
        }
    }
}

/// Methods of RFC 9110 and 5789 as they are, every other as `OTHER`: a client must not make labels.
pub(crate) fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.iter().find(|known| **known == method).copied().unwrap_or("OTHER")
}

/// What models said, as the record has it.
fn scores(judged: &Judged) -> AuditScores {
    let share = |logit: i32| Thousandths::of(probability(logit));
    AuditScores {
        ddos: judged.scores.ddos.map(|said| share(said.logit)),
        scanner: judged.scores.scanner.map(|said| share(said.logit)),
        payload: judged.scores.payload.map(share),
        waf: judged.scores.rules.map(|rules| Thousandths(rules.thousandths())),
        application: judged.scores.application.map(share),
    }
}

fn is_page_made(headers: &HeaderMap) -> bool {
    let field = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let said = FetchMetadata {
        site: field(&SEC_FETCH_SITE),
        destination: field(&SEC_FETCH_DEST),
        purpose: field(&SEC_PURPOSE),
        accept: field(&header::ACCEPT),
    };
    said.is_page_made()
}

fn lossy(value: &Option<HeaderValue>) -> Cow<'_, str> {
    let bytes = value.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    // The library's search for what is no text looks at single bytes; most of it is text.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// A header's value, if it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a request may be sent again without asking (RFC 9110 §9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

const fn version_text(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/?",
    }
}
