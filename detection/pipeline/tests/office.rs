// SPDX-License-Identifier: Apache-2.0
//! Fifty people behind one address.

use std::net::{IpAddr, Ipv4Addr};

use sunbeam_pipeline::Decision;

use crate::world::{Visit, World};

const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
const PEOPLE: u64 = 50;
const MINUTES: u64 = 15;

/// The one who turns scanner.
pub(crate) const SCANNER: u64 = 11;

fn is_refused(world: &mut World, visit: &Visit<'_>) -> bool {
    world.visit(OFFICE, visit).decision == Decision::Blocked
}

/// A page and its eight files, for everybody thirty times a minute, each at a moment of his own. They come to work
/// within a minute, without a session, and have one from the first page on. Returns the refusals of each.
pub(crate) fn work(world: &mut World, mut also: impl FnMut(&mut World, u64)) -> Vec<u64> {
    let mut refusals = vec![0; usize::try_from(PEOPLE).unwrap()];
    let mut is_known = vec![false; usize::try_from(PEOPLE).unwrap()];
    for second in 0..MINUTES * 60 {
        for person in (0..PEOPLE.min(second + 1)).filter(|person| (second + person * 7) % 2 == 0) {
            world.now_micros = 1_000_000_000 + second * 1_000_000 + person * 19_000;
            let session = format!("real-{person}");
            let at = usize::try_from(person).unwrap();
            let page = Visit {
                path: "/board",
                session: is_known[at].then_some(session.as_str()),
                status: 200,
                opens_session: Some(&session),
                ..Visit::default()
            };
            let is_out = is_refused(world, &page);
            is_known[at] |= !is_out;
            let page = Visit { session: is_known[at].then_some(session.as_str()), ..page };
            let refused = &mut refusals[at];
            *refused += u64::from(is_out);
            for file in 0..8 {
                let path = format!("/assets/{file}.css");
                let file = Visit { path: &path, opens_session: None, is_file: true, ..page.clone() };
                *refused += u64::from(is_refused(world, &file));
            }
        }
        also(world, second);
    }
    refusals
}

#[test]
fn fifty_people_who_work_behind_one_address_are_never_refused() {
    let mut world = World::new();
    let refusals = work(&mut world, |_, _| ());
    assert_eq!(refusals.iter().sum::<u64>(), 0, "{refusals:?}");
    assert!(world.pipeline.memory().bans.all(world.now()).is_empty());
}

/// As [`work`], with one of them who begins to probe after two minutes. Returns how many probes got through, too.
pub(crate) fn with_a_scanner() -> (Vec<u64>, u64) {
    let (mut world, mut through) = (World::new(), 0);
    let session = format!("real-{SCANNER}");
    let refusals = work(&mut world, |world, second| {
        for probe in 0..if second < 120 { 0 } else { 10 } {
            let path = format!("/probe-{second}-{probe}");
            let visit = Visit { path: &path, session: Some(&session), status: 404, ..Visit::default() };
            through += u64::from(!is_refused(world, &visit));
        }
    });
    (refusals, through)
}

#[test]
fn when_one_of_them_turns_scanner_he_alone_is_stopped() {
    let (refusals, through) = with_a_scanner();
    assert!(through <= 100, "{through} probes got through");
    for (person, refused) in (0..).zip(&refusals) {
        assert_eq!(*refused > 0, person == SCANNER, "{person}: {refused} refusals");
    }
}
