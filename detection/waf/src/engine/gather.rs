// SPDX-License-Identifier: Apache-2.0
//! What rules look at: the values of variables, and what the filter knows of them.

use super::evaluate::Run;
use super::state::{Item, State, written};
use super::texts::NONE;
use crate::byte_set::ByteSet;
use crate::compile::{Except, Link, Picks, RuleSet, Source};
use crate::filter::index::{add, is_set};
use crate::seclang::ast::Variable;

const UNKNOWN: u32 = u32::MAX;

/// What the filter knows of one phase, each found out when the first rule asks: the values of a source, the operators
/// that may hold for one of them in one form, and those that may hold for a value of a feed.
#[derive(Debug, Default)]
pub(crate) struct Views {
    of_sources: Vec<Option<View>>,
    items: Vec<Item>,
    /// Where their sets of operators begin.
    of_forms: Vec<u32>,
    of_feeds: Vec<u32>,
    bits: Vec<u64>,
}

/// The values of a source.
#[derive(Clone, Copy, Debug)]
struct View {
    start: u32,
    end: u32,
    /// Bytes that stand in any of them.
    present: ByteSet,
    /// Where the set of operators begins that may hold for one of them as it is.
    unchanged: u32,
}

impl Views {
    /// Forgets everything: the next phase may have other values.
    pub(super) fn clear(&mut self, rules: &RuleSet) {
        self.items.clear();
        self.bits.clear();
        self.of_sources.clear();
        self.of_sources.resize(rules.sources.len(), None);
        for (places, count) in [(&mut self.of_forms, rules.forms), (&mut self.of_feeds, rules.feeds.len())] {
            places.clear();
            places.resize(count, UNKNOWN);
        }
    }

    /// Whether the operator of that place may hold for any value of a form that was looked at.
    pub(super) fn names(&self, form: u32, place: u32) -> bool {
        let start = self.of_forms.get(form as usize).copied().unwrap_or(UNKNOWN);
        self.bits.get(start as usize..).is_some_and(|bits| is_set(bits, place))
    }

    /// The places of a source's values that were gathered.
    pub(super) fn places(&self, source: u32) -> std::ops::Range<u32> {
        let view = self.of_sources.get(source as usize).copied().flatten();
        view.map_or(0..0, |view| view.start..view.end)
    }

    pub(super) fn item(&self, place: u32) -> Option<Item> {
        self.items.get(place as usize).copied()
    }

    /// A new set: where it begins.
    fn add_set(&mut self, words: usize) -> u32 {
        let start = self.bits.len();
        self.bits.resize(start + words, 0);
        u32::try_from(start).unwrap_or(UNKNOWN)
    }
}

impl State {
    /// Whether the operator of that place in the index may hold for any value of a feed.
    pub(super) fn may_match(&mut self, run: Run<'_>, feed: u32, place: u32) -> bool {
        let start = match self.views.of_feeds.get(feed as usize) {
            Some(known) if *known != UNKNOWN => *known,
            _ => self.read_feed(run, feed),
        };
        !self.is_spent && self.views.bits.get(start as usize..).is_some_and(|bits| is_set(bits, place))
    }

    fn read_feed(&mut self, run: Run<'_>, number: u32) -> u32 {
        let Some(feed) = run.rules.feeds.get(number as usize) else { return UNKNOWN };
        for (source, forms) in feed.by_source() {
            for (node, form) in feed.nodes.iter().zip(forms) {
                self.read_form(run, source, *node, *form);
            }
        }
        let Views { of_forms, of_feeds, bits, .. } = &mut self.views;
        let start = match &*feed.forms {
            // Whose only form it is, needs no set of its own.
            [form] => of_forms.get(*form as usize).copied().unwrap_or(UNKNOWN),
            forms => {
                let (start, words) = (bits.len(), run.rules.index(run.side).words());
                bits.resize(start + words, 0);
                let (known, new) = bits.split_at_mut(start);
                for form in forms {
                    let from = of_forms.get(*form as usize).copied().unwrap_or(UNKNOWN);
                    add(new, known.get(from as usize..).unwrap_or_default());
                }
                u32::try_from(start).unwrap_or(UNKNOWN)
            }
        };
        if let Some(place) = of_feeds.get_mut(number as usize) {
            *place = start;
        }
        start
    }

