// SPDX-License-Identifier: Apache-2.0
//! The calls: [`Pipeline::judge`] before, [`Pipeline::answered`] with the answer's head, [`Pipeline::observe`] at the end.

use std::net::IpAddr;
use std::sync::Arc;

use sunbeam_features::{Finished, Hashes, ddos as features, event};
use sunbeam_rate_limit::{Answered, Charges, Claims, Evidence, Identity, Quota};
use sunbeam_reputation::{Held, Offence, Proof};
use sunbeam_tables::Moment;
use sunbeam_traffic::{Layer, LayerMode, RequestFacts, Verdict};

use crate::ddos::{self, Counted};
use crate::exceptions::Used;
use crate::memory::Memory;
use crate::metrics::DetectionMetrics;
use crate::models::Models;
use crate::proof::{DOUBTERS, Layers, Seen, Whom};
use crate::proxies::is_likely_proxy;
use crate::rules::Rules;
use crate::stage::Judgement;
use crate::stages::STAGES;
use crate::subject::{Scores, Scratch, Subject, Texts};

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It goes on.
    #[default]
    Passed,
    /// It goes on; some layer would have stopped it.
    Observed,
    /// It is answered with a challenge: whoever solves that goes on. No layer says so, the proxy does.
    Challenged,
    /// It is answered here.
    Blocked,
}

impl Decision {
    /// Every decision, the weakest first.
    pub const ALL: [Self; 4] = [Self::Passed, Self::Observed, Self::Challenged, Self::Blocked];

    /// `observe`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Observed => "observe",
            Self::Challenged => "challenge",
            Self::Blocked => "block",
        }
    }
}

/// The decision about one request, and what its end needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// What to do.
    pub decision: Decision,
    /// Who says so; of an observed one, the first that would have.
    pub layer: Option<Layer>,
    /// Why, in a fixed word.
    pub reason: &'static str,
    /// Of the answer, when it is blocked.
    pub status: u16,
    /// For the answer, when it is blocked.
    pub retry_after_secs: Option<u64>,
    /// Seconds for which the identity was blocked just now.
    pub banned_secs: Option<u64>,
    /// Who it is taken for.
    pub identity: Identity,
    /// What the client may be told of its limit.
    pub quota: Option<Quota>,
    /// What models said.
    pub scores: Scores,
    /// Exceptions that made a difference.
    pub used: Used,
    charges: Charges,
    claims: Claims,
    hashes: Hashes,
    page: u64,
    bare_page: u64,
    client: IpAddr,
    pub(crate) route: usize,
    /// When.
    pub(crate) at: Moment,
    /// Somebody only wants to know: nothing is remembered of it.
    pub(crate) is_trial: bool,
    /// A list says that nobody is to look at it.
    pub(crate) is_unjudged: bool,
    /// What the model of texts has read.
    pub(crate) texts: Option<Texts>,
    /// It speaks for others, or may do what it likes: what it does is not held against its address.
    is_trusted: bool,
    /// It comes from the operator's own networks.
    is_bypassed: bool,
    /// It is the crawler that it says it is.
    is_verified_crawler: bool,
    /// A page made its client's browser send it: it is nobody's word for or against a layer.
    pub(crate) is_page_made: bool,
    /// What layers think of it, whatever came of that.
    pub(crate) thought: Thought,
    /// Doubts of layers that would act if they were certain (mode auto), the first one of each.
    doubts: [Option<&'static str>; Layer::ALL.len()],
}

impl Judged {
    /// Doubts that its client may clear, all at once: who says so, and why. Nothing where it is blocked, and nothing of
    /// those who need not show anything: proxies, the operator's networks, verified crawlers, and who has logged in at the
    /// site.
    pub fn open_doubts(&self) -> impl Iterator<Item = (Layer, &'static str)> + use<> {
        let is_excused =
            self.is_trusted || self.is_unjudged || self.is_verified_crawler || self.identity.is_logged_in;
        let is_open = self.decision == Decision::Observed && !is_excused;
        let doubts = Layer::ALL.into_iter().zip(self.doubts).filter(move |_| is_open);
        doubts.filter_map(|(layer, reason)| Some((layer, reason?)))
    }

