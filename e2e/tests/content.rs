// SPDX-License-Identifier: Apache-2.0
//! What a site's content looks like on its way out (rows B07 to B15): files, their types and validators,
//! rewritten bodies, headers, compression.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use sunbeam_testkit::{
    Peer, Seen, TestFolder, TestProxy, TestProxyBuilder, TestResponse, TestUpstream, node, raw_exchange, run,
};

const SECRET: &str = "what lies outside the root";

const UUID_REWRITE: &str = r#"
[[routes.rewrites]]
pattern = '^/docs/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/?$'
target = '/docs/[id]/index.html'
"#;

#[test]
fn a_path_is_tried_as_it_is_then_as_page_then_as_directory_then_at_the_backend() {
    let backend = TestUpstream::echo();
    let builder = site(&[
        ("index.html", "the start page"),
        ("exact.txt", "the file itself"),
        ("about.html", "about us"),
        ("docs/index.html", "the documents"),
        ("both", "the name as it is"),
        ("both.html", "the name with .html"),
    ]);
    let root = root(&builder);
    let proxy = builder.config(&files_route("www", &root, Some(&backend), "")).start();
    for (path, want) in [
        ("/", "the start page"),
        ("/exact.txt", "the file itself"),
        ("/about", "about us"),
        ("/docs", "the documents"),
        ("/docs/", "the documents"),
        ("/both", "the name as it is"),
        ("/exact.txt?v=2", "the file itself"),
        ("/missing?q=1", "GET /missing?q=1"),
        ("/exact.txt/below", "GET /exact.txt/below"),
    ] {
        let answer = proxy.client().get("www.example.test", path);
        assert_eq!((answer.status, answer.text().as_str()), (200, want), "{path}");
    }
    let posted = proxy.client().method("POST").body("x").get("www.example.test", "/exact.txt");
    assert_eq!(posted.text(), "POST /exact.txt", "only reading is a file's business");
    assert_eq!(backend.seen().len(), 3);
    let record = proxy.audit().wait_for("a file", |record| record.path == "/about");
    assert_eq!(record.backend, "static");
}

#[test]
fn a_deep_link_of_a_single_page_application_gets_its_shell() {
    let backend = TestUpstream::echo();
    let builder = site(&[("shell.html", "<!doctype html>the shell"), ("app.js", "let app;")]);
    let root = root(&builder);
    let proxy = builder
        .config(&files_route("spa", &root, None, "fallback = \"shell.html\""))
        .config(&files_route("behind", &root, Some(&backend), "fallback = \"shell.html\""))
        .config(&files_route("bare", &root, None, ""))
        .start();
    for host in ["spa.example.test", "behind.example.test"] {
        for path in ["/", "/inbox/42", "/a/b/c.png?x=1"] {
            let answer = proxy.client().get(host, path);
            assert_eq!((answer.status, answer.text().as_str()), (200, "<!doctype html>the shell"), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}: a shell is never pinned");
        }
        assert_eq!(proxy.client().get(host, "/app.js").text(), "let app;");
    }
    assert!(backend.seen().is_empty(), "the fallback comes before the backend");
    let missing = proxy.client().header("accept", "application/json").get("bare.example.test", "/inbox/42");
    assert_eq!((missing.status, &missing.json()["error"]), (404, &"not found".into()));
}

