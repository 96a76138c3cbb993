// SPDX-License-Identifier: Apache-2.0
//! Enforcement that is earned: what a layer doubts is watched until people have proven the layer, and again when they are
//! hurt; and what operators say of a layer while the node runs.

use serde_json::{Value, json};
use sunbeam_testkit::{TestClient, TestFolder, TestProxy, TestUpstream, eventually};

use super::{SHOP, layer, record, shop, wait_for_metric};

/// Half of an SQL comment: doubtful, and not certain.
const DOUBTED: &str = "/list?q=x+--+y";

fn text(state: &TestFolder, backend: &TestUpstream) -> String {
    text_with(state, backend, "rate_limit.login_cookies = [\"session\"]\n", "")
}

fn text_with(state: &TestFolder, backend: &TestUpstream, more: &str, paths: &str) -> String {
    format!(
        "state.path = {:?}\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\nwaf.enabled = false\n\
         detection.false_positive_budget = 0.05\n{more}\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n{paths}\
         [[routes]]\nhost_prefix = \"blog\"\nbackend = {1:?}\ndisable_secure_redirection = true\n",
        state.join("state.redb").display().to_string(),
        backend.url()
    )
}

/// A node whose state outlives it. The one before lets go of it a moment after it has drained.
fn start(state: &TestFolder, backend: &TestUpstream) -> TestProxy {
    let text = text(state, backend);
    eventually("the state is free", || TestProxy::builder().config(&text).try_start().ok())
}

/// From a thousand on they are the neighbours of those before: another address of the same network.
fn browser(proxy: &TestProxy, number: usize) -> TestClient {
    let (number, host) = (number % 1_000, 7 + number / 1_000);
    proxy
        .client()
        .header("x-forwarded-for", &format!("198.{}.{}.{host}", 18 + number / 250, number % 250))
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "de,en;q=0.5")
}

/// The next day, as far as people are concerned: a node begins again with what was written down a day ago. Once a test:
/// people are written down when a node ends.
fn a_day_later(mut proxy: TestProxy, state: &TestFolder, backend: &TestUpstream) -> TestProxy {
    proxy.drain();
    make_people_a_day_older(state);
    start(state, backend)
}

/// What a node that has ended wrote down of people, as if that had been a day ago.
pub(crate) fn make_people_a_day_older(state: &TestFolder) {
    const DAY_SECS: i64 = 86_400;
    let path = state.join("people.json");
    let mut written: Value = eventually("people are written down", || {
        serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok()
    });
    written["at"] = json!(written["at"].as_i64().unwrap() - DAY_SECS);
    std::fs::write(&path, written.to_string()).unwrap();
}

/// Somebody who logs in, and is known from then on.
fn person(proxy: &TestProxy, number: usize) -> TestClient {
    let client = browser(proxy, number);
    assert_eq!(client.get(SHOP, &format!("/login?{number}")).status, 200);
    let client = client.header("cookie", &format!("session=real-{number}"));
    assert_eq!(client.get(SHOP, "/account").status, 200);
    client
}

