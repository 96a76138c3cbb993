// SPDX-License-Identifier: Apache-2.0
//! THE request path. Read it from top to bottom: each function is one step, in the order in which a
//! request takes them (docs/request-path.md draws it).

use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use sunbeam_encoding::{Accepted, MaybeCompressed, Outcome, compress_response, rewrite_response};
use sunbeam_listeners::Scheme;
use sunbeam_pipeline::{Decision, Judged, Scratch};
use sunbeam_routing::{AuthRequest, Group, Http2Mode, Member, PathRoute, Route, normalise, rewrite};
use sunbeam_static_files::Lookup;
use sunbeam_traffic::{Layer, RequestFacts};
use sunbeam_wire::Refusal;
use tracing::{Instrument as _, debug_span, error, info, warn};

use crate::answer::{Answer, AuditedBody, complete};
use crate::auth_request::authorise;
use crate::body::{AnswerBody, ClientBody, PendingBody, boxed, empty, full};
use crate::challenge;
use crate::context::{ConnectionInfo, RequestContext, is_idempotent, text};
use crate::error_page::Denial;
use crate::inspect::{Inspection, Looked, Spare, inspect_answer, look_at_body};
use crate::judging;
use crate::offenders::{Offenders, Turn};
use crate::request::{
    check_form, check_method, check_size, read_authority, strip_hop_by_hop, upstream_headers,
};
use crate::share::{Shares, Slot};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::upgrade::{Upgrade, WebSocket, tunnel};
use crate::upstream::{self, Attempts, BackendGroup, Pool, UpstreamError, UpstreamHead};
use crate::why::refused::Refused;

/// What a thread's requests share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) shares: Rc<Shares>,
    pub(crate) offenders: Rc<Offenders>,
    /// Canonical forms are written here.
    pub(crate) scratch: RefCell<Scratch>,
    /// Rules work in it.
    pub(crate) spare: Spare,
}

/// A request as it comes from its connection.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) parts: Parts,
    /// HTTP/1: the head as it was sent.
    pub(crate) raw: Bytes,
    pub(crate) body: ClientBody,
    /// For a tunnel.
    pub(crate) client: Upgrade,
    /// Why its head was not taken; then the rest says nothing.
    pub(crate) refusal: Option<Refusal>,
}

impl Arrived {
    pub(crate) fn of_http2(mut request: Request<Incoming>) -> Self {
        let client = Upgrade::Http2(hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        Self { parts, raw: Bytes::new(), body: ClientBody::Http2(body), client, refusal: None }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        let (parts, body) = Request::new(ClientBody::None).into_parts();
        Self { parts, raw: Bytes::new(), body, client: Upgrade::None, refusal: Some(refusal) }
    }
}

/// Where a request goes, once its route is known.
struct Destination<'a> {
    route: &'a Route,
    sub_route: Option<&'a PathRoute>,
    backend: Option<&'a Arc<Group>>,
    /// For files: as sent, or rewritten.
    path: Cow<'a, str>,
    /// What the route was found by, and the query as sent: what an auth server is told.
    matched: String,
    /// For the backend.
    path_and_query: String,
    websocket: bool,
}

