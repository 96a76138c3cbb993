// SPDX-License-Identifier: Apache-2.0
//! What judging costs and withstands; `cargo xtask figures judge --measure` reads the lines.
//!
//! Times are the least of many batches: whatever else the machine does only adds.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../tests/office.rs"]
mod office;
#[path = "../tests/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sunbeam_features::{FULL_COST, Window, WindowEvent, WindowShape};
use sunbeam_pipeline::{Decision, Scratch};
use sunbeam_rate_limit::{Ask, Identity, Limiter, RateLimitSection, Rules};
use sunbeam_tables::{FixedTable, HashKey, Moment, PrefixMap};
use sunbeam_traffic::{IdentityKind, RequestFacts};

use crate::world::World;

const HASH: HashKey = HashKey::fixed(7);

fn main() {
    windows();
    forged();
    limits();
    prefixes();
    requests();
    office();
    floods();
}

fn say(name: &str, value: impl std::fmt::Display) {
    println!("{name} {value}");
}

/// Nanoseconds of one call.
fn nanoseconds(calls: u32, batches: u32, mut call: impl FnMut(u32)) -> f64 {
    let mut least = f64::MAX;
    for batch in 0..batches {
        let begun = Instant::now();
        for number in 0..calls {
            call(batch.wrapping_mul(calls).wrapping_add(number));
        }
        least = least.min(begun.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    least
}

/// The same numbers again and again, in an order that no prefetcher knows.
fn scattered(number: u32, of: u32) -> u32 {
    u32::try_from((u64::from(number.wrapping_mul(2_654_435_761)) * u64::from(of)) >> 32).unwrap()
}

fn update(table: &FixedTable<Window>, client: u32, number: u32, shape: &WindowShape) -> [u32; 14] {
    let key = HASH.number(0, client.into());
    // With a thousand clients ten requests a second of each, with a million two in three minutes.
    let now = Moment::from_micros(1_000_000_000 + u64::from(number) * 100);
    let event = WindowEvent {
        path: u64::from(number),
        cost: FULL_COST,
        has_language: true,
        ..WindowEvent::default()
    };
    table.with(key, now, |window| {
        window.add(&event, now, shape);
        window.features(now, shape)
    })
}

fn windows() {
    let shape = WindowShape::new(60, 1000);
    for (name, clients, places, batches) in
        [("window_hot_ns", 1_000, 8_000, 60), ("window_million_ns", 1_000_000, 1_400_000, 5)]
    {
        let table = FixedTable::<Window>::of_places(places);
        (0..clients).for_each(|client| {
            black_box(update(&table, client, client, &shape));
        });
        let calls = if clients > 10_000 { 1_000_000 } else { 100_000 };
        let cost = nanoseconds(calls, batches, |number| {
            black_box(update(&table, scattered(number, clients), number, &shape));
        });
        say(name, cost);
    }
    say("window_bytes", FixedTable::<Window>::bytes_a_place());
}

/// 20 million forged addresses, each once, while 20,000 clients come back every few seconds.
fn forged() {
    let shape = WindowShape::new(60, 1000);
    let table = FixedTable::<Window>::of_bytes(71_000_000);
    let before = resident_kib();
    let visit = |client: u32, micros: u64| {
        let now = Moment::from_micros(1_000_000_000 + micros);
        table.with(HASH.number(1, client.into()), now, |window| {
            window.add(&WindowEvent { cost: FULL_COST, ..WindowEvent::default() }, now, &shape);
        });
    };
    // A page and what belongs to it, before the flood; then twenty seconds of a million forged ones each.
    (0..20_000).for_each(|client| (0..4).for_each(|part| visit(client, part)));
    for second in 0..20_u64 {
        for part in 0..1_000_u64 {
            let micros = (second * 1_000 + part) * 1_000;
            for number in 0..1_000 {
                let address = u128::from((second * 1_000 + part) * 1_000 + number);
                table.with(HASH.number(2, address), Moment::from_micros(1_000_000_000 + micros), |window| {
                    let now = Moment::from_micros(1_000_000_000 + micros);
                    window.add(&WindowEvent { cost: FULL_COST, ..WindowEvent::default() }, now, &shape);
                });
            }
            // Each client every four seconds.
            (0..5).for_each(|step| {
                visit(u32::try_from((part * 5 + step + second % 4 * 5_000) % 20_000).unwrap(), micros)
            });
        }
    }
    let now = Moment::from_micros(1_020_000_000);
    let kept = (0..20_000_u32).filter(|client| {
        let window = table.peek(HASH.number(1, u128::from(*client)));
        window.is_some_and(|mut window| window.totals(now, &shape).requests >= 8)
    });
    say("forged_kept_percent", f64::from(u32::try_from(kept.count()).unwrap()) / 200.0);
    say("forged_memory_growth_kib", resident_kib().saturating_sub(before));
}

fn limits() {
    let limiter = Limiter::new(65_536, HASH);
    let rules = Rules::new(&RateLimitSection::default(), 60, Vec::new());
    let ask = |number: u32| {
        let key = HASH.number(0, scattered(number, 1_000).into());
        let identity = Identity { kind: IdentityKind::Address, key, address: key, is_logged_in: false };
        let ask = Ask {
            identity: &identity,
            route: 0,
            method: "GET",
            path: b"/",
            is_trial: false,
            exempt: sunbeam_rate_limit::Exempt::default(),
        };
        black_box(limiter.ask(&rules, &ask, Moment::from_micros(u64::from(number) * 200)).is_ok());
    };
    say("rate_limit_ns", nanoseconds(100_000, 60, ask));
    // The same by eight threads at once, over its time by one: 1 is as if they were never in each other's way.
    let alone = threads(1, &ask);
    say("rate_limit_contention", threads(8, &ask) / alone);
}

/// Nanoseconds of processor time of one call, when so many threads call.
fn threads(count: u32, ask: &(impl Fn(u32) + Sync)) -> f64 {
    const CALLS: u32 = 4_000_000;
    let mut least = f64::MAX;
    for _ in 0..3 {
        let before = processor_ticks();
        std::thread::scope(|scope| {
            for thread in 0..count {
                scope.spawn(move || (0..CALLS).for_each(|number| ask(number.wrapping_mul(8) + thread)));
            }
        });
        #[expect(clippy::cast_precision_loss, reason = "hundredths of a second")]
        let ticks = (processor_ticks() - before) as f64;
        least = least.min(ticks / f64::from(count * CALLS));
    }
    least
}

/// User and system time of this process, in hundredths of a second.
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn prefixes() {
    let network = |number: u32| {
        let spread = number.wrapping_mul(2_654_435_761);
        if number.is_multiple_of(4) {
            let address = 0x2001_0db8 << 96 | u128::from(spread) << 64 | u128::from(number) << 48;
            IpNet::from(Ipv6Net::new(address.into(), 64).unwrap().trunc())
        } else {
            let length = 20 + u8::try_from(number % 13).unwrap();
            IpNet::from(Ipv4Net::new(spread.into(), length).unwrap().trunc())
        }
    };
    let map = PrefixMap::new((0..1_000_000).map(|number| (network(number), number)));
    say("prefixes", map.len());
    let v4 = nanoseconds(200_000, 20, |number| {
        black_box(map.find(IpAddr::from(Ipv4Addr::from(number.wrapping_mul(2_246_822_519)))));
    });
    let v6 = nanoseconds(200_000, 20, |number| {
        let spread = scattered(number, 1_000_000).wrapping_mul(4);
        let IpNet::V6(network) = network(spread) else { return };
        black_box(map.find(network.addr().into()));
    });
    say("prefix_v4_ns", v4);
    say("prefix_v6_ns", v6);
}

/// A whole decision and its observation.
fn requests() {
    let mut world = World::new();
    let visit = world::Visit { path: "/docs/getting-started", status: 200, ..world::Visit::default() };
    let cost = nanoseconds(20_000, 20, |number| {
        world.now_micros += 2_000;
        let client = Ipv4Addr::from(0xc633_6400 | (number % 256));
        black_box(world.visit(client.into(), &visit));
    });
    say("judge_and_observe_ns", cost);
}

fn office() {
    let mut world = World::new();
    let refusals: u64 = office::work(&mut world, |_, _| ()).iter().sum();
    say("office_refusals", refusals);
    let (refusals, through) = office::with_a_scanner();
    let of_others = (0..).zip(&refusals).filter(|(person, _)| *person != office::SCANNER);
    say("office_refusals_of_others", of_others.map(|(_, refused)| *refused).sum::<u64>());
    say("office_probes_through", through);
}

/// Ten thousand quiet addresses after two ordinary minutes; and a crowd of browsers.
fn floods() {
    let mut world = World::new();
    let (mut scratch, mut first, mut crowd) = (Scratch::default(), None, 0_u32);
    for second in 0..240_u64 {
        for part in 0..500_u32 {
            let now = Moment::from_micros(1_000_000_000 + second * 1_000_000 + u64::from(part) * 2_000);
            let number = u32::try_from(second).unwrap() * 500 + part;
            let person = RequestFacts {
                client: Ipv4Addr::from((number / 9).wrapping_mul(2_654_435_761)).into(),
                ja4: if number / 9 % 3 == 0 {
                    "t13d1717h2_5b57614c22b0_3cbfd9057e0d"
                } else {
                    "t13d1516h2_8daaf6152771_02713d6af862"
                },
                header_order: u64::from(number / 9 % 3),
                path: [
                    "/article", "/a.css", "/b.css", "/a.js", "/b.js", "/1.png", "/2.png", "/3.png", "/4.png",
                ][usize::try_from(number % 9).unwrap()],
                user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                accept: b"text/html",
                accept_language: b"de",
                referer: b"https://news.example/",
                ..RequestFacts::EMPTY
            };
            let judged = world.pipeline.judge(&person, now, &mut scratch);
            crowd += u32::from(judged.reason == "distributed_flood");
            if second >= 120 {
                let bot = RequestFacts {
                    client: Ipv4Addr::from((number % 10_000).wrapping_mul(2_246_822_519)).into(),
                    ja4: "t13d190900_9dc949149365_97f8aa674fd9",
                    header_order: 77,
                    path: "/search",
                    user_agent: "Mozilla/5.0",
                    ..RequestFacts::EMPTY
                };
                let judged = world.pipeline.judge(&bot, now, &mut scratch);
                if judged.decision == Decision::Observed && first.is_none() {
                    first = Some(second * 1_000 + u64::from(part) * 2 - 120_000);
                }
            }
        }
        world.now_micros += 1_000_000;
    }
    say("flood_flagged_ms", first.unwrap_or(u64::MAX));
    let now = Moment::from_micros(1_000_000_000 + 239_000_000);
    let named = world.pipeline.memory().floods.all(now).iter().any(|report| {
        report.flood.ja4.as_deref() == Some("t13d190900_9dc949149365_97f8aa674fd9")
            && report.flood.header_order == Some(77)
    });
    say("flood_named", u8::from(named));
    say("crowd_flagged", crowd);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