fn layers(proxy: &TestProxy) -> Value {
    let answer = proxy.api("GET", "/api/v1/layers", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn scanner(proxy: &TestProxy) -> Value {
    let told = layers(proxy);
    told["layers"].as_array().unwrap().iter().find(|one| one["layer"] == "scanner").unwrap().clone()
}

fn state(proxy: &TestProxy, want: &str) -> Value {
    eventually(&format!("the scanner is {want}"), || {
        Some(scanner(proxy)).filter(|told| told["proof"]["state"] == want)
    })
}

/// What becomes of a doubted request of somebody whom nobody knows.
fn doubted(proxy: &TestProxy) -> (u16, String) {
    let answer = browser(proxy, 900).get(SHOP, DOUBTED);
    let record = record(proxy, &answer);
    assert_eq!(layer(&record).1, "scanner", "{record:?}");
    (answer.status, record.decision)
}

fn named_in_plan(proxy: &TestProxy, layer: usize, ids: &[String]) -> Value {
    eventually("the plan names who was doubted", || {
        let plan = proxy.api("GET", "/api/v1/layers/plan", "").json();
        let human = plan["layers"][layer]["doubted"]["look_human"].clone();
        let text = human.to_string();
        ids.iter().all(|id| text.contains(id.as_str())).then_some(human)
    })
}

fn id(answer: &sunbeam_testkit::TestResponse) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

#[test]
fn a_layer_is_enforced_on_its_proof_falls_back_when_it_hurts_people_and_both_outlive_a_restart() {
    let (backend, state_folder) = (shop(), TestFolder::new());
    let mut proxy = start(&state_folder, &backend);
    assert_eq!(doubted(&proxy), (200, "observe".to_owned()), "watched until it is proven");
    let numbers = || (0..55).chain(1_000..1_004);
    numbers().for_each(|number| drop(person(&proxy, number)));
    let told = state(&proxy, "too_few_people");
    assert_eq!((&told["proof"]["known"]["people"], &told["proof"]["newcomers"]), (&json!(0), &json!(59)));

    // Whoever comes back another day counts.
    proxy = a_day_later(proxy, &state_folder, &backend);
    let known: Vec<TestClient> = numbers().skip(1).map(|number| person(&proxy, number)).collect();
    let told = state(&proxy, "too_few_people");
    assert_eq!(
        (&told["proof"]["known"]["people"], &told["acts_on_doubt"]),
        (&json!(58), &json!(false)),
        "{told}"
    );
    assert_eq!(told["proof"]["people_missing"], 1);
    // The same people again make it no surer, nor does one more who was never there before.
    known.iter().for_each(|client| drop(client.get(SHOP, "/account")));
    person(&proxy, 60);
    assert_eq!(scanner(&proxy)["proof"]["known"]["people"], 58);
    person(&proxy, 0);
    wait_for_metric(&proxy, "sunbeam_layer_proven", &[("layer", "scanner")], 1.0);
    assert_eq!(state(&proxy, "proven")["acts_on_doubt"], true);
    assert_eq!(doubted(&proxy), (403, "block".to_owned()));

    // The next process knows it.
    proxy.drain();
    proxy = start(&state_folder, &backend);
    wait_for_metric(&proxy, "sunbeam_layer_proven", &[("layer", "scanner")], 1.0);
    assert_eq!(doubted(&proxy), (403, "block".to_owned()));

    // Five bots of three networks: a session that everybody gets and a probe, and the same with accounts of today.
    for number in [500, 501, 502, 1_500, 1_501] {
        let bot = browser(&proxy, number);
        assert_eq!(bot.get(SHOP, &format!("/visit?{number}")).status, 200);
        let bot = bot.header("cookie", &format!("PHPSESSID=visitor-{number}"));
        assert_eq!(bot.get(SHOP, DOUBTED).status, 403);
        assert_eq!(person(&proxy, number).get(SHOP, DOUBTED).status, 403);
    }
    let told = scanner(&proxy);
    assert_eq!(
        (&told["proof"]["state"], &told["proof"]["known"], &told["proof"]["newcomers"]),
        (&json!("proven"), &json!({"people": 59, "hurt": 0}), &json!(6)),
        "{told}"
    );

    // People who have logged in are stopped, and the plan names them. It is over, and said.
    let hurt: Vec<String> = (0..4)
        .map(|number| {
            let answer = person(&proxy, number).get(SHOP, DOUBTED);
            assert!(number > 0 || answer.status == 403);
            id(&answer)
        })
        .collect();
    let human = named_in_plan(&proxy, 2, &hurt);
    assert!(human.to_string().contains("\"decision\":\"block\""), "{human}");
    wait_for_metric(&proxy, "sunbeam_layer_fallbacks_total", &[("layer", "scanner")], 1.0);
    let told = state(&proxy, "over_budget");
    assert!(told["proof"]["rate"]["upper"].as_f64() > Some(0.05), "{told}");
    assert_eq!(told["proof"]["known"], json!({"people": 59, "hurt": 4}), "{told}");
    assert_eq!(doubted(&proxy), (200, "observe".to_owned()));
    let hurt = person(&proxy, 5).get(SHOP, DOUBTED);
    named_in_plan(&proxy, 2, &[id(&hurt)]);
}

#[test]
fn a_log_in_is_what_the_site_has_shown_and_no_session_of_a_visitor() {
    let (backend, state_folder) = (shop(), TestFolder::new());
    let guard = TestUpstream::with(|seen| {
        let is_known = seen.header("cookie").is_some_and(|cookie| cookie.contains("session=real-"));
        let mut response = http::Response::new(http_body_util::Full::default());
        *response.status_mut() = if is_known { http::StatusCode::OK } else { http::StatusCode::UNAUTHORIZED };
        response
    });
    let paths = format!(
        "[[routes.paths]]\nprefix = \"/admin\"\nauth_request = \"{}/check\"\nbackend = {:?}\n",
        guard.url(),
        backend.url()
    );
    let text = text_with(&state_folder, &backend, "", &paths);
    let proxy = TestProxy::builder().config(&text).start();
    let known = |proxy: &TestProxy| scanner(proxy)["proof"]["newcomers"].as_u64().unwrap();
    // A page that asks for a log-in, and does so before everybody.
    assert_eq!(browser(&proxy, 900).get(SHOP, "/account").status, 401);
    for number in 0..5 {
        let visitor = browser(&proxy, number);
        assert_eq!(visitor.get(SHOP, &format!("/visit?{number}")).status, 200);
        let visitor = visitor.header("cookie", &format!("PHPSESSID=visitor-{number}"));
        for (target, status) in [("/list", 200), ("/account", 401), ("/admin/users", 403), ("/list", 200)] {
            assert_eq!(visitor.get(SHOP, target).status, status, "{target}");
        }
    }
    assert_eq!(known(&proxy), 0, "visitors, whoever they are");
    for (number, at) in (0_u64..).zip(["/account", "/admin/users"]) {
        let client = browser(&proxy, if number == 0 { 10 } else { 11 });
        client.get(SHOP, &format!("/login?{number}"));
        let client = client.header("cookie", &format!("session=real-{number}"));
        assert_eq!((client.get(SHOP, "/list").status, known(&proxy)), (200, number), "not shown yet");
        assert_eq!(client.get(SHOP, at).status, 200);
        eventually("the site has shown it", || {
            client.get(SHOP, "/list");
            (known(&proxy) == number + 1).then_some(())
        });
    }
}

#[test]
fn the_plan_names_who_was_hurt_whichever_layer_the_decision_names() {
    let backend = shop();
    let rule = "SecRule ARGS \"@contains walrus\" \"id:1000001,phase:2,pass,nolog\"\n";
    let builder = crate::waf::builder(rule);
    let config = format!(
        "waf.rules_dir = {:?}\nwaf.ruleset = \"none\"\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\n\
         rate_limit.bypass_cidrs = []\nrate_limit.login_cookies = [\"session\"]\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        builder.folder().join("rules"),
        backend.url()
    );
    let proxy = builder.config(&config).start();
    let client = browser(&proxy, 1);
    client.get(SHOP, "/login?1");
    let answer = client.header("cookie", "session=real-1").get(SHOP, DOUBTED);
    // Both doubt it; the first is named.
    assert_eq!((answer.status, layer(&record(&proxy, &answer)).1), (200, "scanner"));
    for layer in [2, 4] {
        named_in_plan(&proxy, layer, &[id(&answer)]);
    }
}

/// A post in the site's forum, with images in it.
#[test]
fn images_on_a_page_take_nobodys_proof_away() {
    let (backend, state_folder) = (shop(), TestFolder::new());
    let proxy = start(&state_folder, &backend);
    let numbers = || (0..56).chain(1_000..1_004);
    numbers().for_each(|number| drop(person(&proxy, number)));
    let proxy = a_day_later(proxy, &state_folder, &backend);
    let known: Vec<TestClient> = numbers().map(|number| person(&proxy, number)).collect();
    wait_for_metric(&proxy, "sunbeam_layer_proven", &[("layer", "scanner")], 1.0);
    let all_stand = json!({"people": 60, "hurt": 0});
    for (number, client) in known.into_iter().enumerate() {
        let (site, target) = if number % 2 == 0 { ("same-origin", DOUBTED) } else { ("cross-site", "/.env") };
        let image = client
            .header("sec-fetch-site", site)
            .header("sec-fetch-dest", "image")
            .header("sec-fetch-mode", "no-cors");
        assert_eq!(image.get(SHOP, target).status, 403, "it is stopped as ever");
    }
    for told in layers(&proxy)["layers"].as_array().unwrap().iter().filter(|told| !told["proof"].is_null()) {
        assert_eq!(
            (&told["proof"]["known"], &told["proof"]["state"]),
            (&all_stand, &json!("proven")),
            "{told}"
        );
    }
    // Those who go there themselves are hurt.
    for number in 0..4 {
        let client = person(&proxy, number)
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-mode", "navigate");
        assert_eq!(client.get(SHOP, DOUBTED).status, 403);
    }
    assert_eq!(scanner(&proxy)["proof"]["known"], json!({"people": 60, "hurt": 4}));
}

/// Somebody without an account brings it about that a page seems to send strangers to the log-in.
#[test]
fn a_redirect_that_repeats_what_was_asked_shows_no_log_in() {
    let site = TestUpstream::with(|seen| {
        let is_guest = seen.header("cookie").is_some_and(|cookie| cookie.contains("PHPSESSID="));
        let mut response = http::Response::new(http_body_util::Full::default());
        let to = match seen.target.split('?').next().unwrap_or_default() {
            "/visit" => {
                let cookie = format!("PHPSESSID={}; Path=/", seen.target.len());
                response.headers_mut().insert("set-cookie", cookie.parse().unwrap());
                return response;
            }
            _ if is_guest => return response,
            "/account" => "/login?next=/account".to_owned(),
            _ => format!("/de{}", seen.target),
        };
        *response.status_mut() = http::StatusCode::FOUND;
        response.headers_mut().insert("location", to.parse().unwrap());
        response
    });
    let state_folder = TestFolder::new();
    let proxy = TestProxy::builder().config(&text_with(&state_folder, &site, "", "")).start();
    let newcomers = |proxy: &TestProxy| scanner(proxy)["proof"]["newcomers"].as_u64().unwrap();
    assert_eq!(browser(&proxy, 1).get(SHOP, "/visit").status, 200);
    let guest = browser(&proxy, 1).header("cookie", "PHPSESSID=6");
    for (target, known) in [("/p/77?x=login", 0), ("/login-x", 0), ("/p/77?x=/login", 0), ("/account", 1)] {
        assert_eq!(browser(&proxy, 500).get(SHOP, target).status, 302, "{target}");
        assert_eq!(guest.get(SHOP, target).status, 200, "{target}");
        let told = eventually("what the page shows is known", || {
            guest.get(SHOP, target);
            let told = newcomers(&proxy);
            (told >= known).then_some(told)
        });
        assert_eq!(told, known, "{target}");
    }
}

/// The site knows none of them: an operator does.
#[test]
fn what_an_operator_says_of_a_request_counts_for_and_against_the_layer_that_doubted_it() {
    let (backend, state_folder) = (shop(), TestFolder::new());
    let mut proxy = start(&state_folder, &backend);
    let counted = |proxy: &TestProxy| {
        let known = &scanner(proxy)["proof"]["known"];
        (known["people"].as_u64().unwrap(), known["hurt"].as_u64().unwrap())
    };
    // Two hosts of two networks, and a third that nobody speaks for.
    let ids = [1, 2, 3].map(|number| {
        let answer = browser(&proxy, number).get(SHOP, DOUBTED);
        assert_eq!(answer.status, 200);
        answer.header("x-request-id").unwrap().to_owned()
    });
    let label = |proxy: &TestProxy, id: &str, label: &str| {
        let page = format!("/api/v1/decisions/{id}/label");
        let body = json!({"label": label}).to_string();
        let answer = eventually("it is kept", || {
            Some(proxy.api("POST", &page, &body)).filter(|answer| answer.status == 200)
        });
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(counted(&proxy), (0, 0));
    let told = label(&proxy, &ids[0], "human");
    assert!(told.contains("counts as a person whom `scanner` hurt"), "{told}");
    assert_eq!(counted(&proxy), (1, 1));
    let before = scanner(&proxy)["proof"]["rate"]["seen"].as_f64();
    assert_eq!(before, Some(1.0));
    assert_eq!(label(&proxy, &ids[0], "human"), told, "said twice is said once");
    assert_eq!(counted(&proxy), (1, 1), "counted by identity");
    // An attack that nobody stopped, called human, speaks for whoever sent it and for nobody else.
    let other = |proxy: &TestProxy, layer: &str| {
        let told = layers(proxy);
        let all = told["layers"].as_array().unwrap().clone();
        all.iter().find(|one| one["layer"] == layer).unwrap()["proof"]["known"].clone()
    };
    assert_eq!(other(&proxy, "ddos"), json!({"people": 1, "hurt": 0}));
    // It is known of people over a restart.
    proxy.drain();
    proxy = start(&state_folder, &backend);
    assert_eq!(counted(&proxy), (1, 1));
    label(&proxy, &ids[0], "attack");
    assert_eq!(counted(&proxy), (0, 0), "taken back");
    // Whom the site knows stays known, from today on.
    let newcomers = |proxy: &TestProxy| scanner(proxy)["proof"]["newcomers"].as_u64();
    let client = person(&proxy, 4);
    let hurt = client.get(SHOP, DOUBTED);
    assert_eq!((counted(&proxy), newcomers(&proxy)), ((0, 0), Some(1)));
    label(&proxy, hurt.header("x-request-id").unwrap(), "attack");
    assert_eq!((counted(&proxy), newcomers(&proxy)), ((0, 0), Some(1)));
    // Nobody is told by which hashes people are known.
    let told = proxy.api("GET", &format!("/api/v1/decisions/{}", ids[0]), "").text();
    assert!(told.contains("\"judged_by\"") && !told.contains("whom\""), "{told}");
    let listed = proxy.api("GET", "/api/v1/decisions", "").text();
    assert!(listed.contains(&ids[0]) && !listed.contains("whom\""), "{listed}");
}

/// Of one network count two who were hurt, whatever an operator says of how many.
#[test]
fn an_operators_words_are_capped_like_everybody_elses() {
    let (backend, state_folder) = (shop(), TestFolder::new());
    let proxy = start(&state_folder, &backend);
    for number in [11, 12, 1_011, 2_011] {
        let answer = browser(&proxy, number).get(SHOP, DOUBTED);
        let page = format!("/api/v1/decisions/{}/label", answer.header("x-request-id").unwrap());
        let body = json!({"label": "human"}).to_string();
        eventually("it is kept", || (proxy.api("POST", &page, &body).status == 200).then_some(()));
    }
    let known = &scanner(&proxy)["proof"]["known"];
    assert_eq!(known, &json!({"people": 3, "hurt": 3}));
    // To the layers that had nothing against them all of them are people.
    let told = layers(&proxy);
    let ddos = told["layers"].as_array().unwrap().iter().find(|one| one["layer"] == "ddos").unwrap();
    assert_eq!(ddos["proof"]["known"], json!({"people": 4, "hurt": 0}));
}

#[test]
fn operators_switch_a_layer_everywhere_or_on_a_route_and_it_stays_so() {
    let (backend, state_folder) = (shop(), TestFolder::new());
    let mut proxy = start(&state_folder, &backend);
    let switch = |proxy: &TestProxy, body: Value| proxy.api("POST", "/api/v1/layers", &body.to_string());
    let on = |proxy: &TestProxy, host: &str, target: &str| browser(proxy, 901).get(host, target).status;
    let blog = "blog.example.test";
    assert_eq!((on(&proxy, SHOP, DOUBTED), on(&proxy, blog, "/.env")), (200, 403));

    let answer = switch(&proxy, json!({"layer": "scanner", "mode": "enforce", "dry_run": true}));
    assert_eq!((answer.status, on(&proxy, SHOP, DOUBTED)), (200, 200), "{}", answer.text());
    let answer = switch(&proxy, json!({"layer": "scanner", "mode": "enforce"})).json();
    assert_eq!(answer["undo"], "sunbeam auto scanner");
    assert_eq!(on(&proxy, SHOP, DOUBTED), 403);
    let answer = switch(&proxy, json!({"layer": "scanner", "mode": "observe", "route": "blog"})).json();
    assert_eq!(answer["undo"], "sunbeam enforce scanner@blog");
    assert_eq!((on(&proxy, SHOP, "/.env"), on(&proxy, blog, "/.env")), (403, 200));
    // Also over a reload and a restart.
    proxy.reload(&text(&state_folder, &backend)).unwrap();
    assert_eq!((on(&proxy, SHOP, DOUBTED), on(&proxy, blog, "/.env")), (403, 200));
    proxy.drain();
    proxy = start(&state_folder, &backend);
    assert_eq!((on(&proxy, SHOP, DOUBTED), on(&proxy, blog, "/.env")), (403, 200));
    let told = scanner(&proxy);
    assert_eq!(
        (&told["mode"], &told["routes"]),
        (&json!("enforce"), &json!([{"route": "blog", "mode": "observe"}]))
    );

    for mode in ["auto", "auto"] {
        assert_eq!(switch(&proxy, json!({"layer": "scanner", "mode": mode})).status, 200);
    }
    assert_eq!(switch(&proxy, json!({"layer": "scanner", "mode": "auto", "route": "blog"})).status, 200);
    assert_eq!((on(&proxy, SHOP, DOUBTED), on(&proxy, blog, "/.env")), (200, 403));
    assert_eq!(scanner(&proxy)["routes"], json!([]));

    for (body, status) in [
        (json!({"layer": "lists", "mode": "auto"}), 422),
        (json!({"layer": "scanner", "mode": "off"}), 422),
        (json!({"layer": "scanner", "mode": "auto", "route": "nowhere"}), 404),
        (json!({"layer": "waf", "mode": "enforce"}), 409),
        (json!({"layer": "scanner"}), 422),
    ] {
        let answer = switch(&proxy, body.clone());
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
}