impl Service {
    /// Answers one request, whatever happens: a refusal, an error and a panic get their page and their
    /// audit record like everything else.
    pub(crate) async fn serve(
        self: Rc<Self>,
        connection: Rc<ConnectionInfo>,
        arrived: Arrived,
    ) -> Response<AuditedBody> {
        let Arrived { parts, raw, body, client, refusal } = arrived;
        let method = parts.method.clone();
        let accept = match &refusal {
            Some(refusal) => refusal.accept.clone(),
            None => text(&parts.headers, &header::ACCEPT).map(str::to_owned),
        };
        let mut context = RequestContext::new(&self.shared, &connection, &parts);
        self.shared.metrics.requests_received(connection.scheme.as_str()).inc();
        // A span costs a request more than its routing does, so it is there when somebody debugs; what is
        // logged at other levels names the request itself.
        let span = debug_span!("request", request_id = %context.id);
        let answered = {
            // Pinned here and not moved into what is around it: it is large, and copies of it are what
            // an HTTP/2 request would spend its time with.
            let answering = pin!(self.answer(&mut context, refusal, (parts, raw), body, client));
            AssertUnwindSafe(answering).catch_unwind().instrument(span).await
        };
        self.note_turn(&context, answered.as_ref().ok().and_then(|answered| answered.as_ref().err()));
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(denial)) => {
                context.note_error(denial.why.clone());
                context.note_refused(Refused::by_status(denial.status));
                let own = context.snapshot.block_page.as_deref();
                denial.page(context.id, accept.as_deref(), own).into()
            }
            Err(_) => {
                self.shared.metrics.panics().inc();
                error!(request_id = %context.id, "a request made the program panic; this is a defect");
                // Nobody asks its rules anything more.
                context.inspection = None;
                context.note_error("panic");
                Denial::new(StatusCode::INTERNAL_SERVER_ERROR, "panic")
                    .page(context.id, accept.as_deref(), None)
                    .into()
            }
        };
        context.end_inspection();
        complete(context, answer, &method)
    }

    /// The steps.
    async fn answer(
        &self,
        context: &mut RequestContext,
        refusal: Option<Refusal>,
        (mut parts, raw): (Parts, Bytes),
        body: ClientBody,
        client: Upgrade,
    ) -> Result<Answer, Denial> {
        // What is refused here ends its connection, or is as quick to refuse as to count.
        refuse(context, refusal)?;
        self.let_others_by(context).await?;
        check_size(context, &parts)?;
        check_form(&parts)?;
        check_method(&parts)?;
        read_authority(context, &parts)?;
        let _slot = self.take_turn(context).await?;
        let route = find_route(context)?;
        if parts.uri.path() == "*" {
            return Ok(server_options().into());
        }
        if let Some(redirect) = redirect_to_https(context, &route)? {
            return Ok(redirect.into());
        }
        let destination = find_destination(&route, &parts.uri)?;
        let max_body_bytes = max_body_bytes(context, &route);
        check_announced_length(context, &parts, max_body_bytes)?;
        judge(context, &route, &parts.headers, &mut self.scratch.borrow_mut())?;
        if let Some(answer) = challenge::attempt(context, &parts)? {
            return Ok(answer.into());
        }
        let websocket = WebSocket::of(&parts);
        let mut body = PendingBody::Unread(body);
        context.inspection = Inspection::begin(context, &self.spare);
        if context.inspection.is_some() {
            self.inspect(context, &destination, (&parts, raw, websocket.is_some()), &mut body).await?;
        }
        if let Some(page) = challenge::ask(context, &parts, websocket.is_some())? {
            return Ok(page.into());
        }
        let auth = destination.sub_route.and_then(|path| path.auth.as_ref());
        let granted = match auth {
            // What few requests do is on the heap, so that the others' future stays small.
            Some(auth) => {
                Some(Box::pin(authorise(&self.pool, context, auth, &parts, &destination.matched)).await?)
            }
            None => None,
        };
        if websocket.is_none()
            && let Some(file) = serve_file(context, &destination, &parts)?
        {
            note_cheap(context);
            let file = look_at_answer(context, file).await?;
            let accepted = || Accepted::of(&parts.headers);
            return finish_content(context, &route, &parts.method, accepted, file).await.map(Answer::from);
        }
        let Some(backend) = destination.backend else {
            context.backend = STATIC.to_owned();
            let missing = || Denial::new(StatusCode::NOT_FOUND, "no such file");
            return robots_txt(context, StatusCode::NOT_FOUND).map(Answer::from).ok_or_else(missing);
        };
        let rewriting = (!route.body_rewrites.is_empty()).then(|| Accepted::of(&parts.headers));
        let mut head = upstream_head(
            context,
            &destination,
            &parts.method,
            std::mem::take(&mut parts.headers),
            rewriting.as_ref(),
        );
        if let (Some(auth), Some(granted)) = (auth, granted) {
            grant(&mut head, auth, granted);
        }
        if let Some(kind) = websocket {
            if destination.websocket {
                if kind == WebSocket::Http1 && !body.is_end_stream() {
                    return Err(Denial::new(StatusCode::BAD_REQUEST, "an upgrade with a body").closing());
                }
                return Box::pin(self.open_tunnel(context, backend, head, kind, client)).await;
            }
            if kind == WebSocket::Http2 {
                return Err(Denial::new(StatusCode::NOT_IMPLEMENTED, "no WebSocket on this route"));
            }
        } else if parts.method == Method::CONNECT {
            return Err(Denial::new(StatusCode::NOT_IMPLEMENTED, "unknown :protocol"));
        }
        let response = self.ask_backend(context, backend, &head, body, max_body_bytes).await?;
        let response = look_at_answer(context, response).await?;
        if let Some(robots) = robots_txt(context, response.status()) {
            return Ok(robots.into());
        }
        let accepted = || rewriting.unwrap_or_else(|| Accepted::of(&head.headers));
        finish_content(context, &route, &head.method, accepted, response).await.map(Answer::from)
    }

    /// Those who are stopped again and again wait while others are served. Where too many of them wait, the connection
    /// ends: an answer to each would cost what stopping it does.
    async fn let_others_by(&self, context: &mut RequestContext) -> Result<(), Denial> {
        let at = (context.started, context.shared.moment_of(context.started));
        let waits = || context.shared.metrics.offender_waits().inc();
        let turn = self.offenders.turn(context.client, at, waits).await;
        let Ok(turn) = turn else {
            context.shared.listener_metrics.limit_hits("offenders_waiting").inc();
            // A proxy brings others on the same connection.
            context.connection.is_cut.set(!context.from_trusted_proxy);
            context.is_turned_away = true;
            return Err(too_many().closing());
        };
        context.turn = turn;
        if turn != Turn::Ordinary {
            // What is refused next is not charged for the wait.
            context.turned = Instant::now();
        }
        Ok(())
    }

    /// 429 for an address with too many requests at once; otherwise waits until it is this one's turn.
    async fn take_turn(&self, context: &mut RequestContext) -> Result<Option<Slot>, Denial> {
        let mut slot = None;
        if let Some(share) = context.connection.share.clone() {
            context.open = Some(share.open().ok_or_else(too_many)?);
            let waits = || context.shared.metrics.fair_share_waits().inc();
            slot = Some(share.slot(context.started.into(), waits).await);
        }
        if context.turn != Turn::Ordinary {
            context.turned = Instant::now();
        }
        Ok(slot)
    }

    /// Those who are stopped again and again are known by it.
    fn note_turn(&self, context: &RequestContext, refused: Option<&Denial>) {
        // Whom others turn away has done nothing himself, and of some nobody keeps an account.
        let is_offence = refused.is_some_and(Denial::is_refusal) && !context.is_turned_away;
        if !is_offence || context.judged.as_ref().is_some_and(Judged::is_nobodys_offence) {
            return self.offenders.passed(context.turn);
        }
        let moment = context.shared.moment_of(context.started);
        self.offenders.stopped(context.client, moment, context.turn, context.worked());
    }

    /// Rules look at the request, and at as much of its body as they are to see. What they are still needed for is its
    /// answer.
    async fn inspect(
        &self,
        context: &mut RequestContext,
        destination: &Destination<'_>,
        (parts, raw, is_websocket): (&Parts, Bytes, bool),
        body: &mut PendingBody,
    ) -> Result<(), Denial> {
        let route = destination.route;
        let facts = |context: &RequestContext, body: &Bytes, look: &mut dyn FnMut(&RequestFacts<'_>)| {
            with_facts(context, route.index, &parts.headers, body, look);
        };
        let has_body = !body.is_end_stream();
        let judged = context.inspecting(|inspection, context| {
            inspection.head(context, (parts, &raw), facts, has_body, &mut self.scratch.borrow_mut())
        });
        if judged.is_err() {
            context.capture(route.index, &parts.headers, &Bytes::new());
        }
        judged?;
        let looked = if is_websocket || !has_body {
            Looked::default()
        } else {
            let rate = min_body_rate(
                context,
                destination.backend.map(|backend| &**backend),
                text(&parts.headers, &header::CONTENT_TYPE),
                wants_trailers(&parts.headers),
            );
            let bounds = (max_body_bytes(context, route), rate);
            // What few requests do is on the heap, so that the others' future stays small.
            Box::pin(look_at_body(context, &parts.headers, body, bounds)).await?
        };
        let judged = context.inspecting(|inspection, context| {
            inspection.body(context, facts, &looked, &mut self.scratch.borrow_mut())
        });
        context.capture(route.index, &parts.headers, &looked.bytes());
        judged?;
        // A backend may take its time, and rules' memory is large.
        if !context.snapshot.waf.as_ref().is_some_and(|rules| rules.looks_at_answers) {
            context.end_inspection();
        }
        Ok(())
    }

    /// Sends the request on. Dead or slow backends: 502, 504; all of them left out: 503 at once.
    async fn ask_backend(
        &self,
        context: &mut RequestContext,
        backend: &Group,
        head: &UpstreamHead,
        body: PendingBody,
        max_body_bytes: u64,
    ) -> Result<Response<AnswerBody>, Denial> {
        let content_type = text(&head.headers, &header::CONTENT_TYPE);
        let min_rate = min_body_rate(context, Some(backend), content_type, head.wants_trailers);
        let (body, watch) = body.into_body(max_body_bytes, min_rate, context);
        let asked = Instant::now();
        let snapshot = Arc::clone(&context.snapshot);
        let may_repeat = body.is_empty() && is_idempotent(&head.method);
        let group = at_work(&snapshot, backend)?;
        let mut attempts = Attempts::new(&self.pool, context, group, may_repeat, true);
        let answered = upstream::send(&mut attempts, head, body, &watch).await;
        note_upstream_time(context, asked);
        let mut response = answered.map_err(|error| upstream_failed(&error))?;
        judging::note_whom_the_site_knows(context, &response);
        strip_hop_by_hop(response.headers_mut());
        Ok(response.map(boxed))
    }

    async fn open_tunnel(
        &self,
        context: &mut RequestContext,
        backend: &Group,
        head: UpstreamHead,
        kind: WebSocket,
        client: Upgrade,
    ) -> Result<Answer, Denial> {
        let asked = Instant::now();
        let snapshot = Arc::clone(&context.snapshot);
        let mut attempts = Attempts::new(&self.pool, context, at_work(&snapshot, backend)?, true, true);
        let answered = tunnel(&mut attempts, head, kind, client).await;
        note_upstream_time(context, asked);
        let mut answer = answered.map_err(|error| upstream_failed(&error))?;
        if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            strip_hop_by_hop(answer.response.headers_mut());
        }
        Ok(answer)
    }
}

