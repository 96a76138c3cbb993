// SPDX-License-Identifier: Apache-2.0
//! Layers that have proven themselves, and clients about whom their doubts are only watched all the same
//! (`detection.explore`).

use std::net::{IpAddr, Ipv4Addr};

use sunbeam_pipeline::{Decision, DetectionSection, PEOPLE, Why};
use sunbeam_traffic::{Layer, RequestFacts};

use crate::world::{LOOK, Visit, World};

const BUDGET: f64 = 0.05;
const CLIENTS: u32 = 2_000;
const HOUR_MICROS: u64 = 3_600_000_000;
const DAY_MICROS: u64 = 24 * HOUR_MICROS;

/// Half of an SQL comment: doubtful, and not certain.
const DOUBTED: (&str, &str) = ("/list", "q=x+--+y");
const CERTAIN: (&str, &str) = ("/item", "id=1%27%20union%20select%20password%20from%20users--%20");

fn exploring(explore: f64) -> World {
    World::detecting(&DetectionSection {
        explore,
        false_positive_budget: BUDGET,
        ..DetectionSection::default()
    })
}

/// An address in a network of its own.
fn address(first: u8, number: u32) -> IpAddr {
    let [_, second, third, fourth] = number.to_be_bytes();
    Ipv4Addr::new(first + second, third, fourth, 7).into()
}

fn log_in(world: &mut World, number: u32) {
    let name = number.to_string();
    let session = Some(name.as_str());
    let opens =
        Visit { path: "/login", status: 200, opens_session: session, is_log_in: true, ..Visit::default() };
    world.visit(address(23, number), &opens);
    come_back(world, number);
}

fn come_back(world: &mut World, number: u32) {
    let name = number.to_string();
    let known = Visit { path: "/account", status: 200, session: Some(&name), ..Visit::default() };
    assert!(world.visit(address(23, number), &known).identity.is_logged_in);
}

/// What is decided about a request of each of the clients whom nobody knows.
fn ask(world: &mut World, (path, query): (&'static str, &'static str)) -> Vec<Decision> {
    let facts = |number: u32| RequestFacts {
        client: address(91, number),
        host: "shop.example",
        path,
        query,
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        accept: b"text/html",
        accept_language: b"de",
        ..RequestFacts::EMPTY
    };
    (0..CLIENTS).map(|number| world.judge(&facts(number)).decision).collect()
}

fn prove(world: &mut World) {
    (0..59).for_each(|number| log_in(world, number));
    world.now_micros += DAY_MICROS;
    (0..59).for_each(|number| come_back(world, number));
    drop(world.pipeline.memory().proof.look(BUDGET, world.now()));
    assert!(world.pipeline.memory().proof.is_proven(Layer::Scanner));
}

fn share(decisions: &[Decision], of: Decision) -> f64 {
    decisions.iter().filter(|decision| **decision == of).count() as f64 / f64::from(CLIENTS)
}

#[test]
fn of_a_proven_layer_s_doubts_a_share_is_only_watched_an_hour_each_and_never_what_is_certain() {
    for explore in [0.0, 0.05, 0.2, 1.0] {
        let mut world = exploring(explore);
        assert_eq!(share(&ask(&mut world, DOUBTED), Decision::Observed), 1.0, "nothing is proven yet");
        prove(&mut world);
        // At the beginning of an hour.
        world.now_micros = world.now_micros.next_multiple_of(HOUR_MICROS);
        let first = ask(&mut world, DOUBTED);
        let watched = share(&first, Decision::Observed);
        // Four standard deviations of a binomial share.
        let most = 4.0 * (explore * (1.0 - explore) / f64::from(CLIENTS)).sqrt();
        assert!((watched - explore).abs() <= most, "{explore}: {watched}");
        assert!((share(&first, Decision::Blocked) - (1.0 - watched)).abs() < 1e-9, "{explore}");
        world.now_micros += HOUR_MICROS - 1_000_000;
        assert!(first == ask(&mut world, DOUBTED), "{explore}: the same clients for the whole hour");
        world.now_micros += 1_000_000;
        let next = ask(&mut world, DOUBTED);
        assert_eq!(first != next, explore > 0.0 && explore < 1.0, "{explore}: then others have their turn");
        assert_eq!(share(&ask(&mut world, CERTAIN), Decision::Blocked), 1.0, "{explore}: certain is certain");
    }
}

#[test]
fn a_person_who_is_only_watched_is_evidence_as_one_who_is_stopped() {
    for (explore, decided) in [(0.0, Decision::Blocked), (1.0, Decision::Observed)] {
        let mut world = exploring(explore);
        prove(&mut world);
        let facts = |cookies| RequestFacts {
            client: address(23, 7),
            host: "shop.example",
            path: DOUBTED.0,
            query: DOUBTED.1,
            cookies,
            ja4: LOOK,
            ..RequestFacts::EMPTY
        };
        assert_eq!(world.judge(&facts(&[b"session=7"])).decision, decided);
        let standings = world.pipeline.memory().proof.standings(BUDGET, world.now());
        let scanner = standings.iter().find(|standing| standing.layer == Layer::Scanner).unwrap();
        assert_eq!((scanner.known.people, scanner.known.hurt), (59, 1), "{explore}");
        assert_eq!(scanner.why, Why::OverBudget, "{explore}");
    }
}

