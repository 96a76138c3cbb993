// SPDX-License-Identifier: Apache-2.0
//! Between pass and block: a browser that is doubtful shows that it is one, and goes on.
//!
//! [`ask`] stands behind every layer, so what is certain was blocked before: no pass opens that. [`attempt`] answers
//! those who come with a solution. Nothing is kept of who was asked: all is in a signed ticket, and in a signed cookie
//! (`seal.rs`) once it is solved. Slow: nothing here waits. Full: memories forget the oldest, counted in
//! `sunbeam_limit_hits_total`. Broken: without a key nobody is asked, and what is doubtful is watched.

mod audience;
mod books;
mod level;
mod page;
mod seal;
mod section;
mod words;
mod work;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use sunbeam_config::Secret;
use sunbeam_listeners::Scheme;
use sunbeam_pipeline::{ChallengeOverride, Judged};
use sunbeam_routing::Route;
use sunbeam_traffic::Layer;

pub use section::{ChallengeMode, ChallengeSection};

use crate::body::{AnswerBody, empty};
use crate::config::Config;
use crate::context::{RequestContext, text};
use crate::error_page::Denial;
use crate::why::refused::Refused;
use books::Books;
pub(crate) use level::Level;
use page::{SUNBEAM_CHALLENGE, Says, page, worker};
use seal::{Age, Holder, Pass, Seal, Ticket};
use words::{Words, words};

/// All of it is below this path, on every host.
const ROOM: &str = "/.well-known/sunbeam/";
const ENDPOINT: &str = "/.well-known/sunbeam/challenge";
const SCRIPT: &str = "/.well-known/sunbeam/challenge.js";

/// The parameter that has the ticket, and with it where its client wanted to go: logs never show its value.
pub(crate) const TICKET: &str = "sunbeam-ticket";

/// Seconds for which a browser keeps the cookie that it is to bring back.
const SEEN_SECS: u64 = 900;

/// What lives through reloads.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    made: OnceLock<Seal>,
    books: Books,
}

impl Challenges {
    /// What is signed with where the configuration names nothing. Once, before anything is served.
    pub(crate) fn sign_with(&self, secret: &Secret) {
        self.made.get_or_init(|| Seal::new(secret.expose()));
    }
}

/// Of one configuration.
pub(crate) struct ChallengeRules {
    seal: Option<Seal>,
    /// By the route's index.
    routes: Vec<RouteRule>,
}

#[derive(Debug)]
struct RouteRule {
    name: String,
    mode: ChallengeOverride,
    /// It has answered with a page: browsers use it.
    has_pages: AtomicBool,
}

impl fmt::Debug for ChallengeRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeRules").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl ChallengeRules {
    /// Which routes have pages stays known.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Self {
        let section = &config.challenge;
        let everywhere = match section.enabled {
            ChallengeMode::Auto => ChallengeOverride::Auto,
            ChallengeMode::Off => ChallengeOverride::Off,
        };
        let had_pages = |name: &str| {
            let mut routes = before.into_iter().flat_map(|before| &before.routes);
            routes.any(|route| route.name == name && route.has_pages.load(Ordering::Relaxed))
        };
        let rule = |route: &sunbeam_routing::RouteSection| {
            let name = if route.host.is_empty() { &route.host_prefix } else { &route.host };
            RouteRule {
                mode: route.protect.challenge.unwrap_or(everywhere),
                has_pages: AtomicBool::new(had_pages(name)),
                name: name.clone(),
            }
        };
        let secret = &section.secret;
        let seal = (!secret.is_empty()).then(|| Seal::new(secret.expose()));
        Self { seal, routes: config.routes.iter().map(rule).collect() }
    }

    fn route(&self, index: usize) -> Option<&RouteRule> {
        self.routes.get(index).filter(|route| route.mode != ChallengeOverride::Off)
    }
}

