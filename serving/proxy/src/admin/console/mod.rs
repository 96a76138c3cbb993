// SPDX-License-Identifier: Apache-2.0
//! The console: its page, and how a browser logs in to it.
//!
//! `sunbeam login` asks for a link with the token. Its secret stands behind the `#`, which browsers do not send, so no
//! log has it; the page exchanges it, once, for a session in two halves: a cookie that no script can read, and a proof in
//! the page's own storage. A cookie goes to every port of its host, and so to applications behind this very node; the
//! storage goes to none. Each call needs both, and a foreign page can send neither.

mod assets;
pub(crate) mod sessions;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::get;
use axum::{Router, middleware};
use serde::Deserialize;
use serde_json::{Value, json};

use self::sessions::{Holder, LINK_LIVES, NoSession, Opened, SESSION_LIVES};
use super::api::failure;
use super::guard::Peer;
use crate::core::Core;

/// The header with the proof.
pub(super) const PROOF: &str = "x-sunbeam-csrf";

/// Bytes of a log-in: a secret and a little JSON.
const LOG_IN_BYTES_MAX: usize = 1024;

/// The page and the session. Open: without a session they tell nothing about the node.
pub(super) fn router(core: &Arc<Core>) -> Router<Arc<Core>> {
    Router::new()
        .route("/", get(async || Redirect::to("/console/")))
        .route("/console", get(async || Redirect::to("/console/")))
        .route("/console/", get(assets::index))
        .route("/console/login", get(assets::index))
        .route("/console/{file}", get(assets::file))
        .route("/api/v1/session", get(who).post(log_in).delete(log_out))
        .layer(DefaultBodyLimit::max(LOG_IN_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(core), only_if_on))
}

