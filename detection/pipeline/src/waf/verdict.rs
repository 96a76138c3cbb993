// SPDX-License-Identifier: Apache-2.0
//! What comes of what rules found and what the model of texts says.

use super::section::{OnBudget, OnOversizedBody, WafSection, WafVerdict};
use crate::stage::Judgement;

/// What rules found, and what of the request they could not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesFound {
    /// What the rules that matched add up to.
    pub score: i64,
    /// From where on that is too much; less than 1: the rules do not say.
    pub threshold: i64,
    /// A rule that counts matched in a text: in what the model reads, too, not in how the request is sent.
    pub is_in_texts: bool,
    /// What rules about attacks add up to that matched where the model does not read: in headers but cookies, in names of
    /// files.
    pub score_outside_texts: i64,
    /// What rules are allowed.
    pub engine: RulesEngine,
    /// What a rule wants done.
    pub interruption: Option<Interrupted>,
    /// Rules were stopped before they had seen everything.
    pub is_spent: bool,
    /// The body is longer than what is looked at.
    pub is_oversized: bool,
    /// The body is not what its `Content-Encoding` says.
    pub is_undecodable: bool,
    /// There is a body at which nobody has looked: a rule about the head came before, or its kind is none that is looked
    /// at and none that is binary.
    pub is_unread: bool,
    /// More arguments, parts and leaves than are looked at.
    pub has_too_many_parameters: bool,
}

/// What rules are allowed: `SecRuleEngine`, or what a rule has made of it for this request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RulesEngine {
    /// What they say is done.
    #[default]
    On,
    /// They look on: whatever they or the model say, nothing is stopped for it.
    DetectionOnly,
    /// Nobody looks.
    Off,
}

/// A rule that wants a request stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It held the score against its threshold.
    ByScore,
    /// By a word of its own.
    ByRule {
        /// What it wants answered.
        status: u16,
    },
}

/// What the model says of a request's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextsFound {
    /// Of the worst, in 1/256.
    pub(crate) logit: i32,
    /// Of the worst that has a sign of an attack that no model gave.
    pub(crate) with_sign: i32,
    /// From where on a text is doubtful,
    pub(crate) doubtful: i32,
    /// and with a sign certain.
    pub(crate) certain: i32,
    /// There were more than are looked at.
    pub(crate) is_truncated: bool,
}

/// What that comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Zone {
    Clean,
    /// Not all was seen: nobody may take it for clean.
    Unseen,
    Doubtful,
    Certain,
}

impl TextsFound {
    const fn zone(&self) -> Zone {
        if self.with_sign >= self.certain && self.with_sign >= self.doubtful {
            Zone::Certain
        } else if self.logit >= self.doubtful {
            Zone::Doubtful
        } else if self.is_truncated {
            Zone::Unseen
        } else {
            Zone::Clean
        }
    }
}

/// What the configuration says about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WafRules {
    pub(crate) verdict: WafVerdict,
    on_oversized_body: OnOversizedBody,
    on_budget: OnBudget,
}

impl From<&WafSection> for WafRules {
    fn from(section: &WafSection) -> Self {
        Self {
            verdict: section.verdict,
            on_oversized_body: section.on_oversized_body,
            on_budget: section.on_budget,
        }
    }
}

/// The status of what is stopped for what it holds.
const FORBIDDEN: u16 = 403;

