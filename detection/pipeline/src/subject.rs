// SPDX-License-Identifier: Apache-2.0
//! A request and whose it is, worked out once for all stages.

use sunbeam_ensemble::{ApplicationModel, Said};
use sunbeam_features::{
    AgentClass, BrowserEvidence, Hashes, agent_class, application, browser_evidence, payload,
};
use sunbeam_rate_limit::{Charges, Claims, Identity, Quota, address_number};
use sunbeam_reputation::{Bot, BotPolicy, Held, Named, Proof};
use sunbeam_tables::Moment;
use sunbeam_traffic::RequestFacts;

use crate::exceptions::{Applied, Used};
use crate::memory::Memory;
use crate::proxies::is_likely_proxy;
use crate::rules::Rules;

/// Buffers of a thread: nothing is allocated once they are large enough.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) canonical: Vec<u8>,
    pub(crate) buffers: Buffers,
    /// Requests so far, round and round.
    turn: u8,
}

/// For one text at a time.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) text: Vec<u8>,
    pub(crate) facts: payload::Facts,
    pub(crate) application: application::Scratch,
}

/// What models said; nothing of one that was not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    /// Of the client's window.
    pub ddos: Option<Said>,
    /// Of the request.
    pub scanner: Option<Said>,
    /// Of its worst unit, in 1/256 of a logit: 0 is where doubt begins.
    pub payload: Option<i32>,
    /// How odd it is for this application, the same way; nothing where no model knows it.
    pub application: Option<i32>,
    /// What the WAF's rules that matched add up to.
    pub rules: Option<RulesScore>,
}

/// A sum, and from where on it is too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesScore {
    /// The sum.
    pub score: i64,
    /// From where on.
    pub threshold: i64,
}

impl RulesScore {
    /// As a share of what is certain, twice the threshold, in thousandths, 1,000 at most.
    pub fn thousandths(&self) -> u16 {
        let certain = self.threshold.max(1).saturating_mul(2);
        let share = self.score.max(0).saturating_mul(1_000) / certain;
        u16::try_from(share.min(1_000)).unwrap_or(1_000)
    }
}

/// What was read of texts so far: the worst of them, in 1/256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) logit: i32,
    /// The worst of those with a sign.
    pub(crate) with_sign: i32,
    pub(crate) is_truncated: bool,
}

impl Texts {
    pub(crate) const fn nothing(floor: i32) -> Self {
        Self { logit: floor, with_sign: floor, is_truncated: false }
    }

    pub(crate) fn note(&mut self, logit: i32, has_sign: bool) {
        self.logit = self.logit.max(logit);
        if has_sign {
            self.with_sign = self.with_sign.max(logit);
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            logit: self.logit.max(other.logit),
            with_sign: self.with_sign.max(other.with_sign),
            is_truncated: self.is_truncated | other.is_truncated,
        }
    }
}

/// For whom a block would be made.
#[derive(Clone, Copy, Debug)]
pub struct Offender {
    /// Its key.
    pub key: u64,
    /// Whose it is.
    pub held: Held,
}

/// See the module.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The request.
    pub facts: &'a RequestFacts<'a>,
    /// Its path in canonical form.
    pub canonical: &'a [u8],
    /// For whoever reads texts.
    pub(crate) buffers: &'a mut Buffers,
    /// What its window counts by hash.
    pub hashes: Hashes,
    /// What it claims to be.
    pub claims: Claims,
    /// Who it is taken for.
    pub identity: Identity,
    /// What kind of client it says it is.
    pub agent: AgentClass,
    /// What speaks for a browser.
    pub evidence: BrowserEvidence,
    /// The crawler that it names, and whether it is that one.
    pub bot: Option<(u16, Proof)>,
    /// It speaks for others, though nobody declared it.
    pub is_undeclared_proxy: bool,
    /// Nothing may come of this: somebody only wants to know.
    pub is_trial: bool,
    /// Its features are counted: one of so many is enough.
    pub(crate) is_sampled: bool,
    /// Written by the stages: whose key a block would be made for,
    pub offender: Offender,
    /// which tokens were taken,
    pub charges: Charges,
    /// what the client may be told of its limit,
    pub quota: Option<Quota>,
    /// what models said,
    pub scores: Scores,
    /// and what the one of texts has read.
    pub(crate) texts: Option<Texts>,
    /// What is not held against it, and what of that made a difference.
    pub(crate) applied: Applied<'a>,
    pub(crate) used: Used,
    pub(crate) is_bypassed: bool,
    /// The client chooses what follows the first label of the host.
    is_by_label: bool,
}

