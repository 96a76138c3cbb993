// SPDX-License-Identifier: Apache-2.0
//! Which rules cannot match, found out without running them. It never changes a result: tests hold it to that.

pub(crate) mod index;
pub(crate) mod needs;
mod words;

use crate::byte_set::ByteSet;
use crate::compile::{RuleSet, Side, Test};

impl RuleSet {
    /// The rules whose operator holds for a text though the filter says that it cannot: none, or an attack could pass.
    /// Slow; for tests.
    pub fn overlooked(&self, text: &[u8]) -> Vec<u64> {
        let mut overlooked = Vec::new();
        let present = ByteSet::present(text);
        for side in [Side::Request, Side::Response] {
            let index = self.index(side);
            let mut found = vec![0; index.words()];
            index.candidates(text, &present, &mut Vec::new(), &mut found);
            let numbers = (1..).zip(&self.phases).filter(|(phase, _)| Side::of(*phase) == side);
            let rules = numbers
                .flat_map(|(_, numbers)| numbers)
                .filter_map(|number| self.rules.get(*number as usize));
            for (rule, link) in rules.flat_map(|rule| rule.links.iter().map(move |link| (rule, link))) {
                if let (Test::Fixed { matcher, .. }, Some(_)) = (&link.test, link.feed)
                    && !index::is_set(&found, index.place(*matcher))
                    && self.matchers.get(*matcher as usize).is_some_and(|operator| operator.holds(text, None))
                {
                    overlooked.push(rule.id);
                }
            }
        }
        overlooked
    }
}
