// SPDX-License-Identifier: Apache-2.0
//! `sunbeam waf backend`

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sunbeam_waf_suite::backend;
use tokio::net::TcpListener;

use crate::exit::{CliError, ExitCode};
use crate::http1;
use crate::output::note;

/// Serve what the Core Rule Set's tests need behind a node: an empty 200, or what POST /reflect asks for
///
/// For `sunbeam waf test --url`. It answers whatever it is asked to: let nobody but the node reach it. Ends with
/// Ctrl-C.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Backend {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// A test asks for some hundred bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

impl Backend {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let failed = |error: io::Error| {
            CliError::from_start(&io::Error::new(
                error.kind(),
                format!("failed to listen on {}: {error}", self.listen),
            ))
        };
        let runtime = http1::runtime().map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind(self.listen)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        note(format_args!("the tests' backend listens on http://{address}"));
        runtime.block_on(accept(listener))
    }
}

async fn accept(listener: TcpListener) -> ! {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, for example: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let server = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
            if let Err(error) = server {
                tracing::debug!(%error, "tests' backend: a connection broke");
            }
        });
    }
}

/// A body that breaks off ends the connection, as it must.
async fn answer(request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "it is limited")]
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(io::Error::other)?.to_bytes();
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let wanted = backend::answer(head.method.as_str().as_bytes(), target.as_bytes(), &body);
    let mut response = Response::new(Full::new(Bytes::from(wanted.body)));
    *response.status_mut() = StatusCode::from_u16(wanted.status).map_err(io::Error::other)?;
    for (name, value) in wanted.headers {
        // What no server could send is left out, as the length of another body is.
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        if let Some((name, value)) = pair.filter(|(name, _)| !is_framing(name)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

fn is_framing(name: &HeaderName) -> bool {
    [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING, http::header::CONNECTION].contains(name)
}
