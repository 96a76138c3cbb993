// SPDX-License-Identifier: Apache-2.0
//! Several backends of one route: who gets a request, who is left out, what is sent again and what never.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails the test that called it")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use sunbeam_testkit::{
    Peer, RawConnection, RawUpstream, TestCa, TestClient, TestFolder, TestProxy, TestUpstream, eventually,
    free_address, raw_exchange,
};

const HOST: &str = "www.example.test";

fn route(backends: &[String], more: &str) -> String {
    let list =
        backends.iter().map(|url| if url.starts_with('{') { url.clone() } else { format!("\"{url}\"") });
    format!(
        "[[routes]]\nhost_prefix = \"www\"\ndisable_secure_redirection = true\nbackend = [{}]\n{more}\n",
        list.collect::<Vec<_>>().join(", ")
    )
}

/// Answers its name.
fn named(name: &'static str) -> TestUpstream {
    TestUpstream::with(move |_| Response::new(Full::from(name)))
}

fn up(proxy: &TestProxy, url: &str) -> bool {
    proxy.metric("sunbeam_backend_up", &[("backend", url)]) > 0.5
}

fn in_flight(proxy: &TestProxy, url: &str) -> f64 {
    proxy.metric("sunbeam_upstream_in_flight", &[("backend", url)])
}

fn retries(proxy: &TestProxy, reason: &str) -> f64 {
    proxy.metric("sunbeam_upstream_retries_total", &[("reason", reason)])
}

fn plain(proxy: &TestProxy) -> TestClient {
    proxy.client().plain()
}

/// A client at another address, as the trusted proxy before us says.
fn from(proxy: &TestProxy, number: usize) -> TestClient {
    plain(proxy).header("x-forwarded-for", &format!("198.51.100.{number}"))
}

#[test]
fn each_backend_gets_its_share_exactly() {
    let (one, two, five) = (named("one"), named("two"), named("five"));
    let weighted =
        |backend: &TestUpstream, weight| format!("{{ url = \"{}\", weight = {weight} }}", backend.url());
    let list = [one.url(), weighted(&two, 2), weighted(&five, 5)];
    let proxy = TestProxy::start(&route(&list, ""));
    let client = plain(&proxy);
    for round in 1..=4 {
        for _ in 0..8 {
            assert_eq!(client.get(HOST, "/").status, 200);
        }
        let counts = [&one, &two, &five].map(|backend| backend.seen().len());
        assert_eq!(counts, [round, 2 * round, 5 * round]);
    }
    let told = proxy.api("GET", "/api/v1/backends", "").json();
    assert_eq!(told[0]["name"], "www");
    assert_eq!(told[0]["balance"], "round_robin");
    assert_eq!(told[0]["members"][2]["weight"], 5);
    assert_eq!(told[0]["members"][2]["state"], "up");
    let record = proxy.audit().wait_for("whose answer it was", |record| record.backend == five.url());
    assert_eq!(record.status, 200);
}

#[test]
fn a_client_keeps_its_backend_and_only_those_of_a_dead_one_move() {
    let mut backends = vec![named("a"), named("b"), named("c")];
    let urls: Vec<String> = backends.iter().map(TestUpstream::url).collect();
    let trust = "[listen]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let proxy = TestProxy::start(&format!("{trust}{}", route(&urls, "balance = \"ip_hash\"")));
    let homes = || -> BTreeMap<usize, String> {
        (1..=40).map(|client| (client, from(&proxy, client).get(HOST, "/").text())).collect()
    };
    let before = homes();
    for name in ["a", "b", "c"] {
        assert!(before.values().any(|home| home == name), "nobody goes to {name}: {before:?}");
    }
    assert_eq!(homes(), before);
    drop(backends.remove(1));
    let after = homes();
    for (client, home) in &after {
        let was = &before[client];
        assert!(home != "b" && (was == "b" || was == home), "{client} moved from {was} to {home}");
    }
}

