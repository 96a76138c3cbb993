// SPDX-License-Identifier: Apache-2.0
//! What a request looks like: whether a crawler is who it says and what its kind may do, and what the models say of
//! path, headers and texts.

use sunbeam_ensemble::{Said, ScannerModel};
use sunbeam_features::scanner;
use sunbeam_rate_limit::{Limit, TOKEN};
use sunbeam_reputation::{Bot, BotPolicy, Proof};
use sunbeam_tables::Moment;
use sunbeam_traffic::{Layer, Verdict};

use crate::exceptions::Used;
use crate::memory::Memory;
use crate::payload::{self, Worst};
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::{Subject, Texts};

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
fn by_models(subject: &mut Subject<'_>, rules: &Rules, passes: Judgement) -> Judgement {
    let models = &rules.models;
    let found = ask(subject, &models.scanner, rules.scanner_threshold);
    let scores = &mut subject.scores;
    (scores.scanner, scores.payload, scores.application) = (Some(found.said), Some(found.payload), found.odd);
    subject.texts = Some(found.texts);
    if !subject.is_trial {
        if subject.is_sampled {
            models.scanner_sight.note(&models.scanner.inputs(&found.features), found.said);
        }
        if subject.identity.is_authenticated() {
            models.scanner_sight.note_benign(found.said, found.payload);
        }
        if let Some(challenger) = &models.scanner_challenger {
            let other = ask(subject, &challenger.model, rules.scanner_threshold);
            let is_known = subject.identity.is_authenticated();
            challenger.note(is_known, found.judgement.verdict, other.judgement.verdict);
        }
    }
    if found.judgement.verdict == Verdict::Pass { passes } else { found.judgement }
}

/// What one model finds.
struct Found {
    features: [u8; scanner::COUNT],
    said: Said,
    /// Of the worst text, in 1/256 of a logit: 0 is where doubt begins.
    payload: i32,
    /// How odd it is for this application, the same way.
    odd: Option<i32>,
    /// What the WAF need not read again.
    texts: Texts,
    judgement: Judgement,
}

/// Asks one model.
///
/// Certain is a text or a request whose score is above that of everything benign in validation, with a sign that no
/// model gave: a path that no site means to serve, a climb above the root, the signs of a language of attacks.
fn ask(subject: &mut Subject<'_>, model: &ScannerModel, threshold: i32) -> Found {
    let is_of_application = subject.is_of(&model.application);
    let mut used = Used::default();
    let worst = payload::worst(
        subject.facts,
        subject.canonical,
        model,
        is_of_application,
        (&subject.applied, &mut used),
        subject.buffers,
    );
    subject.used.join(used);
    let features = features(subject, worst.path_score);
    let said = model.judge(&features, worst.logit, threshold);
    let judgement = judgement(subject, model, &worst, said, threshold);
    let payload = worst.logit.saturating_sub(model.payload.doubtful);
    // The WAF has its own word about too many parameters of an application, and about what this model is not to doubt.
    let is_truncated = worst.is_truncated | worst.is_excepted;
    let texts = Texts { logit: worst.logit, with_sign: worst.with_sign, is_truncated };
    Found { features, said, payload, odd: worst.odd, texts, judgement }
}

fn judgement(
    subject: &mut Subject<'_>,
    model: &ScannerModel,
    worst: &Worst,
    said: Said,
    threshold: i32,
) -> Judgement {
    // The operator's threshold moves doubt, and certainty only where that would begin before doubt does.
    let doubtful = model.payload.doubtful.saturating_add(threshold);
    if worst.with_sign >= model.payload.certain.max(doubtful) {
        return Judgement::block("payload", 403);
    }
    let path = &subject.hashes.path;
    let has_sign = scanner::has_sign(path.probe, &path.notes);
    let mut is_probe = said.path.is_block();
    if is_probe && let Some(exception) = subject.applied.probe() {
        is_probe = false;
        subject.used.note(exception);
    }
    if is_probe && has_sign && said.logit >= model.cascade.certain.max(threshold) {
        return Judgement::block("probe", 403);
    }
    if worst.logit >= doubtful {
        return Judgement::doubtful("payload", 403);
    }
    if is_probe {
        return Judgement::doubtful("probe", 403);
    }
    if worst.odd.is_some_and(|odd| odd >= threshold) {
        return Judgement::doubtful("application", 403);
    }
    if worst.is_truncated {
        // What was not looked at may hold anything.
        return Judgement::doubtful("too_many_parameters", 403);
    }
    Judgement::PASS
}

/// The 12 features.
pub(crate) fn features(subject: &Subject<'_>, path_score: u8) -> [u8; scanner::COUNT] {
    let facts = subject.facts;
    scanner::read(&scanner::Facts {
        path_score,
        path: subject.canonical,
        probe: subject.hashes.path.probe,
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
