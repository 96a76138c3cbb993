// SPDX-License-Identifier: Apache-2.0
//! Bodies that say little of themselves, as they are served and as `explain` tells of them; data that rules read.

use std::fs;

use serde_json::json;
use sunbeam_testkit::{TestProxy, TestUpstream};

use crate::waf::{HOST, builder, text};

const ATTACK: &str = "q=1%27+UNION+SELECT+password+FROM+users--+-";

/// The built-in rules, and nothing else that judges.
fn start(backend: &TestUpstream, config: &str) -> TestProxy {
    let builder = builder("");
    let text = text(&builder, backend, config, "").replace("waf.ruleset = \"none\"\n", "");
    builder.config(&text).start()
}

fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..200_000).map(|_| next()).collect()
}

fn send(proxy: &TestProxy, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    let client = proxy.client().method("POST").body(body.to_vec());
    headers.iter().fold(client, |client, (name, value)| client.header(name, value)).get(HOST, "/form").status
}

#[test]
fn a_body_without_a_type_is_a_file_only_if_it_is_one() {
    let backend = TestUpstream::echo();
    let hidden = [b"z=", &[0; 400][..], b"&", ATTACK.as_bytes()].concat();
    let changing = [b"z=", b"\x01\x02\x03".repeat(200).as_slice(), b"&", ATTACK.as_bytes()].concat();
    let proxy = start(&backend, "");
    assert_eq!(send(&proxy, &[], &noise()), 200, "a file as `curl -T` sends it");
    assert!(backend.last().body == noise());
    assert_eq!(send(&proxy, &[], ATTACK.as_bytes()), 403);
    assert_eq!(send(&proxy, &[], &hidden), 403, "NULs make no file");
    assert_eq!(send(&proxy, &[], &changing), 403, "nor do other control characters");
    // What is not looked at is told as what it is all the same.
    assert_eq!(send(&proxy, &[("content-encoding", "gzip")], &noise()), 400);
    let strict = start(&backend, "waf.on_oversized_body = \"block\"\n");
    assert_eq!(send(&strict, &[], &noise()), 413);
    assert_eq!(send(&strict, &[], &noise()[..10_000]), 200);
}

#[test]
fn what_explains_judges_as_what_serves() {
    let backend = TestUpstream::echo();
    let proxy = start(&backend, "");
    let blank = format!("-- \r\n{}", " ".repeat(130_000));
    let nulls = format!("z={}&{ATTACK}", "\0".repeat(400));
    let (form, octets) = ("application/x-www-form-urlencoded", "application/octet-stream");
    for (name, headers, body, want) in [
        ("innocent", &[("content-type", form)][..], "q=shoes", 200),
        ("attack", &[("content-type", form)], ATTACK, 403),
        ("not looked at", &[("content-type", octets)], ATTACK, 200),
        ("two types", &[("content-type", octets), ("content-type", form)], ATTACK, 400),
        ("a coding it does not have", &[("content-type", form), ("content-encoding", "gzip")], ATTACK, 400),
        ("no type, NULs", &[], nulls.as_str(), 403),
        ("a boundary of a blank", &[("content-type", "multipart/form-data; boundary=\" \"")], &blank, 400),
        ("EBCDIC", &[("content-type", "application/x-www-form-urlencoded; charset=ibm037")], "q=shoes", 400),
    ] {
        assert_eq!(send(&proxy, headers, body.as_bytes()), want, "{name}");
        let request = json!({
            "method": "POST", "url": format!("https://{HOST}/form"), "headers": headers, "body": body,
        });
        let told = proxy.api("POST", "/api/v1/explain", &request.to_string()).json();
        assert_eq!(told["decision"]["status"], json!(want), "{name}: {}", told["decision"]);
    }
}

#[test]
fn data_that_rules_read_elsewhere_is_read_again() {
    let backend = TestUpstream::echo();
    let builder = builder(
        "SecRule ARGS \"@pmFromFile ../elsewhere/words.data\" \"id:1,phase:2,deny,status:403,log,t:none\"\n",
    );
    let words = builder.folder().write("elsewhere/words.data", "walrus\n");
    let config = text(&builder, &backend, "", "");
    let proxy = builder.config(&config).start();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answers = |proxy: &TestProxy| ["q=walrus", "q=cat"].map(|body| send(proxy, &form, body.as_bytes()));
    assert_eq!(answers(&proxy), [403, 200]);
    fs::write(words, "cat\n").unwrap();
    proxy.reload(&config).unwrap();
    assert_eq!(answers(&proxy), [200, 403]);
}
