// SPDX-License-Identifier: Apache-2.0
//! The answers that we give ourselves. They name the request, never the reason a rule had.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use uuid::Uuid;

use crate::block_page::BlockPage;
use crate::body::{AnswerBody, full};
use crate::why::refused::Refused;

/// A request that is not served: what the client gets, and what the audit record says.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) status: StatusCode,
    /// For the audit record and the log.
    pub(crate) why: String,
    /// What the status calls for.
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// The connection cannot go on.
    pub(crate) close: bool,
    /// A layer stopped it: browsers get the operator's own page, where there is one.
    pub(crate) is_block: bool,
}

impl Denial {
    pub(crate) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), header: None, close: false, is_block: false }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// By a layer.
    pub(crate) fn blocking(mut self) -> Self {
        self.is_block = true;
        self
    }

    /// What the request is refused for, and no failure of anybody else.
    pub(crate) fn is_refusal(&self) -> bool {
        self.is_block || Refused::by_status(self.status).is_some()
    }

    /// The page in the form that the client asked for; `own` in place of the built-in one for browsers.
    pub(crate) fn page(
        self,
        id: Uuid,
        accept: Option<&str>,
        own: Option<&BlockPage>,
    ) -> Response<AnswerBody> {
        let own = own.filter(|_| self.is_block);
        let (kind, body) = render(self.status, id, accept.unwrap_or_default(), own);
        let mut response = Response::new(full(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.extend(self.header.map(|(name, value)| (Some(name), value)));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

const HTML: &str = "text/html; charset=utf-8";

fn render(status: StatusCode, id: Uuid, accept: &str, own: Option<&BlockPage>) -> (&'static str, String) {
    let title = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    match (preferred(accept), own) {
        (Form::Html, Some(own)) => (HTML, own.of(id)),
        (Form::Html, None) => (
            HTML,
            format!(
                "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
                 <meta name=\"viewport\" content=\"width=device-width\"><title>{code} {title}</title>\
                 <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;\
                 color:#222;background:#fff}}code{{background:#eee;padding:.1em .3em;overflow-wrap:anywhere}}\
                 @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}code{{background:#333}}}}\
                 </style></head><body><h1>{code} {title}</h1><p>{}</p>\
                 <p>If this should not have happened, tell the site's operator this number:<br><code>{id}</code></p>\
                 </body></html>",
                explanation(status)
            ),
        ),
        (Form::Json, _) => (
            "application/json",
            format!("{{\"error\":\"{}\",\"request_id\":\"{id}\"}}", title.to_lowercase()),
        ),
        (Form::Text, _) => ("text/plain; charset=utf-8", format!("{code} {title}\nrequest id: {id}\n")),
    }
}

fn explanation(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "You are not allowed to see this.",
        404 => "There is nothing at this address.",
        408 => "Your request took too long to arrive.",
        413..=414 | 431 => "Your request is larger than this site accepts.",
        421 => "This server does not serve that host.",
        429 => "Too many requests. Please wait a moment.",
        502 => "The application behind this server cannot be reached or gave a broken answer.",
        503 => "This server is busy. Please try again in a moment.",
        504 => "The application behind this server took too long to answer.",
        500..=599 => "Something went wrong on our side.",
        _ => "This request cannot be served.",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

/// Whether a page is what is wanted.
pub(crate) fn prefers_html(accept: &str) -> bool {
    preferred(accept) == Form::Html
}

/// The form that `Accept` names first among those we have.
fn preferred(accept: &str) -> Form {
    let mut best = (Form::Text, 0_u16);
    // An Accept header has a handful of entries; a long one is an attempt to cost time.
    for entry in accept.split(',').take(16) {
        let mut parts = entry.split(';').map(str::trim);
        let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" => Form::Html,
            "application/json" | "application/problem+json" => Form::Json,
            "text/plain" => Form::Text,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        if weight > best.1 {
            best = (form, weight);
        }
    }
    best.0
}

fn thousandths(quality: &str) -> u16 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = fraction.bytes().chain(*b"000").take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit.wrapping_sub(b'0').min(9)));
    if whole == "1" { 1000 } else { fraction }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_form_the_client_prefers() {
        for (accept, want) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Html),
            ("application/json", Form::Json),
            ("application/json;q=0.5, text/html;q=0.9", Form::Html),
            ("*/*", Form::Text),
            ("", Form::Text),
            ("text/plain, text/html;q=0.3", Form::Text),
        ] {
            assert_eq!(preferred(accept), want, "{accept}");
        }
    }
}
