// SPDX-License-Identifier: Apache-2.0
//! Models over the wire: what they stop on the first day, and how they are replaced.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sunbeam_ensemble::{Card, Model, ModelFile, builtin};
use sunbeam_proxy::StartError;
use sunbeam_testkit::{TestClient, TestFolder, TestKey, TestProxy, TestResponse, TestUpstream, eventually};

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
        "waf.enabled = false\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\n{config}[[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\n\
         disable_secure_redirection = true\n",
        backend.url()
    )
}

pub(super) fn browser(proxy: &TestProxy, address: &str) -> TestClient {
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

#[test]
fn thresholds_move_doubt_and_one_takes_the_models_say_away() {
    // A page that scanners ask for, which some sites have: doubtful at most.
    let doubted = |config: &str, target: &str| {
        let (_backend, proxy) = start(TestProxy::builder(), config);
        let answer = browser(&proxy, "203.0.113.7").get(SHOP, target);
        let record = record(&proxy, &answer);
        (answer.status, record.decision)
    };
    let enforced = "detection.mode = \"enforce\"\n";
    for (name, config, target, want) in [
        ("certain", String::new(), "/.env", (403, "block")),
        ("no say", "scanner.threshold = 1.0\n".to_owned(), "/.env", (200, "pass")),
        (
            "doubt from nothing on",
            format!("{enforced}scanner.threshold = 0.01\n"),
            "/index.php",
            (403, "block"),
        ),
        ("the same, watched", "scanner.threshold = 0.01\n".to_owned(), "/index.php", (200, "observe")),
        (
            "doubt near certainty",
            format!("{enforced}scanner.threshold = 0.99\n"),
            "/index.php",
            (200, "pass"),
        ),
    ] {
        let (status, decision) = doubted(&config, target);
        assert_eq!((status, decision.as_str()), want, "{name}");
    }
    // Twenty probes for what is not there, of a client that sends nothing else.
    let twenty = |config: &str| {
        let (_backend, proxy) =
            start(TestProxy::builder(), &format!("rate_limit.bypass_cidrs = []\n{config}"));
        let client = proxy.client().header("x-forwarded-for", "203.0.113.7");
        (0..20)
            .map(|number| client.get(SHOP, &format!("/missing/{number}/phpmyadmin")).status)
            .find(|status| *status == 429)
    };
    assert_eq!(twenty(""), Some(429));
    assert_eq!(twenty("ddos.threshold = 1.0\n"), None);
}

/// A model that finds nothing, so that it is seen which one judges.
fn blind() -> Vec<u8> {
    let mut model = builtin::SCANNER.clone();
    model.cascade.certain = i32::MAX;
    (model.payload.doubtful, model.payload.certain) = (i32::MAX, i32::MAX);
    let card = Card(vec![("version".to_owned(), "blind".to_owned())]);
    ModelFile::bytes(&Model::Scanner(Box::new(model)), &card)
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

/// A node whose state lies in a folder that outlives it.
fn try_again(state: &TestFolder, backend: &TestUpstream, config: &str) -> Result<TestProxy, StartError> {
    let path = state.join("state.redb");
    let config = format!("state.path = {:?}\n{config}", path.display().to_string());
    TestProxy::builder().config(&text(&config, backend)).try_start()
}

pub(super) fn again(state: &TestFolder, backend: &TestUpstream, config: &str) -> TestProxy {
    // The state is free a moment after the node that had it.
    eventually("the state is free", || try_again(state, backend, config).ok())
}

fn probe(proxy: &TestProxy) -> u16 {
    browser(proxy, "203.0.113.7").get(SHOP, "/.env").status
}

pub(super) fn post(proxy: &TestProxy, page: &str, path: &Path, more: &str) -> TestResponse {
    let body = format!("{{\"path\":{:?}{more}}}", path.display().to_string());
    proxy.api("POST", &format!("/api/v1/models/{page}"), &body)
}

fn scanner(proxy: &TestProxy) -> Value {
    proxy.api("GET", "/api/v1/models", "").json()["models"][0].clone()
}

/// The one series of a detector's model.
fn info(proxy: &TestProxy, detector: &str) -> (String, String) {
    let series = proxy.node().registry().series("sunbeam_model_info");
    let mut of_detector = series.iter().filter(|series| series.label("detector") == Some(detector));
    let one = of_detector.next().unwrap();
    assert!(of_detector.next().is_none() && (one.value - 1.0).abs() < f64::EPSILON);
    let label = |name: &str| one.label(name).unwrap().to_owned();
    (label("version"), label("fingerprint"))
}

#[test]
fn a_model_is_installed_lives_through_a_restart_and_is_taken_away() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("blind.model", blind());
    let mut proxy = again(&state, &backend, "");
    let before = (scanner(&proxy), info(&proxy, "scanner"));
    assert_eq!((&before.0["origin"], probe(&proxy)), (&json!("compiled in"), 403));
    assert_eq!(before.1.1, before.0["fingerprint"].as_str().unwrap());

    let refused = post(&proxy, "install", &file, "");
    assert!(refused.status == 409 && refused.text().contains("never tried"), "{}", refused.text());
    let tried = post(&proxy, "install", &file, ",\"force\":true,\"dry_run\":true");
    assert_eq!((tried.status, probe(&proxy)), (200, 403), "{}", tried.text());
    let installed = post(&proxy, "install", &file, ",\"force\":true");
    assert_eq!((installed.status, probe(&proxy)), (200, 200), "{}", installed.text());
    assert_eq!(installed.json()["undo"], "sunbeam model uninstall scanner");
    let now = scanner(&proxy);
    assert_eq!((&now["origin"], &now["version"]), (&json!("installed"), &json!("blind")));
    assert_eq!(
        info(&proxy, "scanner"),
        ("blind".to_owned(), now["fingerprint"].as_str().unwrap().to_owned())
    );
    assert_eq!(info(&proxy, "ddos").0, builtin::DDOS_CARD[1].1);

    // The copy is used, not the file that was named.
    fs::remove_file(&file).unwrap();
    proxy.drain();
    let mut proxy = again(&state, &backend, "");
    assert_eq!((&scanner(&proxy)["origin"], probe(&proxy)), (&json!("installed"), 200));
    proxy.reload(&text(&format!("state.path = {:?}\n", state.join("state.redb")), &backend)).unwrap();
    assert_eq!(probe(&proxy), 200);
    let gone = proxy.api("DELETE", "/api/v1/models/installed/scanner", "");
    assert_eq!((gone.status, probe(&proxy)), (200, 403), "{}", gone.text());
    assert_eq!(info(&proxy, "scanner"), before.1);
    assert_eq!(proxy.api("DELETE", "/api/v1/models/installed/scanner", "").status, 404);
    proxy.drain();
    assert_eq!(probe(&again(&state, &backend, "")), 403);
}

#[test]
fn what_is_no_model_is_not_installed_and_a_damaged_one_stops_the_start() {
    let (state, backend) = (TestFolder::new(), shop());
    let mut proxy = again(&state, &backend, "");
    let mut tampered = blind();
    tampered[1000] ^= 1;
    let tampered = state.write("tampered.model", tampered);
    for (path, why) in [
        (tampered, "its checksum is wrong"),
        (state.write("hello", "hello"), "no model file"),
        (state.path().to_owned(), "no regular file"),
        (state.join("missing"), "No such file"),
        (PathBuf::from("blind.model"), "no absolute path"),
    ] {
        for page in ["install", "shadow"] {
            let answer = post(&proxy, page, &path, ",\"force\":true");
            assert!(answer.status == 422 && answer.text().contains(why), "{}", answer.text());
        }
    }
    assert_eq!((probe(&proxy), state.join("models").exists()), (403, false));

    let file = state.write("blind.model", blind());
    assert_eq!(post(&proxy, "install", &file, ",\"force\":true").status, 200);
    proxy.drain();
    let place = state.join("models/scanner.model");
    let mut bytes = fs::read(&place).unwrap();
    bytes[2000] ^= 1;
    fs::write(&place, &bytes).unwrap();
    let error = eventually("the state is free", || {
        let error = try_again(&state, &backend, "").unwrap_err().to_string();
        (!error.contains("another node")).then_some(error)
    });
    for word in ["scanner.model", "its checksum is wrong", "delete it"] {
        assert!(error.contains(word), "{error}");
    }
    fs::remove_file(&place).unwrap();
    assert_eq!(probe(&again(&state, &backend, "")), 403);
}

#[test]
fn with_a_key_only_models_that_it_signed_are_asked() {
    let (state, backend) = (TestFolder::new(), shop());
    let [key, stranger] = ["key", "stranger"].map(|name| TestKey::new(&state, name, "ed25519"));
    let sign = |name: &str, key: &TestKey| {
        let signed = ModelFile::signed(&blind(), |hash| key.sign(&state, hash).try_into().unwrap());
        state.write(name, signed.unwrap())
    };
    let (plain, signed) = (state.write("plain.model", blind()), sign("signed.model", &key));
    let foreign = sign("foreign.model", &stranger);
    let path = format!("state.path = {:?}\n", state.join("state.redb"));
    let asked = format!("detection.model_public_key = {:?}\n", key.public);
    let (with_key, without) = (format!("{path}{asked}"), path.clone());

    // What is compiled in always passes; of others only what is signed, whatever force is used.
    let mut proxy = again(&state, &backend, &asked);
    assert_eq!((probe(&proxy), &scanner(&proxy)["is_signed"]), (403, &json!(false)));
    for (file, why) in [(&plain, "it is not signed"), (&foreign, "not by this key")] {
        for page in ["install", "shadow"] {
            let answer = post(&proxy, page, file, ",\"force\":true");
            assert!(answer.status == 422 && answer.text().contains(why), "{}", answer.text());
        }
        let named = format!("{with_key}scanner.model = {file:?}\n");
        let error = proxy.reload(&text(&named, &backend)).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("scanner.model"), "{error}");
    }
    assert_eq!((probe(&proxy), state.join("models").exists()), (403, false));
    proxy.reload(&text(&format!("{with_key}scanner.model = {signed:?}\n"), &backend)).unwrap();
    assert_eq!((probe(&proxy), &scanner(&proxy)["is_signed"]), (200, &json!(true)));
    proxy.reload(&text(&with_key, &backend)).unwrap();
    assert_eq!(post(&proxy, "install", &signed, ",\"force\":true").status, 200);
    proxy.drain();
    let proxy = again(&state, &backend, &asked);
    assert_eq!((&scanner(&proxy)["origin"], probe(&proxy)), (&json!("installed"), 200));

    // Another key takes none of this, nor does what is no key; the running configuration stays.
    for (key, why) in [(&stranger.public, "installed model"), (&key.private, "private key"), (&plain, "keys")]
    {
        let other = format!("{path}detection.model_public_key = {key:?}\n");
        let error = proxy.reload(&text(&other, &backend)).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("detection.model_public_key"), "{error}");
    }
    assert_eq!(probe(&proxy), 200);

    // Without a key nobody asks; with one, what was tried or installed meanwhile is in the way.
    proxy.reload(&text(&without, &backend)).unwrap();
    assert_eq!(proxy.api("DELETE", "/api/v1/models/installed/scanner", "").status, 200);
    assert_eq!(post(&proxy, "shadow", &plain, "").status, 200);
    let error = proxy.reload(&text(&with_key, &backend)).unwrap_err().to_string();
    assert!(error.contains("model shadow --stop scanner"), "{error}");
    let mut proxy = proxy;
    assert_eq!(post(&proxy, "install", &plain, ",\"force\":true").status, 200);
    proxy.drain();
    let error = eventually("the state is free", || {
        let error = try_again(&state, &backend, &asked).unwrap_err().to_string();
        (!error.contains("another node")).then_some(error)
    });
    for word in ["models/scanner.model", "it is not signed", "delete the file"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_configuration_s_file_is_stronger_than_an_installed_one() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("blind.model", blind());
    let own = ModelFile::bytes(&Model::Scanner(Box::new(builtin::SCANNER.clone())), &Card::default());
    let own = state.write("own.model", own);
    let named = format!("scanner.model = {:?}\n", own.display().to_string());
    let path = format!("state.path = {:?}\n", state.join("state.redb"));
    let proxy = again(&state, &backend, &named);
    let refused = post(&proxy, "install", &file, ",\"force\":true");
    assert!(refused.status == 409 && refused.text().contains("scanner.model"), "{}", refused.text());
    assert_eq!(scanner(&proxy)["origin"], "configured");
    proxy.reload(&text(&path, &backend)).unwrap();
    assert_eq!(post(&proxy, "install", &file, ",\"force\":true").status, 200);
    assert_eq!(probe(&proxy), 200);
    proxy.reload(&text(&format!("{path}{named}"), &backend)).unwrap();
    assert_eq!((probe(&proxy), &scanner(&proxy)["origin"]), (403, &json!("configured")));
    proxy.reload(&text(&path, &backend)).unwrap();
    assert_eq!(probe(&proxy), 200, "it is still there");
}

