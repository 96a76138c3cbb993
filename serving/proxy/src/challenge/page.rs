// SPDX-License-Identifier: Apache-2.0
//! The page. It needs nothing from anywhere else, works without JavaScript, and is never kept.

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use uuid::Uuid;

use super::level::Level;
use super::seal::Ticket;
use super::words::Words;
use super::{ENDPOINT, TICKET};
use crate::body::{AnswerBody, full};

pub(crate) const SUNBEAM_CHALLENGE: HeaderName = HeaderName::from_static("sunbeam-challenge");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const WORKER: &str = include_str!("worker.js");

/// What a page says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says<'a> {
    /// What is asked, with the sealed ticket, and after how many seconds its solution can come without work.
    Ask { ticket: &'a Ticket, sealed: &'a str, pause_secs: i64 },
    /// Nothing goes on by itself: a text, and where a link leads.
    Stop { text: &'a str, back: &'a str },
}

/// The page for a browser.
pub(crate) fn page(status: StatusCode, id: Uuid, words: &Words, says: Says<'_>) -> Response<AnswerBody> {
    let nonce = Uuid::new_v4().simple().to_string();
    let mut response = Response::new(full(html(id, words, says, &nonce)));
    *response.status_mut() = status;
    // The picture of the tab is in the page, so that nobody asks for it.
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; worker-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(words.lang));
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    // Some pages stand at an address with a ticket in it, which the site need not see.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if let Says::Ask { ticket, .. } = says {
        headers.insert(SUNBEAM_CHALLENGE, HeaderValue::from_static(ticket.level.as_str()));
    }
    response
}

/// What does the work, beside the page.
pub(crate) fn worker() -> Response<AnswerBody> {
    let mut response = Response::new(full(WORKER));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    response
}

fn html(id: Uuid, words: &Words, says: Says<'_>, nonce: &str) -> String {
    let Words { lang, title, number, .. } = words;
    let (head, body) = match says {
        Says::Ask { ticket, sealed, pause_secs } => asking(words, ticket, sealed, pause_secs, nonce),
        Says::Stop { text, back } => (
            String::new(),
            format!(
                "<main><h1>{title}</h1><p role=\"alert\">{text}</p><p><a href=\"{}\">{}</a></p></main>",
                escaped(back),
                words.go_on
            ),
        ),
    };
    format!(
        "<!doctype html><html lang=\"{lang}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <link rel=\"icon\" href=\"data:,\"><title>{title}</title><style nonce=\"{nonce}\">{STYLE}</style>{head}</head>\
         <body>{body}<footer>{number}<br><code>{id}</code></footer></body></html>"
    )
}

/// What goes into the head, and the body.
fn asking(words: &Words, ticket: &Ticket, sealed: &str, pause_secs: i64, nonce: &str) -> (String, String) {
    let next = format!("{ENDPOINT}?{TICKET}={sealed}");
    let refresh = format!("<meta http-equiv=\"refresh\" content=\"{pause_secs};url={next}\">");
    let Words { title, go_on, .. } = words;
    let link = format!("<p><a href=\"{next}\">{go_on}</a></p>");
    let said = |text: &str| format!("<h1>{title}</h1><p role=\"status\">{text}</p>");
    if ticket.level != Level::Work {
        return (refresh, format!("<main>{}{link}</main>", said(words.checking)));
    }
    let (work, difficulty) = (ticket.work(), ticket.difficulty);
    let body = format!(
        "<main data-next=\"{next}\" data-work=\"{work}\" data-difficulty=\"{difficulty}\" data-pause=\"{pause_secs}\">\
         {}<noscript><p>{}</p></noscript>{link}</main><script nonce=\"{nonce}\">{SCRIPT}</script>",
        said(words.working),
        words.no_script
    );
    (format!("<noscript>{refresh}</noscript>"), body)
}

/// A path in an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::words::LANGUAGES;

    #[test]
    fn every_page_has_its_language_and_what_a_client_sent_stays_text() {
        for words in &LANGUAGES {
            for level in Level::ALL {
                let ticket = Ticket::new(level, 16, 0, "/");
                let says = Says::Ask { ticket: &ticket, sealed: "abc", pause_secs: 4 };
                let html = html(Uuid::nil(), words, says, "n");
                assert!(html.contains(&format!("<html lang=\"{}\">", words.lang)), "{html}");
                assert!(
                    html.contains("role=\"status\"") && html.contains("content=\"4;url=/.well-known/"),
                    "{html}"
                );
                assert_eq!(html.contains("<script"), level == Level::Work, "{html}");
                assert!(
                    !html.contains("http:") && !html.contains("https:"),
                    "nothing from elsewhere: {html}"
                );
            }
            let stop = Says::Stop { text: words.failed, back: "/a?b=\"><script>x</script>&c" };
            let html = html(Uuid::nil(), words, stop, "n");
            assert!(!html.contains("<script") && html.contains("/a?b=&quot;&gt;&lt;script"), "{html}");
        }
    }
}
