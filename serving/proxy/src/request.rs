// SPDX-License-Identifier: Apache-2.0
//! The request's head on its way to the backend: one authority, no hop-by-hop fields, honest forwarding.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use sunbeam_routing::host_of;
use sunbeam_wire::{content_length, is_authority};

use crate::context::{RequestContext, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID};
use crate::error_page::Denial;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Fields that belong to one connection (RFC 9110 §7.6.1) or that we set anew. As text: most of these comparisons
/// end at the length.
fn is_of_the_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "x-request-id"
            | "x-real-ip"
    )
}

/// Fields by which a proxy in front speaks; from anybody else they are lies.
fn is_proxy_only(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "forwarded"
                | "x-cluster-client-ip"
                | "x-original-uri"
                | "x-original-method"
                | "cf-connecting-ip"
                | "cf-ipcountry"
                | "true-client-ip"
                | "x-client-ip"
                | "x-original-url"
                | "x-rewrite-url"
        )
}

/// Fields that mean something only before a body.
static HEAD_ONLY: [HeaderName; 18] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::MAX_FORWARDS,
    header::RANGE,
    header::AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::COOKIE,
    header::SET_COOKIE,
    header::LOCATION,
    header::VARY,
    header::AGE,
    header::EXPIRES,
    header::RETRY_AFTER,
    TRACEPARENT,
];

/// Notes the one authority of a request in the context.
///
/// # Errors
/// 400 when two places name different ones; a request without any (HTTP/1.0) has an empty host.
pub(crate) fn read_authority(context: &mut RequestContext, parts: &Parts) -> Result<(), Denial> {
    let refuse = |why| Err(Denial::new(StatusCode::BAD_REQUEST, why).closing());
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => match host.to_str() {
            Ok(host) => Some(host),
            Err(_) => return refuse("Host is not text"),
        },
        (Some(_), Some(_)) => return refuse("Host stands more than once"),
    };
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = match (authority, host) {
        (Some(one), Some(two)) if !one.eq_ignore_ascii_case(two) => {
            return refuse("Host differs from the target's authority");
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) if parts.version == Version::HTTP_2 => return refuse("the authority is missing"),
        (None, None) => "",
    };
    let is_absent = authority.is_empty() && host.is_none();
    if !is_absent && !is_authority(authority.as_bytes()) {
        return refuse("the authority is not a name or address");
    }
    context.authority = authority.to_owned();
    context.host = host_of(authority);
    Ok(())
}

/// The bounds on a head, for HTTP/2; an HTTP/1 head passed them when it was read.
///
/// # Errors
/// 414, 431; counted in `sunbeam_limit_hits_total`.
pub(crate) fn check_size(context: &RequestContext, parts: &Parts) -> Result<(), Denial> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    let limits = &context.snapshot.config.limits;
    let target_bytes = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let header_bytes: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let (limit, status, why) = if target_bytes > limits.max_url_bytes {
        ("max_url_bytes", StatusCode::URI_TOO_LONG, "the target is too long")
    } else if parts.headers.len() > limits.max_headers {
        ("max_headers", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header lines")
    } else if header_bytes + target_bytes > limits.max_header_bytes {
        ("max_header_bytes", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large")
    } else {
        return Ok(());
    };
    context.shared.listener_metrics.limit_hits(limit).inc();
    Err(Denial::new(status, why))
}

/// What is checked for HTTP/1 when a head is read, and the HTTP/2 library lets pass: an HTTP/1 backend would read such a
/// request in another way than we do.
///
/// # Errors
/// 400
pub(crate) fn check_form(parts: &Parts) -> Result<(), Denial> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    let refuse = |why| Err(Denial::new(StatusCode::BAD_REQUEST, why));
    let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => {}
        (Some(length), None) if content_length(length.as_bytes()).is_some() => {}
        _ => return refuse("content-length is not one number"),
    }
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return refuse("transfer-encoding in HTTP/2");
    }
    if parts.uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return refuse(":scheme is neither `http` nor `https`");
    }
    let path = parts.uri.path();
    let is_path = path.starts_with('/') || (path == "*" && parts.method == Method::OPTIONS);
    // A CONNECT without a :protocol has no path; its method is refused next.
    if !is_path && parts.method != Method::CONNECT {
        return refuse(":path is not a path");
    }
    Ok(())
}

/// Methods that a reverse proxy never passes on.
pub(crate) fn check_method(parts: &Parts) -> Result<(), Denial> {
    let is_websocket_over_http2 = parts.extensions.get::<hyper::ext::Protocol>().is_some();
    match parts.method {
        Method::CONNECT if is_websocket_over_http2 => Ok(()),
        Method::CONNECT | Method::TRACE => {
            let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            Err(Denial::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
                .header(header::ALLOW, allow))
        }
        _ => Ok(()),
    }
}

