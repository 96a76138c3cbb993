// SPDX-License-Identifier: Apache-2.0
//! Log lines: on standard error, for people or as JSON, with the fields of the spans around them.

use std::io::{self, IsTerminal as _};

use sunbeam_proxy::LogFormat;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, reload};

use crate::exit::CliError;

/// Changes the level of a running program.
pub(crate) struct Level {
    handle: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
    fixed: bool,
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Level").field("fixed", &self.fixed).finish_non_exhaustive()
    }
}

impl Level {
    /// Uses `level` from now on, unless `RUST_LOG` decided. `level` was checked with the configuration.
    pub(crate) fn set(&self, level: &str) {
        if self.fixed {
            return;
        }
        match filter(level) {
            Ok(filter) => {
                if let Err(error) = self.handle.reload(filter) {
                    tracing::error!(%error, "the log level could not be changed");
                }
            }
            Err(error) => tracing::error!(%error, level, "not a log level"),
        }
    }
}

/// Starts logging. `RUST_LOG` wins over `level`.
///
/// # Errors
/// When one of them is not a list of log levels.
pub(crate) fn start(level: &str, format: LogFormat) -> Result<Level, CliError> {
    let variable = std::env::var("RUST_LOG").ok().filter(|value| !value.is_empty());
    let fixed = variable.is_some();
    let source = if fixed { "RUST_LOG" } else { "telemetry.log_level" };
    let filter = match &variable {
        Some(directives) => EnvFilter::try_new(directives),
        None => filter(level),
    };
    let filter = filter.map_err(|error| {
        CliError::usage(format!("`{source}` is not a log level: {error}"))
            .hint("error, warn, info, debug or trace, or directives like `info,sunbeam_proxy=debug`")
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let terminal = io::stderr().is_terminal();
    let people = match format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let lines = if people { human(io::stderr, terminal).boxed() } else { json(io::stderr).boxed() };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| CliError::failed(format!("failed to start logging: {error}")))?;
    Ok(Level { handle, fixed })
}

/// The HTTP/2 library warns of each connection that it cuts: in a flood that would be the log. What it cuts
/// is counted, and a directive for it in `level` comes later and wins.
fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("h2=error,{level}"))
}

fn human<S, W>(writer: W, terminal: bool) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    fmt::layer().with_writer(writer).with_ansi(colour)
}

/// `timestamp`, `level`, `target`, `message`, the event's fields beside them; `span` and `spans` carry
/// the fields of the spans, `request_id` among them.
fn json<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().with_writer(writer).json().flatten_event(true).with_current_span(true).with_span_list(true)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_carries_the_request_id_of_its_span() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry().with(json(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", request_id = "id-1");
            span.in_scope(|| tracing::warn!(backend = "b\u{1b}", "no answer"));
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["span"]["request_id"], "id-1");
        assert_eq!(
            (&line["level"], &line["message"], &line["backend"]),
            (&"WARN".into(), &"no answer".into(), &"b\u{1b}".into())
        );
        assert!(line["timestamp"].is_string() && line["target"].is_string());
    }
}
