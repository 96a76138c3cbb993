// SPDX-License-Identifier: Apache-2.0
//! What a request looks like: whether a crawler is who it says and what its kind may do, and what the models say of
//! path, headers and texts.

use sunbeam_ensemble::ScannerModel;
use sunbeam_features::scanner;
use sunbeam_rate_limit::{Limit, TOKEN};
use sunbeam_reputation::{Bot, BotPolicy, Proof};
use sunbeam_tables::Moment;
use sunbeam_traffic::{Layer, Verdict};

use crate::memory::Memory;
use crate::payload;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::Subject;

/// 403 for who only says that it is a crawler, for kinds of crawlers that are not wanted, and for probes and exploits;
/// 429 for crawlers that are to come slowly. Everybody may read robots.txt.
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
            let passes = if subject.evidence.is_whole { Judgement::pass("browser") } else { Judgement::PASS };
            return by_models(subject, rules, passes);
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
            (BotPolicy::Limit, proof) => match limited(bot, proof, subject, rules, memory, now) {
                passes if passes.verdict == Verdict::Pass && proof != Proof::Verified => {
                    by_models(subject, rules, passes)
                }
                said => said,
            },
            (BotPolicy::Allow, Proof::Verified) => Judgement::pass("verified_crawler"),
            (BotPolicy::Allow, Proof::Unknown) => {
                by_models(subject, rules, Judgement::pass("unproved_crawler"))
            }
        }
    }
}

/// What the models say; `passes` where they have nothing against it.
///
/// Certain is a text or a request whose score is above that of everything benign in validation, with a sign that no
/// model gave: a path that no site means to serve, a climb above the root, the signs of a language of attacks.
fn by_models(subject: &mut Subject<'_>, rules: &Rules, passes: Judgement) -> Judgement {
    let model = &rules.models.scanner;
    let facts = subject.facts;
    let worst = payload::worst(facts, &model.payload, subject.buffers);
    let threshold = rules.scanner_threshold;
    let features = features(subject, model);
    let said = model.judge(&features, worst.logit, threshold);
    (subject.scores.scanner, subject.scores.payload) =
        (Some(said), Some(worst.logit.saturating_sub(model.payload.doubtful)));
    // The operator's threshold moves doubt, and certainty only where that would begin before doubt does.
    let doubtful = model.payload.doubtful.saturating_add(threshold);
    if worst.with_sign >= model.payload.certain.max(doubtful) {
        return Judgement::block("payload", 403);
    }
    let has_sign = scanner::has_sign(subject.canonical, &subject.hashes.path.notes);
    if said.path.is_block() && has_sign && said.logit >= model.cascade.certain.max(threshold) {
        return Judgement::block("probe", 403);
    }
    if worst.logit >= doubtful {
        return Judgement::doubtful("payload", 403);
    }
    if said.path.is_block() {
        return Judgement::doubtful("probe", 403);
    }
    if worst.is_truncated {
        // What was not looked at may hold anything.
        return Judgement::doubtful("too_many_parameters", 403);
    }
    passes
}

/// The 12 features.
pub(crate) fn features(subject: &mut Subject<'_>, model: &ScannerModel) -> [u8; scanner::COUNT] {
    let facts = subject.facts;
    let symbols = &mut subject.buffers.facts;
    sunbeam_features::payload::read(subject.canonical, symbols);
    scanner::read(&scanner::Facts {
        path_score: model.paths.score(&symbols.symbols),
        path: subject.canonical,
        notes: subject.hashes.path.notes,
        method: facts.method,
        host: facts.host,
        agent: subject.agent,
        accept: facts.accept,
        has_language: !facts.accept_language.is_empty(),
        has_cookies: !facts.cookies.is_empty(),
        has_referer: !facts.referer.is_empty(),
        content_length: facts.content_length,
    })
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