/// 404 for everything where `management.console` is off.
async fn only_if_on(
    State(core): State<Arc<Core>>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Response {
    if core.shared.snapshot().config.management.console {
        return next.run(request).await;
    }
    failure(StatusCode::NOT_FOUND, "the console is off: see `management.console`")
}

/// `POST /api/v1/login-links`: not for sessions, so that none can make others.
pub(super) async fn link(State(core): State<Arc<Core>>) -> Response {
    if !core.shared.snapshot().config.management.console {
        return failure(StatusCode::NOT_FOUND, "the console is off: see `management.console`");
    }
    match core.sessions.link(Instant::now()) {
        Ok((secret, is_full)) => {
            if is_full {
                core.shared.listener_metrics.limit_hits("console_links").inc();
            }
            Json(json!({
                "success": true,
                "message": "a link to the console was made",
                "path": format!("/console/login#{secret}"),
                "expires_in_seconds": LINK_LIVES.as_secs(),
            }))
            .into_response()
        }
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    secret: String,
}

async fn log_in(
    State(core): State<Arc<Core>>,
    Extension(Peer(from)): Extension<Peer>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if !is_own_page(&headers) {
        return failure(StatusCode::FORBIDDEN, "only the console's own page logs in");
    }
    let Ok(LogIn { secret }) = serde_json::from_str(&body) else {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "the body is `{\"secret\": …}`");
    };
    match core.sessions.open(&secret, from, Instant::now()) {
        Ok(Some((opened, is_full))) => welcome(&core, &headers, from, &opened, is_full).await,
        Ok(None) => {
            core.shared.metrics.console_logins("refused").inc();
            failure(
                StatusCode::UNAUTHORIZED,
                "this link was used already, or is older than five minutes: `sunbeam login` makes another",
            )
        }
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn welcome(
    core: &Arc<Core>,
    headers: &HeaderMap,
    from: IpAddr,
    opened: &Opened,
    is_full: bool,
) -> Response {
    core.shared.metrics.console_logins("ok").inc();
    if is_full {
        core.shared.listener_metrics.limit_hits("console_sessions").inc();
    }
    let note = json!({"who": format!("console {}", opened.name), "from": from, "what": "log-in"});
    let operator = Arc::clone(core);
    // Both touch the disk, before it is answered; also where whoever logs in has hung up. A panic in there was logged by
    // the hook.
    let written = tokio::task::spawn_blocking(move || {
        operator.trail(&note);
        operator.exempt_operator(from);
    });
    drop(written.await);
    let cookie = cookie(headers, &opened.id, SESSION_LIVES.as_secs());
    let body =
        json!({"proof": opened.proof, "name": opened.name, "expires_in_seconds": SESSION_LIVES.as_secs()});
    with_cookie(Json(body).into_response(), &cookie)
}

/// Whether whoever asks is logged in: 200 either way, so that the page can ask.
async fn who(
    State(core): State<Arc<Core>>,
    Extension(Peer(from)): Extension<Peer>,
    headers: HeaderMap,
) -> Json<Value> {
    Json(match session(&core, &headers, from) {
        Ok(holder) => json!({"name": holder.name, "expires_in_seconds": holder.left.as_secs()}),
        Err(_) => json!({"name": null, "expires_in_seconds": null}),
    })
}

async fn log_out(
    State(core): State<Arc<Core>>,
    Extension(Peer(from)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    if !is_own_page(&headers) {
        return failure(StatusCode::FORBIDDEN, "only the console's own page logs out");
    }
    if let Ok(holder) = session(&core, &headers, from) {
        core.sessions.close(&holder.name);
        let note = json!({"who": format!("console {}", holder.name), "from": from, "what": "log-out"});
        // On the disk before it is answered, as every line of it.
        drop(tokio::task::spawn_blocking(move || core.trail(&note)).await);
    }
    let answer = Json(json!({"success": true, "message": "logged out"})).into_response();
    with_cookie(answer, &cookie(&headers, "", 0))
}

/// The session that a call shows, if it holds.
pub(super) fn session(core: &Core, headers: &HeaderMap, from: IpAddr) -> Result<Holder, NoSession> {
    if !core.shared.snapshot().config.management.console {
        return Err(NoSession::Unknown);
    }
    let proof = headers.get(PROOF).and_then(|value| value.to_str().ok()).ok_or(NoSession::Unknown)?;
    let now = Instant::now();
    let mut checked = Err(NoSession::Unknown);
    for id in session_ids(headers) {
        checked = core.sessions.check(&id, proof, from, now);
        if checked != Err(NoSession::Unknown) {
            break;
        }
    }
    if checked == Err(NoSession::Elsewhere) {
        core.shared.metrics.console_logins("elsewhere").inc();
        tracing::warn!(%from, "a session of the console was used from another address, and is ended");
    }
    checked
}

/// The values of our cookie: what else runs on this host may have set some of its name, and whose comes first is the
/// browser's affair.
fn session_ids(headers: &HeaderMap) -> Vec<String> {
    /// More are not looked at.
    const IDS_MAX: usize = 4;
    let name = cookie_name(headers);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).take(IDS_MAX).collect()
}

/// Whether a browser says that one of our own pages asks: it names itself, and nobody else began it.
pub(super) fn is_own_page(headers: &HeaderMap) -> bool {
    let is_same_site = |value: &HeaderValue| value == "same-origin";
    headers.get(header::ORIGIN).is_some() && headers.get("sec-fetch-site").is_none_or(is_same_site)
}

/// Ports share cookies: each node's has its own name.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(80);
    format!("sunbeam_session_{port}")
}

/// Without `Secure`: this port speaks plain HTTP, and is reached on this host or through a tunnel.
fn cookie(headers: &HeaderMap, id: &str, secs: u64) -> String {
    format!("{}={id}; Path=/api/; Max-Age={secs}; HttpOnly; SameSite=Strict", cookie_name(headers))
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_page_logs_in() {
        for (name, origin, site, want) in [
            ("our page", Some("http://127.0.0.1:9999"), Some("same-origin"), true),
            ("an old browser", Some("http://127.0.0.1:9999"), None, true),
            ("another port", Some("http://127.0.0.1:9999"), Some("same-site"), false),
            ("a foreign page", Some("http://127.0.0.1:9999"), Some("cross-site"), false),
            ("no page", None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            for (header, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    headers.insert(header, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_own_page(&headers), want, "{name}");
        }
    }

    #[test]
    fn a_cookie_of_our_name_that_another_set_does_not_hide_ours() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:9999"));
        let cookies = "sunbeam_session_9999=x; other=1; sunbeam_session_9998=no; sunbeam_session_9999=ours";
        headers.append("cookie", HeaderValue::from_static(cookies));
        headers.append("cookie", HeaderValue::from_static("sunbeam_session_9999=third"));
        assert_eq!(session_ids(&headers), ["x", "ours", "third"]);
        for _ in 0..9 {
            headers.append("cookie", HeaderValue::from_static("sunbeam_session_9999=more"));
        }
        assert_eq!(session_ids(&headers).len(), 4, "bounded");
    }

    #[test]
    fn two_nodes_on_one_host_do_not_log_each_other_out() {
        for (host, want) in
            [("127.0.0.1:9999", "9999"), ("[::1]:9998", "9998"), ("localhost", "80"), ("[::1]", "80")]
        {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static(host));
            assert_eq!(cookie_name(&headers), format!("sunbeam_session_{want}"), "{host}");
        }
    }
}
