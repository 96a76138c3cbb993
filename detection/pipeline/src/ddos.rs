// SPDX-License-Identifier: Apache-2.0
//! What one client has been doing: the behavioural rules over its window, then the model's word.

use sunbeam_ensemble::{DdosModel, Said, ddos_inputs};
use sunbeam_features::{Window, WindowEvent, WindowShape, ddos};
use sunbeam_reputation::Held;
use sunbeam_tables::{FixedTable, Moment};
use sunbeam_traffic::{Layer, Verdict};

use crate::memory::Memory;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::{Offender, Subject};

/// What everybody authenticated behind one address may do together, in units of what one may: as for limits.
const BEHIND: u32 = 10;

/// IPv6 prefixes that one customer has at most, with what they may do in units of what one client may. Whoever
/// changes his address within them is met again there.
pub(crate) const WIDER_PREFIXES: [(u8, u32); 2] = [(56, 3), (48, 10)];

/// 429 and a block for who causes too many errors, asks too often, or does what attackers do.
#[derive(Debug)]
pub(crate) struct DdosStage;

impl Stage for DdosStage {
    fn name(&self) -> &'static str {
        "ddos"
    }

    fn layer(&self) -> Layer {
        Layer::Ddos
    }

    fn judge(&self, subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement {
        if subject.is_trusted(rules) {
            return Judgement::PASS;
        }
        let identity = subject.identity;
        // How often somebody may ask whom the site knows is his limit's affair: that is wider than this threshold.
        let asks = if identity.is_authenticated() { 0 } else { rules.request_threshold };
        let own = Thresholds { factor: 1, requests: asks };
        if let Some(reason) = excess(&memory.windows, identity.key, own, &rules.shape, rules, now) {
            return attack(
                subject,
                Offender { key: identity.key, held: Held::Client },
                reason,
                rules,
                memory,
                now,
            );
        }
        let wide = rules.shape.wide();
        if identity.is_authenticated() {
            let behind = memory.behind(identity.address);
            if let Some(reason) = excess(&memory.prefixes, behind, rules.times(BEHIND), &wide, rules, now) {
                return attack(
                    subject,
                    Offender { key: behind, held: Held::Behind },
                    reason,
                    rules,
                    memory,
                    now,
                );
            }
            return Judgement::PASS;
        }
        for (bits, factor) in WIDER_PREFIXES {
            if bits < rules.ipv6_prefix
                && let Some(prefix) = memory.prefix(subject.facts.client, bits)
                && let Some(reason) = excess(&memory.prefixes, prefix, rules.times(factor), &wide, rules, now)
            {
                return attack(
                    subject,
                    Offender { key: prefix, held: Held::Prefix(bits) },
                    reason,
                    rules,
                    memory,
                    now,
                );
            }
        }
        by_model(subject, rules, memory, now)
    }
}

/// What the model says of a client's window.
fn by_model(subject: &mut Subject<'_>, rules: &Rules, memory: &Memory, now: Moment) -> Judgement {
    let key = subject.identity.key;
    let Some(mut window) = memory.windows.peek(key) else { return Judgement::PASS };
    let totals = window.totals(now, &rules.shape);
    if totals.events < rules.min_events {
        return Judgement::PASS;
    }
    let models = &rules.models;
    let features = ddos::read(&totals);
    let (said, verdict) = ask(&models.ddos, &features, rules.ddos_threshold);
    subject.scores.ddos = Some(said);
    if !subject.is_trial {
        if subject.is_sampled {
            models.ddos_sight.note(&ddos_inputs(&features), said);
        }
        if let Some(challenger) = &models.ddos_challenger {
            let (_, other) = ask(&challenger.model, &features, rules.ddos_threshold);
            // Whom the site knows has no window of his own that this model judges.
            challenger.note(false, verdict, other);
        }
    }
    match verdict {
        Verdict::Pass => Judgement::PASS,
        Verdict::Block => attack(subject, Offender { key, held: Held::Client }, "model", rules, memory, now),
        Verdict::Doubtful => {
            Judgement::doubtful("model", 429).retry_after(rules.bans.secs.min(rules.bans.max_secs))
        }
    }
}

/// Asks one model. Certain is what scores above everything benign in validation and shows what no visit does: one probe
/// in five, and many of its requests in vain.
fn ask(model: &DdosModel, features: &[u32; ddos::COUNT], threshold: i32) -> (Said, Verdict) {
    let said = model.judge(features, threshold);
    let verdict = if !said.path.is_block() {
        Verdict::Pass
    } else if said.logit >= model.cascade.certain.max(threshold) && ddos::has_sign(features) {
        Verdict::Block
    } else {
        Verdict::Doubtful
    };
    (said, verdict)
}

fn attack(
    subject: &mut Subject<'_>,
    offender: Offender,
    reason: &'static str,
    rules: &Rules,
    memory: &Memory,
    now: Moment,
) -> Judgement {
    if memory.bans.has_grace(offender.key, now) {
        return Judgement::pass("grace");
    }
    subject.offender = offender;
    Judgement::block(reason, 429).retry_after(rules.bans.secs.min(rules.bans.max_secs)).offence()
}

/// What a window may hold: so many times the thresholds of one client; requests 0: as many as come.
#[derive(Clone, Copy, Debug)]
struct Thresholds {
    factor: u32,
    requests: u32,
}

impl Rules {
    const fn times(&self, factor: u32) -> Thresholds {
        Thresholds { factor, requests: self.request_threshold }
    }
}

/// The rule that a window breaks, with thresholds so many times as high.
fn excess(
    windows: &FixedTable<Window>,
    key: u64,
    thresholds: Thresholds,
    shape: &WindowShape,
    rules: &Rules,
    now: Moment,
) -> Option<&'static str> {
    let mut window = windows.peek(key)?;
    let totals = window.totals(now, shape);
    if totals.events < rules.min_events {
        return None;
    }
    // A window keeps no more than its capacity: a multiple beyond it could never be reached.
    let reached = |count: u32, threshold: u32| {
        threshold > 0 && count >= threshold.saturating_mul(thresholds.factor).min(shape.capacity())
    };
    if reached(totals.errors, rules.error_threshold) {
        Some("client_errors")
    } else if reached(totals.requests, thresholds.requests) {
        Some("request_flood")
    } else {
        None
    }
}

/// Counts a request that is over in every window that it belongs to.
pub(crate) fn count(subject: &Counted, event: &WindowEvent, rules: &Rules, memory: &Memory, now: Moment) {
    memory.windows.with(subject.key, now, |window| window.add(event, now, &rules.shape));
    let wide = rules.shape.wide();
    if subject.is_authenticated {
        let behind = memory.behind(subject.address);
        memory.prefixes.with(behind, now, |window| window.add(event, now, &wide));
        return;
    }
    for (bits, _) in WIDER_PREFIXES {
        if bits < rules.ipv6_prefix
            && let Some(prefix) = memory.prefix(subject.client, bits)
        {
            memory.prefixes.with(prefix, now, |window| window.add(event, now, &wide));
        }
    }
}

/// Whose windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) client: std::net::IpAddr,
    pub(crate) key: u64,
    pub(crate) address: u64,
    pub(crate) is_authenticated: bool,
}
