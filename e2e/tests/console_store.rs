// SPDX-License-Identifier: Apache-2.0
//! A store of a million decisions: what the console asks for costs a bounded amount of work, however many there are.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sunbeam_decisions::{Bounds, Class, Entry, ROWS_EXAMINED_MAX, Row, TEXTS_READ_MAX, Writer, text_hash};
use sunbeam_testkit::{TestFolder, TestProxy};

const DECISIONS: u64 = 1_000_000;

/// The store's own bound holds all of them, of each class.
const BYTES: u64 = 2 << 30;

/// Rows that are looked at together.
const PIECE: u64 = 16_384;

const HOST: &str = "shop.example.test";
const PATHS: u64 = 1_000;

/// Of ten decisions six are about content, three about limits, one passed.
fn class_of(number: u64) -> Class {
    match number % 10 {
        0..6 => Class::Content,
        6..9 => Class::Limits,
        _ => Class::Passes,
    }
}

fn id_of(number: u64) -> u128 {
    // Spread like random ones, each once: the factor is odd.
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn id_text(number: u64) -> String {
    let hex = format!("{:032x}", id_of(number));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn entry(number: u64, first_micros: u64) -> Entry {
    let (class, at_micros) = (class_of(number), first_micros + number * 1_000);
    let client = format!("10.{}.{}.7", number / 256 % 256, number % 256);
    let path = format!("/cart/{}", number % PATHS);
    // The numbers of layers and decisions on the disk: 3 scanner, 4 rate_limit; 2 block.
    let (layer, layer_number, decision, decision_number, reason) = match class {
        Class::Content => ("scanner", 3, "block", 2, "model"),
        Class::Limits => ("rate_limit", 4, "block", 2, "limit"),
        Class::Passes => ("", 0, "pass", 0, ""),
    };
    let at = jiff_text(at_micros);
    let id = id_text(number);
    let text = format!(
        "{{\"target\":\"audit\",\"timestamp\":\"{at}\",\"request_id\":\"{id}\",\"method\":\"GET\",\"host\":\"{HOST}\",\
         \"path\":\"{path}\",\"query\":\"\",\"client_ip\":\"{client}\",\"status\":403,\"duration_ms\":1,\
         \"content_length\":0,\"user_agent\":\"\",\"referer\":\"\",\"accept_language\":\"\",\"accept\":\"\",\
         \"has_cookies\":false,\"cf_country\":null,\"backend\":\"\",\"error\":null,\"response_bytes\":0,\
         \"http_version\":\"HTTP/1.1\",\"header_count\":3,\"route\":\"shop\",\"tls_version\":\"\",\"decision\":\"{decision}\",\
         \"layer\":\"{layer}\",\"reason\":\"{reason}\",\"added_us\":50,\"upstream_us\":0,\"why\":{{\"stands_for\":1}}}}"
    );
    let row = Row {
        at_micros,
        id: id_of(number),
        client: text_hash(&client),
        host: text_hash(HOST),
        path: text_hash(&path),
        layer: layer_number,
        decision: decision_number,
    };
    Entry { class, row, text }
}

/// RFC 3339, of the hour that they all fall into.
fn jiff_text(at_micros: u64) -> String {
    let (second, micros) = (at_micros / 1_000_000 % 3_600, at_micros % 1_000_000);
    format!("2026-11-29T10:{:02}:{:02}.{micros:06}Z", second / 60, second % 60)
}

fn fill(folder: &Path) {
    let bounds = Bounds { max_bytes: BYTES, max_age: Duration::from_secs(86_400) };
    let (mut writer, _) = Writer::open(folder, bounds).unwrap();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    let first = now - DECISIONS * 1_000;
    let numbers: Vec<u64> = (0..DECISIONS).collect();
    for batch in numbers.chunks(5_000) {
        let entries: Vec<Entry> = batch.iter().map(|number| entry(*number, first)).collect();
        let appended = writer.append(&entries);
        assert!(appended.written == entries.len() && appended.error.is_none(), "{:?}", appended.error);
    }
}

fn get(proxy: &TestProxy, target: &str) -> Value {
    let answer = proxy.api("GET", target, "");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    assert!(answer.body.len() < 2 << 20, "{target}: {} bytes", answer.body.len());
    answer.json()
}

/// Rows, texts, decisions of a page.
fn work(page: &Value) -> (u64, u64, usize) {
    let number = |name: &str| page[name].as_u64().unwrap();
    (number("rows_examined"), number("texts_read"), page["decisions"].as_array().unwrap().len())
}

#[test]
fn a_million_decisions_are_searched_in_bounded_pages() {
    let folder = TestFolder::new();
    fill(&folder.join("decisions"));
    let config = format!(
        "decisions.path = {:?}\ndecisions.max_bytes = {BYTES}\ndecisions.sample_passes = 0.0\n\
         [[routes]]\nhost_prefix = \"shop\"\nbackend = \"http://127.0.0.1:9\"\n",
        folder.join("decisions")
    );
    let proxy = TestProxy::builder().config(&config).start();

    // All of them are there: the oldest and the newest.
    for number in [0, 1, 6, 9, DECISIONS / 2, DECISIONS - 1] {
        let told = get(&proxy, &format!("/api/v1/decisions/{}", id_text(number)));
        assert_eq!(told["decision"]["path"], format!("/cart/{}", number % PATHS), "{number}");
        assert!(told["like_it"]["decisions"].as_u64() <= Some(2_000), "{}", told["like_it"]);
    }

    // Page by page, newest first: each costs what it shows, and pieces of the index of each ring.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for turn in 0..5 {
        let page = get(&proxy, &format!("/api/v1/decisions?limit=1000{cursor}"));
        let (rows, texts, shown) = work(&page);
        assert_eq!((texts, shown), (1_000, 1_000), "page {turn}");
        assert!(rows <= 6 * PIECE, "page {turn} looked at {rows} rows");
        seen.extend(page["decisions"].as_array().unwrap().iter().map(|one| one["request_id"].clone()));
        cursor = format!("&cursor={}", page["next"].as_str().unwrap());
    }
    let want: Vec<Value> =
        (DECISIONS - 5_000..DECISIONS).rev().map(|number| id_text(number).into()).collect();
    assert!(seen == want, "the newest five thousand, in order, each once");
    let (_, texts, shown) = work(&get(&proxy, "/api/v1/decisions"));
    assert_eq!((texts, shown), (50, 50), "what the console asks for");

    // What is found by the index is found without reading anything else.
    let page = get(&proxy, "/api/v1/decisions?path=/cart/77&limit=20");
    let (rows, texts, shown) = work(&page);
    assert!((texts, shown) == (20, 20) && rows <= 20 * PATHS + 6 * PIECE, "{rows} rows");
    let page = get(&proxy, "/api/v1/decisions?ip=192.0.2.1");
    let (rows, texts, shown) = work(&page);
    assert_eq!((texts, shown), (0, 0), "nobody");
    assert!(rows <= ROWS_EXAMINED_MAX + PIECE, "{rows} rows");
    // What only the text tells is looked for in so many, and then it is said how to go on.
    let page = get(&proxy, "/api/v1/decisions?reason=no-such-reason");
    let (_, texts, shown) = work(&page);
    assert_eq!((texts, shown, &page["is_cut_short"]), (TEXTS_READ_MAX, 0, &Value::Bool(true)));
    assert!(page["next"].is_string(), "{page}");

    let top = get(&proxy, "/api/v1/top");
    assert_eq!((&top["decisions"], &top["is_cut"]), (&2_000.into(), &Value::Bool(true)), "{top}");
    let counted: BTreeSet<u64> =
        top["reasons"].as_array().unwrap().iter().map(|one| one["blocked"].as_u64().unwrap()).collect();
    assert_eq!(counted, BTreeSet::from([1_000]), "as many of each class: {top}");
    assert!(top["networks"].as_array().unwrap().len() <= 10, "{top}");
    let plan = get(&proxy, "/api/v1/layers/plan");
    for layer in plan["layers"].as_array().unwrap() {
        assert!(layer["doubted"]["kept"].as_u64().unwrap_or(0) <= 5_000, "{layer}");
    }
    let limits = get(&proxy, "/api/v1/limits");
    let kept = limits.as_array().unwrap().iter().find(|one| one["key"] == "decisions.max_bytes").unwrap();
    assert!(kept["used"].as_u64() > Some(DECISIONS * 100) && kept["used"].as_u64() < Some(BYTES), "{kept}");
    tell_times(&proxy);
}

/// Told, never held against anybody: a test does not know how busy the machine is.
#[expect(clippy::print_stdout, reason = "shown with `--no-capture`")]
fn tell_times(proxy: &TestProxy) {
    for target in ["/api/v1/decisions", "/api/v1/decisions?ip=192.0.2.1", "/api/v1/top", "/api/v1/traffic"] {
        let mut times: Vec<Duration> = (0..20)
            .map(|_| {
                let begun = Instant::now();
                get(proxy, target);
                begun.elapsed()
            })
            .collect();
        times.sort();
        println!("{target}: median {:?}, slowest of twenty {:?}", times[10], times[19]);
    }
}