/// What a record calls the backend of files.
const STATIC: &str = "static";

/// The verdict on a request: a block is answered here, and goes no further.
pub(crate) fn judge(
    context: &mut RequestContext,
    route: &Route,
    headers: &HeaderMap,
    scratch: &mut Scratch,
) -> Result<(), Denial> {
    let now = context.shared.now();
    let mut judged = None;
    with_facts(context, route.index, headers, b"", &mut |facts| {
        judged = Some(context.snapshot.pipeline.judge(facts, now, scratch));
    });
    let Some(judged) = judged else { return Ok(()) };
    let answer = blocked(&judged);
    if let (Some(secs), Some(layer)) = (judged.banned_secs, judged.layer) {
        let client = context.client_text();
        info!(request_id = %context.id, %client, %layer, reason = judged.reason, secs, "a client is blocked");
    }
    context.judged = Some(judged);
    context.capture(route.index, headers, &Bytes::new());
    answer
}

/// The request as judging sees it.
fn with_facts(
    context: &RequestContext,
    route: usize,
    headers: &HeaderMap,
    body: &[u8],
    look: &mut dyn FnMut(&RequestFacts<'_>),
) {
    let mut cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    // Nearly always there is one line, or none.
    let (first, second) = (cookies.next(), cookies.next());
    let one = [first.unwrap_or_default()];
    let many: Vec<&[u8]> =
        second.map(|second| one.into_iter().chain([second]).chain(cookies).collect()).unwrap_or_default();
    let cookies = match (first, second) {
        (None, _) => &[],
        (Some(_), None) => &one[..],
        (Some(_), Some(_)) => &many,
    };
    let field = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let user_agent = context.user_agent();
    let facts = context.request_facts(route, &user_agent);
    let authorization = field(header::AUTHORIZATION);
    let content_type = if body.is_empty() { b"" } else { field(header::CONTENT_TYPE) };
    look(&RequestFacts { cookies, authorization, content_type, body, ..facts });
}

/// Rules look at an answer, where they are to.
async fn look_at_answer(
    context: &mut RequestContext,
    response: Response<AnswerBody>,
) -> Result<Response<AnswerBody>, Denial> {
    if context.inspection.is_none() {
        return Ok(response);
    }
    Box::pin(inspect_answer(context, response)).await
}

fn blocked(judged: &Judged) -> Result<(), Denial> {
    if judged.decision != Decision::Blocked {
        return Ok(());
    }
    let status = StatusCode::from_u16(judged.status).unwrap_or(StatusCode::FORBIDDEN);
    let layer = judged.layer.map_or("", Layer::as_str);
    let denial = Denial::new(status, format!("{layer}: {}", judged.reason)).blocking();
    Err(match judged.retry_after_secs {
        Some(secs) => denial.header(header::RETRY_AFTER, HeaderValue::from(secs)),
        None => denial,
    })
}

/// A file takes less of its client's limit than other answers.
fn note_cheap(context: &RequestContext) {
    if let Some(judged) = &context.judged {
        context.snapshot.pipeline.was_cheap(judged);
    }
}

/// The node's own robots.txt in place of a missing one, if the configuration wants that.
fn robots_txt(context: &RequestContext, status: StatusCode) -> Option<Response<AnswerBody>> {
    let is_missing = status == StatusCode::NOT_FOUND && context.path() == "/robots.txt";
    if !is_missing || !context.snapshot.config.bots.robots_txt {
        return None;
    }
    let mut response = Response::new(full(context.snapshot.pipeline.rules().bots.robots_txt()));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Some(response)
}

fn too_many() -> Denial {
    Denial::new(StatusCode::TOO_MANY_REQUESTS, "too many requests at once")
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// A head that was not taken.
fn refuse(context: &mut RequestContext, refusal: Option<Refusal>) -> Result<(), Denial> {
    let Some(refusal) = refusal else { return Ok(()) };
    context.describe_refused(&refusal.line);
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let limit = match refusal.status {
        408 => Some("header_timeout_secs"),
        414 => Some("max_url_bytes"),
        431 if refusal.why.contains("lines") => Some("max_headers"),
        431 => Some("max_header_bytes"),
        _ => None,
    };
    if let Some(limit) = limit {
        context.shared.listener_metrics.limit_hits(limit).inc();
    }
    Err(Denial::new(status, refusal.why).closing())
}

/// 421 for a host that no route names.
fn find_route(context: &mut RequestContext) -> Result<Arc<Route>, Denial> {
    let snapshot = Arc::clone(&context.snapshot);
    let route = snapshot.table.find(&context.host);
    let route =
        route.ok_or_else(|| Denial::new(StatusCode::MISDIRECTED_REQUEST, "no route for this host"))?;
    context.route = Some(Arc::clone(route));
    Ok(Arc::clone(route))
}

/// 308 for plain HTTP, unless the route opted out.
fn redirect_to_https(
    context: &RequestContext,
    route: &Route,
) -> Result<Option<Response<AnswerBody>>, Denial> {
    if context.scheme == Scheme::Https || route.plain_http {
        return Ok(None);
    }
    if context.host.is_empty() {
        return Err(Denial::new(StatusCode::BAD_REQUEST, "a redirect needs a Host"));
    }
    let host = if context.host.contains(':') { format!("[{}]", context.host) } else { context.host.clone() };
    // A client that named a port sees our ports as they are; one that did not came through port 80,
    // and whatever maps that port maps 443 too.
    let named_port = context.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = context.snapshot.config.https_port().filter(|port| named_port && *port != 443 && *port != 0);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = context.raw_query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("https://{host}{port}{}{query}", context.path());
    let location = HeaderValue::from_str(&location)
        .map_err(|_| Denial::new(StatusCode::BAD_REQUEST, "the target is not text"))?;
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(Some(response))
}

/// `OPTIONS *` asks about the server itself (RFC 9110 §9.3.7).
fn server_options() -> Response<AnswerBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// Rewrites the path, then finds the sub-route. 400 for a path that could be read in two ways.
fn find_destination<'a>(route: &'a Route, uri: &'a Uri) -> Result<Destination<'a>, Denial> {
    let ambiguous = |_| Denial::new(StatusCode::BAD_REQUEST, "the path is ambiguous");
    let sent = uri.path();
    let mut normal = normalise(sent).map_err(ambiguous)?;
    let mut path = Cow::Borrowed(sent);
    let mut query = uri.query().map(Cow::Borrowed);
    if let Some((rewritten, new_query)) = rewrite(&route.rewrites, &normal, uri.query()) {
        normal = Cow::Owned(normalise(&rewritten).map_err(ambiguous)?.into_owned());
        path = Cow::Owned(rewritten);
        query = new_query.map(Cow::Owned);
    }
    let found = route.path_route(&normal);
    let upstream_path = found.and_then(|(sub_route, rest)| sub_route.upstream_path(&normal, rest));
    let unchanged = || if route.is_guarded { normal.clone().into_owned() } else { path.clone().into_owned() };
    let mut path_and_query = upstream_path.unwrap_or_else(unchanged);
    if let Some(query) = query {
        path_and_query.push('?');
        path_and_query.push_str(&query);
    }
    let sub_route = found.map(|(sub_route, _)| sub_route);
    let mut matched = normal.into_owned();
    if let Some(query) = uri.query() {
        matched.push('?');
        matched.push_str(query);
    }
    Ok(Destination {
        matched,
        route,
        sub_route,
        backend: sub_route.map(|sub_route| &sub_route.backend).or(route.backend.as_ref()),
        path,
        path_and_query,
        websocket: sub_route.map_or(route.websocket, |sub_route| sub_route.websocket),
    })
}

fn max_body_bytes(context: &RequestContext, route: &Route) -> u64 {
    match route.max_body_bytes {
        0 => context.snapshot.config.limits.max_body_bytes,
        bound => bound,
    }
}

/// gRPC streams may be silent between two messages, in both directions, for as long as they like.
fn min_body_rate(
    context: &RequestContext,
    group: Option<&Group>,
    content_type: Option<&str>,
    wants_trailers: bool,
) -> u64 {
    let is_grpc = content_type.is_some_and(|content_type| content_type.starts_with("application/grpc"));
    // Without HTTP/2 on both sides it is not gRPC, whatever it says.
    let may_be = |member: &Member| match member.backend.http2 {
        Http2Mode::Always => true,
        Http2Mode::Auto => member.backend.url.scheme == sunbeam_routing::Scheme::Https,
        Http2Mode::Never => false,
    };
    let may_any_be = || group.is_some_and(|group| group.members.iter().any(may_be));
    if is_grpc && context.is_http_2() && wants_trailers && may_any_be() {
        0
    } else {
        context.snapshot.config.limits.min_body_rate_bytes
    }
}

/// 413 before a byte of the body is read, when its length says enough.
fn check_announced_length(context: &RequestContext, parts: &Parts, max_bytes: u64) -> Result<(), Denial> {
    let announced = text(&parts.headers, &header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    match announced {
        Some(length) if length > max_bytes => {
            context.shared.listener_metrics.limit_hits("max_body_bytes").inc();
            Err(Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "the announced body is too large").closing())
        }
        _ => Ok(()),
    }
}

/// A file of the route, if it has one for this path. Sub-routes come first: they were asked already.
fn serve_file(
    context: &mut RequestContext,
    destination: &Destination<'_>,
    parts: &Parts,
) -> Result<Option<Response<AnswerBody>>, Denial> {
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    if !is_read || destination.sub_route.is_some() {
        return Ok(None);
    }
    let snapshot = Arc::clone(&context.snapshot);
    let Some(root) = snapshot.static_root(destination.route.index) else { return Ok(None) };
    let accepted = Accepted::of(&parts.headers);
    let found = root.find(&destination.path, accepted.names());
    let count = |result| context.shared.metrics.static_files(result).inc();
    let failed = |error: &std::io::Error| {
        count("failed");
        error!(request_id = %context.id, %error, path = context.path(), "failed to read a static file");
        Denial::new(StatusCode::INTERNAL_SERVER_ERROR, format!("file: {error}"))
    };
    let file = match found {
        Lookup::Found(file) => file,
        Lookup::NotFound => {
            count("missing");
            return Ok(None);
        }
        Lookup::Refused(why) => {
            count("refused");
            return Err(Denial::new(StatusCode::BAD_REQUEST, format!("file path refused: {why:?}")));
        }
        Lookup::Denied => {
            count("denied");
            warn!(request_id = %context.id, path = context.path(), "a static file may not be read: check its permissions");
            return Err(Denial::new(StatusCode::FORBIDDEN, "file permission denied"));
        }
        Lookup::Failed(error) => return Err(failed(&error)),
    };
    let response = if destination.route.body_rewrites.is_empty() {
        file.respond(&parts.method, &parts.headers)
    } else {
        // A part of a page cannot be rewritten without the whole.
        let mut headers = parts.headers.clone();
        headers.remove(header::RANGE);
        file.respond(&parts.method, &headers)
    };
    let response = response.map_err(|error| failed(&error))?;
    count("found");
    context.backend = STATIC.to_owned();
    Ok(Some(response.map(boxed)))
}

/// Rewrites and compresses what a backend or a file gave.
async fn finish_content(
    context: &RequestContext,
    route: &Route,
    method: &Method,
    accepted: impl FnOnce() -> Accepted,
    mut response: Response<AnswerBody>,
) -> Result<Response<AnswerBody>, Denial> {
    challenge::note_page(context, route, &response);
    if !route.body_rewrites.is_empty() {
        let rewritten =
            Box::pin(rewrite_response(response, method, &route.body_rewrites)).await.map_err(|error| {
                match error.downcast_ref::<UpstreamError>() {
                    // The answer ended with a request that broke off, or is over a limit.
                    Some(error @ UpstreamError::Client { .. }) => upstream_failed(error),
                    _ => Denial::new(StatusCode::BAD_GATEWAY, format!("the answer broke off: {error}")),
                }
            })?;
        let outcome = match rewritten.outcome {
            Outcome::Rewritten => Some("rewritten"),
            Outcome::NoMatch => Some("no_match"),
            Outcome::TooLarge => Some("too_large"),
            Outcome::Undecodable => Some("undecodable"),
            Outcome::NotApplicable => None,
        };
        if let Some(outcome) = outcome {
            context.shared.metrics.body_rewrites(outcome).inc();
        }
        response = rewritten.response.map(boxed);
    }
    if route.compress {
        response = compress_response(response, method, accepted).map(|body| match body {
            MaybeCompressed::Identity(body) => body,
            compressed @ MaybeCompressed::Compressed(_) => boxed(compressed),
        });
    }
    Ok(response)
}

/// gRPC says so.
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| value.as_bytes() == b"trailers")
}