/// Takes from the client's fields what the backend may not see, and returns what we say ourselves. Host is not
/// looked at: it depends on the HTTP version.
pub(crate) fn upstream_headers(
    context: &RequestContext,
    headers: &mut HeaderMap,
) -> Vec<(HeaderName, HeaderValue)> {
    let nominated = nominated(headers);
    let is_dropped = |name: &&HeaderName| {
        is_of_the_connection(name)
            || nominated.contains(name)
            || (!context.from_trusted_proxy && is_proxy_only(name))
            // `x_real_ip` and `x-real-ip` are one name to CGI-like backends; nginx drops them too.
            || name.as_str().bytes().any(|byte| byte == b'_')
    };
    // In place: a second map would be made of hashes that are in this one already. What we say is no part of the
    // map either: it is only written.
    let dropped: Vec<HeaderName> = headers.keys().filter(is_dropped).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    join_cookies(headers);
    forwarded(context, headers)
}

/// What tells the backend who asks and how.
fn forwarded(context: &RequestContext, headers: &mut HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let peer = &context.connection.peer_value;
    let earlier = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let chain: Vec<&[u8]> = earlier.chain([peer.as_bytes()]).collect();
    let chain = match chain.as_slice() {
        [_] => Ok(peer.clone()),
        chain => HeaderValue::from_bytes(&chain.join(&b", "[..])),
    };
    let mut ours = Vec::with_capacity(6);
    ours.extend(chain.ok().map(|chain| (X_FORWARDED_FOR, chain)));
    ours.push((X_FORWARDED_PROTO, HeaderValue::from_static(context.scheme.as_str())));
    ours.push((X_REAL_IP, context.client_value()));
    ours.push((X_REQUEST_ID, context.id_value.clone()));
    let traceparent = context.span.traceparent().and_then(|text| HeaderValue::try_from(text).ok());
    ours.extend(traceparent.map(|traceparent| (TRACEPARENT, traceparent)));
    // A proxy that we trust may have said it.
    if !context.from_trusted_proxy || !headers.contains_key(X_FORWARDED_HOST) {
        let authority = HeaderValue::from_str(&context.authority);
        ours.extend(authority.ok().map(|authority| (X_FORWARDED_HOST, authority)));
    }
    // Of anybody else it is gone already.
    if context.from_trusted_proxy {
        headers.remove(X_FORWARDED_FOR);
        headers.remove(X_FORWARDED_PROTO);
    }
    if ours.iter().any(|(name, _)| *name == TRACEPARENT) {
        headers.remove(TRACEPARENT);
    }
    ours
}

/// HTTP/2 splits cookies over several fields; HTTP/1 backends read one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let all: Vec<&[u8]> = [first, second].into_iter().chain(cookies).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// The fields that `Connection` names, without those that are dropped in any case. Those that carry
/// identity or framing stay: a client must not be able to strip them (`Connection: X-Forwarded-For`), and
/// ours are set afterwards anyway.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.eq_ignore_ascii_case("keep-alive") && !name.eq_ignore_ascii_case("close"))
        .filter_map(|name| name.parse().ok())
        .filter(|name| {
            let stays = [header::COOKIE, header::AUTHORIZATION, header::CONTENT_LENGTH].contains(name);
            !stays && !is_proxy_only(name)
        })
        .collect()
}

/// Removes what belongs to the backend's connection from an answer.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    /// See [`is_of_the_connection`]; `Host` and the like mean nothing in an answer.
    static DROPPED: [HeaderName; 6] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
        KEEP_ALIVE,
        PROXY_CONNECTION,
    ];
    for name in nominated(headers) {
        headers.remove(name);
    }
    // Looking is cheaper than removing, and most answers have one of them at most.
    while let Some(name) = headers.keys().find(|name| DROPPED.contains(name)).cloned() {
        headers.remove(name);
    }
}

/// Removes from a message's trailers what no trailer may say (RFC 9110 §6.5.1): framing, routing,
/// identity, and how the body is to be read. A recipient that merges trailers into the head would take
/// them for things that everybody on the way has checked.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    let is_allowed = |name: &HeaderName| {
        !is_of_the_connection(name)
            && !HEAD_ONLY.contains(name)
            && !is_proxy_only(name)
            && !name.as_str().contains('_')
    };
    let refused: Vec<HeaderName> = trailers.keys().filter(|name| !is_allowed(name)).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(pair).collect()
    }

    #[test]
    fn trailers_say_nothing_that_belongs_into_a_head() {
        let mut trailers = map(&[
            ("grpc-status", "0"),
            ("x-checksum", "1"),
            ("server-timing", "a"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "evil"),
            ("trailer", "x"),
            ("authorization", "Basic eA=="),
            ("cookie", "a=b"),
            ("set-cookie", "a=b"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("x_real_ip", "1.1.1.1"),
            ("connection", "close"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-checksum", "1"), ("server-timing", "a")]));
    }

    #[test]
    fn connection_cannot_name_what_carries_identity_or_framing() {
        let headers =
            map(&[("connection", "X-Hop, X-Forwarded-For, Cookie, content-length, Forwarded, close")]);
        assert_eq!(nominated(&headers), ["x-hop"]);
    }
}
