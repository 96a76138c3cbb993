// SPDX-License-Identifier: Apache-2.0
//! What a node tells about itself: its metrics port, its metrics, the dashboards and alerts over them, the
//! audit line, traces (rows I01 to I04, I06 to I08, H15, H25).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sunbeam_listeners::ListenerMetrics;
use sunbeam_metrics::{ALIASES, MetricDoc};
use sunbeam_pipeline::DetectionMetrics;
use sunbeam_proxy::ProxyMetrics;
use sunbeam_testkit::{
    OtlpReceiver, TestFolder, TestProxy, TestUpstream, eventually, free_address, peers_folder, raw_exchange,
    span_attribute,
};

const HOST: &str = "shop.example.test";

fn route(backend: &str) -> String {
    format!(
        "[[routes]]\nhost_prefix = \"shop\"\nbackend = \"{backend}\"\ndisable_secure_redirection = true\n"
    )
}

/// `[telemetry]` with a metrics port that is free.
fn metrics_on(more: &str) -> (SocketAddr, String) {
    let address = free_address();
    (address, format!("[telemetry]\nmetrics_port = {}\n{more}\n", address.port()))
}

/// One line of the metrics page.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|found| found == value))
    }
}

/// Reads the text format of Prometheus, of which the node's label values need no escapes.
fn samples(page: &str) -> Vec<Sample> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let pairs = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
            let (label, value) = pair.split_once("=\"").unwrap();
            (label.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Sample { name: name.to_owned(), labels: pairs.collect(), value: value.parse().unwrap() }
    };
    page.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn scrape(proxy: &TestProxy) -> Vec<Sample> {
    let answer = proxy.client_to(proxy.node().metrics_address().unwrap()).get("127.0.0.1", "/metrics");
    assert_eq!(answer.status, 200);
    samples(&answer.text())
}

fn total(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.iter().filter(|sample| sample.name == name && sample.has(labels)).map(|sample| sample.value).sum()
}

#[track_caller]
fn assert_count(found: f64, want: f64) {
    assert!((found - want).abs() < 0.5, "{found} and not {want}");
}

#[test]
fn the_metrics_port_has_metrics_and_probes_and_nothing_else() {
    let backend = TestUpstream::echo();
    let (address, telemetry) = metrics_on("");
    let proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    assert_eq!(proxy.node().metrics_address(), Some(address));
    let get = |path: &str| proxy.client_to(address).get("127.0.0.1", path);
    let page = get("/metrics");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"), "{page:?}");
    assert!(page.text().contains("# TYPE sunbeam_active_connections gauge"), "{}", page.text());
    let health = get("/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &Value::from("healthy")));
    assert!(health.json()["version"].as_str().is_some_and(|version| version.contains('.')));
    assert_eq!((get("/live").status, get("/ready").status), (200, 200));
    assert_eq!(get("/ready").json()["ready"], true);
    for path in ["/", "/api/v1/status", "/api/v1/config", "/openapi.json"] {
        assert_eq!(get(path).status, 404, "{path} belongs to the management API");
    }
    assert!(backend.seen().is_empty());
}

#[test]
fn metrics_port_zero_is_off_and_a_reload_switches_it_on_and_off() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route(&backend.url()));
    assert_eq!(proxy.node().metrics_address(), None);
    assert_eq!(proxy.api("GET", "/api/v1/status", "").json()["metrics_address"], Value::Null);
    let (address, telemetry) = metrics_on("");
    proxy.reload(&format!("{telemetry}{}", route(&backend.url()))).unwrap();
    assert_eq!(proxy.client_to(address).get("127.0.0.1", "/health").status, 200);
    proxy.reload(&route(&backend.url())).unwrap();
    assert_eq!(proxy.node().metrics_address(), None);
    eventually("the port is closed", || {
        proxy.client_to(address).try_get("127.0.0.1", "/health").is_err().then_some(())
    });
}

#[test]
fn a_node_that_drains_is_alive_not_ready_and_finishes_what_it_has() {
    let (entered, enters) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new((entered, released));
    let backend = TestUpstream::with(move |_| {
        let gate = gate.lock().unwrap();
        gate.0.send(()).unwrap();
        gate.1.recv().unwrap();
        http::Response::new("finished".into())
    });
    let (address, telemetry) = metrics_on("");
    let mut proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    let (client, probe) = (proxy.client(), proxy.client_to(address));
    let asking = std::thread::spawn(move || client.get(HOST, "/long"));
    enters.recv().unwrap();
    let draining = std::thread::spawn(move || {
        proxy.drain();
        proxy
    });
    let answer =
        eventually("not ready", || Some(probe.get("127.0.0.1", "/ready")).filter(|a| a.status == 503));
    assert_eq!(answer.json()["ready"], false);
    assert_eq!(probe.get("127.0.0.1", "/live").status, 200);
    release.send(()).unwrap();
    let answer = asking.join().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "finished"));
    let proxy = draining.join().unwrap();
    assert_eq!(proxy.audit().records().len(), 1, "the last line is on the disk when the node is gone");
    assert!(probe.try_get("127.0.0.1", "/live").is_err());
}

