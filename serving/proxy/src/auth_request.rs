// SPDX-License-Identifier: Apache-2.0
//! The auth subrequest: another server says whether a request may pass. Whatever goes wrong, it may not.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use sunbeam_routing::AuthRequest;
use tokio::time::timeout;

use crate::body::RequestBody;
use crate::context::RequestContext;
use crate::error_page::Denial;
use crate::request::upstream_headers;
use crate::service::at_work;
use crate::upstream::{self, Attempts, Pool, UpstreamHead};

/// Bytes of an auth answer's body that are read (and thrown away) so that its connection can be kept.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Asks about `target`, the path that the route was found by and the query. Returns what the auth server says for
/// the backend: fields of `auth.capture`.
///
/// # Errors
/// 403 when the answer is not 2xx, 502 when there is none within `auth_timeout_secs`.
pub(crate) async fn authorise(
    pool: &Rc<Pool>,
    context: &mut RequestContext,
    auth: &AuthRequest,
    parts: &Parts,
    target: &str,
) -> Result<Vec<(HeaderName, HeaderValue)>, Denial> {
    let head = UpstreamHead {
        method: Method::GET,
        path_and_query: auth.path_and_query.clone(),
        headers: question(context, auth, parts, target),
        ours: Vec::new(),
        authority: None,
        wants_trailers: false,
    };
    let (body, watch) = RequestBody::none();
    let asked = tokio::time::Instant::now();
    let snapshot = Arc::clone(&context.snapshot);
    let group = at_work(&snapshot, &auth.backend)?;
    let mut attempts = Attempts::new(pool, context, group, true, false);
    let answer = timeout(auth.timeout, upstream::send(&mut attempts, &head, body, &watch)).await;
    let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    context.upstream_us = context.upstream_us.saturating_add(waited);
    let count = |result| context.shared.metrics.auth_requests(result).inc();
    let unreachable = |why: String| {
        count("unreachable");
        Err(Denial::new(StatusCode::BAD_GATEWAY, format!("auth server unreachable: {why}")))
    };
    let response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return unreachable(error.to_string()),
        Err(_) => return unreachable("no answer in time".to_owned()),
    };
    let (answer, body) = response.into_parts();
    #[expect(clippy::disallowed_methods, reason = "bounded by Limited and by time")]
    let drained = timeout(Duration::from_secs(1), Limited::new(body, BODY_BYTES_MAX).collect());
    // A body that is too long or too slow costs its connection, nothing else.
    drop(drained.await);
    if !answer.status.is_success() {
        count("denied");
        if answer.status.is_client_error() {
            // The site's word, not ours: it is the client's error, and shows what a page says to who is not known. One
            // that is out of order says nothing about the client.
            context.backend = auth_server(auth);
            context.auth_status = Some(answer.status.as_u16());
        }
        return Err(Denial::new(
            StatusCode::FORBIDDEN,
            format!("auth server answered {}", answer.status.as_u16()),
        ));
    }
    count("allowed");
    context.auth_gate =
        Some(context.snapshot.pipeline.memory().gate(&auth_server(auth), &auth.path_and_query));
    let values = |name: &HeaderName| {
        let name = name.clone();
        answer.headers.get_all(&name).iter().map(|value| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    Ok(auth.capture.iter().flat_map(values).collect())
}

/// Who was asked: an auth server is one backend.
fn auth_server(auth: &AuthRequest) -> String {
    auth.backend.members.first().map(|member| member.backend.url.as_str().to_owned()).unwrap_or_default()
}

fn question(context: &RequestContext, auth: &AuthRequest, parts: &Parts, target: &str) -> HeaderMap {
    static PASSED: [HeaderName; 8] = [
        header::COOKIE,
        header::AUTHORIZATION,
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-forwarded-proto"),
        HeaderName::from_static("x-forwarded-host"),
        HeaderName::from_static("x-real-ip"),
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("traceparent"),
    ];
    let mut headers = parts.headers.clone();
    let ours = upstream_headers(context, &mut headers);
    headers.extend(ours);
    let mut question = HeaderMap::new();
    // A client must not be able to bring what only the auth server may say.
    for name in PASSED.iter().filter(|name| !auth.capture.contains(name)) {
        for value in headers.get_all(name) {
            question.append(name.clone(), value.clone());
        }
    }
    // Captured or not, it is what the client asks with.
    if let Some(authorization) = parts.headers.get(header::AUTHORIZATION) {
        question.insert(header::AUTHORIZATION, authorization.clone());
    }
    for (name, text) in [("x-original-uri", target), ("x-original-method", context.method())] {
        if let Ok(value) = HeaderValue::from_str(text) {
            question.insert(HeaderName::from_static(name), value);
        }
    }
    question
}