/// An answer of the site: if it is a page, browsers use the route.
pub(crate) fn note_page(context: &RequestContext, route: &Route, response: &Response<AnswerBody>) {
    let Some(rule) = context.snapshot.challenge.route(route.index) else { return };
    if response.status() != StatusCode::OK || rule.has_pages.load(Ordering::Relaxed) {
        return;
    }
    let kind = text(response.headers(), &header::CONTENT_TYPE).unwrap_or_default();
    if kind.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("text/html")) {
        rule.has_pages.store(true, Ordering::Relaxed);
    }
}

/// A doubtful request that would pass: whoever has a pass goes on, a browser is asked for one. Where the route demands it
/// everybody else is refused (403).
pub(crate) fn ask(
    context: &mut RequestContext,
    parts: &Parts,
    is_websocket: bool,
) -> Result<Option<Response<AnswerBody>>, Denial> {
    let Some(judged) = &context.judged else { return Ok(None) };
    let Some((doubt, level)) = worst_doubt(judged) else { return Ok(None) };
    let snapshot = Arc::clone(&context.snapshot);
    let rule = context.route.as_ref().and_then(|route| snapshot.challenge.route(route.index));
    let Some(rule) = rule else { return Ok(None) };
    let shared = Arc::clone(&context.shared);
    let Some(seal) = snapshot.challenge.seal.as_ref().or_else(|| shared.challenge.made.get()) else {
        return Ok(None);
    };
    if let Some(pass) = pass_of(context, parts, seal, level) {
        count(context, "passed", Some(level));
        let ja4 = context.request_facts(usize::MAX, "").ja4;
        if let Some(judged) = &context.judged {
            for (layer, _) in judged.open_doubts() {
                snapshot.pipeline.note_solver(judged, layer, ja4, &pass.id);
            }
        }
        if let Some(judged) = &mut context.judged {
            judged.clear();
        }
        return Ok(None);
    }
    let is_required = rule.mode == ChallengeOverride::Require;
    let is_asked = (is_required || rule.has_pages.load(Ordering::Relaxed))
        && audience::is_navigation(parts, is_websocket);
    if !is_asked && (!is_required || audience::is_preflight(parts)) {
        return Ok(None);
    }
    if let Some(judged) = &mut context.judged {
        judged.challenge(doubt);
    }
    if !is_asked {
        count(context, "refused", Some(level));
        let denial = Denial::new(StatusCode::FORBIDDEN, format!("challenge: {}", level.as_str())).blocking();
        return Err(denial.header(SUNBEAM_CHALLENGE, HeaderValue::from_static(level.as_str())));
    }
    count(context, "issued", Some(level));
    let back = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let ticket = Ticket::new(level, snapshot.config.challenge.difficulty, now_ms(), back);
    Ok(Some(asking(context, parts, seal, &ticket, level.pause_ms())))
}