#[test]
fn the_promised_metrics_are_there_with_their_labels_and_count_what_happened() {
    let backend = TestUpstream::echo();
    let (_, telemetry) = metrics_on("");
    let text = format!("{telemetry}[limits]\nmax_url_bytes = 100\n{}", route(&backend.url()));
    let proxy = TestProxy::start(&text);
    for _ in 0..3 {
        proxy.client().get(HOST, "/a");
    }
    proxy.client().plain().method("POST").get(HOST, "/a");
    proxy.client().get(HOST, &format!("/{}", "x".repeat(200)));
    proxy.reload(&text).unwrap();
    proxy.reload("nonsense").unwrap_err();
    eventually("all are counted", || {
        (total(&scrape(&proxy), "sunbeam_requests_total", &[]) > 4.5).then_some(())
    });
    let samples = scrape(&proxy);
    let labels: [(&str, &[&str]); 9] = [
        ("sunbeam_requests_total", &["backend", "host", "method", "status"]),
        ("sunbeam_request_duration_seconds_bucket", &["le"]),
        ("sunbeam_request_duration_seconds_count", &[]),
        ("sunbeam_added_latency_seconds_bucket", &["le"]),
        ("sunbeam_active_connections", &[]),
        ("sunbeam_tls_handshakes_total", &["result"]),
        ("sunbeam_limit_hits_total", &["limit"]),
        ("sunbeam_config_reloads_total", &["result"]),
        ("sunbeam_config_reload_failed", &[]),
    ];
    for (name, want) in labels {
        let sample = samples.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(sample.labels.keys().map(String::as_str).collect::<Vec<_>>(), want, "{name}");
    }
    let count = |name: &str, labels: &[(&str, &str)]| total(&samples, name, labels);
    let answered = [("method", "GET"), ("host", "shop"), ("status", "200"), ("backend", &backend.url())];
    assert_count(count("sunbeam_requests_total", &answered), 3.0);
    assert_count(count("sunbeam_requests_total", &[("method", "POST"), ("host", "shop")]), 1.0);
    assert_count(count("sunbeam_requests_total", &[("status", "414"), ("backend", "")]), 1.0);
    assert_count(count("sunbeam_request_duration_seconds_count", &[]), 5.0);
    assert_count(count("sunbeam_added_latency_seconds_count", &[]), 5.0);
    assert_count(count("sunbeam_tls_handshakes_total", &[("result", "ok")]), 4.0);
    assert_count(count("sunbeam_limit_hits_total", &[("limit", "max_url_bytes")]), 1.0);
    assert!(count("sunbeam_config_reloads_total", &[("result", "ok")]) > 0.5);
    assert!(count("sunbeam_config_reloads_total", &[("result", "failed")]) > 0.5);
    assert_count(count("sunbeam_config_reload_failed", &[]), 1.0);
}

#[test]
fn a_requests_duration_falls_into_the_promised_buckets() {
    let backend = TestUpstream::echo();
    let (_, telemetry) = metrics_on("");
    let proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    proxy.client().get(HOST, "/");
    let bounds = |name: &str| -> Vec<f64> {
        let of_name = |sample: &Sample| sample.name == format!("{name}_bucket");
        let samples = scrape(&proxy);
        let bounds =
            samples.iter().filter(|sample| of_name(sample)).map(|sample| sample.labels["le"].as_str());
        bounds.map(|bound| if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }).collect()
    };
    let want = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, f64::INFINITY];
    assert_eq!(bounds("sunbeam_request_duration_seconds"), want);
    let first = bounds("sunbeam_added_latency_seconds")[0];
    assert!((first - 0.000_01).abs() < 1e-9, "our own time is told from 10 µs on: {first}");
}

