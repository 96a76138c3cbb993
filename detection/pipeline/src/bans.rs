// SPDX-License-Identifier: Apache-2.0
//! Blocks that layers made earlier.

use sunbeam_reputation::Ban;
use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

use crate::ddos::WIDER_PREFIXES;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::Subject;

/// 429 until the block is over. Its layer answers for it: in shadow mode it holds nobody up.
#[derive(Debug)]
pub(crate) struct BanStage;

impl Stage for BanStage {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn layer(&self) -> Layer {
        Layer::Lists
    }

    fn judge(&self, subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement {
        if subject.is_trusted(rules) {
            return Judgement::PASS;
        }
        let Some(ban) = find(subject, rules, memory, now) else { return Judgement::PASS };
        let secs = ban.until.micros_since(now).div_ceil(1_000_000).max(1);
        let blocked = Judgement::block(ban.reason, 429).retry_after(secs);
        Judgement { on_behalf_of: Some(ban.layer), ..blocked }
    }
}

fn find(subject: &Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Option<Ban> {
    let identity = &subject.identity;
    let own = memory.bans.find(identity.key, now);
    if own.is_some() {
        return own;
    }
    let wider = WIDER_PREFIXES.iter().filter(|(bits, _)| *bits < rules.ipv6_prefix);
    let mut wider = wider.filter_map(|(bits, _)| memory.prefix(subject.facts.client, *bits));
    if !identity.is_authenticated() {
        return wider.find_map(|key| memory.bans.find(key, now));
    }
    // Whoever became known only after his address was blocked does not walk out by that.
    let since = memory.evidence.honoured_since(identity.key).unwrap_or(now).as_secs();
    let of_address = [identity.address].into_iter().chain(wider).filter_map(|key| memory.bans.find(key, now));
    let mut earlier = of_address.filter(|ban| ban.since.as_secs() <= since);
    earlier.next().or_else(|| memory.bans.find(memory.behind(identity.address), now))
}