/// Of the scanner: people who count, and those of them that were hurt; and of the flood guard, which has nothing against
/// them: those whom another layer is certain about are none.
fn counted(world: &World) -> ([u64; 2], u64) {
    let standings = world.pipeline.memory().proof.standings(BUDGET, world.now());
    let known = |layer| standings.iter().find(|standing| standing.layer == layer).unwrap().known;
    let scanner = known(Layer::Scanner);
    ([scanner.people, scanner.hurt], known(Layer::Ddos).people)
}

fn ask_as_7(world: &mut World, (path, query): (&'static str, &'static str), is_page_made: bool) -> Decision {
    let facts = RequestFacts {
        client: address(23, 7),
        host: "shop.example",
        path,
        query,
        cookies: &[b"session=7"],
        ja4: LOOK,
        is_page_made,
        ..RequestFacts::EMPTY
    };
    let judged = world.judge(&facts);
    assert!(judged.identity.is_logged_in);
    judged.decision
}

#[test]
fn what_a_page_made_somebodys_browser_ask_for_counts_neither_for_nor_against_anybody() {
    for (name, target, is_page_made, want) in [
        ("an image that is doubted", DOUBTED, true, ([59, 0], 59)),
        ("an image that is an attack", CERTAIN, true, ([59, 0], 59)),
        ("what somebody asks for", DOUBTED, false, ([59, 1], 59)),
        ("an attack of somebody", CERTAIN, false, ([59, 0], 58)),
    ] {
        let mut world = exploring(0.0);
        prove(&mut world);
        assert_eq!(counted(&world), ([59, 0], 59));
        for _ in 0..3 {
            assert_eq!(
                ask_as_7(&mut world, target, is_page_made),
                Decision::Blocked,
                "{name}: stopped as ever"
            );
        }
        assert_eq!(counted(&world), want, "{name}");
    }
}

/// Whoever says of his own requests that a page made them has an account that could as well have behaved: no doubt of
/// his is evidence then, and what he asks for without saying so is held against him as ever.
#[test]
fn an_attacker_who_calls_his_requests_images_gains_nothing() {
    let mut world = exploring(0.0);
    prove(&mut world);
    for _ in 0..50 {
        assert_eq!(ask_as_7(&mut world, CERTAIN, true), Decision::Blocked);
        assert_eq!(ask_as_7(&mut world, DOUBTED, true), Decision::Blocked);
    }
    assert_eq!(counted(&world), ([59, 0], 59), "as one who behaves");
    // Nor does he come back by that.
    log_in(&mut world, 100);
    world.now_micros += DAY_MICROS;
    let image = RequestFacts {
        client: address(23, 100),
        host: "shop.example",
        cookies: &[b"session=100"],
        is_page_made: true,
        ..RequestFacts::EMPTY
    };
    assert!(world.judge(&image).identity.is_logged_in);
    assert_eq!(counted(&world), ([59, 0], 59));
    ask_as_7(&mut world, CERTAIN, false);
    assert_eq!(counted(&world), ([59, 0], 58), "an attack that he owns to");
}

#[test]
fn one_pass_is_one_person_from_however_many_networks() {
    let mut world = exploring(0.0);
    let solve = |world: &mut World, number: u32, pass: &[u8], is_page_made| {
        let facts = RequestFacts {
            client: address(91, number),
            host: "shop.example",
            path: DOUBTED.0,
            query: DOUBTED.1,
            is_page_made,
            ..RequestFacts::EMPTY
        };
        let judged = world.judge(&facts);
        world.pipeline.note_solver(&judged, Layer::Scanner, "", pass);
        world.pipeline.memory().proof.people(world.now()).len()
    };
    for number in 0..1_024 {
        assert_eq!(solve(&mut world, number, b"pass 1", false), 1);
    }
    assert_eq!(solve(&mut world, 5, b"pass 2", false), 2);
    assert_eq!(solve(&mut world, 6, b"pass 3", true), 2, "an image that comes with a pass");
    let standings = world.pipeline.memory().proof.standings(BUDGET, world.now());
    assert!(standings.iter().all(|standing| standing.newcomers == 2));
    // Whoever comes back with it from elsewhere is who came before.
    world.now_micros += DAY_MICROS;
    assert_eq!(solve(&mut world, 77, b"pass 1", false), 2);
    let ddos = world.pipeline.memory().proof.standings(BUDGET, world.now())[0];
    assert_eq!((ddos.layer, ddos.solvers.people, ddos.newcomers), (Layer::Ddos, 1, 1));
}

/// Accounts can be made by machines: as many as they are, what is remembered is bounded, and told of.
#[test]
fn more_people_than_there_are_places_push_each_other_out_and_are_counted() {
    let mut world = exploring(0.0);
    let many = u32::try_from(PEOPLE).unwrap() + 20_000;
    for number in 0..many {
        if number.is_multiple_of(100) {
            world.now_micros += 10_000_000;
        }
        log_in(&mut world, number);
    }
    let proof = &world.pipeline.memory().proof;
    let (kept, forgotten) = (proof.people(world.now()).len() as u64, proof.forgotten());
    assert!(kept <= PEOPLE as u64 && kept > PEOPLE as u64 * 9 / 10, "{kept}");
    assert_eq!(kept + forgotten, u64::from(many), "{kept} {forgotten}");
    let standings = proof.standings(BUDGET, world.now());
    assert!(standings.iter().all(|standing| standing.newcomers == kept && !standing.is_proven()));
}
