// SPDX-License-Identifier: Apache-2.0
//! Who may use the API: whoever has the token, and never a web page that a browser was tricked into.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use sunbeam_routing::host_of;

use super::api::failure;
use super::lists::note_operator;
use crate::core::Core;

/// 401 without the Bearer token.
pub(super) async fn require_token(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let token = core.token.load();
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    // A hash of both would hide the length too; the length of a random token is no secret.
    let is_right = given
        .is_some_and(|given| verify_slices_are_equal(given.as_bytes(), token.expose().as_bytes()).is_ok());
    if is_right {
        note_operator(&core, request.headers());
        return next.run(request).await;
    }
    let mut response = failure(StatusCode::UNAUTHORIZED, "the Bearer token is missing or wrong");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
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
