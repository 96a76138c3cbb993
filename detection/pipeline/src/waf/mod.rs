// SPDX-License-Identifier: Apache-2.0
//! The WAF's word. The proxy runs rules over a request (it has the body, and the time); what comes of it is decided here,
//! together with what the model says of the texts, and merged into the decision as a stage's word is.

mod category;
mod section;
mod texts;
mod verdict;

use std::time::Duration;

use sunbeam_features::canonical::canonical_path;
use sunbeam_traffic::{Layer, LayerMode, RequestFacts};

pub use category::{Category, Tally};
pub use section::{OnBudget, OnOversizedBody, WafRuleset, WafSection, WafVerdict};
pub use texts::is_binary;
pub(crate) use verdict::WafRules;
pub use verdict::{Interrupted, RulesFound};

use crate::pipeline::{Decision, Judged, Pipeline, decide, note};
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
        (self.merge(judged, &judgement), judgement)
    }

    /// The same with what rules found in the answer.
    pub fn answer_inspected(&self, judged: &mut Judged, interruption: Option<Interrupted>) -> Decision {
        self.merge(judged, &verdict::of_answer(interruption))
    }

    /// Counts what a look came to, once for each request.
    pub fn count_inspected(&self, decision: Decision, category: Category, took: Duration) {
        self.metrics().count_inspected(decision, category, took);
    }

    fn merge(&self, judged: &mut Judged, judgement: &Judgement) -> Decision {
        let decision = decide(judgement, self.rules().mode(judged.route, Layer::Waf));
        note(judged, Layer::Waf, decision, judgement);
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