#[test]
fn files_have_the_type_of_their_extension() {
    let rows = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.ico", "image/x-icon"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("a.pdf", "application/pdf"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.min.js", "text/javascript; charset=utf-8"),
        ("a.unheard-of", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ];
    let builder = site(&rows.map(|(name, _)| (name, "x")));
    let root = root(&builder);
    let proxy = builder.config(&files_route("www", &root, None, "")).start();
    for (name, want) in rows {
        let answer = proxy.client().get("www.example.test", &format!("/{name}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(want)), "{name}");
    }
}

#[test]
fn assets_with_a_hash_in_their_name_are_kept_for_ever_and_the_rest_is_asked_for_again() {
    let rows = [
        ("app.3f2a9c.js", true),
        ("assets/index-BxQ1s9kA.css", true),
        ("index.html", false),
        ("app.js", false),
        ("jquery-3.6.0.js", false),
    ];
    let builder = site(&rows.map(|(name, _)| (name, "x")));
    let root = root(&builder);
    let proxy = builder.config(&files_route("www", &root, None, "")).start();
    for (name, forever) in rows {
        let answer = proxy.client().get("www.example.test", &format!("/{name}"));
        let want = if forever { "public, max-age=31536000, immutable" } else { "no-cache" };
        assert_eq!(answer.header("cache-control"), Some(want), "{name}");
    }
}

#[test]
fn no_spelling_of_a_path_leaves_the_root() {
    let builder = site(&[
        ("index.html", "the start page"),
        ("inside.txt", "inside"),
        ("deep/page.html", "deep"),
        (".env", SECRET),
        (".git/config", SECRET),
    ]);
    let folder = builder.folder();
    folder.write("secret.txt", SECRET);
    let root = root(&builder);
    symlink("../secret.txt", root.join("leak.txt")).unwrap();
    symlink(folder.join("secret.txt"), root.join("absolute.txt")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("inside.txt", root.join("alias.txt")).unwrap();
    symlink("deep", root.join("shallow")).unwrap();
    let plain = "disable_secure_redirection = true";
    let proxy = builder
        // Or judging would answer before files are looked for.
        .config("scanner.enabled = false\nwaf.enabled = false\n")
        .config(&files_route("www", &root, None, plain))
        .config(&files_route("spa", &root, None, &format!("{plain}\nfallback = \"index.html\"")))
        .start();
    for (name, path) in [
        ("raw", "/../secret.txt"),
        ("raw, deeper", "/deep/../../secret.txt"),
        ("encoded", "/%2e%2e/secret.txt"),
        ("half encoded", "/.%2E/secret.txt"),
        ("double-encoded", "/%252e%252e/secret.txt"),
        ("double-encoded slash", "/..%252fsecret.txt"),
        ("backslash", "/..\\secret.txt"),
        ("encoded backslash", "/..%5csecret.txt"),
        ("backslash, deeper", "/deep\\..\\..\\secret.txt"),
        ("encoded slash", "/..%2fsecret.txt"),
        ("encoded slash, deeper", "/deep%2f..%2f..%2fsecret.txt"),
        ("all encoded", "/%2e%2e%2fsecret.txt"),
        ("NUL", "/inside.txt%00.html"),
        ("raw NUL", "/inside.txt\0.html"),
        ("NUL after a climb", "/../secret.txt%00"),
        ("parameters", "/..;/secret.txt"),
        ("link that leaves", "/leak.txt"),
        ("absolute link", "/absolute.txt"),
        ("link to the parent", "/up/secret.txt"),
    ] {
        for host in ["www.example.test", "spa.example.test"] {
            let answer = plain_get(&proxy, host, path);
            let status = answer.get(9..12).unwrap_or_default();
            assert!(["400", "403", "404"].contains(&status), "{name} at {host}: {answer}");
            assert!(!answer.contains(SECRET), "{name} at {host}: {answer}");
        }
        if path.parse::<http::Uri>().is_ok() {
            let answer = proxy.client().http2().get("www.example.test", path);
            assert!([400, 403, 404].contains(&answer.status), "{name} over HTTP/2: {}", answer.status);
            assert!(!answer.text().contains(SECRET), "{name} over HTTP/2");
        }
    }
    for path in ["/.env", "/.git/config", "/%2eenv", "/secret.txt"] {
        let answer = plain_get(&proxy, "www.example.test", path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    for (path, want) in [("/alias.txt", "inside"), ("/shallow/page", "deep"), ("/inside.txt", "inside")] {
        let answer = proxy.client().get("www.example.test", path);
        assert_eq!((answer.status, answer.text().as_str()), (200, want), "{path}");
    }
}

#[test]
fn a_sub_route_is_asked_before_the_files() {
    let (api, own) = (TestUpstream::echo(), TestUpstream::echo());
    let builder = site(&[("api/users", "a file"), ("apix", "another file")]);
    let root = root(&builder);
    let paths = format!("[[routes.paths]]\nprefix = \"/api\"\nbackend = \"{}\"", api.url());
    let proxy = builder.config(&files_route("www", &root, Some(&own), &paths)).start();
    assert_eq!(proxy.client().get("www.example.test", "/api/users").text(), "GET /api/users");
    assert_eq!(proxy.client().get("www.example.test", "/apix").text(), "another file");
    assert_eq!((api.seen().len(), own.seen().len()), (1, 0));
}

#[test]
fn the_first_rewrite_that_matches_comes_before_the_files() {
    let backend = TestUpstream::echo();
    let builder = site(&[("docs/[id]/index.html", "a document"), ("docs/new/index.html", "a new one")]);
    let root = root(&builder);
    let second = "[[routes.rewrites]]\npattern = '^/docs/'\ntarget = '/never'\n\
                  [[routes.rewrites]]\npattern = '^/u/(?P<name>[a-z]+)$'\ntarget = '/users?name=${name}'\n";
    let rules = format!("{UUID_REWRITE}{second}");
    let proxy = builder.config(&files_route("www", &root, Some(&backend), &rules)).start();
    for (path, want) in [
        ("/docs/550e8400-e29b-41d4-a716-446655440000", "a document"),
        ("/docs/550e8400-e29b-41d4-a716-446655440000/", "a document"),
        ("/docs/550e8400-e29b-11d4-a716-446655440000", "GET /never550e8400-e29b-11d4-a716-446655440000"),
        ("/u/ann?x=1", "GET /users?name=ann&x=1"),
        ("/elsewhere", "GET /elsewhere"),
    ] {
        assert_eq!(proxy.client().get("www.example.test", path).text(), want, "{path}");
    }
    let broken = files_route("www", &root, None, "[[routes.rewrites]]\npattern = '^/docs/('\ntarget = '/'");
    let error = proxy.reload(&broken).unwrap_err();
    assert!(error.to_string().contains("rewrites[0].pattern"), "{error}");
    let answer = proxy.client().get("www.example.test", "/docs/550e8400-e29b-41d4-a716-446655440000");
    assert_eq!(answer.text(), "a document", "the refused configuration changed nothing");
}

#[test]
fn parts_of_a_file_can_be_asked_for() {
    let builder = site(&[("digits.txt", "0123456789")]);
    let root = root(&builder);
    let proxy = builder.config(&files_route("www", &root, None, "")).start();
    let etag = proxy.client().get("www.example.test", "/digits.txt").header("etag").unwrap().to_owned();
    for (name, range, if_range, status, content_range, body) in [
        ("the middle", "bytes=2-4", "", 206, Some("bytes 2-4/10"), "234"),
        ("the end", "bytes=-3", "", 206, Some("bytes 7-9/10"), "789"),
        ("from here on", "bytes=8-", "", 206, Some("bytes 8-9/10"), "89"),
        ("past the end", "bytes=8-99", "", 206, Some("bytes 8-9/10"), "89"),
        ("beyond", "bytes=10-", "", 416, Some("bytes */10"), ""),
        ("malformed", "bytes=x", "", 200, None, "0123456789"),
        ("of this very file", "bytes=0-0", etag.as_str(), 206, Some("bytes 0-0/10"), "0"),
        ("of another file", "bytes=0-0", "\"another\"", 200, None, "0123456789"),
    ] {
        let mut client = proxy.client().header("range", range);
        if !if_range.is_empty() {
            client = client.header("if-range", if_range);
        }
        let answer = client.get("www.example.test", "/digits.txt");
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{name}");
        assert_eq!(answer.header("content-range"), content_range, "{name}");
    }
    let several = proxy.client().header("range", "bytes=0-1,8-9").get("www.example.test", "/digits.txt");
    assert_eq!(several.status, 206);
    assert!(several.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    let text = several.text();
    assert!(
        text.contains("bytes 0-1/10\r\n\r\n01\r\n") && text.contains("bytes 8-9/10\r\n\r\n89\r\n"),
        "{text}"
    );
}

#[test]
fn a_copy_that_is_still_good_is_not_sent_again() {
    let builder = site(&[("page.html", "a page")]);
    let root = root(&builder);
    let proxy = builder.config(&files_route("www", &root, None, "")).start();
    let first = proxy.client().get("www.example.test", "/page.html");
    let (etag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (name, headers, want) in [
        ("same tag", &[("if-none-match", etag)][..], 304),
        ("same tag, made weak", &[("if-none-match", &format!("W/{etag}"))], 304),
        ("one of several tags", &[("if-none-match", &format!("\"x\", {etag}"))], 304),
        ("any tag", &[("if-none-match", "*")], 304),
        ("another tag", &[("if-none-match", "\"x\"")], 200),
        ("same date", &[("if-modified-since", date)], 304),
        ("older date", &[("if-modified-since", OLD)], 200),
        ("the tag decides", &[("if-none-match", "\"x\""), ("if-modified-since", date)], 200),
        ("meant this one", &[("if-match", etag)], 200),
        ("meant another", &[("if-match", "\"x\"")], 412),
    ] {
        let client = headers.iter().fold(proxy.client(), |client, (name, value)| client.header(name, value));
        let answer = client.get("www.example.test", "/page.html");
        assert_eq!(answer.status, want, "{name}");
        assert_eq!(answer.text(), if want == 200 { "a page" } else { "" }, "{name}");
        assert_eq!(answer.header("etag"), Some(etag), "{name}");
    }
    fs::write(root.join("page.html"), "a changed page").unwrap();
    let answer = proxy.client().header("if-none-match", etag).get("www.example.test", "/page.html");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a changed page"));
}

#[test]
fn a_head_of_a_file_says_what_a_get_would() {
    let builder = site(&[("page.html", "a page")]);
    let root = root(&builder);
    let proxy = builder.config(&files_route("www", &root, None, "")).start();
    let get = proxy.client().get("www.example.test", "/page");
    let head = proxy.client().method("HEAD").get("www.example.test", "/page");
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-type", "content-length", "etag", "last-modified", "cache-control", "accept-ranges"]
    {
        assert!(get.header(name).is_some(), "{name}");
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    let record = proxy.audit().wait_for("the HEAD", |record| record.method == "HEAD");
    assert_eq!((record.response_bytes, record.error), (0, None));
}

#[test]
fn compressed_siblings_are_sent_to_those_who_take_them() {
    let builder = site(&[("app.js", "let plain;"), ("old.css", "p{}"), ("photo.png", "png")]);
    let root = root(&builder);
    // A sibling counts while it is no older than its file.
    for (name, bytes) in [("app.js.br", "in brotli"), ("app.js.gz", "in gzip"), ("photo.png.gz", "never")] {
        builder.folder().write(&format!("site/{name}"), bytes);
    }
    let proxy = builder.config(&files_route("www", &root, None, "")).start();
    for (name, path, accept, coding, body) in [
        ("brotli", "/app.js", "gzip, br", Some("br"), "in brotli"),
        ("gzip", "/app.js", "gzip", Some("gzip"), "in gzip"),
        ("none", "/app.js", "identity", None, "let plain;"),
        ("refused", "/app.js", "br;q=0", None, "let plain;"),
        ("an image", "/photo.png", "gzip", None, "png"),
        ("no sibling", "/old.css", "gzip", None, "p{}"),
    ] {
        let answer = proxy.client().header("accept-encoding", accept).get("www.example.test", path);
        assert_eq!((answer.header("content-encoding"), answer.text().as_str()), (coding, body), "{name}");
        let varies = answer.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("accept-encoding"));
        assert_eq!(varies, path == "/app.js", "{name}");
        assert_eq!(
            answer.header("content-type").unwrap().starts_with("text/javascript"),
            path == "/app.js",
            "{name}: the type is that of the file"
        );
    }
    let tags = ["br", "gzip", "identity"].map(|accept| {
        let answer = proxy.client().header("accept-encoding", accept).get("www.example.test", "/app.js");
        answer.header("etag").unwrap().to_owned()
    });
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
}

#[test]
fn pages_and_scripts_are_rewritten_in_whatever_coding_they_come() {
    let page = page();
    let (gzip, br) = (packed("gzipSync", &page), packed("brotliCompressSync", &page));
    let binary = Bytes::from([&b"\x89PNG old.example.com "[..], &[0, 255, 1, 254]].concat());
    let image = binary.clone();
    let backend = TestUpstream::with(move |seen| {
        let (coding, body) = match seen.target.as_str() {
            "/gzip" => ("gzip", Bytes::from(gzip.clone())),
            "/br" => ("br", Bytes::from(br.clone())),
            "/image" => ("", image.clone()),
            _ => ("", Bytes::from(page.clone())),
        };
        let kind = match seen.target.as_str() {
            "/image" => "image/png",
            "/script" => "application/javascript",
            "/script-too" => "text/javascript; charset=utf-8",
            "/json" => "application/json",
            _ => "text/html; charset=utf-8",
        };
        let response = Response::builder().header("content-type", kind).header("etag", "\"v1\"");
        let response = if coding.is_empty() { response } else { response.header("content-encoding", coding) };
        response.body(Full::from(body)).unwrap()
    });
    let proxy = TestProxy::start(&rewriting_route(&backend, ""));
    let page = self::page();
    let rewritten = page.replace("old.example.com", "new.example.test");
    for (path, coding, want, tag) in [
        ("/page", None, &rewritten, "W/\"v1\""),
        ("/gzip", Some("gzip"), &rewritten, "W/\"v1\""),
        ("/br", Some("br"), &rewritten, "W/\"v1\""),
        ("/script", None, &rewritten, "W/\"v1\""),
        ("/script-too", None, &rewritten, "W/\"v1\""),
        ("/json", None, &page, "\"v1\""),
    ] {
        let client = proxy.client();
        let client = match coding {
            Some(coding) => client.header("accept-encoding", coding),
            None => client,
        };
        let answer = client.get("www.example.test", path);
        assert_eq!(answer.header("content-encoding"), coding, "{path}");
        assert_eq!(&unpacked(&answer), want, "{path}");
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        assert_eq!(length, Some(answer.body.len()), "{path}");
        assert_eq!(answer.header("etag"), Some(tag), "{path}");
    }
    let answer = proxy.client().get("www.example.test", "/image");
    assert_eq!(answer.body, binary, "byte for byte");
    assert!(proxy.metric("sunbeam_body_rewrites_total", &[("outcome", "rewritten")]) > 4.5);
    let part = proxy.client().header("range", "bytes=0-3").get("www.example.test", "/page");
    assert_eq!((part.status, part.text()), (200, rewritten), "a part cannot be rewritten without the whole");
    assert!(backend.seen().iter().all(|seen| seen.header("range").is_none()));
}

#[test]
fn a_client_that_takes_no_coding_gets_a_rewritten_page_in_none() {
    let app = Peer::start("app.py", &[]);
    let proxy = TestProxy::start(&rewriting_route_to(&app.url(), ""));
    for (accept, coding) in
        [("", None), ("identity", None), ("gzip", Some("gzip")), ("br;q=0, gzip", Some("gzip"))]
    {
        let client = proxy.client();
        let client = if accept.is_empty() { client } else { client.header("accept-encoding", accept) };
        let answer = client.get("www.example.test", "/gzip");
        assert_eq!(answer.header("content-encoding"), coding, "{accept:?}");
        let text = unpacked(&answer);
        assert!(
            text.contains("new.example.test 19") && !text.contains("old.example.com"),
            "{accept:?}: {text}"
        );
    }
}

#[test]
fn files_are_rewritten_too() {
    let builder = site(&[("index.html", "visit old.example.com"), ("a.txt", "old.example.com")]);
    let root = root(&builder);
    let rule = "[[routes.body_rewrites]]\nfind = \"old.example.com\"\nreplace = \"new.example.test\"";
    let proxy = builder.config(&files_route("www", &root, None, rule)).start();
    let answer = proxy.client().header("range", "bytes=0-3").get("www.example.test", "/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "visit new.example.test"));
    assert_eq!(answer.header("content-length"), Some("22"));
    assert!(answer.header("etag").unwrap().starts_with("W/"));
    assert_eq!(proxy.client().get("www.example.test", "/a.txt").text(), "old.example.com");
}

#[test]
fn a_page_too_large_to_rewrite_passes_unchanged_and_is_counted() {
    let page = page();
    let huge = page.repeat(100);
    let packed_huge = packed("gzipSync", &huge);
    assert!(packed_huge.len() < page.len() + 1000, "the bomb must be small before it is unpacked");
    let (sent, sent_packed) = (huge.clone(), packed_huge.clone());
    let backend = TestUpstream::with(move |seen| {
        let response = Response::builder().header("content-type", "text/html").header("etag", "\"v1\"");
        match seen.target.as_str() {
            "/packed" => response.header("content-encoding", "gzip").body(Full::from(sent_packed.clone())),
            _ => response.body(Full::from(sent.clone())),
        }
        .unwrap()
    });
    let limit = format!("max_bytes = {}", page.len() + 1000);
    let proxy = TestProxy::start(&rewriting_route(&backend, &limit));
    let plain = proxy.client().get("www.example.test", "/plain");
    assert!(plain.text() == huge, "unchanged");
    assert_eq!(plain.header("etag"), Some("\"v1\""));
    let answer = proxy.client().header("accept-encoding", "gzip").get("www.example.test", "/packed");
    assert!(answer.body == packed_huge, "unchanged in its coding, too");
    let counted = proxy.metric("sunbeam_body_rewrites_total", &[("outcome", "too_large")]);
    assert!((counted - 2.0).abs() < 0.1, "{counted}");
}

#[test]
fn every_answer_of_a_route_carries_its_headers() {
    let backend = TestUpstream::with(|seen| {
        let status = if seen.target == "/teapot" { StatusCode::IM_A_TEAPOT } else { StatusCode::OK };
        let response = Response::builder().status(status).header("x-frame-options", "ALLOWALL");
        response.header("x-frame-options", "twice").body(Full::from("from the backend")).unwrap()
    });
    let builder = site(&[("page.html", "a page")]);
    let root = root(&builder);
    let headers = "[[routes.response_headers]]\nname = \"X-Frame-Options\"\nvalue = \"DENY\"\n\
                   [[routes.response_headers]]\nname = \"Permissions-Policy\"\nvalue = \"camera=()\"\n";
    let dead = "[[routes.paths]]\nprefix = \"/dead\"\nbackend = \"http://127.0.0.1:1\"\n";
    let more = format!("max_body_bytes = 5\n{headers}{dead}");
    let proxy = builder
        .config(&files_route("www", &root, Some(&backend), &more))
        .config(&files_route("other", &root, None, ""))
        .start();
    for (name, path, body, status) in [
        ("backend", "/x", "", 200),
        ("backend's own error", "/teapot", "", 418),
        ("file", "/page", "", 200),
        ("dead backend", "/dead", "", 502),
        ("refused path", "/%2e%2e/x", "", 400),
        ("too large", "/x", "123456", 413),
    ] {
        let answer = proxy.client().body(body).get("www.example.test", path);
        assert_eq!(answer.status, status, "{name}");
        let values: Vec<_> = answer.headers.get_all("x-frame-options").iter().collect();
        assert_eq!(values, ["DENY"], "{name}: the backend's are replaced");
        assert_eq!(answer.header("permissions-policy"), Some("camera=()"), "{name}");
    }
    let redirect = proxy.client().plain().get("www.example.test", "/x");
    assert_eq!((redirect.status, redirect.header("x-frame-options")), (308, Some("DENY")));
    let other = proxy.client().get("other.example.test", "/page");
    assert_eq!(other.header("x-frame-options"), None, "another route has its own");
}

#[test]
fn text_is_compressed_in_the_coding_the_client_likes_best() {
    let backend = TestUpstream::with(answer_by_type);
    let proxy = TestProxy::start(&format!(
        "[[routes]]\nhost_prefix = \"www\"\nbackend = \"{0}\"\n\
         [[routes]]\nhost_prefix = \"raw\"\nbackend = \"{0}\"\ncompress = false",
        backend.url()
    ));
    let page = page();
    for (accept, want) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=0.9, br;q=0.5", Some("gzip")),
        ("gzip;q=0", None),
        ("identity", None),
        ("deflate", None),
        ("", None),
    ] {
        let mut curl = proxy.curl();
        curl.args(["--include", "--http1.1", "-H", &format!("Accept-Encoding: {accept}")]);
        if want.is_some() {
            curl.arg("--compressed");
        }
        let told = String::from_utf8(run(curl.arg("https://www.example.test/text")).stdout).unwrap();
        let (head, body) = told.split_once("\r\n\r\n").unwrap_or_default();
        let coding = head.lines().find_map(|line| line.strip_prefix("content-encoding: "));
        assert_eq!(coding, want, "{accept:?}: {head}");
        assert!(body == page, "{accept:?}: what curl unpacked is the page");
        assert!(head.to_lowercase().contains("vary: accept-encoding"), "{accept:?}: {head}");
        assert_eq!(head.contains("etag: W/\"v1\""), want.is_some(), "{accept:?}: {head}");
    }
    for (name, host, path, want) in [
        ("an image", "www", "/image", None),
        ("compressed by the backend", "www", "/packed", Some("gzip")),
        ("not to be transformed", "www", "/no-transform", None),
        ("too small to be worth it", "www", "/small", None),
        ("switched off", "raw", "/text", None),
    ] {
        let client = proxy.client().header("accept-encoding", "gzip, br, zstd");
        let answer = client.get(&format!("{host}.example.test"), path);
        assert_eq!(answer.header("content-encoding"), want, "{name}");
        let direct = answer_by_type(&Seen { target: path.to_owned(), ..backend.last() });
        assert_eq!(answer.header("etag"), direct.headers()["etag"].to_str().ok(), "{name}: untouched");
        let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
        assert_eq!(length, Some(answer.body.len()), "{name}: untouched");
    }
    let packed = proxy.client().header("accept-encoding", "gzip").get("www.example.test", "/packed");
    assert_eq!(packed.text(), "compressed once".repeat(100), "not twice");
}

#[test]
fn events_reach_the_client_one_by_one() {
    let app = Peer::start("node_app.mjs", &[]);
    let proxy = TestProxy::builder().route("www", &app.url()).start();
    let mut curl = proxy.curl();
    curl.args(["--no-buffer", "--compressed", "--max-time", "20", "https://www.example.test/sse"]);
    let mut child = curl.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The stream stays open behind the third event: an answer that is held back never comes.
    let events: Vec<String> = lines.filter(|line| line.starts_with("data: ")).take(3).collect();
    let still_open = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(events, ["data: one", "data: two", "data: three"]);
    assert!(still_open, "the events came while the stream was open");
    let record = proxy.audit().wait_for("the stream", |record| record.path == "/sse");
    assert!(record.error.is_some(), "the client left in the middle of the answer");
}

fn answer_by_type(seen: &Seen) -> Response<Full<Bytes>> {
    let page = page();
    let response = Response::builder().header("etag", "\"v1\"");
    match seen.target.as_str() {
        "/image" => response.header("content-type", "image/png").body(Full::from(page)),
        "/small" => response.header("content-type", "text/plain").body(Full::from("small")),
        "/no-transform" => response
            .header("content-type", "text/plain")
            .header("cache-control", "public, no-transform")
            .body(Full::from(page)),
        // The bytes need not be gzip: nobody here looks inside.
        "/packed" => response
            .header("content-type", "text/plain")
            .header("content-encoding", "gzip")
            .body(Full::from("compressed once".repeat(100))),
        _ => response.header("content-type", "text/plain").body(Full::from(page)),
    }
    .expect("a response")
}

/// Some 5 KB that name the old host and shrink.
fn page() -> String {
    let mut page = String::from("<!doctype html><title>old.example.com</title>\n");
    for number in 0..100 {
        writeln!(page, "<a href=\"https://old.example.com/{number}\">{number}</a>")
            .expect("a String takes it");
    }
    page
}

/// A builder whose folder holds a site of these files.
fn site(files: &[(&str, &str)]) -> TestProxyBuilder {
    let builder = TestProxy::builder();
    for (name, text) in files {
        builder.folder().write(&format!("site/{name}"), text);
    }
    builder
}

fn root(builder: &TestProxyBuilder) -> PathBuf {
    builder.folder().join("site")
}

fn files_route(prefix: &str, root: &PathBuf, backend: Option<&TestUpstream>, more: &str) -> String {
    let backend = backend.map(|backend| format!("backend = \"{}\"\n", backend.url())).unwrap_or_default();
    format!("[[routes]]\nhost_prefix = \"{prefix}\"\nstatic_root = {root:?}\n{backend}{more}\n")
}

fn rewriting_route(backend: &TestUpstream, more: &str) -> String {
    rewriting_route_to(&backend.url(), more)
}

fn rewriting_route_to(backend: &str, more: &str) -> String {
    format!(
        "[[routes]]\nhost_prefix = \"www\"\nbackend = \"{backend}\"\ncompress = false\n\
         [[routes.body_rewrites]]\nfind = \"old.example.com\"\nreplace = \"new.example.test\"\n{more}"
    )
}

/// Over a socket of our own: no library changes the path.
fn plain_get(proxy: &TestProxy, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw_exchange(proxy.http(), request.as_bytes())
}

/// Compressed by a library that is not ours.
fn packed(function: &str, text: &str) -> Vec<u8> {
    zlib(function, text.as_bytes())
}

fn unpacked(answer: &TestResponse) -> String {
    let bytes = match answer.header("content-encoding") {
        Some("gzip") => zlib("gunzipSync", &answer.body),
        Some("br") => zlib("brotliDecompressSync", &answer.body),
        _ => answer.body.to_vec(),
    };
    String::from_utf8(bytes).expect("text")
}

fn zlib(function: &str, bytes: &[u8]) -> Vec<u8> {
    let folder = TestFolder::new();
    let path = folder.write("bytes", bytes);
    let script = format!(
        "process.stdout.write(require('zlib').{function}(require('fs').readFileSync(process.argv[1])))"
    );
    let output = run(node().args(["-e", &script]).arg(path));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