#[test]
fn the_one_with_fewer_requests_in_flight_is_asked() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let slow = RawUpstream::start(move |connection| {
        if connection.read_request().is_some() && held.lock().unwrap().recv().is_ok() {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow");
        }
    });
    let quick = named("quick");
    let proxy = TestProxy::start(&route(&[slow.url(), quick.url()], "balance = \"least_connections\""));
    thread::scope(|scope| {
        let release = release;
        let (asking, answered) = (plain(&proxy), mpsc::channel());
        scope.spawn(move || {
            // Equal ones take turns: one of the first two goes to the slow one.
            for _ in 0..2 {
                let text = asking.get(HOST, "/").text();
                answered.0.send(text.clone()).unwrap();
                if text == "slow" {
                    return;
                }
            }
        });
        eventually("the slow one has a request", || slow.requests().pop());
        for _ in 0..10 {
            assert_eq!(plain(&proxy).get(HOST, "/").text(), "quick");
        }
        assert!((in_flight(&proxy, &slow.url()) - 1.0).abs() < 0.1);
        release.send(()).unwrap();
        eventually("the slow answer", || answered.1.recv().ok().filter(|text| text == "slow"));
    });
    for url in [slow.url(), quick.url()] {
        eventually("nothing is in flight", || (in_flight(&proxy, &url).abs() < 0.1).then_some(()));
    }
    assert_eq!(slow.requests().len(), 1);
}

#[test]
fn one_that_cannot_be_reached_costs_nobody_an_answer_and_is_left_out() {
    let dead = format!("http://{}", free_address());
    let unknown = format!("http://{}.invalid:80", "x".repeat(64));
    for (reason, bad) in [("connect", dead), ("dns", unknown)] {
        let backend = TestUpstream::with(|seen| Response::new(Full::from(seen.body.clone())));
        let proxy = TestProxy::start(&route(&[bad.clone(), backend.url()], ""));
        for round in 0..20 {
            let text = format!("order {round}");
            let answer = plain(&proxy).method("POST").body(text.clone()).get(HOST, "/");
            assert_eq!((answer.status, answer.text()), (200, text), "{reason}");
        }
        assert_eq!(backend.seen().len(), 20, "{reason}: each once");
        assert!(!up(&proxy, &bad) && up(&proxy, &backend.url()), "{reason}");
        assert!(retries(&proxy, reason) > 2.5, "{reason}");
        let told = proxy.api("GET", "/api/v1/backends", "").json();
        assert_eq!(told[0]["members"][0]["state"], "left out");
        assert!(told[0]["members"][0]["last_error"].as_str().unwrap().contains(reason), "{told}");
        let status = proxy.api("GET", "/api/v1/status", "").json();
        assert_eq!(status["backends"]["total"], 2);
        assert_eq!(status["backends"]["unhealthy"][0]["backend"], bad);
    }
}

#[test]
fn when_nobody_is_left_it_is_a_503_at_once_until_one_is_back() {
    let addresses = [free_address(), free_address()];
    let urls = addresses.map(|address| format!("http://{address}"));
    let proxy = TestProxy::start(&route(&urls, "[routes.health]\nunhealthy_after = 1\n"));
    assert_eq!(plain(&proxy).get(HOST, "/first").status, 502, "both were tried");
    for url in &urls {
        assert!(!up(&proxy, url));
    }
    // A trial now and then is a 502.
    let answer = eventually("a 503", || Some(plain(&proxy).get(HOST, "/x")).filter(|it| it.status == 503));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let id = answer.header("x-request-id").unwrap();
    assert!(answer.text().contains(id));
    let record = proxy.audit().wait_for("the 503", |record| record.request_id == id);
    assert_eq!((record.backend.as_str(), record.error.as_deref()), ("", Some("no healthy backend")));
    let backend = TestUpstream::at(&addresses[1].to_string(), |_| Response::new(Full::from("back")));
    // Uploads alone bring it back, too: there is nobody else to send them to.
    let upload = || plain(&proxy).method("POST").body("x").get(HOST, "/");
    let answer = eventually("it is back by itself", || Some(upload()).filter(|answer| answer.status == 200));
    assert_eq!(answer.text(), "back");
    assert!(up(&proxy, &urls[1]));
    for _ in 0..10 {
        assert_eq!(plain(&proxy).get(HOST, "/").status, 200);
    }
    drop(backend);
}

