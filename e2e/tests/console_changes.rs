// SPDX-License-Identifier: Apache-2.0
//! What an operator changes at the console, with a browser: a customer is let pass, a layer is switched.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use serde_json::{Value, json};
use sunbeam_testkit::{
    TestClient, TestFolder, TestProxy, TestUpstream, eventually, node, peers_folder, run_client,
};

use crate::console::{address, link};
use crate::judging::{SHOP, make_people_a_day_older, shop};

/// A harmless word that is too much.
const RULE: &str = "SecRule ARGS \"@contains walrus\" \"id:1000002,phase:2,pass,log,t:none,msg:'A walrus',\
                    setvar:'tx.blocking_inbound_anomaly_score=+5'\"\n";

/// What Chromium saw.
fn console(proxy: &TestProxy, what: &[&str]) -> Value {
    let origin = format!("http://{}", address(proxy));
    let mut command = node();
    command.arg(peers_folder().join("console_changes.mjs"));
    command.args([&origin, &format!("{origin}{}", link(proxy))]).args(what);
    let (complete, told) = run_client(&mut command);
    assert!(complete, "{told:#}");
    assert_eq!(told["errors"], json!([]), "{told:#}");
    told
}

fn says(told: &Value, field: &str, words: &[&str]) {
    let text = told[field].as_str().unwrap_or_else(|| panic!("no {field}: {told:#}"));
    for word in words {
        assert!(text.contains(word), "{field}, {word}: {text}");
    }
}

/// What a browser sends.
fn browser(client: TestClient, address: &str) -> TestClient {
    client
        .header("x-forwarded-for", address)
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "de,en;q=0.5")
}

fn stopped(proxy: &TestProxy, client: &TestClient, target: &str) -> String {
    let answer = client.get(SHOP, target);
    assert_eq!(answer.status, 403, "{target}");
    let id = answer.header("x-request-id").unwrap().to_owned();
    let page = format!("/api/v1/decisions/{id}");
    eventually("the decision is kept", || (proxy.api("GET", &page, "").status == 200).then_some(()));
    id
}

#[test]
fn a_customer_who_was_stopped_passes_after_three_clicks_and_the_attack_beside_does_not() {
    let (folder, backend) = (TestFolder::new(), TestUpstream::echo());
    folder.write("rules/own.conf", RULE);
    let config = format!(
        "waf.mode = \"enforce\"\nwaf.rules_dir = {:?}\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        folder.join("rules"),
        backend.url()
    );
    let proxy = TestProxy::builder().config(&config).start();
    let from = |number: u8| browser(proxy.client().plain(), &format!("192.0.2.{number}"));
    let (customer, order) = (from(1), "/list?q=a+walrus");
    let attacks = [
        "/list?q=1%27+UNION+SELECT+password+FROM+users--+-",
        "/list?q=a+walrus&w=1%27+UNION+SELECT+password+FROM+users--+-",
        "/other?q=a+walrus",
    ];
    let id = stopped(&proxy, &customer, order);

    // What looks like an attack elsewhere is no click away: that is said, and the button is another.
    let program = from(99);
    stopped(&proxy, &program, attacks[0]);
    let told = console(&proxy, &["allow", &stopped(&proxy, &program, "/search?q=a+walrus")]);
    says(&told, "preview", &["✗ 1 would pass that are scored as an attack elsewhere", "ATTENTION"]);
    assert!(told["offered"].as_array().unwrap().contains(&json!("Allow all the same")), "{told:#}");
    assert_eq!(proxy.api("GET", "/api/v1/exceptions", "").json()["total"], 0, "looking makes none");

    let told = console(&proxy, &["allow", &id]);
    assert!(told["clicks"].as_u64() <= Some(3), "{told:#}");
    says(&told, "reason", &["rules"]);
    says(&told, "why", &["1000002", "ARGS:q", "/list"]);
    says(&told, "preview", &["rule 1000002", "ARGS:q", "✓ would pass", "✓ none is scored as an attack"]);
    says(&told, "allowed", &["until", "sunbeam exceptions remove"]);
    says(&told, "listed", &[&id, "ARGS:q", "left"]);
    assert_eq!(customer.get(SHOP, order).status, 200, "the very same request");
    for (number, attack) in (10..).zip(attacks) {
        assert_eq!(from(number).get(SHOP, attack).status, 403, "{attack}");
    }
    let made = proxy.api("GET", "/api/v1/exceptions", "").json();
    assert_eq!((&made["total"], &made["exceptions"][0]["from"]), (&json!(1), &json!(id)), "{made}");

    let told = console(&proxy, &["undo"]);
    says(&told, "removed", &["removed", "sunbeam allow"]);
    assert_eq!(customer.get(SHOP, order).status, 403);
    let trail = proxy.api("GET", "/api/v1/trail", "").json().to_string();
    assert!(
        trail.contains("POST /api/v1/exceptions") && trail.contains("DELETE /api/v1/exceptions/"),
        "{trail}"
    );
}

