// SPDX-License-Identifier: Apache-2.0
//! `sunbeam explain`

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue, Method};
use sunbeam_proxy::ExplainRequest;

use super::Run;
use crate::api::{
    ExplainedDecision, ExplainedFeature, ExplainedLayer, ExplainedModels, ExplainedRule, ExplainedScore,
    Explanation, plain,
};
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::configuration;
use crate::exit::{CliError, ExitCode};
use crate::output::{Colour, Printer, duration, escape};

/// Run one made-up request through the layers, and show what each says of it
///
/// Nothing is sent to a backend, and nothing is counted. Exit code 0 when the request would pass, 1 when it
/// would be blocked.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Explain {
    /// The method: GET, POST and so on
    #[arg(value_parser = method)]
    method: String,
    /// The URL, whole: https://www.example.org/path?query
    #[arg(value_parser = url)]
    url: String,
    /// A header of the request; may stand several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Send what is in FILE, at most 1 MiB, as the body
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The address that the request comes from
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Ask no node: judge by the configuration file alone
    #[arg(long)]
    offline: bool,
}

/// Bytes that the body may have.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

impl Run for Explain {
    const NAME: &'static str = "explain";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        let offline = self.offline;
        let request = self.request()?;
        let answer = if offline {
            let loaded = configuration::checked(&configuration::files(global, None)?)?;
            sunbeam_proxy::explain_offline(&loaded, &request)
                .map_err(|error| CliError::usage(escape(&error)))?
        } else {
            Client::connect(global)?.post_json("/api/v1/explain", &request)?
        };
        let explanation: Explanation = typed(&answer)?;
        let printer = global.printer();
        if printer.is_json() {
            printer.json(&answer)?;
        } else {
            print(printer, &request, &explanation)?;
        }
        Ok(verdict(&explanation.decision))
    }
}

impl Explain {
    fn request(self) -> Result<ExplainRequest, CliError> {
        let body = self.body.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(ExplainRequest { method: self.method, url: self.url, headers: self.headers, body, ip: self.ip })
    }
}

/// What does not say that it passes does not pass.
fn verdict(decision: &ExplainedDecision) -> ExitCode {
    if matches!(decision.verdict.as_str(), "pass" | "observe") { ExitCode::Done } else { ExitCode::Findings }
}

