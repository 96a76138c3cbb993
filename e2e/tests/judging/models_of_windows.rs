// SPDX-License-Identifier: Apache-2.0
//! How a model of windows comes into use: quiet traffic shows no flood, so that agreeing on it is not enough.

use serde_json::{Value, json};
use sunbeam_ensemble::{Card, DdosModel, Model, ModelFile, builtin};
use sunbeam_testkit::{TestFolder, TestProxy, eventually};

use super::models::{again, browser, post, visit_a_thousand_pages};
use super::{SHOP, shop};

/// Each window is judged, and nobody is stopped.
const WATCHED: &str =
    "ddos.min_events = 1\nddos.observe_only = true\nscanner.enabled = false\nrate_limit.enabled = false\n";

fn file(version: &str, change: fn(&mut DdosModel)) -> Vec<u8> {
    let mut model = builtin::DDOS.clone();
    change(&mut model);
    let card = Card(vec![("version".to_owned(), version.to_owned())]);
    ModelFile::bytes(&Model::Ddos(Box::new(model)), &card)
}

/// It lets everything go.
fn blind(model: &mut DdosModel) {
    model.cascade.tree.leaves = [i16::MIN; 64];
}

fn ddos(proxy: &TestProxy) -> Value {
    proxy.api("GET", "/api/v1/models", "").json()["models"][1].clone()
}

#[test]
fn a_model_of_windows_that_never_doubts_is_not_taken_however_quiet_it_was() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("blind.model", file("blind", blind));
    let proxy = again(&state, &backend, WATCHED);
    assert_eq!(post(&proxy, "shadow", &file, ",\"promote\":true").status, 200);
    (0..2).for_each(|_| visit_a_thousand_pages(&proxy));
    let challenger = eventually("it is declined", || {
        let challenger = ddos(&proxy)["challenger"].clone();
        (challenger["promotion"] == "declined").then_some(challenger)
    });
    let agreement = &challenger["agreement"];
    assert_eq!((&agreement["only_old"], &agreement["both_stop"]), (&json!(0), &json!(0)), "{challenger}");
    let why = "made-up attackers (floods, passwords, scans) it doubts 0";
    assert!(challenger["not_taken"].as_str().unwrap().contains(why), "{challenger}");
    let refused = post(&proxy, "install", &file, "");
    assert!(refused.status == 409 && refused.text().contains(why), "{}", refused.text());
    assert_eq!(ddos(&proxy)["origin"], "compiled in");
    assert_eq!(post(&proxy, "install", &file, ",\"force\":true").status, 200);
}

#[test]
fn a_model_of_windows_waits_until_it_was_asked_about_something_that_the_one_in_use_stops() {
    let (state, backend) = (TestFolder::new(), shop());
    let file = state.write("renamed.model", file("renamed", |_| {}));
    let proxy = again(&state, &backend, WATCHED);
    assert_eq!(post(&proxy, "shadow", &file, ",\"promote\":true").status, 200);
    (0..2).for_each(|_| visit_a_thousand_pages(&proxy));
    let challenger = ddos(&proxy)["challenger"].clone();
    assert!(challenger["agreement"]["compared"].as_u64() >= Some(1_000), "{challenger}");
    let why = "has nothing against any";
    assert!(challenger["not_taken"].as_str().unwrap().contains(why), "{challenger}");
    assert_eq!((&challenger["promotion"], &challenger["worse"]), (&json!("waiting"), &Value::Null));
    let refused = post(&proxy, "install", &file, "");
    assert!(refused.status == 409 && refused.text().contains(why), "{}", refused.text());

    let scanner = browser(&proxy, "203.0.113.7");
    for number in 0..60 {
        scanner.get(SHOP, &format!("/missing/{number}/phpmyadmin"));
    }
    let installed = eventually("the node takes it", || {
        let now = ddos(&proxy);
        (now["origin"] == "installed").then_some(now)
    });
    assert_eq!((&installed["version"], &installed["challenger"]), (&json!("renamed"), &Value::Null));
}