    /// Whether its address is not held to what is stopped of it: one of the operator's own networks, one that a list lets
    /// by, a verified crawler's. (A proxy that nobody declared is an address like others: a header would make everybody one.)
    pub const fn is_nobodys_offence(&self) -> bool {
        self.is_bypassed || self.is_unjudged || self.is_verified_crawler
    }

    /// The client is to clear the doubt first.
    pub const fn challenge(&mut self, (layer, reason): (Layer, &'static str)) {
        self.decision = Decision::Challenged;
        self.layer = Some(layer);
        self.reason = reason;
    }

    /// The client has cleared its doubts. What a layer says besides that only watches stays said.
    pub fn clear(&mut self) {
        let is_cleared =
            self.open_doubts().any(|(layer, reason)| (self.layer, self.reason) == (Some(layer), reason));
        if is_cleared {
            self.decision = Decision::Passed;
            self.reason = CLEARED;
        }
    }

    /// Layers that doubted it, whichever of them the decision names.
    pub fn doubted_by(&self) -> impl Iterator<Item = Layer> + use<> {
        let doubted = self.thought.doubted;
        DOUBTERS.into_iter().filter(move |layer| doubted.has(*layer))
    }

    /// Whose request it is.
    pub const fn client(&self) -> IpAddr {
        self.client
    }

    /// The place of its route.
    pub const fn route(&self) -> usize {
        self.route
    }
}

/// The reason to pass of a request whose doubt its client has cleared.
const CLEARED: &str = "challenge_solved";

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// As its record tells it.
    pub finished: Finished<'a>,
    /// What the site said of who asks, where the client was told something else: by its auth server.
    pub site_status: Option<u16>,
    /// It was a redirect to where one logs in.
    pub is_login_redirect: bool,
    /// The auth server that let it in ([`Memory::gate`]).
    pub gate: Option<u64>,
    /// Claims of the session cookies that the site set.
    pub sessions_set: &'a [u64],
    /// Those of them that it sets at a log-in.
    pub log_ins_set: &'a [u64],
}

/// What one stage thinks of a request, for those who want to know.
#[derive(Clone, Copy, Debug)]
pub struct Opinion {
    /// Which.
    pub stage: &'static str,
    /// What that layer may do on this route.
    pub mode: LayerMode,
    /// What it thinks; `None`: it was not asked.
    pub judgement: Option<Judgement>,
}

/// A configuration's way to judge.
#[derive(Debug)]
pub struct Pipeline {
    rules: Rules,
    memory: Arc<Memory>,
    metrics: DetectionMetrics,
}

impl Pipeline {
    /// Judges by `rules`, with what `memory` remembers.
    pub const fn new(rules: Rules, memory: Arc<Memory>, metrics: DetectionMetrics) -> Self {
        Self { rules, memory, metrics }
    }

    /// The same with other models.
    #[must_use]
    pub fn with_models(mut self, models: Models) -> Self {
        self.rules.models = models;
        self
    }

