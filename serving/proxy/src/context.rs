// SPDX-License-Identifier: Apache-2.0
//! What is known about one request, from its head to its last byte.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Version, header};
use jiff::Timestamp;
use sunbeam_listeners::{ConnectionPermit, Scheme};
use sunbeam_traffic::{AuditRecord, AuditTarget, truncated_address};
use uuid::Uuid;

use crate::config::ClientIp;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// What is known about a connection. Made once, shared by its requests.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: SocketAddr,
    pub(crate) scheme: Scheme,
    /// `TLSv1.3`; empty for plain HTTP.
    pub(crate) tls_version: &'static str,
    /// HTTP/2: bytes that have come of a DATA frame that is not whole yet.
    pub(crate) partial_data: Cell<u32>,
    /// Its place in the connection count. A tunnel takes the connection out of hyper's hands and holds
    /// this with its request: it counts, and a drain waits for it.
    pub(crate) permit: ConnectionPermit,
}

/// The only per-request state: made once, passed along, and written to the audit log when it goes,
/// whatever happened.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) connection: Rc<ConnectionInfo>,
    pub(crate) id: Uuid,
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
    pub(crate) error: Option<String>,
    /// 0 until an answer's head is known.
    pub(crate) status: u16,
    pub(crate) added_us: u64,
    pub(crate) response_bytes: u64,
    pub(crate) span: crate::telemetry::RequestSpan,
    head: HeadFacts,
}

/// What the audit record keeps of the head.
#[derive(Debug, Default)]
struct HeadFacts {
    timestamp: Timestamp,
    method: String,
    path: String,
    /// As sent, for a redirect; `query` is redacted.
    raw_query: Option<String>,
    query: String,
    content_length: u64,
    user_agent: String,
    referer: String,
    accept_language: String,
    accept: String,
    has_cookies: bool,
    cf_country: Option<String>,
    http_version: &'static str,
    header_count: u32,
}

impl RequestContext {
    pub(crate) fn new(shared: &Arc<Shared>, connection: &Rc<ConnectionInfo>, parts: &Parts) -> Self {
        let snapshot = shared.snapshot();
        let peer = connection.peer.ip().to_canonical();
        let from_trusted_proxy = snapshot.is_trusted(peer);
        let headers = &parts.headers;
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let client = sunbeam_traffic::client_address(
            peer,
            forwarded.collect::<Vec<_>>().into_iter(),
            text(headers, &HeaderName::from_static("cf-connecting-ip")),
            &snapshot.trusted_proxies,
        );
        let forwarded_https = text(headers, &HeaderName::from_static("x-forwarded-proto"))
            .is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"));
        let scheme = if from_trusted_proxy && forwarded_https { Scheme::Https } else { connection.scheme };
        let mut context = Self {
            shared: Arc::clone(shared),
            connection: Rc::clone(connection),
            id: Uuid::new_v4(),
            started: Instant::now(),
            client,
            from_trusted_proxy,
            scheme,
            authority: String::new(),
            host: String::new(),
            route: None,
            backend: String::new(),
            upstream_us: 0,
            error: None,
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

    /// The audit record shows the refused request line in place of the stand-in that hyper saw.
    pub(crate) fn describe_refused(&mut self, line: &str) {
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.head = HeadFacts {
            timestamp: self.head.timestamp,
            method: method.to_owned(),
            path: path.to_owned(),
            query: self.snapshot.redaction.query(query),
            ..HeadFacts::default()
        };
    }

    pub(crate) fn method(&self) -> &str {
        &self.head.method
    }

    pub(crate) fn path(&self) -> &str {
        &self.head.path
    }

    /// The query as it was sent.
    pub(crate) fn raw_query(&self) -> Option<&str> {
        self.head.raw_query.as_deref()
    }

    /// Notes what went wrong; the first cause stays.
    pub(crate) fn note_error(&mut self, error: impl Into<String>) {
        self.error.get_or_insert_with(|| error.into());
    }

    /// The metric label of the route.
    pub(crate) fn route_name(&self) -> &str {
        self.route.as_ref().map_or("other", |route| route.name.as_str())
    }

    fn facts(&self, parts: &Parts) -> HeadFacts {
        let headers = &parts.headers;
        let lossy = |name: &HeaderName| {
            headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default()
        };
        let country = HeaderName::from_static("cf-ipcountry");
        HeadFacts {
            timestamp: Timestamp::now(),
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            raw_query: parts.uri.query().map(str::to_owned),
            query: parts.uri.query().map(|query| self.snapshot.redaction.query(query)).unwrap_or_default(),
            content_length: text(headers, &header::CONTENT_LENGTH)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            user_agent: lossy(&header::USER_AGENT),
            referer: self.snapshot.redaction.url(&lossy(&header::REFERER)),
            accept_language: lossy(&header::ACCEPT_LANGUAGE),
            accept: lossy(&header::ACCEPT),
            has_cookies: headers.contains_key(header::COOKIE),
            cf_country: self.from_trusted_proxy.then(|| text(headers, &country).map(str::to_owned)).flatten(),
            http_version: version_text(parts.version),
            header_count: u32::try_from(headers.len()).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn client_text(&self) -> String {
        match self.snapshot.config.audit.client_ip {
            ClientIp::Full => self.client.to_string(),
            ClientIp::Truncated => truncated_address(self.client).to_string(),
            ClientIp::Hashed => self.shared.address_hash.hash(self.client, self.head.timestamp),
        }
    }

    fn record(&mut self) -> AuditRecord {
        let head = std::mem::take(&mut self.head);
        AuditRecord {
            target: AuditTarget::Audit,
            client_ip: self.client_text(),
            timestamp: head.timestamp,
            request_id: self.id.to_string(),
            method: head.method,
            host: std::mem::take(&mut self.host),
            path: head.path,
            query: head.query,
            status: self.status,
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            content_length: head.content_length,
            user_agent: head.user_agent,
            referer: head.referer,
            accept_language: head.accept_language,
            accept: head.accept,
            has_cookies: head.has_cookies,
            cf_country: head.cf_country,
            backend: std::mem::take(&mut self.backend),
            error: self.error.take(),
            response_bytes: self.response_bytes,
            http_version: head.http_version.to_owned(),
            header_count: head.header_count,
            route: self.route_name().to_owned(),
            tls_version: self.connection.tls_version.to_owned(),
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
        if self.status == 0 {
            self.status = CLIENT_CLOSED_REQUEST;
            self.note_error("the client left before the answer");
        }
        let metrics = &self.shared.metrics;
        let status = self.status.to_string();
        let method = method_label(&self.head.method);
        metrics.requests(method, self.route_name(), &status, &self.backend).inc();
        metrics.request_seconds().observe(self.started.elapsed().as_secs_f64());
        let mut span = std::mem::take(&mut self.span);
        span.finish(self.status, self.error.as_deref(), self.route_name(), &self.backend);
        if self.snapshot.config.audit.enabled || self.shared.events.is_watched() {
            let record = self.record();
            self.shared.events.publish(&record);
            if self.snapshot.config.audit.enabled {
                self.shared.audit.write(record);
            }
        }
    }
}

/// Methods of RFC 9110 and 5789 as they are, every other as `OTHER`: a client must not make labels.
pub(crate) fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.iter().find(|known| **known == method).copied().unwrap_or("OTHER")
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