#[test]
fn a_model_in_shadow_changes_nothing_and_what_was_seen_of_it_decides_whether_it_is_installed() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("blind.model", blind());
    let proxy = again(&state, &backend, "");
    let shadowed = post(&proxy, "shadow", &file, "");
    assert_eq!(shadowed.status, 200, "{}", shadowed.text());
    assert_eq!(scanner(&proxy)["challenger"]["agreement"]["compared"], 0);
    let early = post(&proxy, "install", &file, "");
    assert!(early.status == 409 && early.text().contains("0 requests only"), "{}", early.text());
    assert_eq!((probe(&proxy), probe(&proxy)), (403, 403));
    for number in 0..200 {
        let visitor = browser(&proxy, &format!("198.51.100.{number}"));
        assert!((0..5).all(|page| visitor.get(SHOP, &format!("/page/{page}")).status == 200));
    }
    let challenger = scanner(&proxy)["challenger"].clone();
    let agreement = &challenger["agreement"];
    for (name, want) in [("both_pass", 1000), ("both_stop", 2), ("only_old_certain", 2), ("only_new", 0)] {
        assert_eq!(agreement[name], want, "{name} in {agreement}");
    }
    let why = "it is not certain of 2 requests";
    assert!(challenger["worse"].as_str().unwrap().contains(why), "{challenger}");
    let refused = post(&proxy, "install", &file, "");
    assert!(refused.status == 409 && refused.text().contains(why), "{}", refused.text());
    assert_eq!(probe(&proxy), 403);

    let own = ModelFile::bytes(&Model::Scanner(Box::new(builtin::SCANNER.clone())), &Card::default());
    let own = state.write("own.model", own);
    assert_eq!(post(&proxy, "shadow", &own, "").status, 200);
    assert_eq!(scanner(&proxy)["challenger"]["agreement"]["compared"], 0, "another one begins anew");
    assert_eq!(proxy.api("DELETE", "/api/v1/models/shadow/scanner", "").status, 200);
    assert_eq!(proxy.api("DELETE", "/api/v1/models/shadow/scanner", "").status, 404);
    assert_eq!(proxy.api("DELETE", "/api/v1/models/shadow/nobody", "").status, 422);
    assert_eq!(scanner(&proxy)["challenger"], Value::Null);
}

