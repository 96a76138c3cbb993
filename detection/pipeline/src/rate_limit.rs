// SPDX-License-Identifier: Apache-2.0
//! How much an identity may ask for.

use sunbeam_rate_limit::{Ask, Bound, Exempt};
use sunbeam_reputation::Held;
use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

use crate::memory::Memory;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::{Offender, Subject};

/// 429 with the true time to wait; who goes on all the same is blocked for a time.
#[derive(Debug)]
pub(crate) struct RateLimitStage;

impl Stage for RateLimitStage {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn layer(&self) -> Layer {
        Layer::RateLimit
    }

    fn judge(&self, subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement {
        if subject.is_trusted(rules) {
            return Judgement::PASS;
        }
        let (applied, client, kind) = (subject.applied, subject.facts.client, subject.identity.kind);
        let exempt = applied.limits(client, kind).fold(Exempt::default(), |all, (_, exempt)| all.and(exempt));
        let ask = Ask {
            identity: &subject.identity,
            route: subject.facts.route,
            method: subject.facts.method,
            path: subject.canonical,
            is_trial: subject.is_trial,
            exempt,
        };
        match memory.limiter.ask(&rules.limits, &ask, now) {
            Ok(grant) => {
                subject.charges = grant.charges;
                subject.quota = grant.quota;
                if !grant.exempted.is_nothing() {
                    let made_a_difference =
                        |(_, exempt): &(u16, Exempt)| !exempt.common(grant.exempted).is_nothing();
                    let used = applied.limits(client, kind).filter(made_a_difference);
                    used.for_each(|(exception, _)| subject.used.note(exception));
                }
                Judgement::PASS
            }
            Err(refusal) => {
                if refusal.bound.is_shared() {
                    let key = memory.behind(subject.identity.address);
                    subject.offender = Offender { key, held: Held::Behind };
                }
                // Of the whole node's bucket nobody is told.
                subject.quota = (refusal.bound != Bound::Global).then_some(refusal.quota);
                let blocked =
                    Judgement::block(refusal.bound.as_str(), 429).retry_after(refusal.retry_after_secs());
                if refusal.is_persistent { blocked.offence() } else { blocked }
            }
        }
    }
}