    fn read_form(&mut self, run: Run<'_>, source: u32, node: u32, form: u32) {
        if self.views.of_forms.get(form as usize).is_none_or(|known| *known != UNKNOWN) {
            return;
        }
        let Some(mut view) = self.view(run.rules, source) else { return };
        let changes = run.rules.nodes.get(node as usize).and_then(|node| node.changes);
        let is_unchanged = changes.is_some_and(|changes| !changes.meets(&view.present));
        let start = match view.unchanged {
            known if is_unchanged && known != UNKNOWN => known,
            _ => self.read_values(run, view, if is_unchanged { 0 } else { node }),
        };
        if is_unchanged {
            view.unchanged = start;
            if let Some(known) = self.views.of_sources.get_mut(source as usize) {
                *known = Some(view);
            }
        }
        if let Some(place) = self.views.of_forms.get_mut(form as usize) {
            *place = start;
        }
    }

    /// The operators that may hold for any of these values in a form: where their set begins.
    fn read_values(&mut self, run: Run<'_>, view: View, node: u32) -> u32 {
        let start = self.views.add_set(run.rules.index(run.side).words());
        for place in view.start..view.end {
            let Some(item) = self.views.item(place) else { break };
            let text = self.texts.changed(run.rules, item.value, node);
            let found = self.texts.candidates(run.rules, run.side, text);
            add(self.views.bits.get_mut(start as usize..).unwrap_or_default(), found);
            self.ask(run);
            if self.is_spent {
                break;
            }
        }
        start
    }

    fn view(&mut self, rules: &RuleSet, source: u32) -> Option<View> {
        let number = source as usize;
        if let Some(view) = self.views.of_sources.get(number).copied().flatten() {
            return Some(view);
        }
        let mut items = std::mem::take(&mut self.views.items);
        let start = items.len();
        self.gather(rules, rules.sources.get(number)?, &mut items);
        let values = items.get(start..).unwrap_or_default().iter();
        let present = values.fold(ByteSet::EMPTY, |all, item| all.union(self.texts.present(item.value)));
        let place = |number: usize| u32::try_from(number).unwrap_or(UNKNOWN);
        let view = View { start: place(start), end: place(items.len()), present, unchanged: UNKNOWN };
        self.views.items = items;
        if let Some(known) = self.views.of_sources.get_mut(number) {
            *known = Some(view);
        }
        Some(view)
    }

    /// The values of a source.
    pub(super) fn gather(&mut self, rules: &RuleSet, source: &Source, items: &mut Vec<Item>) {
        match source.variable {
            Variable::Args => {
                self.gather_of(source, &[Variable::ArgsGet, Variable::ArgsPost], items);
            }
            Variable::ArgsNames => {
                self.gather_of(source, &[Variable::ArgsGetNames, Variable::ArgsPostNames], items);
            }
            Variable::Tx => self.gather_tx(rules, source, items),
            Variable::Global | Variable::Ip | Variable::Session | Variable::User | Variable::Resource => {
                if !self.gather_kept(source, items) {
                    self.gather_made_up(source, items);
                }
            }
            Variable::Env => self.gather_made_up(source, items),
            Variable::Rule => self.gather_rule(rules, source, items),
            Variable::MatchedVar => items.extend(self.last_matched.map(|item| Item {
                variable: Variable::MatchedVar,
                name: NONE,
                value: item.value,
            })),
            Variable::MatchedVarName => {
                if let Some(item) = self.last_matched {
                    let value = self.target(item);
                    let value = self.texts.intern(value.as_bytes());
                    items.push(Item { variable: Variable::MatchedVarName, name: NONE, value });
                }
            }
            Variable::MatchedVars => {
                let matched = std::mem::take(&mut self.matched);
                for item in &matched {
                    let name = self.target(*item);
                    let name = self.texts.intern(name.as_bytes());
                    items.push(Item { variable: Variable::MatchedVars, name, value: item.value });
                }
                self.matched = matched;
            }
            Variable::MatchedVarsNames => {
                let matched = std::mem::take(&mut self.matched);
                for item in &matched {
                    let name = self.target(*item);
                    let name = self.texts.intern(name.as_bytes());
                    items.push(Item { variable: Variable::MatchedVarsNames, name, value: name });
                }
                self.matched = matched;
            }
            Variable::HighestSeverity => {
                let mut digits = [0; 20];
                let value = self.texts.intern(written(i64::from(self.highest_severity), &mut digits));
                items.push(Item { variable: Variable::HighestSeverity, name: NONE, value });
            }
            other => self.gather_of(source, &[other], items),
        }
    }

