// SPDX-License-Identifier: Apache-2.0
//! What rules do when they match.

use std::sync::Arc;

use super::state::{Scalar, State, number};
use super::texts::TextId;
use crate::compile::{Amount, Changed, Effect, Name, RuleSet, SetVariable};
use crate::seclang::ast::Variable;

impl State {
    pub(crate) fn set_variables(&mut self, rules: &RuleSet, all: &[SetVariable]) {
        for one in all {
            self.set_variable(rules, one);
        }
    }

    fn set_variable(&mut self, rules: &RuleSet, set: &SetVariable) {
        let place = match &set.name {
            Name::Slot(slot) => Place::Slot(*slot),
            Name::Templated(pieces) => {
                let mut name = self.filled(rules, pieces);
                name.make_ascii_lowercase();
                let slot = (set.collection == Variable::Tx).then(|| rules.slots.numbers.get(&*name).copied());
                match slot.flatten() {
                    Some(slot) => Place::Slot(slot),
                    None => Place::MadeUp(self.texts.intern(&name)),
                }
            }
        };
        let before = match &place {
            Place::Slot(slot) => self.slot(*slot),
            Place::MadeUp(name) => self.made_up(set.collection, *name),
        };
        let before = |state: &Self| before.map_or(0, |value| state.number_of(value));
        let value = match &set.change {
            Changed::Number(number) => Some(Scalar::Number(*number)),
            Changed::Text(pieces) => {
                let text = self.filled(rules, pieces);
                Some(Scalar::Text(self.texts.intern(&text)))
            }
            Changed::Add(amount) => {
                let amount = self.amount(rules, amount);
                Some(Scalar::Number(before(self).saturating_add(amount)))
            }
            Changed::Subtract(amount) => {
                let amount = self.amount(rules, amount);
                Some(Scalar::Number(before(self).saturating_sub(amount)))
            }
            Changed::Remove => None,
        };
        match place {
            Place::Slot(slot) => self.set_slot(slot, value),
            Place::MadeUp(name) => self.set_made_up(set.collection, name, value),
        }
    }

    fn amount(&mut self, rules: &RuleSet, amount: &Amount) -> i64 {
        match amount {
            Amount::Number(number) => *number,
            Amount::Slot(slot) => self.slot(*slot).map_or(0, |value| self.number_of(value)),
            Amount::Text(pieces) => number(&self.filled(rules, pieces)),
        }
    }

    pub(crate) fn effect(&mut self, rules: &RuleSet, effect: &Effect) {
        match effect {
            Effect::Engine(mode) => self.mode = *mode,
            Effect::RemoveRules(removed) => {
                self.removed.resize(rules.rules.len().div_ceil(64), 0);
                self.removed.iter_mut().zip(removed).for_each(|(all, one)| *all |= one);
            }
            Effect::RemoveTarget(exception) => self.exceptions.push(Arc::clone(exception)),
            Effect::Processor(processor) => {
                self.processor = Some(*processor);
                self.put(Variable::ReqbodyProcessor, processor.as_str().as_bytes());
            }
            Effect::ForceRequestBody(on) => self.forces_request_body = *on,
            Effect::RequestBodyAccess(on) => self.request_body = *on,
            Effect::ResponseBodyAccess(on) => self.response_body = *on,
            Effect::Collection(collection, key) => {
                let key = self.filled(rules, key);
                let key = self.texts.intern(&key);
                let name = self.texts.intern(b"key");
                self.set_made_up(*collection, name, Some(Scalar::Text(key)));
            }
        }
    }
}

enum Place {
    Slot(u32),
    MadeUp(TextId),
}
