// SPDX-License-Identifier: Apache-2.0
//! The management API, asked by somebody else's tool what its own description promises: Schemathesis makes requests of
//! `openapi.json`, right ones and wrong ones, and holds every answer against it.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::fs;

use sunbeam_testkit::{TestProxy, TestUpstream, dev_folder, run};

/// Requests of each kind that are made up for a page, beside those of the tool's own list. All of it takes some 20 seconds.
const EXAMPLES: &str = "10";

#[test]
fn no_request_gets_an_answer_that_the_description_does_not_have() {
    let backend = TestUpstream::echo();
    let proxy = TestProxy::builder().route("shop", &backend.url()).start();
    let address = proxy.node().management_address().unwrap();
    let token = fs::read_to_string(proxy.node().token_path().unwrap()).unwrap();
    let mut command = std::process::Command::new("timeout");
    command
        // It does not end by itself where a page does not answer.
        .arg("120")
        .arg(dev_folder().join("venv/bin/schemathesis"))
        .args(["run", &format!("http://{address}/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim())])
        // An endless stream: there is nothing to wait for.
        .args(["--exclude-path", "/api/v1/events"])
        // The same requests every time.
        .args(["--seed", "1", "--workers", "1", "--generation-database", "none", "--max-examples", EXAMPLES])
        .args([
            "--phases",
            "coverage,fuzzing",
            "--no-shrink",
            "--continue-on-failure",
            "--request-timeout",
            "20",
        ])
        // Not whether what the description allows is accepted: it cannot say which ids, addresses and names there are.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--warnings", "off", "--no-color"])
        .current_dir(proxy.folder().path());
    let output = run(&mut command);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}{} (did `./dev setup` run?)",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("No issues found") && told.contains("Tested: "), "{told}");
    // All of that has hurt nobody: it runs, as it did.
    assert_eq!(proxy.api("GET", "/health", "").status, 200);
    assert_eq!(proxy.metric("sunbeam_panics_total", &[]), 0.0);
}
