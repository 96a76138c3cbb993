// SPDX-License-Identifier: Apache-2.0
//! Collections that outlive the request, as its rules see them.

use super::state::{Begun, Item, Scalar, State};
use super::texts::TextId;
use crate::collections::{Change, Key, Value};
use crate::compile::{Changed, Picks, RuleSet, Source};
use crate::seclang::ast::Variable;

impl State {
    /// `initcol:ip=KEY`. The first word holds: nobody changes to another collection on the way.
    pub(super) fn begin_collection(&mut self, collection: Variable, key: &[u8]) {
        if self.begun(collection).is_some() {
            return;
        }
        let Some(collections) = &self.collections else {
            let key = self.texts.intern(key);
            let name = self.texts.intern(b"key");
            return self.set_made_up(collection, name, Some(Scalar::Text(key)));
        };
        let key = Key { kind: collection as u8, name: key.into() };
        let is_new = !collections.contains(&key, self.now.seconds);
        self.begun.push(Begun { collection, key, is_new });
    }

    pub(super) fn begun(&self, collection: Variable) -> Option<&Begun> {
        self.begun.iter().find(|begun| begun.collection == collection)
    }

    /// Changes a variable of a collection that was begun; does nothing where none was.
    pub(super) fn change_kept(&self, rules: &RuleSet, collection: Variable, name: &[u8], change: Change) {
        let Some((collections, begun)) = self.collections.as_ref().zip(self.begun(collection)) else {
            return;
        };
        let timeout = rules.settings.collection_timeout;
        collections.change(&begun.key, name, change, self.now.seconds, timeout);
    }

    pub(super) fn kept_change(&mut self, rules: &RuleSet, change: &Changed) -> Change {
        match change {
            Changed::Number(number) => Change::Set(Value::Number(*number)),
            Changed::Text(pieces) => Change::Set(Value::Text(self.filled(rules, pieces).into())),
            Changed::Add(amount) => Change::Add(self.amount(rules, amount)),
            Changed::Subtract(amount) => Change::Add(self.amount(rules, amount).saturating_neg()),
            Changed::Remove => Change::Remove,
        }
    }

    /// What stands in a collection now; `false` where none was begun.
    pub(super) fn gather_kept(&mut self, source: &Source, items: &mut Vec<Item>) -> bool {
        let Some((collections, begun)) = self.collections.clone().zip(self.begun(source.variable)) else {
            return false;
        };
        let (now, is_new) = (self.now.seconds, begun.is_new);
        if let Picks::Named(name) = &source.picks {
            let name = name.to_ascii_lowercase();
            let value = match &*name {
                b"key" => Some(Value::Text(begun.key.name.clone())),
                b"is_new" => Some(Value::Number(i64::from(is_new))),
                name => collections.read(&begun.key, name, now),
            };
            if let Some(value) = value {
                items.push(self.kept_item(source.variable, &name, &value));
            }
            return true;
        }
        for (name, value) in collections.all(&begun.key, now) {
            if source.picks.takes(&name) {
                items.push(self.kept_item(source.variable, &name, &value));
            }
        }
        true
    }

    fn kept_item(&mut self, variable: Variable, name: &[u8], value: &Value) -> Item {
        let name = self.texts.intern(name);
        let value: TextId = match value {
            Value::Text(text) => self.texts.intern(text),
            Value::Number(number) => self.text_of(Scalar::Number(*number)),
        };
        Item { variable, name, value }
    }
}
