// SPDX-License-Identifier: Apache-2.0
//! Which backend a request reaches, and how it looks there (rows B01 to B06, B12, B13, B21, B22).

use sunbeam_testkit::{TestProxy, TestUpstream, raw_exchange};

#[test]
fn the_label_before_the_first_dot_chooses_the_backend() {
    let (docs, meet) = (TestUpstream::echo(), TestUpstream::echo());
    let proxy = TestProxy::builder().route("docs", &docs.url()).route("meet", &meet.url()).start();
    assert_eq!(proxy.client().get("docs.example.test", "/a?b=1").text(), "GET /a?b=1");
    assert_eq!(proxy.client().http2().get("meet.other.test", "/m").text(), "GET /m");
    assert_eq!((docs.seen().len(), meet.seen().len()), (1, 1));
    let record = proxy.audit().wait_for("docs", |record| record.route == "docs");
    assert_eq!((record.status, record.path.as_str(), record.query.as_str()), (200, "/a", "b=1"));
    assert_eq!(record.http_version, "HTTP/1.1");
    assert_eq!(record.tls_version, "TLSv1.3");
}

#[test]
fn unknown_hosts_are_421_and_make_no_label() {
    let docs = TestUpstream::echo();
    let proxy = TestProxy::builder().route("docs", &docs.url()).start();
    for host in ["nope.example.test", "a.example.test", "b.example.test"] {
        let answer = proxy.client().header("accept", "application/json").get(host, "/");
        assert_eq!(answer.status, 421);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.json()["request_id"], id.as_str());
    }
    assert!(proxy.metric("sunbeam_requests_total", &[("host", "other"), ("status", "421")]) > 2.5);
    assert!(proxy.metric("sunbeam_requests_total", &[("host", "nope.example.test")]) < 0.5);
    assert!(docs.seen().is_empty());
}

#[test]
fn a_refused_head_gets_its_page_its_record_and_its_metric() {
    let docs = TestUpstream::echo();
    let proxy = TestProxy::builder().route("docs", &docs.url()).start();
    let answer = raw_exchange(
        proxy.http(),
        b"POST /x HTTP/1.1\r\nHost: docs.example.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("request id: "), "{answer}");
    let record = proxy.audit().wait_for("the refusal", |record| record.status == 400);
    assert_eq!((record.method.as_str(), record.path.as_str()), ("POST", "/x"));
    assert_eq!(record.error.as_deref(), Some("Content-Length and Transfer-Encoding together"));
    assert!(docs.seen().is_empty());
}

#[test]
fn the_longest_prefix_wins_and_the_backend_gets_the_path_it_was_promised() {
    let (site, api, new) = (TestUpstream::echo(), TestUpstream::echo(), TestUpstream::echo());
    let proxy = TestProxy::builder()
        .route("shop", &site.url())
        .config(&format!(
            "[[routes.paths]]\nprefix = \"/api\"\nbackend = \"{}\"\nstrip_prefix = true\n\
             [[routes.paths]]\nprefix = \"/api/v2\"\nbackend = \"{}\"\nstrip_prefix = true\nupstream_path_prefix = \"/next/\"",
            api.url(),
            new.url()
        ))
        .start();
    for (target, want, backend) in [
        ("/", "GET /", &site),
        ("/apix", "GET /apix", &site),
        ("/api", "GET /", &api),
        ("/api/users?a=1", "GET /users?a=1", &api),
        ("/api/v2/users", "GET /next/users", &new),
        ("/api/a%2Fb", "GET /a%2Fb", &api),
    ] {
        assert_eq!(proxy.client().get("shop.example.test", target).text(), want, "{target}");
        assert_eq!(format!("GET {}", backend.last().target), want, "{target}");
    }
}