/// What a backend does with a request that it has read, what the client may get, and whether the answer may
/// break off.
type Misdeed = (&'static str, fn(&mut RawConnection), &'static [u16], bool);

const MISDEEDS: &[Misdeed] = &[
    ("closes", |_| {}, &[502], false),
    ("a reset", RawConnection::reset, &[502], false),
    ("half a head", |connection| connection.write(b"HTTP/1.1 200 OK\r\nContent-Le"), &[502], false),
    (
        "a reset in the head",
        |connection| {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Le");
            connection.reset();
        },
        &[502],
        false,
    ),
    ("garbage", |connection| connection.write(b"\x16\x03\x01 what?\r\n\r\n"), &[502], false),
    ("a hang", |connection| while connection.read_request().is_some() {}, &[504], false),
    (
        "slow, but there",
        |connection| {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
                connection.write(&[*byte]);
                thread::sleep(Duration::from_millis(5));
            }
        },
        &[200],
        false,
    ),
    (
        "less than it promised",
        |connection| connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        &[],
        true,
    ),
    (
        "a reset in the body",
        |connection| {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            connection.reset();
        },
        // The reset may overtake the head.
        &[502],
        true,
    ),
    (
        "a length and chunks",
        |connection| {
            connection.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            );
        },
        &[502],
        false,
    ),
    (
        "two lengths",
        |connection| {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nyes")
        },
        &[502],
        false,
    ),
];

#[test]
fn what_may_have_been_done_is_never_sent_twice() {
    for (name, misdeed, statuses, may_break) in MISDEEDS {
        let bad = || {
            RawUpstream::start(move |connection| {
                if connection.read_request().is_some() {
                    misdeed(connection);
                }
            })
        };
        let (one, two) = (bad(), bad());
        let limits = "[limits]\nbackend_timeout_secs = 1\n";
        let proxy = TestProxy::start(&format!("{limits}{}", route(&[one.url(), two.url()], "")));
        for (round, method) in ["POST", "PATCH", "PUT", "GET"].into_iter().enumerate() {
            let client = plain(&proxy).method(method);
            let client = if method == "GET" { client } else { client.body("one order") };
            match client.try_get(HOST, "/order") {
                Ok(answer) => assert!(statuses.contains(&answer.status), "{name}, {method}: {answer:?}"),
                Err(_) => assert!(may_break, "{name}, {method}: broken off"),
            }
            let asked = one.requests().len() + two.requests().len();
            assert_eq!(asked, round + 1, "{name}, {method}: sent more than once");
        }
        assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
    }
}

#[test]
fn a_backend_that_hangs_is_left_out() {
    let hanging = RawUpstream::silent();
    let backend = named("here");
    let limits = "[limits]\nbackend_timeout_secs = 1\n[[routes]]\nhost_prefix = \"other\"\nbackend = \"http://127.0.0.1:1\"\n";
    let list = route(&[hanging.url(), backend.url()], "[routes.health]\nunhealthy_after = 2\n");
    let proxy = TestProxy::start(&format!("{limits}{list}"));
    let mut statuses = Vec::new();
    while up(&proxy, &hanging.url()) {
        statuses.push(plain(&proxy).get(HOST, "/").status);
        assert!(statuses.len() < 20, "{statuses:?}");
    }
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 2, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 504].contains(status)), "{statuses:?}");
    eventually("the rest go to the other", || {
        let all = (0..5).all(|_| plain(&proxy).method("POST").body("x").get(HOST, "/").status == 200);
        all.then_some(())
    });
}

