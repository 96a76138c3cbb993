// SPDX-License-Identifier: Apache-2.0
//! What a request looks like. So far: whether a crawler is who it says, and what its kind may do.

use sunbeam_rate_limit::{Limit, TOKEN};
use sunbeam_reputation::{Bot, BotPolicy, Proof};
use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

use crate::memory::Memory;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::Subject;

/// 403 for who only says that it is a crawler, and for kinds of crawlers that are not wanted; 429 for those that
/// are to come slowly. Everybody may read robots.txt.
#[derive(Debug)]
pub(crate) struct ScannerStage;

impl Stage for ScannerStage {
    fn name(&self) -> &'static str {
        "scanner"
    }

    fn layer(&self) -> Layer {
        Layer::Scanner
    }

    fn judge(&self, subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement {
        let Some((bot, proof)) = subject.crawler(rules) else {
            return if subject.evidence.is_whole { Judgement::pass("browser") } else { Judgement::PASS };
        };
        if subject.canonical == b"/robots.txt" {
            return Judgement::pass("robots_txt");
        }
        if proof == Proof::Unknown && bot.policy != BotPolicy::Deny && !subject.is_trial {
            // Only about those who got so far: whoever is blocked raises no questions.
            memory.proofs.ask(bot, subject.facts.client, now);
        }
        match (bot.policy, proof) {
            (_, Proof::Refuted) => Judgement::block("fake_crawler", 403),
            (BotPolicy::Deny, _) => Judgement::block("crawler_denied", 403),
            (BotPolicy::Limit, proof) => limited(bot, proof, subject, rules, memory, now),
            (BotPolicy::Allow, Proof::Verified) => Judgement::pass("verified_crawler"),
            (BotPolicy::Allow, Proof::Unknown) => Judgement::pass("unproved_crawler"),
        }
    }
}

/// One that proved itself has one pace wherever it comes from; who only says so has his address's.
fn limited(
    bot: &Bot,
    proof: Proof,
    subject: &Subject<'_>,
    rules: &Rules,
    memory: &Memory,
    now: Moment,
) -> Judgement {
    let Some(limit) = Limit::new(1, 1.0 / f64::from(rules.bots.crawl_delay_secs.max(1))) else {
        return Judgement::PASS;
    };
    let whose = if proof == Proof::Verified { 0 } else { subject.identity.address };
    let key = memory.hash.bytes(whose, bot.token.as_bytes());
    let taken = memory.crawls.with(key, now, |bucket| {
        let taken = bucket.take(TOKEN, &limit, now);
        if subject.is_trial && taken.is_ok() {
            bucket.give_back(TOKEN);
        }
        taken
    });
    match taken {
        Ok(()) => Judgement::pass("crawler_in_its_pace"),
        Err(refused) => Judgement::block("crawler_too_fast", 429)
            .retry_after(refused.wait_micros.div_ceil(1_000_000).max(1)),
    }
}