    /// The configuration.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) const fn metrics(&self) -> &DetectionMetrics {
        &self.metrics
    }

    /// What is remembered.
    pub const fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Decides about a request. `scratch` is a buffer to use again.
    pub fn judge(&self, facts: &RequestFacts<'_>, now: Moment, scratch: &mut Scratch) -> Judged {
        let mut subject = Subject::new(facts, &self.rules, &self.memory, now, scratch, false);
        let mut judged = self.undecided(&subject, now);
        if facts.has_untrusted_forwarding && is_likely_proxy(facts.client) {
            self.metrics.layers.undeclared_proxy_requests().inc();
        }
        if let Some((bot, proof)) = subject.crawler(&self.rules) {
            bot.seen.count(proof);
        }
        let mut said = [None; Layer::ALL.len()];
        let mut thought = Thought::default();
        for stage in STAGES {
            let mode = self.rules.mode(facts.route, stage.layer());
            if mode == LayerMode::Off {
                continue;
            }
            let judgement = stage.judge(&mut subject, &self.rules, &self.memory, now);
            let (layer, mode) = match judgement.on_behalf_of {
                Some(layer) => (layer, self.rules.mode(facts.route, layer)),
                None => (stage.layer(), mode),
            };
            let decision = self.decide(&judgement, layer, mode, &judged, now);
            thought.note(layer, &judgement);
            say(&mut said, layer, decision, judgement.reason);
            note(&mut judged, layer, decision, &judgement);
            note_doubt(&mut judged, layer, mode, &judgement);
            if decision == Decision::Blocked {
                judged.banned_secs = self.ban(&subject, layer, &judgement, now);
                // Whoever is blocked from now on waits for that.
                judged.retry_after_secs = judged.banned_secs.or(judged.retry_after_secs);
                break;
            }
            if judgement.is_final {
                judged.is_unjudged = true;
                break;
            }
        }
        for (layer, said) in Layer::ALL.into_iter().zip(said) {
            if let Some((decision, reason)) = said {
                self.metrics.count(layer, decision, reason);
            }
        }
        if judged.identity.is_logged_in && judged.is_page_made {
            self.memory.proof.note_page(judged.identity.key, now);
        } else if judged.identity.is_logged_in {
            let whom = self.whom(&judged, facts.ja4);
            self.note_person(&whom, true, thought, now);
        }
        judged.thought = thought;
        judged.charges = subject.charges;
        judged.scores = subject.scores;
        judged.used = subject.used;
        judged.texts = subject.texts;
        self.metrics.count_paths(&subject.scores);
        // In shadow nobody is told of a limit that does not hold.
        let holds = self.rules.mode(facts.route, Layer::RateLimit) > LayerMode::Observe;
        judged.quota = subject.quota.filter(|_| holds);
        judged
    }

    /// What every stage thinks of a request, with the decision that would come of it, and the features of the
    /// client's window. Nothing is counted, taken or blocked.
    pub fn opinions(
        &self,
        facts: &RequestFacts<'_>,
        now: Moment,
        scratch: &mut Scratch,
    ) -> (Judged, Vec<Opinion>, [u32; features::COUNT]) {
        let mut subject = Subject::new(facts, &self.rules, &self.memory, now, scratch, true);
        let mut judged = self.undecided(&subject, now);
        let mut opinions = Vec::new();
        for stage in STAGES {
            let mode = self.rules.mode(facts.route, stage.layer());
            let is_over =
                judged.decision == Decision::Blocked || judged.is_unjudged || mode == LayerMode::Off;
            let judgement = (!is_over).then(|| stage.judge(&mut subject, &self.rules, &self.memory, now));
            let layer =
                judgement.and_then(|judgement| judgement.on_behalf_of).unwrap_or_else(|| stage.layer());
            let mode = self.rules.mode(facts.route, layer);
            if let Some(judgement) = &judgement {
                let decision = self.decide(judgement, layer, mode, &judged, now);
                note(&mut judged, layer, decision, judgement);
                judged.is_unjudged |= judgement.is_final;
            }
            opinions.push(Opinion { stage: stage.name(), mode, judgement });
        }
        judged.quota = subject.quota;
        judged.scores = subject.scores;
        judged.used = subject.used;
        judged.texts = subject.texts;
        let mut window = self.memory.windows.peek(subject.identity.key).unwrap_or_default();
        (judged, opinions, window.features(now, &self.rules.shape))
    }

    /// Tells what the site answered, as soon as that is known: it may have said whom it knows.
    pub fn answered(&self, judged: &Judged, answer: &Answer<'_>, now: Moment) {
        if judged.decision == Decision::Blocked || judged.is_unjudged || answer.finished.is_ours {
            return;
        }
        let answered = Answered {
            page: judged.page,
            path: judged.bare_page,
            network: self.memory.network(judged.client),
            is_safe: matches!(answer.finished.method, "GET" | "HEAD"),
            gate: answer.gate,
            status: answer.site_status.unwrap_or(answer.finished.status),
            is_login_redirect: answer.is_login_redirect,
            sessions_set: answer.sessions_set,
            log_ins_set: answer.log_ins_set,
        };
        self.memory.evidence.observe(&judged.claims, &answered, now);
    }

    /// Tells what became of a request: once for each that was judged, whatever happened to it.
    pub fn observe(&self, judged: &Judged, finished: &Finished<'_>, now: Moment) {
        if judged.decision == Decision::Blocked || judged.is_unjudged {
            // Our own answers say nothing about the client that we did not know.
            return;
        }
        if judged.is_trusted || self.rules.mode(judged.route, Layer::Ddos) == LayerMode::Off {
            return;
        }
        let event = event(finished, &judged.hashes, self.rules.cheap_cost);
        let counted = Counted {
            client: judged.client,
            key: judged.identity.key,
            address: judged.identity.address,
            is_authenticated: judged.identity.is_authenticated(),
        };
        ddos::count(&counted, &event, &self.rules, &self.memory, now);
    }

    /// The request turned out to be for a file (or, once there is a cache, for what is in it): it gives back most of
    /// what it took.
    pub fn was_cheap(&self, judged: &Judged) {
        self.memory.limiter.was_cheap(&self.rules.limits, &judged.charges);
    }

    /// What comes of what a layer thinks. In mode `auto` doubts are acted on once the layer has proven itself.
    pub(crate) fn decide(
        &self,
        judgement: &Judgement,
        layer: Layer,
        mode: LayerMode,
        judged: &Judged,
        now: Moment,
    ) -> Decision {
        if judgement.verdict == Verdict::Pass || mode == LayerMode::Off {
            Decision::Passed
        } else if mode.acts_on(judgement.verdict) || self.acts_on_doubt(layer, mode, judged, now) {
            Decision::Blocked
        } else {
            Decision::Observed
        }
    }

    fn acts_on_doubt(&self, layer: Layer, mode: LayerMode, judged: &Judged, now: Moment) -> bool {
        /// An identity is watched for so long, or not.
        const EXPLORED_SECS: u64 = 3_600;
        if mode != LayerMode::Auto || !self.memory.proof.is_proven(layer) {
            return false;
        }
        let turn = u128::from(judged.identity.key) << 64 | u128::from(now.as_secs() / EXPLORED_SECS);
        self.memory.hash.number(KIND_EXPLORED, turn) >= self.rules.explore_below
    }

    /// A client has cleared a layer's doubt by a challenge: it is a person, and was hurt. One of each pass, from however
    /// many networks it comes: it was solved once. Nothing of what a page made a browser ask for.
    pub fn note_solver(&self, judged: &Judged, layer: Layer, ja4: &str, pass: &[u8]) {
        if judged.is_page_made {
            return;
        }
        let thought = Thought { doubted: Layers::of(layer), certain: Layers::default() };
        let whom = Whom { key: self.memory.hash.bytes(KIND_PASS, pass), ..self.whom(judged, ja4) };
        self.note_person(&whom, false, thought, judged.at);
    }

    fn note_person(&self, whom: &Whom, is_known: bool, thought: Thought, now: Moment) {
        let Whom { key, from } = *whom;
        let Thought { doubted, certain } = thought;
        self.memory.proof.note(key, &Seen { from, is_known, doubted, certain }, now);
    }

    /// Who asked, for whoever says later what it was.
    pub fn whom(&self, judged: &Judged, ja4: &str) -> Whom {
        let (memory, identity) = (&self.memory, &judged.identity);
        Whom { key: identity.key, from: [identity.address, memory.network(judged.client), memory.look(ja4)] }
    }

    fn undecided(&self, subject: &Subject<'_>, now: Moment) -> Judged {
        let facts = subject.facts;
        let route = self.rules.route_key(facts.route);
        let path = subject.hashes.path.hash;
        let page = |query| Evidence::page(route, facts.method, path, query, &self.memory.hash);
        Judged {
            decision: Decision::Passed,
            layer: None,
            reason: "",
            status: 0,
            retry_after_secs: None,
            banned_secs: None,
            identity: subject.identity,
            quota: None,
            scores: Scores::default(),
            used: Used::default(),
            charges: Charges::default(),
            claims: subject.claims,
            hashes: subject.hashes,
            page: page(facts.query),
            bare_page: page(""),
            client: facts.client,
            route: facts.route,
            at: now,
            is_trial: subject.is_trial,
            is_unjudged: false,
            texts: None,
            is_trusted: subject.is_trusted(&self.rules),
            is_bypassed: subject.is_bypassed,
            is_verified_crawler: subject
                .crawler(&self.rules)
                .is_some_and(|(_, proof)| proof == Proof::Verified),
            is_page_made: facts.is_page_made,
            thought: Thought::default(),
            doubts: [None; Layer::ALL.len()],
        }
    }

    fn ban(&self, subject: &Subject<'_>, layer: Layer, judgement: &Judgement, now: Moment) -> Option<u64> {
        if !judgement.is_offence {
            return None;
        }
        let offence = Offence {
            key: subject.offender.key,
            held: subject.offender.held,
            kind: subject.identity.kind,
            address: subject.facts.client,
            layer,
            reason: judgement.reason,
        };
        let secs = self.memory.bans.add(&offence, &self.rules.bans, now)?;
        // What it is blocked for is paid for by that: it must not be the reason for the next block.
        let windows = if offence.held == Held::Client { &self.memory.windows } else { &self.memory.prefixes };
        windows.remove(offence.key);
        self.metrics.layers.blocks(layer.as_str()).inc();
        Some(secs)
    }
}

