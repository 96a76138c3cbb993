// SPDX-License-Identifier: Apache-2.0
//! Nothing is allocated where every request passes.

use std::net::IpAddr;
use std::sync::Arc;

use sunbeam_features::{FULL_COST, Window, WindowEvent, WindowShape};
use sunbeam_pipeline::{Challenger, Models};
use sunbeam_rate_limit::{Ask, Identity, Limiter, RateLimitSection, Rules};
use sunbeam_tables::{FixedTable, HashKey, Moment, PrefixMap};
use sunbeam_traffic::{IdentityKind, RequestFacts};

use crate::world::{Visit, World};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn windows_limits_lists_and_whole_decisions_allocate_nothing() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0_u8; 100]))) > 0, "it counts");
    let hash = HashKey::fixed(1);
    let (table, shape) = (FixedTable::<Window>::of_places(1000), WindowShape::new(60, 1000));
    let windows = allocations(|| {
        for number in 0..5_000_u32 {
            let now = Moment::from_micros(u64::from(number) * 900);
            let event = WindowEvent { path: number.into(), cost: FULL_COST, ..WindowEvent::default() };
            table.with(hash.number(0, number.into()), now, |window| {
                window.add(&event, now, &shape);
                window.features(now, &shape)
            });
        }
    });
    let (limiter, rules) =
        (Limiter::new(1000, hash), Rules::new(&RateLimitSection::default(), 60, Vec::new()));
    let limits = allocations(|| {
        for number in 0..5_000_u64 {
            let identity = Identity {
                kind: IdentityKind::Session,
                key: number % 50,
                address: number % 7,
                is_logged_in: false,
            };
            let ask = Ask {
                identity: &identity,
                route: 0,
                method: "GET",
                path: b"/",
                is_trial: false,
                exempt: sunbeam_rate_limit::Exempt::default(),
            };
            let _granted = limiter.ask(&rules, &ask, Moment::from_micros(number)).is_ok();
        }
    });
    let map = PrefixMap::new(
        (0..2_000_u32).filter_map(|n| Some((format!("10.{}.{}.0/24", n / 256, n % 256).parse().ok()?, n))),
    );
    let prefixes = allocations(|| {
        assert!((0..200_u8).all(|n| map.find(IpAddr::from([10, 1, n, 9])).is_some()));
    });
    // With another model beside each, and one that knows the application.
    let defaults = Models::default();
    let mut knowing = (*defaults.scanner).clone();
    knowing.application.doubtful = 1;
    let models = Models {
        scanner: Arc::new(knowing),
        scanner_challenger: Some(Arc::new(Challenger::new(Arc::clone(&defaults.scanner)))),
        ddos_challenger: Some(Arc::new(Challenger::new(Arc::clone(&defaults.ddos)))),
        ..defaults
    };
    let mut world = World::new().judged_by(models);
    let visit = Visit { path: "/docs/%67etting//started", status: 200, ..Visit::default() };
    // The first of a client makes its buffer and remembers its user agent.
    world.visit(IpAddr::from([198, 51, 100, 1]), &visit);
    let decisions = allocations(|| {
        for number in 0..2_000_u32 {
            world.now_micros += 200_000;
            world.visit(IpAddr::from([198, 51, 100, u8::try_from(number % 200).unwrap_or(0)]), &visit);
        }
    });
    assert_eq!((windows, limits, prefixes, decisions), (0, 0, 0, 0));
}

/// Whoever sends more to read, and more that looks like an attack, does not thereby make us allocate.
#[test]
fn reading_what_is_long_and_suspicious_allocates_nothing() {
    let long = "q=union+select+1,2--+%3Cscript%3E&".repeat(200);
    let queries = ["q=1%27+OR+%271%27%3D%271", "f=%252e%252e%252f%252e%252e%252fetc%252fpasswd", &long];
    let cookies: [&[u8]; 2] = [b"theme=dark; session=f00; note=<script>alert(1)</script>", b"a=b"];
    let facts = |query, number: u8| RequestFacts {
        client: IpAddr::from([198, 51, 100, number]),
        host: "shop.example",
        path: "/search/%2e%2e/%2e%2e/etc/passwd",
        query,
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        referer: b"https://shop.example/?q=%27",
        cookies: &cookies,
        ..RequestFacts::EMPTY
    };
    let mut knowing = (*Models::default().scanner).clone();
    knowing.application.doubtful = 1;
    let mut world = World::new().judged_by(Models { scanner: Arc::new(knowing), ..Models::default() });
    world.judge(&facts(queries[0], 1));
    let doubted = queries.map(|query| world.judge(&facts(query, 1)).scores.payload > Some(0));
    assert_eq!(doubted, [true; 3], "they are read, and look like what they are");
    assert_eq!(world.judge(&facts(queries[0], 1)).scores.application, Some(-1), "all parts are read, too");
    let decisions = allocations(|| {
        for (number, query) in (0..150_u8).zip(queries.into_iter().cycle()) {
            world.now_micros += 200_000;
            world.judge(&facts(query, number));
        }
    });
    assert_eq!(decisions, 0);
}