#[test]
fn made_up_hosts_and_methods_make_no_labels() {
    let backend = TestUpstream::echo();
    let (_, telemetry) = metrics_on("");
    let proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    proxy.client().get(HOST, "/");
    let mut requests: String = (0..200)
        .map(|number| format!("MADEUP{number} / HTTP/1.1\r\nHost: made-up-{number}.example\r\n\r\n"))
        .collect();
    requests.push_str("GET / HTTP/1.1\r\nHost: made-up.example\r\nConnection: close\r\n\r\n");
    let answers = raw_exchange(proxy.http(), requests.as_bytes());
    assert_eq!(answers.matches("HTTP/1.1 421 ").count(), 201);
    proxy.client().header("x-forwarded-host", "made-up-too").method("MADEUP").get(HOST, "/?made-up=1");
    eventually("all are counted", || {
        (total(&scrape(&proxy), "sunbeam_requests_total", &[]) > 202.5).then_some(())
    });
    let samples = scrape(&proxy);
    let other = [("host", "other"), ("method", "OTHER"), ("status", "421")];
    assert_count(total(&samples, "sunbeam_requests_total", &other), 200.0);
    assert_count(total(&samples, "sunbeam_requests_total", &[("host", "shop"), ("method", "OTHER")]), 1.0);
    let series = samples.iter().filter(|sample| sample.name == "sunbeam_requests_total").count();
    assert_eq!(series, 4, "GET and OTHER, of the route and of other hosts");
    let values = samples.iter().flat_map(|sample| sample.labels.values());
    let made_up: Vec<_> = values.filter(|value| value.to_lowercase().contains("made")).collect();
    assert!(made_up.is_empty(), "{made_up:?}");
}

#[test]
fn the_second_seeds_names_show_the_same_numbers_unless_switched_off() {
    let backend = TestUpstream::echo();
    let (_, telemetry) = metrics_on("");
    let proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    proxy.client().get(HOST, "/");
    proxy.client().plain().get(HOST, "/");
    let samples = scrape(&proxy);
    for (name, ours, labels) in [
        ("https_requests_received", "sunbeam_requests_received_total", &[("scheme", "https")][..]),
        ("requests_proxied", "sunbeam_upstream_requests_total", &[]),
        ("tls_handshakes_completed", "sunbeam_tls_handshakes_total", &[("result", "ok")]),
        ("active_connections", "sunbeam_active_connections", &[]),
    ] {
        let alias = samples.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no {name}"));
        assert_count(alias.value, total(&samples, ours, labels));
        assert!(alias.labels.is_empty());
    }
    assert_count(total(&samples, "https_requests_received", &[]), 1.0);
    assert_count(total(&samples, "requests_proxied", &[]), 2.0);
    proxy.reload(&format!("{telemetry}compat_metrics = false\n{}", route(&backend.url()))).unwrap();
    let samples = scrape(&proxy);
    let aliases: BTreeSet<&str> = ALIASES.iter().map(|alias| alias.name).collect();
    assert!(samples.iter().all(|sample| !aliases.contains(sample.name.as_str())));
    assert!(samples.iter().all(|sample| sample.name.starts_with("sunbeam_")), "{samples:?}");
}

#[test]
fn the_second_seeds_names_count_what_is_stopped() {
    let backend = TestUpstream::echo();
    let (_, telemetry) = metrics_on("");
    let proxy = TestProxy::start(&format!(
        "listen.trusted_proxies = [\"127.0.0.1/32\"]\nrate_limit.bypass_cidrs = []\nscanner.enabled = false\n\
         ddos.request_threshold = 20\n{telemetry}{}",
        route(&backend.url())
    ));
    let ask = |address: &str, target: &str| {
        proxy.client().plain().header("x-forwarded-for", address).get(HOST, target).status
    };
    assert_eq!(ask("203.0.113.7", "/?q=1%27+UNION+SELECT+password+FROM+users--+-"), 403);
    assert!((0..30).any(|_| ask("203.0.113.8", "/") == 429));
    let samples = scrape(&proxy);
    let blocked = "sunbeam_blocked_requests_total";
    for (name, ours, labels, least) in [
        ("blocked_requests_total", blocked, &[][..], 2.0),
        ("waf_events_blocked_total", blocked, &[("layer", "waf")], 1.0),
        ("ddos_events_detected_total", blocked, &[("layer", "ddos")], 1.0),
        ("waf_inspection_duration_seconds_count", "sunbeam_waf_inspection_duration_seconds_count", &[], 20.0),
    ] {
        let told = total(&samples, name, &[]);
        assert_count(told, total(&samples, ours, labels));
        assert!(told >= least, "{name}: {told}");
    }
}

// --- the audit line -------------------------------------------------------------------------------------------

