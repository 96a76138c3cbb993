// SPDX-License-Identifier: Apache-2.0
//! Models over the wire: what they stop on the first day, and how they are replaced.

use std::fs;

use sunbeam_ensemble::{Card, Model, ModelFile, builtin};
use sunbeam_testkit::{TestClient, TestProxy, TestUpstream};

use super::{SHOP, layer, record, shop};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// With everything as it is without a word.
fn start(builder: sunbeam_testkit::TestProxyBuilder, config: &str) -> (TestUpstream, TestProxy) {
    let backend = shop();
    let proxy = builder.config(&text(config, &backend)).start();
    (backend, proxy)
}

fn text(config: &str, backend: &TestUpstream) -> String {
    format!(
        "listen.trusted_proxies = [\"127.0.0.1/32\"]\n{config}[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         disable_secure_redirection = true\n",
        backend.url()
    )
}

fn browser(proxy: &TestProxy, address: &str) -> TestClient {
    proxy
        .client()
        .header("x-forwarded-for", address)
        .header("user-agent", AGENT)
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "de,en;q=0.5")
}

#[test]
fn probes_and_exploits_are_403_on_the_first_day_and_a_browser_s_visit_is_served() {
    let (backend, proxy) = start(TestProxy::builder(), "");
    let bare = proxy.client().header("x-forwarded-for", "203.0.113.7");
    let disguised = browser(&proxy, "203.0.113.8").header("cookie", "theme=dark");
    for (target, reason) in [
        ("/.env", "probe"),
        ("/app/.git/config", "probe"),
        ("/item?id=1%27%20union%20select%20password%20from%20users--%20", "payload"),
        ("/view?file=../../../../etc/passwd", "payload"),
        ("/search?q=%3Cscript%3Ealert(1)%3C/script%3E", "payload"),
    ] {
        for client in [&bare, &disguised] {
            let answer = client.get(SHOP, target);
            let record = record(&proxy, &answer);
            assert_eq!((answer.status, layer(&record)), (403, ("block", "scanner", reason)), "{target}");
            assert!(!answer.text().contains(reason), "the page never names the rule");
            assert!(record.scores.scanner.is_some() && record.scores.payload.is_some());
        }
    }
    assert!(backend.seen().is_empty(), "nothing of it reached the backend");
    let visitor = browser(&proxy, "203.0.113.9");
    for target in ["/", "/search?q=rock+%27n%27+roll", "/login?next=%2Faccount%3Ftab%3D2", "/a/b.css?v=1.2"] {
        let answer = visitor.get(SHOP, target);
        assert_eq!(answer.status, 200, "{target}: {:?}", record(&proxy, &answer));
    }
    assert!(
        proxy.metric("sunbeam_scanner_decisions_total", &[("decision", "block"), ("reason", "probe")]) > 3.5
    );
    for path in ["tree_allow", "tree_block", "mlp_allow", "mlp_block"] {
        // Each has its counter from the start.
        assert!(proxy.metric("sunbeam_scanner_ensemble_path_total", &[("path", path)]) >= 0.0, "{path}");
    }
}

#[test]
fn in_shadow_models_are_recorded_and_nobody_is_blocked() {
    for config in ["scanner.observe_only = true\n", "detection.mode = \"observe\"\n"] {
        let (_backend, proxy) = start(TestProxy::builder(), config);
        let answer = browser(&proxy, "203.0.113.7").get(SHOP, "/.env");
        assert_eq!((answer.status, layer(&record(&proxy, &answer))), (200, ("observe", "scanner", "probe")));
    }
}

/// A model that finds nothing, so that it is seen which one judges.
fn blind() -> Vec<u8> {
    let mut model = builtin::SCANNER.clone();
    model.cascade.certain = i32::MAX;
    (model.payload.doubtful, model.payload.certain) = (i32::MAX, i32::MAX);
    ModelFile::bytes(&Model::Scanner(Box::new(model)), &Card::default())
}

#[test]
fn a_model_file_is_swapped_in_at_run_time_and_a_bad_one_never() {
    let builder = TestProxy::builder();
    let path = builder.folder().join("scanner.model");
    let named = format!("scanner.model = {:?}\n", path.display().to_string());
    let (backend, proxy) = start(builder, "");
    let probe = |want: u16| {
        let status = browser(&proxy, "203.0.113.7").get(SHOP, "/.env").status;
        assert_eq!(status, want);
    };
    probe(403);
    fs::write(&path, blind()).unwrap();
    proxy.reload(&text(&named, &backend)).unwrap();
    probe(200);
    let mut tampered = blind();
    tampered[1000] ^= 1;
    let of_windows = ModelFile::bytes(&Model::Ddos(Box::new(builtin::DDOS.clone())), &Card::default());
    for (bytes, why) in [
        (tampered, "its checksum is wrong"),
        (blind()[..5000].to_vec(), "cut off"),
        (b"hello".to_vec(), "no model file"),
        (of_windows, "a model of `ddos`, not of `scanner`"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = proxy.reload(&text(&named, &backend)).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("scanner.model"), "{error}");
        probe(200);
    }
    fs::remove_file(&path).unwrap();
    assert!(proxy.reload(&text(&named, &backend)).is_err());
    proxy.reload(&text("", &backend)).unwrap();
    probe(403);
}