impl<'a> Subject<'a> {
    /// `scratch` keeps the canonical path and what is read of texts.
    pub(crate) fn new(
        facts: &'a RequestFacts<'a>,
        rules: &'a Rules,
        memory: &Memory,
        now: Moment,
        scratch: &'a mut Scratch,
        is_trial: bool,
    ) -> Self {
        let Scratch { canonical, buffers, turn } = scratch;
        *turn = turn.wrapping_add(1);
        let hashes =
            Hashes::of(facts.path.as_bytes(), facts.host, facts.user_agent, &memory.events, canonical);
        let known = |claim| memory.evidence.known(claim, now);
        let claims = Claims::of(facts, &rules.session_cookies, &memory.hash, known);
        let address = address_number(facts.client, rules.ipv6_prefix);
        let identity = Identity::of(address, &claims, &memory.evidence, &memory.hash, now);
        let named =
            rules.bots.named(hashes.agent, facts.user_agent, || class_bits(agent_class(facts.user_agent)));
        let agent = class_of(named);
        let proof = |bot| memory.proofs.of(bot, facts.client, now);
        let bot = named.bot.and_then(|index| Some((index, proof(rules.bots.get(index)?))));
        Self {
            facts,
            canonical,
            buffers,
            hashes,
            claims,
            identity,
            agent,
            evidence: browser_evidence(agent, facts),
            bot,
            is_undeclared_proxy: facts.has_untrusted_forwarding
                && !rules.has_declared_proxies
                && is_likely_proxy(facts.client),
            is_trial,
            is_sampled: !is_trial && turn.is_multiple_of(rules.models.sight_every),
            offender: Offender { key: identity.key, held: Held::Client },
            charges: Charges::default(),
            quota: None,
            scores: Scores::default(),
            texts: None,
            applied: rules.exceptions.of(facts),
            used: Used::default(),
            is_bypassed: rules.limits.is_bypassed(facts.client),
            is_by_label: rules.is_by_label(facts.route),
        }
    }

    /// Who is not held to what one client may do: the operator's own networks, a proxy that speaks for many,
    /// and crawlers that are who they say, where their kind is allowed.
    pub fn is_trusted(&self, rules: &Rules) -> bool {
        self.is_bypassed || self.is_undeclared_proxy || self.is_welcome_crawler(rules)
    }

    /// Whether a model of an application is asked: it knows the host, or every one is meant.
    pub(crate) fn is_of(&self, model: &ApplicationModel) -> bool {
        model.is_for(self.facts.host, self.is_by_label)
    }

    /// The crawler that it names.
    pub fn crawler<'r>(&self, rules: &'r Rules) -> Option<(&'r Bot, Proof)> {
        let (index, proof) = self.bot?;
        Some((rules.bots.get(index)?, proof))
    }

    fn is_welcome_crawler(&self, rules: &Rules) -> bool {
        self.crawler(rules)
            .is_some_and(|(bot, proof)| proof == Proof::Verified && bot.policy == BotPolicy::Allow)
    }
}

const CLASSES: [AgentClass; 5] =
    [AgentClass::Empty, AgentClass::Browser, AgentClass::Crawler, AgentClass::Tool, AgentClass::Other];

fn class_bits(class: AgentClass) -> u8 {
    CLASSES.iter().position(|known| *known == class).and_then(|index| u8::try_from(index).ok()).unwrap_or(0)
}

fn class_of(named: Named) -> AgentClass {
    CLASSES.get(usize::from(named.class)).copied().unwrap_or_default()
}