#[test]
fn the_audit_line_of_a_rich_request_has_the_seventeen_fields_of_the_seed() {
    let backend = TestUpstream::echo();
    let text = format!("[listen]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{}", route(&backend.url()));
    let proxy = TestProxy::start(&text);
    let answer = proxy
        .client()
        .method("POST")
        .header("x-forwarded-for", "203.0.113.42")
        .header("cf-ipcountry", "DE")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")
        .header("referer", "https://user:pw@from.example/page?token=s3cret&x=1#part")
        .header("accept", "text/html,application/json;q=0.9")
        .header("accept-language", "de-DE,de;q=0.9")
        .header("cookie", "session=s3cret")
        .body("hello world")
        .get(HOST, "/buy/%C3%A4?a=1&token=s3cret&PassWord=s3cret&user%5Bapi_key%5D=s3cret&%63ode=s3cret");
    assert_eq!(answer.status, 200);
    proxy.audit().wait_for("the request", |record| record.path.starts_with("/buy"));
    let line = proxy.audit().lines().pop().unwrap();
    let want = serde_json::json!({
        "target": "audit",
        "request_id": answer.header("x-request-id").unwrap(),
        "method": "POST",
        "host": HOST,
        "path": "/buy/%C3%A4",
        "query": "a=1&token=[redacted]&PassWord=[redacted]&user%5Bapi_key%5D=[redacted]&%63ode=[redacted]",
        "client_ip": "203.0.113.42",
        "status": 200,
        "content_length": 11,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "referer": "https://from.example/page?token=[redacted]&x=1",
        "accept_language": "de-DE,de;q=0.9",
        "accept": "text/html,application/json;q=0.9",
        "has_cookies": true,
        "cf_country": "DE",
        "backend": backend.url(),
        "error": null,
    });
    for (name, value) in want.as_object().unwrap() {
        assert_eq!(&line[name], value, "{name}");
    }
    assert!(line["duration_ms"].is_u64(), "{line}");
    let timestamp = line["timestamp"].as_str().unwrap();
    let (date, rest) = timestamp.split_once('T').unwrap();
    assert_eq!(
        (date.len(), rest.len(), rest.ends_with('Z')),
        (10, "01:02:03.123456Z".len(), true),
        "{timestamp}"
    );
    let bytes = fs::read_to_string(proxy.folder().join("audit.log")).unwrap();
    assert!(!bytes.contains("s3cret") && !bytes.contains(":pw@"), "a secret was written: {bytes}");
}