fn upstream_head(
    context: &RequestContext,
    destination: &Destination<'_>,
    method: &Method,
    mut headers: HeaderMap,
    rewriting: Option<&Accepted>,
) -> UpstreamHead {
    let wants_trailers = wants_trailers(&headers);
    let ours = upstream_headers(context, &mut headers);
    if let Some(accepted) = rewriting {
        // A part of a page cannot be rewritten without the whole, nor a coding that we do not know. What
        // is not rewritten passes in the coding it has, so it must be one that the client takes.
        headers.remove(header::RANGE);
        let codings: Vec<&str> = accepted.names().collect();
        let codings = if codings.is_empty() { "identity".to_owned() } else { codings.join(", ") };
        if let Ok(codings) = HeaderValue::from_str(&codings) {
            headers.insert(header::ACCEPT_ENCODING, codings);
        }
    }
    let keeps_host = destination.route.preserve_host && !context.authority.is_empty();
    UpstreamHead {
        method: method.clone(),
        path_and_query: encoded(&destination.path_and_query),
        headers,
        ours,
        authority: keeps_host.then(|| context.authority.clone()),
        wants_trailers,
    }
}

/// What only the auth server may say, it says.
fn grant(head: &mut UpstreamHead, auth: &AuthRequest, granted: Vec<(HeaderName, HeaderValue)>) {
    for name in &auth.capture {
        head.headers.remove(name);
    }
    head.ours.retain(|(name, _)| !auth.capture.contains(name));
    head.ours.extend(granted);
}