    fn gather_of(&self, source: &Source, parts: &[Variable], items: &mut Vec<Item>) {
        for part in parts {
            for entry in self.of(*part) {
                if matches!(source.picks, Picks::All) || source.picks.takes(self.texts.get(entry.name)) {
                    items.push(Item { variable: source.variable, name: entry.name, value: entry.value });
                }
            }
        }
    }

    /// What the rule at hand says of itself.
    fn gather_rule(&mut self, rules: &RuleSet, source: &Source, items: &mut Vec<Item>) {
        let Some(rule) = rules.rules.get(self.rule as usize) else { return };
        for (name, value) in rule.said(&rules.slots) {
            if !value.is_empty() && source.picks.takes(name.as_bytes()) {
                let (name, value) = (self.texts.intern(name.as_bytes()), self.texts.intern(value.as_bytes()));
                items.push(Item { variable: Variable::Rule, name, value });
            }
        }
    }

    fn gather_tx(&mut self, rules: &RuleSet, source: &Source, items: &mut Vec<Item>) {
        if let Picks::Slot(slot) = source.picks {
            if let Some(value) = self.slot(slot) {
                let value = self.text_of(value);
                let name = rules.slots.names.get(slot as usize).map_or(NONE, |name| self.texts.intern(name));
                items.push(Item { variable: Variable::Tx, name, value });
            }
            return;
        }
        for slot in &source.slots {
            if let Some((name, value)) = rules.slots.names.get(*slot as usize).zip(self.slot(*slot)) {
                let (name, value) = (self.texts.intern(name), self.text_of(value));
                items.push(Item { variable: Variable::Tx, name, value });
            }
        }
        self.gather_made_up(source, items);
    }

    fn gather_made_up(&mut self, source: &Source, items: &mut Vec<Item>) {
        let made_up = std::mem::take(&mut self.made_up);
        for (variable, name, value) in &made_up {
            if let Some(value) = *value
                && *variable == source.variable
                && source.picks.takes(self.texts.get(*name))
            {
                items.push(Item { variable: *variable, name: *name, value: self.text_of(value) });
            }
        }
        self.made_up = made_up;
    }

    /// Whether the rule, or a rule before it, does not want it looked at.
    pub(super) fn is_left_out(&self, rules: &RuleSet, number: u32, link: &Link, item: Item) -> bool {
        let of_rule =
            self.exceptions.iter().filter(|known| is_set(&known.rules, number)).map(|known| &known.except);
        link.exclusions.iter().chain(of_rule).any(|except| self.is_meant(rules, except, item))
    }

    pub(super) fn is_meant(&self, rules: &RuleSet, except: &Except, item: Item) -> bool {
        if except.variable != item.variable {
            return false;
        }
        let name = self.texts.get(item.name);
        match &except.picks {
            Picks::Slot(slot) => {
                rules.slots.names.get(*slot as usize).is_some_and(|known| known.eq_ignore_ascii_case(name))
            }
            picks => picks.takes(name),
        }
    }
}