#[test]
fn a_poor_request_and_a_failed_one_have_the_same_fields_with_empty_values() {
    let gone = free_address();
    let proxy = TestProxy::start(&route(&format!("http://{gone}")));
    let asked =
        b"GET / HTTP/1.1\r\nHost: shop.example.test\r\nCF-IPCountry: DE\r\nX-Forwarded-For: 1.2.3.4\r\n\
                  Connection: close\r\n\r\n";
    assert!(raw_exchange(proxy.http(), asked).starts_with("HTTP/1.1 502 "));
    proxy.audit().wait_for("the request", |record| record.status == 502);
    let line = proxy.audit().lines().pop().unwrap();
    for name in ["user_agent", "referer", "accept_language", "accept", "query"] {
        assert_eq!(line[name], "", "{name}");
    }
    assert_eq!((&line["has_cookies"], &line["content_length"]), (&Value::from(false), &Value::from(0)));
    assert_eq!(line["cf_country"], Value::Null, "a stranger's word on its country is not taken");
    assert_eq!(line["client_ip"], "127.0.0.1", "nor on its address");
    assert!(line["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
    assert_eq!(line["backend"], format!("http://{gone}"));
}

#[test]
fn addresses_are_truncated_or_hashed_where_the_operator_says_so() {
    let backend = TestUpstream::echo();
    let text = |kept: &str| {
        let trusted = "[listen]\ntrusted_proxies = [\"127.0.0.0/8\"]";
        format!("{trusted}\n[audit]\nclient_ip = \"{kept}\"\n{}", route(&backend.url()))
    };
    let proxy = TestProxy::start(&text("truncated"));
    let written = |address: &str, path: &str| {
        proxy.client().header("x-forwarded-for", address).get(HOST, path);
        proxy.audit().wait_for(path, |record| record.path == path).client_ip
    };
    assert_eq!(written("203.0.113.42", "/v4"), "203.0.113.0");
    assert_eq!(written("2001:db8:1:2:3::4", "/v6"), "2001:db8:1::");
    proxy.reload(&text("hashed")).unwrap();
    let (one, again) = (written("203.0.113.42", "/h1"), written("203.0.113.42", "/h2"));
    let neighbour = written("203.0.113.43", "/h3");
    assert_eq!(one, again, "one client is one word");
    assert_ne!(one, neighbour);
    assert!(one.parse::<std::net::IpAddr>().is_err(), "{one}");
    assert_eq!(backend.last().header("x-real-ip"), Some("203.0.113.43"), "the backend still gets it whole");
}

#[test]
fn whatever_a_client_sends_stays_one_line_that_reads_back() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::start(&route(&backend.url()));
    let long = "u".repeat(8192);
    let requests: [(&str, Vec<u8>); 9] = [
        ("quotes", request("/q", br#"User-Agent: say "hi" \ \" \u0000 {"a":1}"#)),
        ("invalid UTF-8", request("/utf8", b"User-Agent: \xff\xfe\xc3\x28 end\r\nReferer: \xed\xa0\x80")),
        ("eight kibibytes", request("/long", format!("User-Agent: {long}").as_bytes())),
        ("line separators", request("/sep", "User-Agent: a\u{2028}b\u{2029}c\u{85}d".as_bytes())),
        ("encoded newlines", request("/n%0a%0d%1b[31m?x=%0a%22", b"Accept: */*")),
        ("escape in a header", request("/esc", b"User-Agent: \x1b[31mred\x1b[0m")),
        ("NUL in a header", request("/nul", b"User-Agent: a\x00b")),
        ("bare line feed", request("/lf", b"User-Agent: a\nX-Injected: {\"target\":\"audit\"}")),
        ("escape in the target", request("/\x1b[2J\"\u{ff}", b"Accept: */*")),
    ];
    let count = requests.len();
    for (name, bytes) in requests {
        let answer = raw_exchange(proxy.http(), &bytes);
        assert!(answer.starts_with("HTTP/1.1 "), "{name}: {answer}");
    }
    eventually("all lines", || (proxy.audit().records().len() == count).then_some(()));
    let bytes = fs::read(proxy.folder().join("audit.log")).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert_eq!(text.matches('\n').count(), count, "one line a request");
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_ascii_control()), "{text:?}");
    let records = proxy.audit().records();
    let find = |path: &str| records.iter().find(|record| record.path == path).unwrap();
    assert_eq!(find("/q").user_agent, r#"say "hi" \ \" \u0000 {"a":1}"#);
    assert_eq!(find("/long").user_agent, long, "not cut");
    assert!(find("/utf8").user_agent.ends_with("( end"), "{:?}", find("/utf8").user_agent);
    assert!(find("/n%0a%0d%1b[31m").query.starts_with("x=%0a"));
}

fn request(target: &str, header: &[u8]) -> Vec<u8> {
    let mut bytes = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n").into_bytes();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes
}

#[test]
fn the_audit_log_rotates_without_losing_a_line_and_keeps_as_many_files_as_it_may() {
    let backend = TestUpstream::echo();
    let rotating =
        |keep: usize| format!("[audit]\nrotate_bytes = 4096\nkeep_files = {keep}\n{}", route(&backend.url()));
    let ask = |proxy: &TestProxy, number: usize| {
        let agent = "a".repeat(1000);
        proxy.client().plain().header("user-agent", &agent).get(HOST, &format!("/{number}"));
    };
    let files = |proxy: &TestProxy| -> Vec<PathBuf> {
        let entries = fs::read_dir(proxy.folder().path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("audit.log")).collect()
    };
    let proxy = TestProxy::start(&rotating(1000));
    for number in 0..40 {
        ask(&proxy, number);
    }
    let paths = eventually("every line in one of the files", || {
        let text: String =
            files(&proxy).iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
        let lines = text.lines().filter_map(path_of).collect::<BTreeSet<_>>();
        (lines.len() == 40).then_some(lines)
    });
    assert!(paths.contains("/0") && paths.contains("/39"));
    assert!(files(&proxy).len() > 3, "{:?}", files(&proxy));

    let proxy = TestProxy::start(&rotating(2));
    let mut number = 0;
    eventually("a second rotation", || {
        ask(&proxy, number);
        number += 1;
        proxy.folder().join("audit.log.2").exists().then_some(())
    });
    for more in 0..20 {
        ask(&proxy, number + more);
    }
    proxy.audit().wait_for("the newest line", |record| record.path == format!("/{}", number + 19));
    assert_eq!(files(&proxy).len(), 3, "{:?}", files(&proxy));
}

/// The path of a line that is a whole record.
fn path_of(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some(value["path"].as_str()?.to_owned())
}

// --- traces ---------------------------------------------------------------------------------------------------

#[test]
fn a_request_is_a_span_that_continues_the_clients_trace_and_hands_it_on() {
    let (collector, backend) = (OtlpReceiver::start(), TestUpstream::echo());
    let telemetry = format!("[telemetry]\notlp_endpoint = \"{}\"\n", collector.url());
    let proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let answer =
        proxy.client().header("traceparent", &format!("00-{trace}-{parent}-01")).get(HOST, "/traced?a=1");
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let span = eventually("the span", || {
        collector
            .spans()
            .into_iter()
            .find(|span| span_attribute(span, "url.path").as_deref() == Some("/traced"))
    });
    assert_eq!(hex(&span.trace_id), trace);
    assert_eq!(hex(&span.parent_span_id), parent);
    let attribute = |name: &str| span_attribute(&span, name).unwrap_or_default();
    assert_eq!(attribute("http.request.method"), "GET");
    assert_eq!(attribute("http.response.status_code"), "200");
    assert_eq!(attribute("http.route"), "shop");
    assert_eq!(attribute("sunbeam.request_id"), answer.header("x-request-id").unwrap());
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    let handed_on = backend.last().header("traceparent").unwrap().to_owned();
    assert_eq!(handed_on, format!("00-{trace}-{}-01", hex(&span.span_id)), "the backend hangs below us");
    assert!(collector.resource_attribute("service.name").unwrap().contains("sunbeam"));

    // A request without a trace begins one; a malformed header is no trace.
    proxy.client().header("traceparent", "00-zz-zz-01").get(HOST, "/begins");
    let span = eventually("the second span", || {
        collector
            .spans()
            .into_iter()
            .find(|span| span_attribute(span, "url.path").as_deref() == Some("/begins"))
    });
    assert!(span.parent_span_id.is_empty() && hex(&span.trace_id) != trace);
    assert!(backend.last().header("traceparent").unwrap().contains(&hex(&span.trace_id)));
}

#[test]
fn refused_and_failed_requests_have_spans_too() {
    let collector = OtlpReceiver::start();
    let telemetry = format!("[telemetry]\notlp_endpoint = \"{}\"\n", collector.url());
    let mut proxy = TestProxy::start(&format!("{telemetry}{}", route(&format!("http://{}", free_address()))));
    proxy.client().get(HOST, "/down");
    proxy.client().get("nobody.example.test", "/unknown");
    // What waits to be sent is sent before the node ends.
    proxy.drain();
    let spans = collector.spans();
    let status = |path: &str| {
        let span =
            spans.iter().find(|span| span_attribute(span, "url.path").as_deref() == Some(path)).unwrap();
        (
            span_attribute(span, "http.response.status_code").unwrap(),
            span_attribute(span, "http.route").unwrap(),
        )
    };
    assert_eq!(status("/down"), ("502".to_owned(), "shop".to_owned()));
    assert_eq!(status("/unknown"), ("421".to_owned(), "other".to_owned()));
}

#[test]
fn a_sample_ratio_of_zero_sends_nothing_even_where_the_client_asks_for_it() {
    let (collector, backend) = (OtlpReceiver::start(), TestUpstream::echo());
    let text = |ratio: &str| {
        let telemetry =
            format!("[telemetry]\notlp_endpoint = \"{}\"\ntrace_sample_ratio = {ratio}\n", collector.url());
        format!("{telemetry}{}", route(&backend.url()))
    };
    let mut proxy = TestProxy::start(&text("0.0"));
    for _ in 0..10 {
        proxy
            .client()
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .get(HOST, "/no");
    }
    proxy.reload(&text("1.0")).unwrap();
    proxy.client().get(HOST, "/yes");
    proxy.drain();
    let spans = collector.spans();
    let paths: Vec<_> = spans.iter().filter_map(|span| span_attribute(span, "url.path")).collect();
    assert_eq!(paths, ["/yes"]);
}

#[test]
fn an_unreachable_collector_costs_no_request() {
    let backend = TestUpstream::echo();
    let telemetry = format!("[telemetry]\notlp_endpoint = \"http://{}\"\n", free_address());
    let proxy = TestProxy::start(&format!("{telemetry}{}", route(&backend.url())));
    for number in 0..50 {
        assert_eq!(proxy.client().plain().get(HOST, &format!("/{number}")).status, 200);
    }
    eventually("all lines", || (proxy.audit().records().len() == 50).then_some(()));
    assert!(proxy.audit().records().iter().all(|record| record.error.is_none()));
}

// --- dashboards and alerts ------------------------------------------------------------------------------------

/// A query of a dashboard or an alert.
struct Query {
    place: String,
    expression: String,
}

/// What a query asks for.
#[derive(Debug, Default)]
struct Asked {
    /// Metrics, each with the labels that its selector names.
    metrics: Vec<(String, Vec<String>)>,
    /// Labels of `by (…)` and the like.
    grouping: Vec<String>,
}

fn deploy(path: &str) -> PathBuf {
    peers_folder().join("../../deploy").join(path)
}

/// Every query under `deploy/`, the variables of the dashboards included.
fn queries() -> Vec<Query> {
    let mut found = Vec::new();
    for entry in fs::read_dir(deploy("grafana")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            dashboard_queries(&path, &value, &mut found);
        }
    }
    let path = deploy("prometheus/alerts.yml");
    let place = path.display().to_string();
    for expression in alert_expressions(&fs::read_to_string(&path).unwrap()) {
        found.push(Query { place: place.clone(), expression });
    }
    found
}

fn dashboard_queries(path: &Path, value: &Value, found: &mut Vec<Query>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| dashboard_queries(path, item, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field) {
                    ("expr" | "definition", Value::String(text)) => {
                        let expression = text.replace("label_values(", "(");
                        found.push(Query { place: path.display().to_string(), expression });
                    }
                    _ => dashboard_queries(path, field, found),
                }
            }
        }
        _ => {}
    }
}