/// The doubt that calls for most, and what it calls for: whoever solves that has cleared the others, too.
fn worst_doubt(judged: &Judged) -> Option<((Layer, &'static str), Level)> {
    let levels = judged.open_doubts().map(|doubt| (doubt, Level::of(judged, doubt)));
    levels.reduce(|worst, other| if other.1 > worst.1 { other } else { worst })
}

/// Somebody comes with a solution, or for what it takes to find one. 403 for what is none, 429 where too many came from
/// there.
pub(crate) fn attempt(
    context: &mut RequestContext,
    parts: &Parts,
) -> Result<Option<Response<AnswerBody>>, Denial> {
    let path = parts.uri.path();
    if !path.starts_with(ENDPOINT) || !matches!(path, ENDPOINT | SCRIPT) {
        return Ok(None);
    }
    let (snapshot, shared) = (Arc::clone(&context.snapshot), Arc::clone(&context.shared));
    let is_on = context.route.as_ref().is_some_and(|route| snapshot.challenge.route(route.index).is_some());
    let seal = snapshot.challenge.seal.as_ref().or_else(|| shared.challenge.made.get());
    let Some(seal) = seal.filter(|_| is_on) else { return Ok(None) };
    if parts.method != Method::GET {
        let denial = Denial::new(StatusCode::METHOD_NOT_ALLOWED, "challenge: not GET");
        return Err(denial.header(header::ALLOW, HeaderValue::from_static("GET")));
    }
    context.is_challenge = true;
    if path == SCRIPT {
        return Ok(Some(worker()));
    }
    Ok(Some(solve(context, parts, seal)))
}

fn solve(context: &mut RequestContext, parts: &Parts, seal: &Seal) -> Response<AnswerBody> {
    let now = now_ms();
    let words = language(parts);
    let ticket = {
        let user_agent = context.user_agent();
        parameter(parts, TICKET).and_then(|text| Ticket::open(text, seal, &holder(context, &user_agent)))
    };
    let Some(ticket) = ticket.filter(|ticket| ticket.age(now) != Age::Future) else {
        return stop(context, ("forged", "failed"), words.failed, "/", words, None);
    };
    let level = Some(ticket.level);
    if pass_of(context, parts, seal, ticket.level).is_some() {
        return see_other(&ticket.back);
    }
    if ticket.age(now) == Age::Expired {
        count(context, "expired", level);
        return see_other(&ticket.back);
    }
    if !has_seen(context, parts, seal, &ticket) {
        return stop(context, ("no cookie", "no_cookie"), words.no_cookie, &ticket.back, words, level);
    }
    let left_ms = ticket.issued_ms.saturating_add(ticket.level.pause_ms()).saturating_sub(now);
    match parameter(parts, "n").filter(|_| ticket.level == Level::Work) {
        Some(number) if !work::is_done(&ticket.work(), number, ticket.difficulty) => {
            return stop(context, ("no work", "failed"), words.failed, &ticket.back, words, level);
        }
        None if left_ms > 0 => return asking(context, parts, seal, &ticket, left_ms),
        _ => {}
    }
    let limit = |name| context.shared.listener_metrics.limit_hits(name).inc();
    let books = &context.shared.challenge.books;
    if !books.spend(ticket.nonce, now, || limit("challenge_solutions")) {
        count(context, "replayed", level);
        return see_other(&ticket.back);
    }
    let config = &context.snapshot.config;
    let address = (context.client, config.ddos.ipv6_prefix);
    let most = config.challenge.per_address_solves;
    if let Err(secs) = books.solve(address, most, now.div_euclid(1_000), || limit("challenge_addresses")) {
        count(context, "capped", level);
        context.note_error("challenge: too many from there today");
        context.note_refused(Some(Refused::by_challenge("capped")));
        let says = Says::Stop { text: words.capped, back: &ticket.back };
        let mut response = page(StatusCode::TOO_MANY_REQUESTS, context.id, words, says);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        return response;
    }
    count(context, "solved", level);
    let ttl = config.challenge.ttl_secs;
    let pass = {
        let user_agent = context.user_agent();
        Pass::new(ticket.level, now, ttl).sealed(seal, &holder(context, &user_agent))
    };
    let mut response = see_other(&ticket.back);
    set_cookie(context, &mut response, "pass", &pass, ttl);
    response
}

/// The page that asks. Its cookie is what comes back with the solution.
fn asking(
    context: &mut RequestContext,
    parts: &Parts,
    seal: &Seal,
    ticket: &Ticket,
    left_ms: i64,
) -> Response<AnswerBody> {
    context.is_challenge = true;
    let (sealed, seen) = {
        let user_agent = context.user_agent();
        let holder = holder(context, &user_agent);
        (ticket.sealed(seal, &holder), seal.seen(&holder, ticket.issued_ms))
    };
    // Whole seconds, and one more, so that nobody comes too early; a cookie alone needs no time.
    let pause_secs = if left_ms > 0 { left_ms.div_euclid(1_000).saturating_add(1) } else { 0 };
    let says = Says::Ask { ticket, sealed: &sealed, pause_secs };
    let mut response = page(StatusCode::FORBIDDEN, context.id, language(parts), says);
    set_cookie(context, &mut response, "seen", &seen, SEEN_SECS);
    response
}

/// A page from which nothing goes on by itself: whoever brings nothing back would go round for ever.
fn stop(
    context: &mut RequestContext,
    (why, reason): (&str, &'static str),
    text: &str,
    back: &str,
    words: &Words,
    level: Option<Level>,
) -> Response<AnswerBody> {
    count(context, "failed", level);
    context.note_error(format!("challenge: {why}"));
    context.note_refused(Some(Refused::by_challenge(reason)));
    page(StatusCode::FORBIDDEN, context.id, words, Says::Stop { text, back })
}

fn see_other(back: &str) -> Response<AnswerBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(
        header::LOCATION,
        HeaderValue::from_str(back).unwrap_or_else(|_| HeaderValue::from_static("/")),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The pass that comes with it, if it is good for this level.
fn pass_of(context: &RequestContext, parts: &Parts, seal: &Seal, level: Level) -> Option<Pass> {
    let now = now_ms();
    let user_agent = context.user_agent();
    let holder = holder(context, &user_agent);
    let is_good = |pass: &Pass| pass.level >= level && pass.age(now) == Age::Good;
    let found =
        cookies(context, parts, "pass").filter_map(|text| Pass::open(text, seal, &holder)).find(is_good);
    let full = || context.shared.listener_metrics.limit_hits("challenge_passes").inc();
    let books = &context.shared.challenge.books;
    found.filter(|pass| books.may_use(pass.id, context.client, now.div_euclid(1_000), full))
}

/// Whether the page's cookie came back.
fn has_seen(context: &RequestContext, parts: &Parts, seal: &Seal, ticket: &Ticket) -> bool {
    let user_agent = context.user_agent();
    let want = seal.seen(&holder(context, &user_agent), ticket.issued_ms);
    let is_it = |found: &str| verify_slices_are_equal(found.as_bytes(), want.as_bytes()).is_ok();
    cookies(context, parts, "seen").any(is_it)
}

fn holder<'a>(context: &'a RequestContext, user_agent: &'a str) -> Holder<'a> {
    let ja4 = if context.from_trusted_proxy { "" } else { &*context.connection.ja4 };
    Holder { host: &context.host, user_agent, ja4 }
}

/// The values of one of our cookies; a client may send several.
fn cookies<'a>(
    context: &RequestContext,
    parts: &'a Parts,
    name: &'static str,
) -> impl Iterator<Item = &'a str> {
    /// More are not looked at.
    const VALUES_MAX: usize = 4;
    let name = cookie_name(context, name);
    let lines = parts.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(found, _)| found.trim() == name).map(|(_, value)| value.trim()).take(VALUES_MAX)
}

/// Over HTTPS no other host of the domain can set it (RFC 6265bis).
fn cookie_name(context: &RequestContext, name: &str) -> String {
    let prefix = if context.scheme == Scheme::Https { "__Host-" } else { "" };
    format!("{prefix}sunbeam-{name}")
}

fn set_cookie(
    context: &RequestContext,
    response: &mut Response<AnswerBody>,
    name: &str,
    value: &str,
    secs: u64,
) {
    let secure = if context.scheme == Scheme::Https { "; Secure" } else { "" };
    let name = cookie_name(context, name);
    let cookie = format!("{name}={value}; Path=/; Max-Age={secs}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn parameter<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    let mut pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn language(parts: &Parts) -> &'static Words {
    words(text(&parts.headers, &header::ACCEPT_LANGUAGE).unwrap_or_default())
}

fn count(context: &RequestContext, result: &str, level: Option<Level>) {
    context.shared.metrics.challenges(result, level.map_or("none", Level::as_str)).inc();
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
