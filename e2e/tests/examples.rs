// SPDX-License-Identifier: Apache-2.0
//! The example configurations: they load, and the large one routes as its comments say (rows B16 to B20).
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sunbeam_config::{Source, Sources, load_sources};
use sunbeam_proxy::Config;
use sunbeam_testkit::{Seen, TestCa, TestFolder, TestProxy, TestUpstream, peers_folder, raw_exchange};

/// Auth servers know this cookie, as `auth.py` does.
const COOKIE: (&str, &str) = ("cookie", "session=good");

fn examples() -> Vec<PathBuf> {
    let folder = peers_folder().join("../../examples");
    let mut found: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    found
}

/// The paths that an example names, in a folder of this test: certificates, files to serve.
fn with_paths_in(text: &str, folder: &TestFolder) -> String {
    TestCa::new().issue(&["*.example.org"]).write(folder, "tls");
    for name in ["www/index.html", "assets/index.html"] {
        folder.write(name, "from disk");
    }
    let root = folder.path().display().to_string();
    text.replace("/etc/ssl/", &format!("{root}/")).replace("/srv/", &format!("{root}/"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn every_example_loads_without_a_problem_or_a_warning() {
    let examples = examples();
    assert!(examples.len() >= 3, "{examples:?}");
    for path in examples {
        let folder = TestFolder::new();
        let text = with_paths_in(&read(&path), &folder);
        let source = Source { name: path.display().to_string(), path: Some(path.clone()), text };
        match load_sources::<Config>(Sources(vec![source]), Config::check) {
            Ok(loaded) => {
                assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
                assert!(!loaded.config.routes.is_empty(), "{}", path.display());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The large example on this machine: each service that it names is a backend of its own that answers with
/// the service's name.
struct Workplace {
    proxy: TestProxy,
    services: BTreeMap<String, TestUpstream>,
}

impl Workplace {
    fn start() -> Self {
        let mut text = read(&peers_folder().join("../../examples/twenty-three-hosts.toml"));
        let names = text.split(['"', '/']).filter(|word| word.contains(".svc.cluster.local:"));
        let services: BTreeMap<String, TestUpstream> = names
            .map(str::to_owned)
            .map(|name| (name.clone(), TestUpstream::with(move |seen| service(&name, seen))))
            .collect();
        for (name, upstream) in &services {
            text = text.replace(name, &upstream.address().to_string());
        }
        let builder = TestProxy::builder();
        let text = with_paths_in(&text, builder.folder())
            .replace(r#"["0.0.0.0:80", "[::]:80"]"#, r#""127.0.0.1:0""#)
            .replace(r#"["0.0.0.0:443", "[::]:443"]"#, r#""127.0.0.1:0""#)
            .replace("0.0.0.0:22", "127.0.0.1:0")
            .replace("metrics_port = 9090", "metrics_port = 0")
            .replace(r#"path = """#, &format!("path = {:?}", builder.folder().join("audit.log")))
            .replace("/tls.crt", "/server.crt")
            .replace("/tls.key", "/server.key");
        Self { proxy: builder.config(&text).start(), services }
    }

    fn get(&self, host: &str, target: &str, header: Option<(&str, &str)>) -> (u16, String) {
        let client = self.proxy.client();
        let client = header.map(|(name, value)| self.proxy.client().header(name, value)).unwrap_or(client);
        let answer = client.get(&format!("{host}.example.test"), target);
        (answer.status, answer.text())
    }

    fn last(&self, service: &str) -> Seen {
        let found = self.services.iter().find(|(authority, _)| authority.starts_with(service));
        found.unwrap_or_else(|| panic!("the example names no `{service}`")).1.last()
    }
}

/// `NAME:PORT METHOD TARGET`; an auth page says who may pass.
fn service(authority: &str, seen: &Seen) -> Response<Full<Bytes>> {
    let (name, port) = (authority.split('.').next().unwrap(), authority.rsplit(':').next().unwrap());
    let is_auth = seen.target == "/userinfo" || seen.target.contains("media-auth");
    if is_auth && seen.header("cookie") != Some(COOKIE.1) {
        return Response::builder().status(401).body(Full::default()).unwrap();
    }
    let answer = Response::builder().header("authorization", "AWS4 signed").header("x-amz-date", "20260101");
    let text = format!("{name}:{port} {} {} for office.example.com", seen.method, seen.target);
    answer.header("content-type", "text/html").body(Full::from(text)).unwrap()
}

#[test]
fn all_twenty_three_hosts_and_their_paths_reach_the_service_that_the_example_names() {
    let workplace = Workplace::start();
    let open = [
        ("docs", "/hosting/discovery", "collabora:9980", "/hosting/discovery"),
        ("meet", "/room", "meet-frontend:8080", "/room"),
        ("meet", "/api/v1", "meet-backend:8000", "/api/v1"),
        ("drive", "/", "drive-frontend:8080", "/"),
        ("drive", "/external_api/x", "drive-backend:8000", "/external_api/x"),
        ("mail", "/inbox", "messages-frontend:8080", "/inbox"),
        ("messages", "/_matrix/client/versions", "tuwunel:6167", "/_matrix/client/versions"),
        ("people", "/", "people-frontend:8080", "/"),
        ("people", "/api/x", "people-backend:8000", "/api/x"),
        ("people", "/admin/", "people-backend:8000", "/admin/"),
        ("find", "/?q=1", "find-backend:8000", "/?q=1"),
        ("integration", "/bar.js", "integration:8080", "/bar.js"),
        ("cal", "/", "calendars-frontend:8080", "/"),
        ("cal", "/api/x", "calendars-backend:8000", "/api/x"),
        ("cal", "/caldav/u/", "calendars-backend:8000", "/caldav/u/"),
        ("projects", "/", "projects:1337", "/"),
        ("src", "/a/b.git", "gitea-http:3000", "/a/b.git"),
        ("s3", "/bucket/key", "seaweedfs-filer:8333", "/bucket/key"),
        ("assets", "/nowhere.png", "seaweedfs-filer:8888", "/nowhere.png"),
        ("livekit", "/rtc", "livekit-server:7880", "/rtc"),
        ("metrics", "/d/1", "grafana:3000", "/d/1"),
        ("systemmetrics", "/graph", "prometheus:9090", "/graph"),
        ("systemlogs", "/loki", "loki:3100", "/loki"),
        ("systemtracing", "/api", "tempo:3200", "/api"),
        ("auth", "/login", "kratos-ui:3000", "/login"),
        (
            "auth",
            "/.well-known/openid-configuration",
            "hydra-public:4444",
            "/.well-known/openid-configuration",
        ),
        ("auth", "/oauth2/auth?x=1", "hydra-public:4444", "/oauth2/auth?x=1"),
    ];
    for (host, path, service, target) in open {
        let (status, text) = workplace.get(host, path, None);
        assert_eq!(status, 200, "{host}{path}");
        assert!(text.starts_with(&format!("{service} GET {target} ")), "{host}{path}: {text}");
    }
    let gated = [
        ("id", "/identities", "kratos-admin:4434"),
        ("hydra", "/clients", "hydra-admin:4445"),
        ("search", "/_cat/indices", "opensearch:9200"),
        ("vault", "/v1/secret", "openbao:8200"),
    ];
    for (host, path, service) in gated {
        let before = workplace.services.values().map(|upstream| upstream.seen().len()).sum::<usize>();
        assert_eq!(workplace.get(host, path, None).0, 403, "{host} without a session");
        let after = workplace.services.values().map(|upstream| upstream.seen().len()).sum::<usize>();
        assert_eq!(after - before, 1, "{host}: only the auth server was asked");
        assert_eq!(workplace.last("hydra-public").target, "/userinfo");
        let (status, text) = workplace.get(host, path, Some(COOKIE));
        assert_eq!(status, 200, "{host} with a session");
        assert!(text.starts_with(&format!("{service} GET {path} ")), "{host}: {text}");
    }
    let hosts = open.iter().map(|row| row.0).chain(gated.iter().map(|row| row.0));
    let hosts: std::collections::BTreeSet<&str> = hosts.collect();
    assert_eq!(hosts.len(), 23);
    let config = load_sources::<Config>(
        Sources(vec![Source {
            name: "as started".into(),
            path: None,
            text: read(&workplace.proxy.config_path()),
        }]),
        Config::check,
    );
    let prefixes: Vec<String> =
        config.unwrap().config.routes.into_iter().map(|route| route.host_prefix).collect();
    assert_eq!(prefixes.len(), 23);
    assert!(prefixes.iter().all(|prefix| hosts.contains(prefix.as_str())), "{prefixes:?}");
    assert_eq!(workplace.get("nobody", "/", None).0, 421);
}

#[test]
fn the_examples_gate_files_disk_rewrite_and_ssh_do_what_their_comments_say() {
    let workplace = Workplace::start();
    // Files of the object store: only for whom the application agrees, with the signature it gave.
    assert_eq!(workplace.get("drive", "/media/a/b.png", None).0, 403);
    let (status, text) = workplace.get("drive", "/media/a/b.png?v=1", Some(COOKIE));
    assert_eq!(status, 200);
    assert!(text.starts_with("seaweedfs-s3:8333 GET /drive/a/b.png?v=1 "), "{text}");
    let asked = workplace.last("drive-backend");
    assert_eq!(asked.target, "/api/v1.0/items/media-auth/");
    assert_eq!(asked.header("x-original-uri"), Some("/media/a/b.png?v=1"));
    let signed = workplace.last("seaweedfs-s3");
    assert_eq!(signed.header("authorization"), Some("AWS4 signed"));
    assert_eq!(signed.header("x-amz-date"), Some("20260101"));
    // The Host header is part of S3's signatures.
    workplace.get("s3", "/bucket/key", None);
    assert_eq!(
        workplace.last("seaweedfs-filer.storage.svc.cluster.local:8333").header("host"),
        Some("s3.example.test")
    );
    // What lies on the pod's disk comes from there.
    assert_eq!(workplace.get("assets", "/index.html", None), (200, "from disk".to_owned()));
    // The bar was built for another domain.
    let (_, text) = workplace.get("integration", "/bar.js", None);
    assert_eq!(text, "integration:8080 GET /bar.js for example.org");
    let login = workplace.proxy.client().get("auth.example.test", "/login");
    assert_eq!(login.header("x-frame-options"), Some("DENY"));
    // Git over SSH: bytes as they are.
    let door = workplace.proxy.node().passthrough_address().unwrap();
    let answer = raw_exchange(door, b"GET /git HTTP/1.0\r\n\r\n");
    assert!(answer.contains("gitea-ssh:2222 GET /git"), "{answer}");
}