/// Of a request. `texts` is nothing where the model has no say: then the rules' word counts alone.
pub(crate) fn of_request(found: &RulesFound, texts: Option<&TextsFound>, rules: &WafRules) -> Judgement {
    // A rule may have wanted something done before another one sent all of them away.
    if found.engine == RulesEngine::Off && found.interruption.is_none() {
        return Judgement::PASS;
    }
    let mut judgement = match (found.interruption, rules.verdict, texts) {
        // Somebody wrote that rule for this.
        (Some(Interrupted::ByRule { status }), ..) => return Judgement::block("rule", status),
        (_, WafVerdict::Combined, Some(texts)) => combined(found, texts),
        (Some(Interrupted::ByScore), ..) => Judgement::block("rules", FORBIDDEN),
        (None, ..) => Judgement::PASS,
    };
    let is_too_large = found.is_oversized && rules.on_oversized_body == OnOversizedBody::Block;
    let is_over_budget = found.is_spent && rules.on_budget == OnBudget::Block;
    for (is_so, other) in [
        (is_too_large, Judgement::block("body_too_large", 413)),
        (found.is_undecodable, Judgement::block("undecodable_body", 400)),
        (is_over_budget, Judgement::block("budget", FORBIDDEN)),
        // What stands behind the last that is looked at would reach a backend unseen.
        (found.has_too_many_parameters, Judgement::block("too_many_parameters", 400)),
    ] {
        if is_so && other.verdict > judgement.verdict {
            judgement = other;
        }
    }
    judgement
}

/// Of its answer: the model knows nothing of answers.
pub(crate) const fn of_answer(interruption: Option<Interrupted>) -> Judgement {
    match interruption {
        Some(Interrupted::ByRule { status }) => Judgement::block("answer_rule", status),
        Some(Interrupted::ByScore) => Judgement::block("answer_rules", FORBIDDEN),
        None => Judgement::PASS,
    }
}

