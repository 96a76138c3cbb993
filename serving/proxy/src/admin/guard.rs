// SPDX-License-Identifier: Apache-2.0
//! Who may use the API: whoever has the token or is logged in to the console, and never a web page that a browser was
//! tricked into.

use std::fmt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use sunbeam_routing::host_of;
use tokio::sync::OwnedSemaphorePermit;

use super::api::{failure, is_for_sessions};
use super::console::sessions::NoSession;
use super::console::{is_own_page, session};
use super::lists::{OPERATOR, note_operator};
use super::trail;
use crate::core::Core;

/// Changes that are made at the same time, those among them whose askers have hung up: as many as connections.
pub(crate) const CHANGES_MAX: usize = super::CONNECTIONS_MAX;

const NEEDS_TOKEN: &str = "this needs the node's token: a session of the console is not enough; the commands on the node's \
                           machine have it";

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Who asks, and may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever has the token.
    Token,
    /// Whoever is logged in to the console, by the session's name.
    Console(String),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("token"),
            Self::Console(name) => write!(f, "console {name}"),
        }
    }
}

/// 401 without the Bearer token and without a session, 403 where a session is not enough. What changes something is
/// written down, whether somebody waits for the answer or not.
pub(super) async fn require_caller(
    State(core): State<Arc<Core>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "the connection has no address");
    };
    let caller = match caller(&core, &request, peer) {
        Ok(caller) => caller,
        Err((status, why)) => return refusal(status, why),
    };
    if let Caller::Console(_) = caller {
        // What a page says of where its user works from is not asked: the connection tells.
        request.headers_mut().remove(OPERATOR);
        if !peer.0.is_loopback()
            && let Ok(address) = HeaderValue::from_str(&peer.0.to_string())
        {
            request.headers_mut().insert(OPERATOR, address);
        }
    }
    note_operator(&core, request.headers());
    let may = may(&caller, &request);
    if !trail::is_change(request.method(), request.uri().path()) {
        return match may {
            Ok(()) => next.run(request).await,
            Err(why) => failure(StatusCode::FORBIDDEN, why),
        };
    }
    let Some(turn) = turn(&core).await else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping");
    };
    let asked = (request.method().clone(), request.uri().clone());
    let change = async move {
        let _turn = turn;
        let answer = match may {
            // What it did before it panicked is in the trail, too.
            Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| failed()),
            Err(why) => failure(StatusCode::FORBIDDEN, why),
        };
        trail::told(&core, &caller, peer, asked, answer).await
    };
    // Whoever hangs up has asked all the same: what was begun is finished, and written down.
    let changed = tokio::spawn(change).await;
    changed.unwrap_or_else(|_| failed())
}

fn failed() -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, "that failed; the log says why")
}

/// Whether a caller may do what is asked; if not, why.
fn may(caller: &Caller, request: &Request) -> Result<(), &'static str> {
    let page = request.extensions().get::<MatchedPath>();
    let is_enough = match caller {
        Caller::Token => true,
        Caller::Console(_) => page.is_some_and(|page| is_for_sessions(request.method(), page.as_str())),
    };
    if is_enough { Ok(()) } else { Err(NEEDS_TOKEN) }
}

/// Waits until a change may begin; `None`: none may any more. Whoever hangs up before that has changed nothing.
async fn turn(core: &Core) -> Option<OwnedSemaphorePermit> {
    if let Ok(turn) = Arc::clone(&core.changes).try_acquire_owned() {
        return Some(turn);
    }
    core.shared.listener_metrics.limit_hits("management_changes").inc();
    Arc::clone(&core.changes).acquire_owned().await.ok()
}

/// Whether whoever asked would still be let in: for answers that last.
pub(super) fn holds(core: &Core, headers: &HeaderMap, peer: Peer) -> bool {
    if headers.contains_key(header::AUTHORIZATION) {
        return has_token(core, headers);
    }
    session(core, headers, peer.0).is_ok()
}

/// Who asks; or which status is answered, and why.
fn caller(core: &Core, request: &Request, peer: Peer) -> Result<Caller, (StatusCode, &'static str)> {
    const NO_TOKEN: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "the Bearer token is missing or wrong");
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION) {
        return if has_token(core, headers) { Ok(Caller::Token) } else { Err(NO_TOKEN) };
    }
    let holder = match session(core, headers, peer.0) {
        Ok(holder) => holder,
        Err(NoSession::Unknown) => return Err(NO_TOKEN),
        Err(NoSession::Elsewhere) => {
            let why = "this session was opened from another address, and is ended: `sunbeam login` again";
            return Err((StatusCode::UNAUTHORIZED, why));
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_own_page(headers) {
        return Err((StatusCode::FORBIDDEN, "only the console's own page changes something"));
    }
    Ok(Caller::Console(holder.name))
}

fn has_token(core: &Core, headers: &HeaderMap) -> bool {
    let token = core.token.load();
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    // A hash of both would hide the length too; the length of a random token is no secret.
    given.is_some_and(|given| verify_slices_are_equal(given.as_bytes(), token.expose().as_bytes()).is_ok())
}

fn refusal(status: StatusCode, why: &str) -> Response {
    let mut response = failure(status, why);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// 403 for a Host that is not an address or `localhost`, and for an Origin that is not the Host: a name
/// that somebody else's DNS points here (rebinding) makes a browser send both.
pub(super) async fn require_own_host(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => failure(StatusCode::FORBIDDEN, why),
    }
}

fn check(headers: &HeaderMap) -> Result<(), &'static str> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).ok_or("Host is missing")?;
    let name = host_of(host);
    if name != "localhost" && name.parse::<IpAddr>().is_err() {
        return Err("Host must be an address or `localhost`");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let own = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .is_some_and(|(_, rest)| rest == host);
    if own { Ok(()) } else { Err("Origin is not this API") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_and_origins_are_refused() {
        for (host, origin, want) in [
            (Some("127.0.0.1:9999"), None, true),
            (Some("[::1]:9999"), None, true),
            (Some("localhost:9999"), Some("http://localhost:9999"), true),
            (Some("evil.example:9999"), None, false),
            (Some("127.0.0.1:9999"), Some("http://evil.example"), false),
            (Some("127.0.0.1:9999"), Some("null"), false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(check(&headers).is_ok(), want, "{host:?} {origin:?}");
        }
    }
}