/// Requests of a thousand visits that no model has anything against.
pub(super) fn visit_a_thousand_pages(proxy: &TestProxy) {
    for number in 0..200 {
        let visitor = browser(proxy, &format!("198.51.100.{number}"));
        assert!((0..5).all(|page| visitor.get(SHOP, &format!("/page/{page}")).status == 200));
    }
}

/// The model that is compiled in, under another name.
fn renamed() -> Vec<u8> {
    let card = Card(vec![("version".to_owned(), "renamed".to_owned())]);
    ModelFile::bytes(&Model::Scanner(Box::new(builtin::SCANNER.clone())), &card)
}

#[test]
fn a_model_that_is_to_be_promoted_judges_once_it_is_no_worse_and_after_a_restart() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("renamed.model", renamed());
    let waiting = state.join("models/scanner.waiting.model");
    let mut proxy = again(&state, &backend, "");
    assert_eq!(post(&proxy, "install", &file, ",\"promote\":true").status, 422);
    let dry = post(&proxy, "shadow", &file, ",\"promote\":true,\"dry_run\":true");
    assert_eq!((dry.status, waiting.exists()), (200, false), "{}", dry.text());
    let tried = post(&proxy, "shadow", &file, ",\"promote\":true");
    assert!(tried.status == 200 && tried.text().contains("after 1000 requests"), "{}", tried.text());
    let challenger = scanner(&proxy)["challenger"].clone();
    assert_eq!((&challenger["promotion"], &challenger["origin"]), (&json!("waiting"), &json!("tried")));
    assert!(challenger["not_taken"].as_str().unwrap().contains("0 requests only"), "{challenger}");

    // The node ends before it has seen enough: the copy that it keeps waits on, and begins to be compared anew.
    fs::remove_file(&file).unwrap();
    proxy.drain();
    let mut proxy = again(&state, &backend, "");
    let now = scanner(&proxy);
    assert_eq!((&now["origin"], &now["challenger"]["promotion"]), (&json!("compiled in"), &json!("waiting")));
    assert_eq!(now["challenger"]["sha256"], challenger["sha256"]);

    visit_a_thousand_pages(&proxy);
    let judges = |proxy: &TestProxy| {
        let now = scanner(proxy);
        (now["origin"] == "installed").then_some(now)
    };
    let now = eventually("the node takes it", || judges(&proxy));
    assert_eq!((&now["sha256"], &now["challenger"]), (&challenger["sha256"], &Value::Null));
    assert_eq!((info(&proxy, "scanner").0, probe(&proxy)), ("renamed".to_owned(), 403));
    eventually("the copy is gone", || (!waiting.exists()).then_some(()));
    proxy.drain();
    let proxy = again(&state, &backend, "");
    let now = scanner(&proxy);
    assert_eq!((&now["origin"], &now["version"]), (&json!("installed"), &json!("renamed")));
    assert_eq!(proxy.api("DELETE", "/api/v1/models/installed/scanner", "").status, 200);
}