#[test]
fn a_request_that_makes_backends_fail_cannot_close_the_site() {
    let fragile = || {
        RawUpstream::start(|connection| {
            while let Some(request) = connection.read_request() {
                if request.contains("/poison") {
                    return;
                }
                connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        })
    };
    let (one, two) = (fragile(), fragile());
    let proxy = TestProxy::start(&route(&[one.url(), two.url()], ""));
    for _ in 0..12 {
        assert_eq!(plain(&proxy).get(HOST, "/poison").status, 502);
    }
    assert!(!up(&proxy, &one.url()) || !up(&proxy, &two.url()), "left out, as far as anybody else is there");
    for _ in 0..6 {
        assert_eq!(plain(&proxy).get(HOST, "/poison").status, 502);
        assert_eq!(plain(&proxy).get(HOST, "/").status, 200, "the others are served");
    }
}

#[test]
fn kept_connections_that_die_at_random_cost_no_get_and_repeat_no_post() {
    // Answers one to three requests of a connection; the next one it reads and hangs up.
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let backend = RawUpstream::start(move |connection| {
        let answers = 1 + counted.fetch_add(1, Ordering::Relaxed) % 3;
        for _ in 0..answers {
            let Some(request) = connection.read_request() else { return };
            let target = request.split(' ').nth(1).unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
            connection.write(head.as_bytes());
        }
        connection.read_request();
    });
    let other = TestUpstream::with(|seen| Response::new(Full::from(seen.target.clone())));
    let proxy = TestProxy::start(&route(&[backend.url(), other.url()], ""));
    for number in 0..60 {
        let target = format!("/get/{number}");
        let answer = plain(&proxy).get(HOST, &target);
        assert_eq!((answer.status, answer.text()), (200, target), "each its own answer");
    }
    assert!(retries(&proxy, "stale") > 0.5);
    for number in 0..60 {
        let target = format!("/post/{number}.");
        let answer = plain(&proxy).method("POST").body("x").get(HOST, &target);
        match answer.status {
            200 => assert_eq!(answer.text(), target),
            status => assert_eq!(status, 502),
        }
        let is_it = |request: &String| request.contains(&target);
        let here = backend.requests().iter().filter(|request| is_it(request)).count();
        let there = other.seen().iter().filter(|seen| seen.target == target).count();
        assert!(here + there <= 1, "{target} was sent {here} + {there} times");
    }
}

#[test]
fn a_kept_connection_that_ends_in_an_answer_costs_the_answer_and_repeats_nothing() {
    for begun in ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Half: ", "HTTP/1.1 102 Processing\r\n\r\n"] {
        let backend = RawUpstream::start(move |connection| {
            connection.read_request();
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            if connection.read_request().is_some() {
                connection.write(begun.as_bytes());
            }
        });
        let proxy = TestProxy::start(&route(&[backend.url()], ""));
        let mut stream = TcpStream::connect(proxy.http()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut statuses = Vec::new();
        for _ in 0..2 {
            // One connection of the client: one thread, whose kept connection the second request gets.
            write!(stream, "DELETE /order HTTP/1.1\r\nHost: {HOST}\r\n\r\n").unwrap();
            let mut answer = String::new();
            while !answer.contains("\r\n\r\nok") && !answer.contains("request id: ") {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap();
                assert!(count > 0, "{answer}");
                answer.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
            statuses.push(answer.split(' ').nth(1).unwrap().to_owned());
        }
        assert_eq!(statuses, ["200", "502"], "{begun:?}");
        assert_eq!(backend.requests().len(), 2, "{begun:?}: asked again");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_is_nobodys() {
    let backend = RawUpstream::start(|connection| {
        while connection.read_request().is_some() {
            connection.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
            );
        }
    });
    let proxy = TestProxy::start(&route(&[backend.url()], ""));
    for _ in 0..30 {
        assert_eq!(plain(&proxy).get(HOST, "/").text(), "mine");
    }
    assert_eq!(backend.requests().len(), 30);
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let answer =
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsmall";
            drop(stream.write_all(answer));
            // Reads on, as a server that lingers does, so that the answer is not lost to a reset.
            drop(std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    let backend = named("other");
    let proxy = TestProxy::start(&route(&[url, backend.url()], ""));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = plain(&proxy).method("POST").body(vec![b'x'; 3_000_000]).get(HOST, "/");
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 413, 413]);
    assert_eq!(asked.load(Ordering::Relaxed), 2, "an answer is an answer: not asked again");
}

#[test]
fn a_check_leaves_a_backend_out_and_brings_it_back() {
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = Arc::clone(&sick);
    let one = TestUpstream::with(move |seen| {
        let fails = seen.target == "/healthz?deep=1" && is_sick.load(Ordering::Relaxed);
        Response::builder().status(if fails { 503 } else { 200 }).body(Full::from("one")).unwrap()
    });
    let two = named("two");
    let health = "[routes.health]\npath = \"/healthz?deep=1\"\ninterval_secs = 1\nunhealthy_after = 2\n";
    let alone = format!(
        "[[routes]]\nhost = \"alone.example.test\"\ndisable_secure_redirection = true\nbackend = \"{}\"\n{health}",
        one.url()
    );
    let proxy = TestProxy::start(&format!("{}{alone}", route(&[one.url(), two.url()], health)));
    let checks = |backend: &TestUpstream| {
        let seen = backend.seen();
        seen.into_iter().filter(|seen| seen.target.starts_with("/healthz")).collect::<Vec<_>>()
    };
    let hosts = eventually("both routes check", || {
        let mut hosts: Vec<String> =
            checks(&one).iter().map(|seen| seen.header("host").unwrap().to_owned()).collect();
        hosts.sort();
        hosts.dedup();
        (hosts.len() == 2).then_some(hosts)
    });
    assert!(hosts.contains(&"alone.example.test".to_owned()), "the route's host, where it is one");
    assert!(hosts.contains(&one.address().to_string()), "else the backend's own");
    let check = checks(&one).pop().unwrap();
    assert_eq!(check.method, "GET");
    assert!(check.header("user-agent").unwrap().starts_with("sunbeam-health/"));
    assert!(up(&proxy, &one.url()));

    sick.store(true, Ordering::Relaxed);
    let answer = eventually("alone it is a 503", || {
        Some(plain(&proxy).get("alone.example.test", "/")).filter(|answer| answer.status == 503)
    });
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    eventually("the other list leaves it out, too", || {
        let told = proxy.api("GET", "/api/v1/backends", "").json();
        (told[0]["members"][0]["state"] == "check failed").then_some(())
    });
    assert!(!up(&proxy, &one.url()) && up(&proxy, &two.url()));
    for _ in 0..6 {
        assert_eq!(plain(&proxy).get(HOST, "/").text(), "two");
    }
    let told = proxy.api("GET", "/api/v1/backends", "").json();
    assert_eq!(told[0]["check"], "/healthz?deep=1");
    assert_eq!(told[0]["members"][0]["last_error"], "check: answered 503");

    sick.store(false, Ordering::Relaxed);
    eventually("it is back", || up(&proxy, &one.url()).then_some(()));
    let texts: Vec<String> = (0..2).map(|_| plain(&proxy).get(HOST, "/").text()).collect();
    assert!(texts.contains(&"one".to_owned()), "{texts:?}");
    assert_eq!(plain(&proxy).get("alone.example.test", "/").status, 200);

    // A reload that takes the check away stops it.
    proxy.reload(&route(&[one.url(), two.url()], "")).unwrap();
    let before = checks(&two).len();
    let quiet = RawUpstream::silent();
    proxy
        .reload(&route(
            &[quiet.url()],
            "[routes.health]\npath = \"/healthz\"\ninterval_secs = 1\ntimeout_secs = 1\n",
        ))
        .unwrap();
    eventually("two checks of the next backend", || (quiet.requests().len() >= 2).then_some(()));
    assert!(checks(&two).len() <= before + 1, "the old checks go on");
    eventually("a check that hangs is a failed one", || (!up(&proxy, &quiet.url())).then_some(()));
}

#[test]
fn a_reload_changes_the_list_under_load_without_a_failed_request() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let lists =
        [vec![a.url(), b.url()], vec![b.url(), c.url()], vec![c.url()], vec![a.url(), b.url(), c.url()]];
    let more = ["", "balance = \"least_connections\"", "balance = \"ip_hash\""];
    let proxy = TestProxy::builder().threads(2).config(&route(&lists[0], "")).start();
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..3 {
            let client = if number == 0 { proxy.client().http2() } else { plain(&proxy) };
            let (stop, served) = (&stop, &served);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get(HOST, "/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..24 {
            let before = served.load(Ordering::Relaxed);
            eventually("requests go on", || (served.load(Ordering::Relaxed) > before + 5).then_some(()));
            let list = &lists[round % lists.len()];
            proxy.reload(&route(list, more[round % more.len()])).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!([&a, &b, &c].iter().all(|backend| !backend.seen().is_empty()));
    assert!(proxy.metric("sunbeam_upstream_errors_total", &[]) < 0.5);
    proxy.reload(&route(&lists[2], "")).unwrap();
    let shown: Vec<_> = proxy.node().registry().series("sunbeam_backend_up");
    let shown: Vec<_> = shown.iter().filter_map(|series| series.label("backend")).collect();
    assert_eq!(shown, [c.url()], "the series of those that are gone are gone");
    for name in ["sunbeam_upstream_requests_total", "sunbeam_upstream_in_flight"] {
        assert_eq!(proxy.node().registry().series(name).len(), 1, "{name}");
    }
}

#[test]
fn a_reload_keeps_what_is_known_of_those_that_stay_and_a_removed_one_finishes() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let leaving = RawUpstream::start(move |connection| {
        if connection.read_request().is_some() && held.lock().unwrap().recv().is_ok() {
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        }
    });
    let (dead, backend) = (format!("http://{}", free_address()), named("here"));
    let health = "[routes.health]\nunhealthy_after = 1\n";
    let proxy = TestProxy::start(&route(&[leaving.url()], health));
    thread::scope(|scope| {
        let release = release;
        let client = plain(&proxy);
        let answer = scope.spawn(move || client.get(HOST, "/"));
        eventually("it has a request", || leaving.requests().pop());
        proxy.reload(&route(&[dead.clone(), backend.url()], health)).unwrap();
        for _ in 0..2 {
            assert_eq!(plain(&proxy).get(HOST, "/").text(), "here");
        }
        assert!(!up(&proxy, &dead));
        // Another backend beside it, another balance, another route: the same backend, the same policy.
        let more = format!("balance = \"least_connections\"\n{health}");
        proxy.reload(&route(&[leaving.url(), dead.clone(), backend.url()], &more)).unwrap();
        assert!(!up(&proxy, &dead), "still left out");
        assert_eq!(proxy.api("GET", "/api/v1/backends", "").json()[0]["members"][1]["state"], "left out");
        let running = proxy.api("GET", "/api/v1/config", "").json()["toml"].as_str().unwrap().to_owned();
        let tried = running.replace(&dead, "http://127.0.0.1:9");
        assert_eq!(proxy.api("POST", "/api/v1/config/apply?dry_run=true", &tried).status, 200);
        assert_eq!(
            proxy.node().registry().series("sunbeam_backend_up").len(),
            3,
            "a change that was only tried"
        );
        assert!(!answer.is_finished());
        release.send(()).unwrap();
        assert_eq!(answer.join().unwrap().text(), "done");
    });
}

#[test]
fn a_tunnel_goes_to_the_next_backend_and_counts_as_in_flight() {
    let dead = format!("http://{}", free_address());
    let backend = RawUpstream::start(|connection| {
        if connection.read_request().is_some() {
            connection.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
            );
            connection.read_request();
        }
    });
    let proxy = TestProxy::start(&route(&[dead.clone(), backend.url()], "websocket = true"));
    for _ in 0..3 {
        let mut stream = TcpStream::connect(proxy.http()).unwrap();
        let head = format!(
            "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"hello") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        assert!((in_flight(&proxy, &backend.url()) - 1.0).abs() < 0.1);
        assert!(in_flight(&proxy, &dead).abs() < 0.1);
        drop(stream);
        eventually("the tunnel is over", || (in_flight(&proxy, &backend.url()).abs() < 0.1).then_some(()));
    }
    assert_eq!(backend.requests().len(), 3);
    assert!(retries(&proxy, "connect") > 0.5);
}

#[test]
fn when_a_server_is_killed_the_other_takes_over() {
    let (python, node) = (Peer::start("app.py", &[]), Peer::start("node_app.mjs", &[]));
    let (one, two) = (python.url(), node.url());
    let proxy = TestProxy::start(&route(&[one.clone(), two.clone()], ""));
    let client = plain(&proxy);
    for _ in 0..4 {
        assert_eq!(client.get(HOST, "/echo").status, 200);
    }
    let asked = |url: &str| proxy.metric("sunbeam_upstream_requests_total", &[("backend", url)]);
    assert!(asked(&one) > 1.5 && asked(&two) > 1.5);
    drop(python);
    for number in 0..10 {
        let body = format!("upload {number}");
        assert_eq!(client.get(HOST, &format!("/echo?n={number}")).status, 200);
        let answer = plain(&proxy).method("POST").body(body.clone()).get(HOST, "/echo");
        assert_eq!(answer.json()["body_len"], body.len());
    }
    assert!(!up(&proxy, &one));
}

#[test]
fn a_check_speaks_tls_as_the_route_does() {
    let (ca, folder) = (TestCa::new(), TestFolder::new());
    let ca_path = ca.write_root(&folder);
    let backend = TestUpstream::tls(&ca.issue(&["127.0.0.1"]), |_| Response::new(Full::from("tls")));
    let url = format!("https://{}", backend.address());
    let health = "[routes.health]\npath = \"/\"\ninterval_secs = 1\nunhealthy_after = 1\nhealthy_after = 1\n";
    let proxy = TestProxy::start(&route(std::slice::from_ref(&url), health));
    eventually("an unknown issuer is not healthy", || (!up(&proxy, &url)).then_some(()));
    let told = proxy.api("GET", "/api/v1/backends", "").json();
    assert!(told[0]["members"][0]["last_error"].as_str().unwrap().contains("tls"), "{told}");
    assert!(backend.seen().is_empty());
    proxy
        .reload(&route(std::slice::from_ref(&url), &format!("backend_ca_path = {ca_path:?}\n{health}")))
        .unwrap();
    eventually("a known one is asked", || backend.seen().pop());
    assert!(up(&proxy, &url));
    assert_eq!(plain(&proxy).get(HOST, "/").text(), "tls");
}

#[test]
fn retries_are_a_share_of_the_requests() {
    let (dead, backend) = (format!("http://{}", free_address()), named("here"));
    let list = route(&[dead, backend.url()], "[routes.health]\nunhealthy_after = 100\n");
    let proxy = TestProxy::start(&list);
    let client = plain(&proxy);
    eventually("the budget is spent", || {
        let answer = client.get(HOST, "/");
        assert!([200, 502].contains(&answer.status));
        (proxy.metric("sunbeam_limit_hits_total", &[("limit", "retry_budget")]) > 0.5).then_some(())
    });
}

#[test]
fn the_backends_own_host_is_sent_to_each_when_the_clients_is_not_kept() {
    let (one, two) = (TestUpstream::echo(), TestUpstream::echo());
    let proxy = TestProxy::start(&route(&[one.url(), two.url()], "preserve_host = false"));
    for _ in 0..2 {
        let answer = raw_exchange(
            proxy.http(),
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    for backend in [&one, &two] {
        assert_eq!(backend.last().header("host"), Some(backend.address().to_string().as_str()));
    }
}
