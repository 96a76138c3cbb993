// SPDX-License-Identifier: Apache-2.0
//! Block and allow lists.

use sunbeam_reputation::List;
use sunbeam_tables::Moment;
use sunbeam_traffic::Layer;

use crate::memory::Memory;
use crate::rules::Rules;
use crate::stage::{Judgement, Stage};
use crate::subject::Subject;

/// 403 for who is listed; who is allowed or exempt is not judged at all.
#[derive(Debug)]
pub(crate) struct ListStage;

impl Stage for ListStage {
    fn name(&self) -> &'static str {
        "lists"
    }

    fn layer(&self) -> Layer {
        Layer::Lists
    }

    fn judge(&self, subject: &mut Subject<'_>, _: &Rules, memory: &Memory, now: Moment) -> Judgement {
        let Some(listed) = memory.lists.find(subject.facts.client, now) else { return Judgement::PASS };
        match listed.list {
            List::Block => Judgement::block("listed", 403),
            List::Allow => Judgement { is_final: true, ..Judgement::pass("allowed") },
            List::Exempt => Judgement { is_final: true, ..Judgement::pass("operator") },
        }
    }
}