#[test]
fn a_model_that_turns_out_worse_is_told_and_stays_a_challenger() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("blind.model", blind());
    let waiting = state.join("models/scanner.waiting.model");
    let proxy = again(&state, &backend, "");
    assert_eq!(post(&proxy, "shadow", &file, ",\"promote\":true").status, 200);
    assert_eq!((probe(&proxy), waiting.exists()), (403, true));
    visit_a_thousand_pages(&proxy);
    let challenger = eventually("it is declined", || {
        let challenger = scanner(&proxy)["challenger"].clone();
        (challenger["promotion"] == "declined").then_some(challenger)
    });
    let why = "it is not certain of 1 requests";
    assert!(challenger["not_taken"].as_str().unwrap().contains(why), "{challenger}");
    assert_eq!((&scanner(&proxy)["origin"], probe(&proxy)), (&json!("compiled in"), 403));
    assert!(scanner(&proxy)["challenger"]["agreement"]["compared"].as_u64() > Some(1_000), "it is asked on");
    assert!(!waiting.exists(), "it does not wait again after a restart");

    // Where the configuration names a model, none is taken, and so none waits.
    let own = state.write("own.model", renamed());
    let path = format!("state.path = {:?}\n", state.join("state.redb"));
    proxy.reload(&text(&format!("{path}scanner.model = {file:?}\n"), &backend)).unwrap();
    let refused = post(&proxy, "shadow", &own, ",\"promote\":true");
    assert!(refused.status == 409 && refused.text().contains("scanner.model"), "{}", refused.text());
}

#[test]
fn a_model_that_waited_and_is_damaged_is_forgotten_and_stops_no_start() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("renamed.model", renamed());
    let mut proxy = again(&state, &backend, "");
    assert_eq!(post(&proxy, "shadow", &file, ",\"promote\":true").status, 200);
    proxy.drain();
    let waiting = state.join("models/scanner.waiting.model");
    fs::write(&waiting, &renamed()[..5000]).unwrap();
    let proxy = again(&state, &backend, "");
    assert_eq!((&scanner(&proxy)["challenger"], waiting.exists()), (&Value::Null, false));
    // Stopping one that waits takes its copy away.
    assert_eq!(post(&proxy, "shadow", &file, ",\"promote\":true").status, 200);
    assert_eq!(
        (proxy.api("DELETE", "/api/v1/models/shadow/scanner", "").status, waiting.exists()),
        (200, false)
    );
}
