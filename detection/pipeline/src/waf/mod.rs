// SPDX-License-Identifier: Apache-2.0
//! The WAF's word. The proxy runs rules over a request (it has the body, and the time); what comes of it is decided here,
//! together with what the model says of the texts, and merged into the decision as a stage's word is.

mod category;
mod file;
mod section;
mod texts;
mod verdict;

use std::time::Duration;

use sunbeam_features::canonical::canonical_path;
use sunbeam_traffic::{Layer, LayerMode, RequestFacts, Verdict};

pub use category::{Category, Tally};
pub use file::is_file;
pub use section::{OnBudget, OnOversizedBody, WafRuleset, WafSection, WafVerdict, is_binary_type};
pub(crate) use verdict::WafRules;
pub use verdict::{Interrupted, RulesEngine, RulesFound};

use crate::pipeline::{Decision, Judged, Pipeline, Thought, note, note_doubt};
use crate::stage::Judgement;
use crate::subject::{RulesScore, Scratch};
use verdict::TextsFound;

impl Pipeline {
    /// Whether rules are to look at a request that was judged.
    pub fn inspects(&self, judged: &Judged) -> bool {
        !judged.is_unjudged
            && judged.decision != Decision::Blocked
            && self.rules().mode(judged.route, Layer::Waf) != LayerMode::Off
    }

    /// Merges what rules found in a request into what was decided; `facts` has the body, as far as it was looked at. What
    /// it comes to for this layer, for [`Self::count_inspected`], and what was thought.
    pub fn inspected(
        &self,
        judged: &mut Judged,
        facts: &RequestFacts<'_>,
        found: &RulesFound,
        scratch: &mut Scratch,
    ) -> (Decision, Judgement) {
        judged.scores.rules = Some(RulesScore { score: found.score, threshold: found.threshold });
        let texts = self.texts(judged, facts, scratch);
        let judgement = verdict::of_request(found, texts.as_ref(), &self.rules().waf);
        (self.merge_watched(judged, found, &judgement), judgement)
    }

    /// The same with what rules found in the answer.
    pub fn answer_inspected(&self, judged: &mut Judged, interruption: Option<Interrupted>) -> Decision {
        self.merge(judged, &verdict::of_answer(interruption), Decision::Blocked)
    }

    /// Counts what a look came to, once for each request.
    pub fn count_inspected(&self, decision: Decision, category: Category, took: Duration) {
        self.metrics().count_inspected(decision, category, took);
    }

    /// As [`Self::merge`], for a request: rules that only look on stop nothing, and what was too long to be seen whole is
    /// told of where nothing else is, or padding would leave no trace.
    fn merge_watched(&self, judged: &mut Judged, found: &RulesFound, judgement: &Judgement) -> Decision {
        let most = match found.engine {
            RulesEngine::DetectionOnly => Decision::Observed,
            _ => Decision::Blocked,
        };
        let decision = self.merge(judged, judgement, most);
        if decision == Decision::Passed && found.is_oversized && found.engine != RulesEngine::Off {
            let unseen = Judgement::pass("oversized_body");
            note(judged, Layer::Waf, Decision::Observed, &unseen);
            return Decision::Observed;
        }
        decision
    }

    fn merge(&self, judged: &mut Judged, judgement: &Judgement, most: Decision) -> Decision {
        let mode = self.rules().mode(judged.route, Layer::Waf);
        let decision = self.decide(judgement, Layer::Waf, mode, judged, judged.at).min(most);
        if judgement.verdict != Verdict::Pass && !judged.is_trial {
            let mut thought = Thought::default();
            thought.note(Layer::Waf, judgement);
            judged.thought.note(Layer::Waf, judgement);
            if !judged.is_page_made {
                let proof = &self.memory().proof;
                proof.add(judged.identity.key, thought.doubted, thought.certain, judged.at);
            }
        }
        note(judged, Layer::Waf, decision, judgement);
        if most == Decision::Blocked {
            note_doubt(judged, Layer::Waf, mode, judgement);
        }
        decision
    }

    /// What the model says of all texts; what the scanner has read already is not read again. Nothing where it has no say.
    fn texts(
        &self,
        judged: &mut Judged,
        facts: &RequestFacts<'_>,
        scratch: &mut Scratch,
    ) -> Option<TextsFound> {
        let rules = self.rules();
        if rules.waf.verdict == WafVerdict::Rules || rules.scanner_threshold == i32::MAX {
            return None;
        }
        let model = &rules.models.scanner.payload;
        let Scratch { canonical, buffers, .. } = scratch;
        let (applied, mut used) = (rules.exceptions.of(facts), judged.used);
        let mut read = match judged.texts {
            Some(texts) => texts,
            None => {
                canonical.clear();
                canonical_path(facts.path.as_bytes(), canonical);
                texts::of_head(facts, canonical, model, (&applied, &mut used), buffers)
            }
        };
        if !facts.body.is_empty() {
            read = read.and(texts::of_body(facts, model, (&applied, &mut used), buffers));
        }
        judged.texts = Some(read);
        judged.used = used;
        judged.scores.payload = Some(read.logit.saturating_sub(model.doubtful));
        Some(TextsFound {
            logit: read.logit,
            with_sign: read.with_sign,
            doubtful: model.doubtful.saturating_add(rules.scanner_threshold),
            certain: model.certain,
            is_truncated: read.is_truncated,
        })
    }
}
