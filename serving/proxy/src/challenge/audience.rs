// SPDX-License-Identifier: Apache-2.0
//! Whom a page is for: somebody who goes to a page with a browser, and nobody else. Programs, feed readers, scripts of a
//! page and WebSockets cannot do anything with it.

use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;

use crate::context::text;
use crate::error_page::prefers_html;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Whether somebody goes to a page.
pub(crate) fn is_navigation(parts: &Parts, is_websocket: bool) -> bool {
    let headers = &parts.headers;
    let says = |name: &HeaderName, word| text(headers, name).is_none_or(|value| value == word);
    matches!(parts.method, Method::GET | Method::HEAD)
        && !is_websocket
        && !headers.contains_key(header::UPGRADE)
        && says(&SEC_FETCH_MODE, "navigate")
        // In a frame of another site our cookie would not come back.
        && says(&SEC_FETCH_DEST, "document")
        && !headers.contains_key(X_REQUESTED_WITH)
        && !has_token(headers)
        && text(headers, &header::ACCEPT).is_some_and(|accept| prefers_html(accept) && !names_feed(accept))
        && !is_for_programs(parts.uri.path())
}

/// A browser asks before it lets a page's script do something (CORS): it can show nothing, and does nothing yet.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn has_token(headers: &HeaderMap) -> bool {
    let scheme = text(headers, &header::AUTHORIZATION).and_then(|value| value.split(' ').next());
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

fn names_feed(accept: &str) -> bool {
    let accept = accept.to_ascii_lowercase();
    ["application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/feed+json"]
        .iter()
        .any(|kind| accept.contains(kind))
}

/// Feeds, and files that programs ask for by their place.
fn is_for_programs(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let ending = last.rsplit_once('.').map_or("", |(_, ending)| ending);
    path.starts_with("/.well-known/")
        || matches!(last, "feed" | "rss" | "atom" | "feed.json" | "robots.txt" | "favicon.ico")
        || matches!(ending, "rss" | "atom" | "rdf" | "xml")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_page_is_for_who_goes_to_one_with_a_browser() {
        type Case = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)], bool);
        let cases: [Case; 20] = [
            ("a browser", "GET", "/", &[("accept", BROWSER)], true),
            ("HEAD", "HEAD", "/", &[("accept", BROWSER)], true),
            (
                "a new browser",
                "GET",
                "/",
                &[("accept", BROWSER), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                true,
            ),
            ("curl", "GET", "/", &[("accept", "*/*")], false),
            ("nothing said", "GET", "/", &[], false),
            ("an API client", "GET", "/", &[("accept", "application/json")], false),
            ("both, JSON first", "GET", "/", &[("accept", "application/json, text/html;q=0.5")], false),
            ("a form", "POST", "/", &[("accept", BROWSER)], false),
            ("a script of a page", "GET", "/", &[("accept", BROWSER), ("sec-fetch-mode", "cors")], false),
            (
                "the page's own script",
                "GET",
                "/",
                &[("accept", BROWSER), ("sec-fetch-mode", "same-origin")],
                false,
            ),
            ("a frame", "GET", "/", &[("accept", BROWSER), ("sec-fetch-dest", "iframe")], false),
            (
                "XMLHttpRequest",
                "GET",
                "/",
                &[("accept", BROWSER), ("x-requested-with", "XMLHttpRequest")],
                false,
            ),
            ("a token", "GET", "/", &[("accept", BROWSER), ("authorization", "Bearer x")], false),
            ("a password", "GET", "/", &[("accept", BROWSER), ("authorization", "Basic x")], true),
            ("a feed reader", "GET", "/", &[("accept", "application/atom+xml,text/html")], false),
            ("a feed", "GET", "/blog/feed/", &[("accept", BROWSER)], false),
            ("a feed by its ending", "GET", "/index.XML", &[("accept", BROWSER)], false),
            ("robots.txt", "GET", "/robots.txt", &[("accept", BROWSER)], false),
            (
                "a certificate's challenge",
                "GET",
                "/.well-known/acme-challenge/x",
                &[("accept", BROWSER)],
                false,
            ),
            ("a WebSocket", "GET", "/", &[("accept", BROWSER), ("upgrade", "websocket")], false),
        ];
        for (name, method, target, headers, want) in cases {
            assert_eq!(is_navigation(&parts(method, target, headers), false), want, "{name}");
        }
        assert!(!is_navigation(&parts("GET", "/", &[("accept", BROWSER)]), true), "a WebSocket over HTTP/2");
    }
}