/// The `expr` of each rule: on its line, or folded (`>-`) over the deeper ones that follow.
fn alert_expressions(text: &str) -> Vec<String> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(rest) = line.trim_start().strip_prefix("expr:") else { continue };
        let mut expression = rest.trim().trim_start_matches(['>', '|', '-']).trim().to_owned();
        while let Some(more) = lines.next_if(|more| depth(more) > depth(line)) {
            expression.push(' ');
            expression.push_str(more.trim());
        }
        found.push(expression.trim().to_owned());
    }
    found
}

/// Finds metrics and labels in a PromQL expression: enough of its grammar for names.
fn asked(expression: &str) -> Asked {
    const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    const WORDS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
    let mut result = Asked::default();
    let mut rest = expression;
    let mut grouping = false;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = rest[1..].split_once('"').map_or("", |(_, after)| after);
        } else if first == '[' {
            rest = rest.split_once(']').map_or("", |(_, after)| after);
        } else if first == '{' {
            let (inside, after) = rest[1..].split_once('}').unwrap();
            let labels =
                inside.split(',').filter_map(|matcher| matcher.split(['=', '!']).next()).map(str::trim);
            let labels: Vec<String> = labels.map(str::to_owned).collect();
            result.metrics.last_mut().unwrap_or_else(|| panic!("{expression}")).1 = labels;
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end =
                rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            if GROUPING.contains(&word) {
                grouping = true;
            } else if grouping {
                result.grouping.push(word.to_owned());
            } else if !WORDS.contains(&word) && !after.trim_start().starts_with('(') && !followed_by_by(after)
            {
                result.metrics.push((word.to_owned(), Vec::new()));
            }
        } else if first.is_ascii_digit() || first == '.' {
            // A number, or a duration after `offset`.
            rest = rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '.');
        } else {
            grouping &= first != ')';
            rest = &rest[first.len_utf8()..];
        }
    }
    result
}

