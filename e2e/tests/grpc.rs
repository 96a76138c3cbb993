// SPDX-License-Identifier: Apache-2.0
//! gRPC through TLS and HTTP/2, by the gRPC library's own client and server (row A17).

use serde_json::{Value, json};
use sunbeam_testkit::{Peer, TestProxy, peers_folder, python, run_client};

fn call(proxy: &TestProxy, name: &str, more: &[&str]) -> Value {
    let mut command = python();
    command
        .arg(peers_folder().join("grpc_client.py"))
        .args(["--target", &proxy.https().to_string(), "--authority", "grpc.example.test", "--call", name])
        .arg("--tls-ca")
        .arg(proxy.ca_path())
        .args(more);
    let (as_promised, told) = run_client(&mut command);
    assert!(as_promised, "{name}: {told}");
    told
}

fn route(peer: &Peer) -> String {
    format!("[[routes]]\nhost_prefix = \"grpc\"\nbackend = \"{}\"\nbackend_http2 = \"always\"\n", peer.url())
}

#[test]
fn unary_streaming_and_two_way_calls_pass_with_their_trailers() {
    let peer = Peer::start("grpc_peer.py", &[]);
    let proxy = TestProxy::start(&route(&peer));
    assert_eq!(call(&proxy, "echo", &["--message", "grüße"])["messages"], json!(["grüße"]));
    let counted = call(&proxy, "count", &["--n", "100"]);
    assert_eq!(counted["messages"].as_array().unwrap().len(), 100);
    assert!(counted["trailing_metadata"].as_array().unwrap().contains(&json!(["x-trailer", "end"])));
    // Each message of a chat is sent only after the answer to the one before: nothing is held back.
    let chatted = call(&proxy, "chat", &["--n", "5", "--message", "m"]);
    assert_eq!(chatted["messages"], json!(["re:m 0", "re:m 1", "re:m 2", "re:m 3", "re:m 4"]));
    let record = proxy.audit().wait_for("the chat", |record| record.path == "/sunbeam.Test/Chat");
    assert_eq!((record.method.as_str(), record.status, record.error), ("POST", 200, None));
    assert_eq!((record.http_version.as_str(), record.backend), ("HTTP/2.0", peer.url()));
}

#[test]
fn an_error_of_the_service_is_the_services_own() {
    let peer = Peer::start("grpc_peer.py", &[]);
    let proxy = TestProxy::start(&route(&peer));
    let failed = call(&proxy, "fail", &[]);
    assert_eq!((&failed["code"], &failed["details"]), (&json!("NOT_FOUND"), &json!("no such thing")));
}

#[test]
fn a_chat_outlives_the_deadline_between_two_reads_as_long_as_it_talks() {
    let peer = Peer::start("grpc_peer.py", &[]);
    let proxy = TestProxy::start(&format!("[limits]\nbackend_timeout_secs = 1\n{}", route(&peer)));
    // Twice the deadline in all, never the whole of it in one go.
    let chatted = call(&proxy, "chat", &["--n", "6", "--pause", "0.4"]);
    assert_eq!(chatted["messages"].as_array().unwrap().len(), 6);
    let record = proxy.audit().wait_for("the chat", |record| record.path == "/sunbeam.Test/Chat");
    assert!(record.duration_ms > 1_500, "{record:?}");
}

#[test]
fn calls_follow_each_other_and_a_backend_that_died_is_unavailable() {
    let peer = Peer::start("grpc_peer.py", &[]);
    let proxy = TestProxy::start(&route(&peer));
    for _ in 0..3 {
        call(&proxy, "echo", &[]);
    }
    drop(peer);
    let mut command = python();
    command
        .arg(peers_folder().join("grpc_client.py"))
        .args(["--target", &proxy.https().to_string(), "--authority", "grpc.example.test", "--call", "echo"])
        .arg("--tls-ca")
        .arg(proxy.ca_path());
    let (as_promised, told) = run_client(&mut command);
    assert!(!as_promised);
    assert_eq!(told["code"], "UNAVAILABLE", "502 is UNAVAILABLE to gRPC: {told}");
}