const KIND_EXPLORED: u64 = 66;
const KIND_PASS: u64 = 69;

/// What layers think of a request, whatever came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Thought {
    pub(crate) doubted: Layers,
    pub(crate) certain: Layers,
}

impl Thought {
    pub(crate) fn note(&mut self, layer: Layer, judgement: &Judgement) {
        match judgement.verdict {
            Verdict::Pass => {}
            Verdict::Doubtful => self.doubted = self.doubted.and(Layers::of(layer)),
            Verdict::Block => self.certain = self.certain.and(Layers::of(layer)),
        }
    }
}

/// The first that is acted on counts, else the first that would have been, else the first reason to pass.
pub(crate) fn note(judged: &mut Judged, layer: Layer, decision: Decision, judgement: &Judgement) {
    let is_stronger = match decision {
        Decision::Blocked => judged.decision != Decision::Blocked,
        // No layer says the latter.
        Decision::Observed | Decision::Challenged => judged.decision == Decision::Passed,
        Decision::Passed => judged.decision == Decision::Passed && judged.reason.is_empty(),
    };
    if !is_stronger || (decision == Decision::Passed && judgement.reason.is_empty()) {
        return;
    }
    judged.decision = decision;
    judged.layer = Some(layer);
    judged.reason = judgement.reason;
    judged.status = judgement.status;
    judged.retry_after_secs = judgement.retry_after_secs;
}

/// Where a layer acts on what is certain, what it doubts may be cleared.
pub(crate) fn note_doubt(judged: &mut Judged, layer: Layer, mode: LayerMode, judgement: &Judgement) {
    let is_asked = mode == LayerMode::Auto && judgement.verdict == Verdict::Doubtful;
    if let Some(doubt) = judged.doubts.get_mut(layer as usize).filter(|_| is_asked) {
        doubt.get_or_insert(judgement.reason);
    }
}

/// What a layer says of a request is one thing, though several stages speak for it: the strongest.
fn say(
    said: &mut [Option<(Decision, &'static str)>; Layer::ALL.len()],
    layer: Layer,
    decision: Decision,
    reason: &'static str,
) {
    let Some(said) = said.get_mut(layer as usize) else { return };
    let is_stronger = said.is_none_or(|(before, known)| {
        decision as usize > before as usize || (decision as usize == before as usize && known.is_empty())
    });
    if is_stronger {
        *said = Some((decision, reason));
    }
}