/// `sum by (…) (…)`: an aggregation, though no bracket follows it at once.
fn followed_by_by(after: &str) -> bool {
    ["by ", "by(", "without ", "without("].iter().any(|word| after.trim_start().starts_with(word))
}

fn declared() -> Vec<&'static MetricDoc> {
    ProxyMetrics::TABLE.iter().chain(ListenerMetrics::TABLE).chain(DetectionMetrics::TABLE).collect()
}

/// The row of a name in a query; a histogram has three names.
fn row_of(name: &str) -> Option<&'static MetricDoc> {
    declared().into_iter().find(|row| {
        let is_part = |suffix| name.strip_suffix(suffix) == Some(row.name);
        if row.kind == "histogram" {
            ["_bucket", "_sum", "_count"].into_iter().any(is_part)
        } else {
            row.name == name
        }
    })
}

#[test]
fn the_reader_of_queries_finds_names_where_they_stand() {
    let found =
        asked("sum by (a, le) (rate(x_bucket{b=~\"5..\",c!=\"y\"}[5m] offset 1h)) / z > 0.5 and absent(w)");
    let metrics: Vec<&str> = found.metrics.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(metrics, ["x_bucket", "z", "w"]);
    assert_eq!(found.metrics[0].1, ["b", "c"]);
    assert_eq!(found.grouping, ["a", "le"]);
    assert_eq!(
        alert_expressions("- alert: x\n  expr: up == 0\n  for: 1m\n- alert: y\n  expr: >-\n    a\n    / b\n"),
        ["up == 0", "a / b"]
    );
}

