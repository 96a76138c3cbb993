// SPDX-License-Identifier: Apache-2.0
//! Whether a request is one of very many that do the same thing.

use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

use crate::floods::Arrival;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::Subject;

/// Suspicion, never certainty: somebody may be an ordinary client of the same make. 429 where it is enforced; who has
/// logged in is left alone.
#[derive(Debug)]
pub(crate) struct FloodStage;

impl Stage for FloodStage {
    fn name(&self) -> &'static str {
        "flood"
    }

    fn layer(&self) -> Layer {
        Layer::Ddos
    }

    fn judge(&self, subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement {
        /// A flood is over, or at least looked at again, in so many seconds.
        const RETRY_SECS: u64 = 10;
        if subject.is_trusted(rules) {
            return Judgement::PASS;
        }
        let facts = subject.facts;
        let arrival = Arrival {
            route: rules.route_key(facts.route),
            ja4: facts.ja4,
            header_order: facts.header_order,
            client: facts.client,
            address: subject.identity.address,
            path: subject.hashes.path.hash,
            evidence: subject.evidence.weight,
            has_cookies: !facts.cookies.is_empty(),
            has_referer: !facts.referer.is_empty(),
            is_asset: is_asset(subject.canonical),
        };
        let is_of_flood = if subject.is_trial {
            memory.floods.is_flagged(&arrival, &memory.hash, now)
        } else {
            memory.floods.arrive(&arrival, &memory.hash, now)
        };
        if is_of_flood && !subject.identity.is_logged_in {
            return Judgement::doubtful("distributed_flood", 429).retry_after(RETRY_SECS);
        }
        Judgement::PASS
    }
}

/// What browsers fetch along with a page.
fn is_asset(path: &[u8]) -> bool {
    let Some(dot) = path.iter().rposition(|byte| *byte == b'.') else { return false };
    matches!(
        path.get(dot + 1..).unwrap_or_default(),
        b"css"
            | b"js"
            | b"mjs"
            | b"png"
            | b"jpg"
            | b"jpeg"
            | b"gif"
            | b"svg"
            | b"webp"
            | b"avif"
            | b"ico"
            | b"woff"
            | b"woff2"
            | b"ttf"
            | b"mp4"
            | b"webm"
            | b"map"
            | b"webmanifest"
    )
}
