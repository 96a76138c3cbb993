// SPDX-License-Identifier: Apache-2.0
//! What rules do when they match.

use std::sync::Arc;

use super::state::{Scalar, State, number};
use super::texts::TextId;
use crate::collections::Change;
use crate::compile::{Amount, Changed, Deed, Effect, Name, RuleSet, SetVariable};
use crate::seclang::ast::Variable;

impl State {
    /// Does what a condition does as soon as it holds.
    pub(crate) fn set_variables(&mut self, rules: &RuleSet, deeds: &[Deed]) {
        for deed in deeds {
            self.deed(rules, deed);
        }
    }

    fn deed(&mut self, rules: &RuleSet, deed: &Deed) {
        match deed {
            Deed::Set(set) => self.set_variable(rules, set),
            Deed::Begin { collection, key, told } => {
                let key = self.filled(rules, key);
                if let Some(told) = told {
                    self.put(*told, &key);
                }
                self.begin_collection(*collection, &key);
            }
            Deed::Expire { collection, name, after } => {
                let name = self.filled(rules, name).to_ascii_lowercase();
                let after = self.amount(rules, after);
                self.change_kept(rules, *collection, &name, Change::Expire(after));
            }
            Deed::Deprecate { collection, name, by, every } => {
                let name = self.filled(rules, name).to_ascii_lowercase();
                self.change_kept(rules, *collection, &name, Change::Deprecate { by: *by, every: *every });
            }
            Deed::Environment { name, value } => {
                let name = self.filled(rules, name).to_ascii_lowercase();
                let value = self.filled(rules, value);
                let value = self.texts.intern(&value);
                let name = self.texts.intern(&name);
                self.set_made_up(Variable::Env, name, Some(Scalar::Text(value)));
            }
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
        if let Place::MadeUp(name) = &place
            && self.begun(set.collection).is_some()
        {
            let change = self.kept_change(rules, &set.change);
            let name = self.texts.get(*name).to_vec();
            return self.change_kept(rules, set.collection, &name, change);
        }
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

    pub(super) fn amount(&mut self, rules: &RuleSet, amount: &Amount) -> i64 {
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
        }
    }
}

enum Place {
    Slot(u32),
    MadeUp(TextId),
}