/// Reading does this for HTTP/1; bytes past ASCII come over HTTP/2 too, and in targets of rewrites.
fn encoded(target: &str) -> String {
    let encoded = sunbeam_wire::encoded_target(target.as_bytes());
    encoded.and_then(|encoded| String::from_utf8(encoded).ok()).unwrap_or_else(|| target.to_owned())
}

fn note_upstream_time(context: &mut RequestContext, asked: Instant) {
    let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    context.upstream_us = context.upstream_us.saturating_add(waited);
}

/// A route's backends in the snapshot that the request began with: its own, so it is there.
pub(crate) fn at_work<'a>(snapshot: &'a Snapshot, group: &Group) -> Result<&'a BackendGroup, Denial> {
    snapshot.group(group).ok_or_else(|| Denial::new(StatusCode::INTERNAL_SERVER_ERROR, "no such group"))
}

fn upstream_failed(error: &UpstreamError) -> Denial {
    let denial = Denial::new(error.status(), error.to_string());
    match error {
        // A body that was not read to its end leaves the connection in the middle of a message.
        UpstreamError::Client { .. } => denial.closing(),
        UpstreamError::NoBackend { retry_after_secs } => {
            denial.header(header::RETRY_AFTER, HeaderValue::from(*retry_after_secs))
        }
        UpstreamError::Backend { .. } => denial,
    }
}