/// A file as text; bytes that are not UTF-8 become U+FFFD.
fn read(path: &Path) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        let message = format!("failed to read `{}`: {error}", path.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied => CliError::not_permitted(message),
            _ => CliError::usage(message),
        }
    })?;
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(CliError::usage(format!("`{}` is larger than 1 MiB", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn method(text: &str) -> Result<String, String> {
    let method =
        Method::from_bytes(text.as_bytes()).map_err(|_| "not a method like GET or POST".to_owned())?;
    Ok(method.to_string())
}

/// Only that it is whole: what is odd in it is for the node to judge.
fn url(text: &str) -> Result<String, String> {
    let is_whole = text.split_once("://").is_some_and(|(scheme, rest)| {
        let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        is_http && !rest.is_empty() && !rest.starts_with(['/', '?', '#'])
    });
    if is_whole {
        Ok(text.to_owned())
    } else {
        Err("write it whole: https://www.example.org/path".to_owned())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `Name: value`")?;
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{}` is not a name of a header", escape(name)))?;
    let value = value.trim();
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| "the value has characters that no header may have".to_owned())?;
    Ok((name.to_string(), value.to_owned()))
}

fn print(printer: Printer, request: &ExplainRequest, explanation: &Explanation) -> Result<(), CliError> {
    printer.pairs(&about(request, explanation))?;
    if !explanation.layers.is_empty() {
        printer.line("")?;
        let rows: Vec<Vec<String>> = explanation.layers.iter().map(|layer| row(printer, layer)).collect();
        printer.table(&["LAYER", "VERDICT", "MODE", "REASON", "DETAIL"], &rows)?;
    }
    printer.line("")?;
    printer.pairs(&[("decision", decision(printer, &explanation.decision))])?;
    let models = explanation.models.clone().unwrap_or_default();
    for (heading, listed) in [
        ("FEATURE OF THE CLIENT", &explanation.features),
        ("FEATURE OF THE REQUEST", &models.scanner.features),
    ] {
        if !listed.is_empty() {
            printer.line("")?;
            printer.table(&[heading, "VALUE", "WEIGHS"], &features(listed))?;
        }
    }
    if explanation.models.is_some() {
        printer.line("")?;
        printer.pairs(&scores(&models))?;
    }
    if let Some(found) = &explanation.waf {
        printer.line("")?;
        printer.pairs(&[("score of the rules", format!("{} of {}", found.score, found.threshold))])?;
        if !found.rules.is_empty() {
            printer.table(&["RULE", "SAYS", "OF", "WHICH IS", "STANDS IN"], &rules(&found.rules))?;
        }
    }
    printer.line("")?;
    printer.line(format_args!("judged in {:.1} microseconds", explanation.microseconds))
}

fn about(request: &ExplainRequest, explanation: &Explanation) -> Vec<(&'static str, String)> {
    let (found, identity) = (&explanation.request, &explanation.identity);
    let route = found.route.as_deref().map_or_else(|| "none answers to it".to_owned(), escape);
    let proved = if identity.authenticated { "authenticated" } else { "not authenticated" };
    vec![
        ("request", escape(&format!("{} {}", request.method, request.url))),
        ("route", route),
        ("path", escape(&found.path)),
        ("client", escape(&found.client_ip)),
        ("identity", format!("{}, {proved}", escape(&identity.kind))),
    ]
}

fn row(printer: Printer, layer: &ExplainedLayer) -> Vec<String> {
    let is_carried_out = !matches!(layer.mode.as_str(), "observe" | "off");
    vec![
        escape(&layer.layer),
        marked(printer, &layer.verdict, is_carried_out),
        escape(&layer.mode),
        optional(layer.reason.as_deref()),
        optional(layer.detail.as_deref()),
    ]
}

/// The verdict with its glyph; one that is not carried out is no alarm.
fn marked(printer: Printer, verdict: &str, is_carried_out: bool) -> String {
    let (glyph, colour) = match verdict {
        "pass" => ('✓', Colour::Green),
        "block" if is_carried_out => ('✗', Colour::Red),
        "block" => ('✗', Colour::Yellow),
        "doubtful" => ('?', Colour::Yellow),
        _ => ('-', Colour::Dim),
    };
    printer.paint(colour, &format!("{glyph} {}", escape(verdict)))
}

/// `✗ block by rate_limit: too many requests (status 429, retry after 30s)`
fn decision(printer: Printer, decision: &ExplainedDecision) -> String {
    let mut text = marked(printer, &decision.verdict, true);
    let (layer, reason) = (optional(decision.layer.as_deref()), optional(decision.reason.as_deref()));
    if !layer.is_empty() {
        text.push_str(&format!(" by {layer}"));
    }
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    // The status of a request that passes is the backend's affair.
    if verdict(decision) != ExitCode::Done {
        let retry = decision.retry_after_secs.map(|seconds| format!(", retry after {}", duration(seconds)));
        text.push_str(&format!(" (status {}{})", decision.status, retry.unwrap_or_default()));
    }
    text
}

pub(super) fn features(features: &[ExplainedFeature]) -> Vec<Vec<String>> {
    let row = |feature: &ExplainedFeature| {
        vec![escape(&feature.name), plain(&feature.value), format!("{:+.2}", feature.share)]
    };
    features.iter().map(row).collect()
}

pub(super) fn rules(matches: &[ExplainedRule]) -> Vec<Vec<String>> {
    const SHOWN: usize = 60;
    let cut = |text: &str| match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", escape(text.get(..at).unwrap_or_default())),
        None => escape(text),
    };
    let row = |found: &ExplainedRule| {
        vec![
            found.rule.to_string(),
            escape(&found.message),
            escape(&found.target),
            cut(&found.value),
            escape(&found.at),
        ]
    };
    matches.iter().map(row).collect()
}

/// One half is where doubt begins; for windows it is `ddos.threshold`.
pub(super) fn scores(models: &ExplainedModels) -> Vec<(&'static str, String)> {
    let score = |said: &ExplainedScore| format!("{:.3} by {}", said.score, escape(&said.path));
    let mut pairs = vec![("score of the request", score(&models.scanner.said))];
    pairs.push((
        "score of the client",
        models.ddos.as_ref().map_or_else(|| "too few requests".to_owned(), score),
    ));
    if let Some(part) = &models.application {
        let name = if part.name.is_empty() { String::new() } else { format!(" `{}`", escape(&part.name)) };
        pairs.push((
            "odd for this application",
            format!("{:.3}, its {}{name} most", part.score, escape(&part.part)),
        ));
    }
    let Some(unit) = &models.payload else {
        pairs.push(("score of its texts", "all of them are plain".to_owned()));
        return pairs;
    };
    let sign = if unit.has_sign { "" } else { ", without a sign" };
    pairs.push((
        "score of its texts",
        format!("{:.3} (certain from {:.3}{sign})", unit.score, unit.certain_from),
    ));
    let name = if unit.name.is_empty() { String::new() } else { format!(" `{}`", escape(&unit.name)) };
    pairs.push(("the worst text", format!("{}{name}: {}", escape(&unit.unit), escape(&unit.value))));
    let counts: Vec<String> =
        unit.counts.iter().map(|count| format!("{} {:+.2}", escape(&count.name), count.share)).collect();
    pairs.push(("what stands in it", counts.join(", ")));
    let pieces: Vec<String> =
        unit.pieces.iter().map(|piece| format!("`{}` {:+}", escape(&piece.text), piece.weight)).collect();
    pairs.push(("heaviest pieces", pieces.join(", ")));
    pairs
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(String::new, escape)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};
    use serde_json::{Value, json};

    use super::*;
    use crate::output::Format;

    fn parsed(arguments: &[&str]) -> Result<Explain, clap::Error> {
        let command = Explain::augment_args(clap::Command::new("explain"));
        let matches = command.try_get_matches_from([&["explain"][..], arguments].concat())?;
        Explain::from_arg_matches(&matches)
    }

    fn printer() -> Printer {
        Printer::new(Format::Table, true)
    }

    fn explanation(answer: &Value) -> Explanation {
        typed(answer).unwrap()
    }

    #[test]
    fn what_is_typed_becomes_the_request() {
        let arguments = [
            "POST",
            "https://a.example/x?y=<z>",
            "-H",
            "User-Agent:  curl/8 ",
            "--header",
            "X-Empty:",
            "--ip",
            "192.0.2.1",
        ];
        let request = parsed(&arguments).unwrap().request().unwrap();
        assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://a.example/x?y=<z>"));
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(request.headers, [header("user-agent", "curl/8"), header("x-empty", "")]);
        assert_eq!((request.body.as_str(), request.ip), ("", Some(IpAddr::from([192, 0, 2, 1]))));
    }

    #[test]
    fn nonsense_is_not_sent() {
        let url = "https://a.example/";
        for (name, arguments) in [
            ("no URL", &["GET"][..]),
            ("no method", &["G T", url]),
            ("no scheme", &["GET", "a.example/"]),
            ("another scheme", &["GET", "ftp://a.example/"]),
            ("no host", &["GET", "https:///a"]),
            ("no colon", &["GET", url, "-H", "accept"]),
            ("no name", &["GET", url, "-H", ": x"]),
            ("a space in the name", &["GET", url, "-H", "a b: x"]),
            ("a line break", &["GET", url, "-H", "a: x\r\nb: y"]),
            ("no address", &["GET", url, "--ip", "192.0.2.0/24"]),
        ] {
            assert!(parsed(arguments).is_err(), "{name}");
        }
    }

    #[test]
    fn a_body_is_bounded_and_need_not_be_text() {
        let path = std::env::temp_dir().join(format!("sunbeam-explain-{}.body", std::process::id()));
        for (name, bytes, want) in [
            ("text", b"a=b".to_vec(), Some(3)),
            ("not UTF-8", b"a\xff".to_vec(), Some("a\u{fffd}".len())),
            ("1 MiB", vec![b'a'; 1024 * 1024], Some(1024 * 1024)),
            ("more", vec![b'a'; 1024 * 1024 + 1], None),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let body = read(&path);
            assert_eq!(body.as_ref().ok().map(String::len), want, "{name}");
            assert!(body.is_ok() || body.is_err_and(|error| error.code == ExitCode::Usage), "{name}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&path).unwrap_err().code, ExitCode::Usage);
    }

    #[test]
    fn the_decision_is_told_and_is_the_exit_code() {
        let blocked = json!({
            "verdict": "block", "layer": "rate_limit", "reason": "too many requests", "status": 429,
            "retry_after_secs": 30,
        });
        let refused = json!({"verdict": "block", "layer": "lists", "status": 403, "retry_after_secs": null});
        let passed = json!({"verdict": "pass", "layer": null, "reason": "", "status": 200});
        let told = "✗ block by rate_limit: too many requests (status 429, retry after 30s)";
        for (name, sent, want, code) in [
            ("for a while", blocked, told, ExitCode::Findings),
            ("refused", refused, "✗ block by lists (status 403)", ExitCode::Findings),
            ("passed", passed, "✓ pass", ExitCode::Done),
            ("unheard of", json!({"verdict": "maybe"}), "- maybe (status 0)", ExitCode::Findings),
        ] {
            let found = explanation(&json!({"decision": sent})).decision;
            assert_eq!((decision(printer(), &found).as_str(), verdict(&found)), (want, code), "{name}");
        }
    }

    #[test]
    fn layers_and_features_are_rows() {
        let layer = json!({
            "layer": "scanner", "mode": "observe", "verdict": "block", "reason": "model", "detail": "0.93",
        });
        let features = json!([{"name": "request_rate", "value": "0.0"}, {"name": "depth", "value": 3}]);
        let found = explanation(&json!({
            "request": {"route": null, "path": "/a", "client_ip": "192.0.2.1"},
            "identity": {"kind": "session", "authenticated": true},
            "layers": [layer], "features": features, "microseconds": 3.2,
        }));
        assert_eq!(row(printer(), &found.layers[0]), ["scanner", "✗ block", "observe", "model", "0.93"]);
        assert_eq!(
            super::features(&found.features),
            [["request_rate", "0.0", "+0.00"], ["depth", "3", "+0.00"]]
        );
        let about = about(&ExplainRequest::default(), &found);
        let line = |name| about.iter().find(|(found, _)| *found == name).map(|(_, text)| text.as_str());
        assert_eq!(line("route"), Some("none answers to it"));
        assert_eq!(line("identity"), Some("session, authenticated"));
    }

    #[test]
    fn nothing_can_steer_the_terminal() {
        let hostile = "x\u{1b}[2J\r\n\u{9b}\u{202e}";
        let found = explanation(&json!({
            "request": {"route": hostile, "path": hostile, "client_ip": hostile},
            "identity": {"kind": hostile},
            "layers": [{"layer": hostile, "mode": hostile, "verdict": hostile, "reason": hostile, "detail": hostile}],
            "decision": {"verdict": hostile, "layer": hostile, "reason": hostile},
            "features": [{"name": hostile, "value": hostile}, {"name": "list", "value": [hostile]}],
        }));
        let request = ExplainRequest { method: hostile.into(), url: hostile.into(), ..Default::default() };
        let mut told = row(printer(), &found.layers[0]);
        told.push(decision(printer(), &found.decision));
        told.extend(features(&found.features).concat());
        told.extend(about(&request, &found).into_iter().map(|(_, text)| text));
        for text in told {
            assert!(!text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
        }
    }
}