#[test]
fn every_query_of_the_dashboards_and_alerts_names_metrics_and_labels_that_exist() {
    /// Labels that Prometheus adds to what it scrapes.
    const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];
    let queries = queries();
    assert!(queries.len() > 40, "{} queries", queries.len());
    for Query { place, expression } in &queries {
        let asked = asked(expression);
        assert!(!asked.metrics.is_empty(), "{place}: {expression}");
        let mut known: BTreeSet<&str> = OF_THE_SCRAPE.into();
        for (name, labels) in &asked.metrics {
            // Prometheus' own, and the variable's second word.
            if name == "up" || OF_THE_SCRAPE.contains(&name.as_str()) {
                continue;
            }
            let row = row_of(name).unwrap_or_else(|| panic!("{place}: no metric `{name}`: {expression}"));
            let mut own: BTreeSet<&str> = row.labels.iter().copied().chain(OF_THE_SCRAPE).collect();
            own.extend(name.ends_with("_bucket").then_some("le"));
            for label in labels {
                assert!(
                    own.contains(label.as_str()),
                    "{place}: `{name}` has no label `{label}`: {expression}"
                );
            }
            known.extend(own);
        }
        for label in &asked.grouping {
            assert!(known.contains(label.as_str()), "{place}: no label `{label}`: {expression}");
        }
    }
}

#[test]
fn after_a_days_work_every_metric_of_the_dashboards_and_alerts_has_a_series() {
    let backend = TestUpstream::with(|_| {
        let answer = http::Response::builder().header("content-type", "text/html");
        answer.body("<p>hello</p>".into()).unwrap()
    });
    let files = TestFolder::new();
    files.write("index.html", "<p>hello</p>");
    let (_, telemetry) = metrics_on("");
    let text = format!(
        "{telemetry}[limits]\nmax_url_bytes = 100\n[ssh]\nlisten = \"127.0.0.1:0\"\nbackend = \"{ssh}\"\n{shop}\
         [[routes.body_rewrites]]\nfind = \"hello\"\nreplace = \"good day\"\n\
         [[routes.paths]]\nprefix = \"/gated\"\nbackend = \"{url}\"\nauth_request = \"{url}/auth\"\n\
         [[routes]]\nhost_prefix = \"files\"\nstatic_root = {root:?}\n\
         [[routes]]\nhost_prefix = \"down\"\nbackend = \"http://{down}\"\n",
        ssh = backend.address(),
        shop = route(&backend.url()),
        url = backend.url(),
        root = files.path(),
        down = free_address(),
    );
    let proxy = TestProxy::start(&text);
    assert_eq!(proxy.client().get(HOST, "/").status, 200);
    assert_eq!(proxy.client().get(HOST, "/gated").status, 200);
    assert_eq!(proxy.client().get(HOST, &format!("/{}", "x".repeat(200))).status, 414);
    assert_eq!(proxy.client().get("files.example.test", "/").text(), "<p>hello</p>");
    assert_eq!(proxy.client().get("down.example.test", "/").status, 502);
    let door = proxy.node().passthrough_address().unwrap();
    assert!(raw_exchange(door, b"GET / HTTP/1.0\r\n\r\n").contains("200 OK"));
    // An attack. Drift is told once a thousand requests were sampled: here it is not.
    assert_eq!(proxy.client().get(HOST, "/?q=1%27+UNION+SELECT+password+FROM+users--+-").status, 403);
    proxy.reload(&text).unwrap();
    eventually("all are counted", || {
        (total(&scrape(&proxy), "sunbeam_requests_total", &[]) > 5.5).then_some(())
    });
    // The last that is told each second.
    let is_round = |sample: &Sample| sample.name == "sunbeam_decisions_kept_total";
    eventually("the node has looked round once", || scrape(&proxy).iter().any(is_round).then_some(()));
    let samples = scrape(&proxy);
    let there: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    let names: BTreeSet<String> = queries()
        .iter()
        .flat_map(|query| asked(&query.expression).metrics)
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("sunbeam_") && name != "sunbeam_drift_index")
        .collect();
    for shown in [
        "sunbeam_false_positive_rate",
        "sunbeam_false_positive_budget",
        "sunbeam_layer_fallbacks_total",
        "sunbeam_challenges_total",
        "sunbeam_exceptions",
        "sunbeam_exception_high_scores_total",
    ] {
        assert!(names.contains(shown), "nobody shows `{shown}`");
    }
    assert!(names.len() > 25, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
