// SPDX-License-Identifier: Apache-2.0
//! The demo site: a small backend of its own, so that there is something to protect.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::time::{Interval, interval};

use crate::exit::CliError;
use crate::http1;

/// Runs until the program ends.
#[derive(Debug)]
pub(super) struct Demo {
    address: SocketAddr,
}

impl Demo {
    /// On a port of its own, on a thread of its own.
    pub(super) fn start() -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::failed(format!("failed to start the demo site: {error}"));
        let runtime = http1::runtime().map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let serve = move || runtime.block_on(accept(listener));
        thread::Builder::new().name("demo".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Self { address })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn accept(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, for example: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
            let server = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = server {
                tracing::debug!(%error, "demo site: a connection broke");
            }
        });
    }
}

fn answer(request: &Request<Incoming>) -> Response<Page> {
    match request.uri().path() {
        "/" | "/index.html" => page("text/html; charset=utf-8", INDEX),
        "/style.css" => page("text/css", STYLE),
        "/echo" => page("application/json", format!("{:#}\n", echo(request))),
        "/events" => with(
            StatusCode::OK,
            "text/event-stream",
            Page::Ticks { ticks: interval(Duration::from_secs(1)), next: 1 },
        ),
        _ => with(StatusCode::NOT_FOUND, "text/plain", Page::whole("the demo site has no such page\n")),
    }
}

fn page(media_type: &'static str, text: impl Into<Bytes>) -> Response<Page> {
    with(StatusCode::OK, media_type, Page::whole(text))
}

fn with(status: StatusCode, media_type: &'static str, body: Page) -> Response<Page> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

/// What arrived, as the backend sees it.
fn echo<B>(request: &Request<B>) -> Value {
    json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "version": format!("{:?}", request.version()),
        "headers": headers(request.headers()),
    })
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match map.get_mut(name.as_str()) {
            Some(Value::Array(values)) => values.push(text.into()),
            Some(first) => *first = json!([first.take(), text]),
            None => drop(map.insert(name.to_string(), text.into())),
        }
    }
    map
}

/// A body: a text, or an event a second.
enum Page {
    Whole(Option<Bytes>),
    Ticks { ticks: Interval, next: u32 },
}

impl Page {
    /// Events of one stream: a forgotten browser tab does not keep it forever.
    const EVENTS_MAX: u32 = 3_600;

    fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Ticks { next, .. } if *next > Self::EVENTS_MAX => Poll::Ready(None),
            Self::Ticks { ticks, next } => ticks.poll_tick(context).map(|_| {
                let event = format!("event: tick\ndata: {{\"count\":{next}}}\n\n");
                *next += 1;
                Some(Ok(Frame::data(Bytes::from(event))))
            }),
        }
    }
}

const INDEX: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>It works</title>
<link rel=\"stylesheet\" href=\"/style.css\">
<h1>It works</h1>
<p>You are looking at the demo site of Sunbeam. Your request came in at Sunbeam, which passed it on to a
small server that only this machine can reach.</p>
<h2>Things to try</h2>
<ul>
<li><a href=\"/echo\">/echo</a> shows the request as the application sees it: look for the headers that
Sunbeam adds, such as <code>x-forwarded-for</code> and <code>x-request-id</code>.</li>
<li><a href=\"/events\">/events</a> sends an event every second, and Sunbeam passes each on at once.</li>
<li><code>sunbeam tail</code> in another terminal shows every request as it happens.</li>
<li><code>sunbeam up --to 3000</code> puts your own application in the place of this page.</li>
</ul>
</html>
";

const STYLE: &str =
    "body { max-width: 40rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; }
h1 { border-bottom: 0.3rem solid orange; }
code { background: #eee; color: #222; padding: 0 0.2rem; }
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe;

    #[test]
    fn the_demo_site_answers() {
        let demo = Demo::start().unwrap();
        for (path, want) in
            [("/", 200), ("/style.css", 200), ("/echo?a=1", 200), ("/events", 200), ("/no", 404)]
        {
            let url = format!("{}{path}", demo.url()).parse().unwrap();
            assert_eq!(probe::get(&url, Duration::from_secs(5)).unwrap(), want, "{path}");
        }
    }

    #[test]
    fn the_echo_shows_repeated_headers() {
        let request =
            Request::get("/echo?a=1").header("x", "1").header("x", "2").header("y", "3").body(()).unwrap();
        let echo = echo(&request);
        assert_eq!(
            (&echo["headers"]["x"], &echo["headers"]["y"], &echo["query"]),
            (&json!(["1", "2"]), &json!("3"), &json!("a=1"))
        );
    }
}