fn combined(found: &RulesFound, texts: &TextsFound) -> Judgement {
    let reaches = |times: i64| found.threshold > 0 && found.score >= found.threshold.saturating_mul(times);
    let zone = match texts.zone() {
        Zone::Clean if found.is_unread || found.is_spent || found.is_oversized => Zone::Unseen,
        // The model read something else, and may not call clean what it has not seen.
        Zone::Clean if found.score_outside_texts >= found.threshold.max(1) => Zone::Unseen,
        zone => zone,
    };
    let is_too_much = reaches(1) || found.interruption.is_some();
    match zone {
        _ if reaches(2) => Judgement::block("rules", FORBIDDEN),
        Zone::Clean if is_too_much => Judgement::doubtful("rules", FORBIDDEN),
        Zone::Unseen if is_too_much => Judgement::block("rules", FORBIDDEN),
        Zone::Doubtful | Zone::Certain if is_too_much => Judgement::block("rules_and_model", FORBIDDEN),
        Zone::Certain => Judgement::block("model", FORBIDDEN),
        // Either could be wrong, but they look for different things, and hardly ever err about the same text.
        Zone::Doubtful if found.is_in_texts && found.score > 0 => {
            Judgement::block("rules_and_model", FORBIDDEN)
        }
        Zone::Doubtful => Judgement::doubtful("model", FORBIDDEN),
        Zone::Clean | Zone::Unseen => Judgement::PASS,
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_traffic::Verdict::{Block, Doubtful, Pass};

    use super::*;

    const CLEAN: TextsFound =
        TextsFound { logit: -500, with_sign: -500, doubtful: 100, certain: 300, is_truncated: false };
    const DOUBTED: TextsFound = TextsFound { logit: 150, with_sign: 150, ..CLEAN };
    const SURE: TextsFound = TextsFound { logit: 900, with_sign: 900, ..CLEAN };
    const NOTHING: RulesFound = RulesFound {
        score: 0,
        threshold: 5,
        is_in_texts: false,
        score_outside_texts: 0,
        engine: RulesEngine::On,
        interruption: None,
        is_spent: false,
        is_oversized: false,
        is_undecodable: false,
        is_unread: false,
        has_too_many_parameters: false,
    };
    const AT: RulesFound = RulesFound { score: 5, interruption: Some(Interrupted::ByScore), ..NOTHING };
    const TWICE: RulesFound = RulesFound { score: 10, ..AT };
    const BELOW: RulesFound = RulesFound { score: 4, ..NOTHING };

    fn rules(verdict: WafVerdict) -> WafRules {
        WafRules::from(&WafSection { verdict, ..WafSection::default() })
    }

    #[test]
    fn rules_and_model_decide_together() {
        let combined = rules(WafVerdict::Combined);
        let own = Some(Interrupted::ByRule { status: 429 });
        for (name, found, texts, want) in [
            ("nothing", NOTHING, CLEAN, (Pass, "", 0)),
            ("rules below", BELOW, CLEAN, (Pass, "", 0)),
            ("rules below, not all seen", BELOW, TextsFound { is_truncated: true, ..CLEAN }, (Pass, "", 0)),
            ("rules, clean texts", AT, CLEAN, (Doubtful, "rules", 403)),
            ("rules, doubted texts", AT, DOUBTED, (Block, "rules_and_model", 403)),
            ("rules, certain texts", AT, SURE, (Block, "rules_and_model", 403)),
            ("rules, not all seen", AT, TextsFound { is_truncated: true, ..CLEAN }, (Block, "rules", 403)),
            (
                "attack rules in a header, clean texts",
                RulesFound { score_outside_texts: 5, ..AT },
                CLEAN,
                (Block, "rules", 403),
            ),
            (
                "most of it for how it is sent",
                RulesFound { score_outside_texts: 4, ..AT },
                CLEAN,
                (Doubtful, "rules", 403),
            ),
            (
                "attack rules in a header, below",
                RulesFound { score: 4, score_outside_texts: 4, ..NOTHING },
                CLEAN,
                (Pass, "", 0),
            ),
            (
                "attack rules in a header that do not count",
                RulesFound { score: 0, score_outside_texts: 5, ..NOTHING },
                CLEAN,
                (Pass, "", 0),
            ),
            ("rules, more behind", RulesFound { is_oversized: true, ..AT }, CLEAN, (Block, "rules", 403)),
            ("more behind", RulesFound { is_oversized: true, ..NOTHING }, CLEAN, (Pass, "", 0)),
            ("rules on the head alone", RulesFound { is_unread: true, ..AT }, CLEAN, (Block, "rules", 403)),
            ("rules twice, clean texts", TWICE, CLEAN, (Block, "rules", 403)),
            ("rules twice, doubted texts", TWICE, DOUBTED, (Block, "rules", 403)),
            (
                "rules that only watch",
                RulesFound { interruption: None, ..AT },
                DOUBTED,
                (Block, "rules_and_model", 403),
            ),
            ("doubted texts alone", NOTHING, DOUBTED, (Doubtful, "model", 403)),
            ("rules below, elsewhere, doubted texts", BELOW, DOUBTED, (Doubtful, "model", 403)),
            (
                "rules below, in a doubted text",
                RulesFound { is_in_texts: true, ..BELOW },
                DOUBTED,
                (Block, "rules_and_model", 403),
            ),
            ("rules below, in a clean text", RulesFound { is_in_texts: true, ..BELOW }, CLEAN, (Pass, "", 0)),
            (
                "rules that do not count, in a doubted text",
                RulesFound { is_in_texts: true, ..NOTHING },
                DOUBTED,
                (Doubtful, "model", 403),
            ),
            ("certain texts alone", NOTHING, SURE, (Block, "model", 403)),
            (
                "certain without a sign",
                NOTHING,
                TextsFound { with_sign: -500, ..SURE },
                (Doubtful, "model", 403),
            ),
            ("a sign, but clean", NOTHING, TextsFound { with_sign: 90, logit: 90, ..CLEAN }, (Pass, "", 0)),
            ("a threshold beyond certainty", NOTHING, TextsFound { doubtful: 1_000, ..SURE }, (Pass, "", 0)),
            ("an own rule", RulesFound { interruption: own, ..NOTHING }, CLEAN, (Block, "rule", 429)),
            ("no threshold", RulesFound { threshold: 0, score: 0, ..NOTHING }, CLEAN, (Pass, "", 0)),
            ("no threshold, a score", RulesFound { threshold: 0, score: 9, ..NOTHING }, CLEAN, (Pass, "", 0)),
        ] {
            let judgement = of_request(&found, Some(&texts), &combined);
            assert_eq!((judgement.verdict, judgement.reason, judgement.status), want, "{name}");
            assert!(
                !judgement.is_offence && judgement.retry_after_secs.is_none(),
                "{name}: nobody is banned"
            );
        }
    }

    #[test]
    fn the_rules_word_alone() {
        for (name, found, want) in [
            ("nothing", NOTHING, (Pass, "")),
            ("rules below", BELOW, (Pass, "")),
            ("rules", AT, (Block, "rules")),
            ("rules that only watch", RulesFound { interruption: None, ..TWICE }, (Pass, "")),
            (
                "an own rule",
                RulesFound { interruption: Some(Interrupted::ByRule { status: 403 }), ..NOTHING },
                (Block, "rule"),
            ),
        ] {
            let judgement = of_request(&found, Some(&SURE), &rules(WafVerdict::Rules));
            assert_eq!((judgement.verdict, judgement.reason), want, "{name}");
            // A model without a say changes nothing either.
            let judgement = of_request(&found, None, &rules(WafVerdict::Combined));
            assert_eq!((judgement.verdict, judgement.reason), want, "{name}, without a model");
        }
    }

    #[test]
    fn what_nobody_saw_is_decided_by_the_configuration() {
        let spent = RulesFound { is_spent: true, ..NOTHING };
        let oversized = RulesFound { is_oversized: true, ..NOTHING };
        let many = RulesFound { has_too_many_parameters: true, ..NOTHING };
        let broken = RulesFound { is_undecodable: true, ..NOTHING };
        for verdict in [WafVerdict::Combined, WafVerdict::Rules] {
            let lenient = rules(verdict);
            let strict = WafRules { on_oversized_body: OnOversizedBody::Block, ..lenient };
            let patient = WafRules { on_budget: OnBudget::Pass, ..lenient };
            for (name, found, rules, want) in [
                ("spent", spent, lenient, (Block, "budget", 403)),
                ("spent, passes", spent, patient, (Pass, "", 0)),
                ("oversized", oversized, lenient, (Pass, "", 0)),
                ("oversized, blocks", oversized, strict, (Block, "body_too_large", 413)),
                ("many parameters", many, lenient, (Block, "too_many_parameters", 400)),
                ("undecodable", broken, lenient, (Block, "undecodable_body", 400)),
                ("many, and spent", RulesFound { is_spent: true, ..many }, lenient, (Block, "budget", 403)),
                (
                    "many, and nobody looks",
                    RulesFound { engine: RulesEngine::Off, ..many },
                    strict,
                    (Pass, "", 0),
                ),
                (
                    "oversized, and an attack",
                    RulesFound { is_oversized: true, ..TWICE },
                    strict,
                    (Block, "rules", 403),
                ),
            ] {
                let judgement = of_request(&found, Some(&CLEAN), &rules);
                assert_eq!(
                    (judgement.verdict, judgement.reason, judgement.status),
                    want,
                    "{name}, {verdict:?}"
                );
            }
        }
        let spent_at = RulesFound { is_spent: true, ..AT };
        let patient = WafRules { on_budget: OnBudget::Pass, ..rules(WafVerdict::Combined) };
        assert_eq!(of_request(&spent_at, Some(&CLEAN), &patient).verdict, Block, "not all was seen");
    }

    #[test]
    fn rules_that_are_off_say_nothing() {
        let off = RulesFound { engine: RulesEngine::Off, ..NOTHING };
        let own = Some(Interrupted::ByRule { status: 403 });
        for verdict in [WafVerdict::Combined, WafVerdict::Rules] {
            assert_eq!(of_request(&off, Some(&SURE), &rules(verdict)), Judgement::PASS);
            let before = RulesFound { interruption: own, ..off };
            assert_eq!(of_request(&before, Some(&CLEAN), &rules(verdict)), Judgement::block("rule", 403));
        }
    }

    #[test]
    fn answers_are_judged_by_rules_alone() {
        assert_eq!(of_answer(None), Judgement::PASS);
        assert_eq!(of_answer(Some(Interrupted::ByScore)), Judgement::block("answer_rules", 403));
        assert_eq!(
            of_answer(Some(Interrupted::ByRule { status: 502 })),
            Judgement::block("answer_rule", 502)
        );
    }
}