#[test]
fn a_budget_is_drawn_beside_its_numbers_and_a_layer_is_switched_once_it_is_confirmed() {
    let (backend, folder) = (shop(), TestFolder::new());
    let config = format!(
        "state.path = {:?}\nlisten.trusted_proxies = [\"127.0.0.1/32\"]\nwaf.enabled = false\n\
         detection.false_positive_budget = 0.05\nrate_limit.login_cookies = [\"session\"]\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = {:?}\ndisable_secure_redirection = true\n",
        folder.join("state.redb").display().to_string(),
        backend.url()
    );
    let mut proxy = TestProxy::builder().config(&config).start();
    // Two of each network: who is hurt counts beside a neighbour who is not.
    let person = |proxy: &TestProxy, number: u8| {
        let client = browser(proxy.client(), &format!("198.18.{}.{}", number / 2, 7 + number % 2));
        assert_eq!(client.get(SHOP, &format!("/login?{number}")).status, 200);
        let client = client.header("cookie", &format!("session=real-{number}"));
        assert_eq!(client.get(SHOP, "/account").status, 200);
        client
    };
    // Who comes back on another day counts.
    (0..10).for_each(|number| drop(person(&proxy, number)));
    proxy.drain();
    make_people_a_day_older(&folder);
    let proxy = eventually("the state is free", || TestProxy::builder().config(&config).try_start().ok());
    let people: Vec<TestClient> = (0..10).map(|number| person(&proxy, number)).collect();
    // Half of an SQL comment, by somebody whom the site knows: doubted, and watched.
    let answer = people[3].get(SHOP, "/list?q=x+--+y");
    assert_eq!(answer.status, 200);
    let id = answer.header("x-request-id").unwrap().to_owned();
    let scanner = |page: &str| {
        let told = proxy.api("GET", page, "").json();
        told["layers"].as_array().unwrap().iter().find(|one| one["layer"] == "scanner").unwrap().clone()
    };
    eventually("the plan names who was doubted", || {
        let told = scanner("/api/v1/layers/plan");
        (told["doubted"]["look_human"][0]["id"] == json!(id)).then_some(())
    });
    let proof = scanner("/api/v1/layers")["proof"].clone();
    assert_eq!(proof["known"], json!({"people": 10, "hurt": 1}), "{proof}");

    let told = console(&proxy, &["budgets", "scanner"]);
    let percent = |share: &Value| share.as_f64().unwrap() * 100.0;
    let missing = format!("{} more people", proof["people_missing"]);
    says(
        &told,
        "section",
        &["too few people were seen", "10 whom the site knows, 1 of them doubted", &missing],
    );
    says(&told, "section", &["only watched now", "5 % at most", "/list"]);
    let seen = format!("seen {:.0} %", percent(&proof["rate"]["seen"]));
    says(&told, "bar", &[&seen, &format!("and {:.1} %", percent(&proof["rate"]["upper"])), "budget 5 %"]);
    let drawn = |part: &str| told["drawn"][part].as_f64().unwrap();
    assert!(drawn("from") < drawn("budget") && drawn("budget") < drawn("seen"), "{told:#}");
    assert_eq!(told["human"], json!(id));
    says(&told, "would", &["would be in mode enforce everywhere"]);
    says(&told, "done", &["is in mode enforce everywhere", "sunbeam auto scanner"]);
    says(&told, "event", &[&id, "known to the site"]);
    let after = scanner("/api/v1/layers");
    assert_eq!((&after["mode"], &after["routes"]), (&json!("enforce"), &json!([])), "{after}");
    let trail = proxy.api("GET", "/api/v1/trail", "").json().to_string();
    assert_eq!(trail.matches("POST /api/v1/layers").count(), 7, "each is in the trail: {trail}");
}
