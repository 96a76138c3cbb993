// SPDX-License-Identifier: Apache-2.0
//! The rules of a phase, in order.

use super::state::{Finding, Interruption, InterruptionKind, Item, Scalar, State, number, written};
use super::statistics::{Clock, Sampling};
use super::texts::{NONE, TextId};
use crate::compile::{
    Disruption, Feed, Link, LinkTarget, Number, Picks, PieceOf, Pieces, Rule, RuleSet, Side, Source, Test,
};
use crate::filter::index::is_set;
use crate::operators::Captures;
use crate::seclang::ast::{Allow, EngineMode, Variable};

/// Of a value that is told.
const TOLD_BYTES_MAX: usize = 256;
/// Looking at a value costs this much, beside its bytes.
const RUN_COST: u64 = 64;
/// Bytes of work after which the clock is looked at.
const ASKED_EACH: u64 = 65_536;

/// How long rules may run, and by which clock.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) clock: Clock,
    pub(crate) nanoseconds: u64,
}

/// What does not change while a phase runs.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) rules: &'a RuleSet,
    pub(crate) side: Side,
    pub(crate) budget: Option<Budget>,
    pub(crate) sampling: Option<Sampling>,
    /// Whether the filter is used: without it every rule looks at every value.
    pub(crate) filters: bool,
}

impl State {
    /// Runs a phase, 1 to 5, from one of its rules on.
    pub(crate) fn phase(&mut self, run: Run<'_>, phase: u8, from: usize) {
        if self.mode == EngineMode::Off || self.allowed.is_some_and(|until| phase <= until && phase != 5) {
            return;
        }
        if self.interruption.is_some() && phase != 5 {
            return;
        }
        self.views.clear(run.rules);
        let Some(numbers) = run.rules.phases.get(usize::from(phase.wrapping_sub(1))) else { return };
        let Some(gates) = run.rules.gates.get(usize::from(phase.wrapping_sub(1))) else { return };
        let mut at = from;
        while let Some((number, gate)) = numbers.get(at).copied().zip(gates.get(at)) {
            at += 1;
            if run.filters && gate.feed.is_some_and(|feed| !self.may_match(run, feed, gate.place)) {
                if self.is_spent {
                    return;
                }
                continue;
            }
            let Some(rule) = run.rules.rules.get(number as usize) else { continue };
            if is_set(&self.removed, number) || !self.counted(run, number, rule) {
                if self.is_spent {
                    return;
                }
                continue;
            }
            match rule.jump {
                Some(to) => at = at.max(to as usize),
                None => at = at.saturating_add(rule.skip as usize),
            }
            if self.mode == EngineMode::Off || self.is_spent {
                return;
            }
            if phase != 5 && self.interruption.is_some() {
                self.broken_off = Some((phase, at));
                return;
            }
            if phase != 5 && self.allowed.is_some_and(|until| phase <= until) {
                return;
            }
        }
    }

    /// As [`Self::rule`], where this transaction is a sample with a note of what it took.
    fn counted(&mut self, run: Run<'_>, number: u32, rule: &Rule) -> bool {
        let Some(sampling) = run.sampling else { return self.rule(run, number, rule) };
        self.has_looked = false;
        let begun = sampling.clock.map(|clock| clock());
        let matched = self.rule(run, number, rule);
        if self.has_looked {
            let ended = sampling.clock.map(|clock| clock());
            let took = ended.zip(begun).map_or(0, |(ended, begun)| ended.saturating_sub(begun));
            run.rules.statistics.ran(number, matched, took);
        }
        matched
    }

    /// Whether a rule matched with its whole chain; then it has done what it does.
    fn rule(&mut self, run: Run<'_>, number: u32, rule: &Rule) -> bool {
        self.rule = number;
        for link in &rule.links {
            if !self.link(run, number, rule, link) {
                return false;
            }
        }
        for link in &rule.links {
            for effect in &link.effects {
                self.effect(run.rules, effect);
            }
        }
        if let Some(severity) = rule.severity {
            self.highest_severity = self.highest_severity.min(severity);
        }
        if rule.logs && rule.links.len() > 1 {
            self.tell(run.rules, number, rule);
        }
        self.disrupt(run.rules, number, rule);
        true
    }

    fn disrupt(&mut self, rules: &RuleSet, number: u32, rule: &Rule) {
        let kind = match &rule.disruption {
            Disruption::Pass => return,
            Disruption::Allow(how) => {
                self.allowed = Some(match how {
                    Allow::All => 4,
                    Allow::Request => 2,
                    Allow::Phase => rule.phase,
                });
                return;
            }
            Disruption::Deny { status } => InterruptionKind::Deny(*status),
            Disruption::Drop => InterruptionKind::Drop,
            Disruption::Redirect { status, to } => {
                let to = String::from_utf8_lossy(&self.filled(rules, to)).into_owned();
                InterruptionKind::Redirect(*status, to)
            }
        };
        if self.mode == EngineMode::On && self.interruption.is_none() {
            self.interruption = Some(Interruption { rule: number, kind });
        }
    }

    fn tell(&mut self, rules: &RuleSet, number: u32, rule: &Rule) {
        let (target, value, is_cut) = match self.last_matched {
            Some(item) => {
                let value = self.texts.get(item.value);
                let told = value.get(..TOLD_BYTES_MAX).unwrap_or(value).to_vec();
                (self.target(item), told, value.len() > TOLD_BYTES_MAX)
            }
            None => (String::new(), Vec::new(), false),
        };
        let message = text_of(self.filled(rules, &rule.msg_pieces));
        let mut data = self.filled(rules, &rule.logdata);
        data.truncate(4 * TOLD_BYTES_MAX);
        let data = text_of(data);
        // A rule may match several values, one after another.
        let is_counted = self.is_counted && self.findings_more == 0;
        if is_counted && self.findings.last().is_none_or(|last| last.rule != number) {
            rules.statistics.hit(number);
        }
        // A chain is told once, whatever its last condition looked at.
        let is_chain = rule.links.len() > 1 && self.matched_of == number;
        let seen = if is_chain { self.matched.as_slice() } else { self.last_matched.as_slice() };
        let is_outside_texts = seen.iter().any(|item| self.is_outside_texts(*item));
        self.find(Finding { rule: number, target, value, is_cut, message, data, is_outside_texts });
    }

    fn link(&mut self, run: Run<'_>, number: u32, rule: &Rule, link: &Link) -> bool {
        if matches!(link.test, Test::Always) {
            self.has_looked = true;
            self.last_matched = None;
            self.set_variables(run.rules, &link.on_match);
            if rule.logs && rule.links.len() == 1 {
                self.tell(run.rules, number, rule);
            }
            return true;
        }
        if run.filters
            && let Some(feed_number) = link.feed
            && let Some(feed) = run.rules.feeds.get(feed_number as usize)
        {
            if !self.may_match(run, feed_number, link.place) {
                return false;
            }
            self.has_looked = true;
            return self.candidates(run, number, rule, link, feed);
        }
        self.has_looked = true;
        match self.quick(run.rules, link) {
            Some(false) => return false,
            Some(true) if rule.is_plain => {
                self.last_matched = None;
                self.set_variables(run.rules, &link.on_match);
                return true;
            }
            _ => {}
        }
        let mut any = false;
        for target in &link.targets {
            let (LinkTarget::Values(source) | LinkTarget::Count(source)) = *target;
            let Some(source) = run.rules.sources.get(source as usize) else { continue };
            let mut items = std::mem::take(&mut self.items);
            items.clear();
            self.gather(run.rules, source, &mut items);
            items.retain(|item| !self.is_left_out(run.rules, number, link, *item));
            if !self.granted.is_empty() {
                let is_asked = matches!(target, LinkTarget::Values(_));
                items.retain(|item| !self.is_granted(run, number, link, *item, is_asked));
            }
            if matches!(target, LinkTarget::Count(_)) {
                let mut digits = [0; 20];
                let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let value = self.texts.intern(written(count, &mut digits));
                items.clear();
                items.push(Item { variable: source.variable, name: NONE, value });
            }
            for item in &items {
                any |= self.item(run, number, rule, link, *item);
                if self.is_spent {
                    break;
                }
            }
            self.items = items;
            if self.is_spent {
                return false;
            }
        }
        any
    }

    /// The condition, of those values alone for which the filter names its operator. Whether any matched.
    fn candidates(&mut self, run: Run<'_>, number: u32, rule: &Rule, link: &Link, feed: &Feed) -> bool {
        let mut any = false;
        for (source, forms) in feed.by_source() {
            if !forms.iter().any(|form| self.views.names(*form, link.place)) {
                continue;
            }
            for place in self.views.places(source) {
                let Some(item) = self.views.item(place) else { break };
                let mut last = None;
                for node in &feed.nodes {
                    let value = self.texts.changed(run.rules, item.value, *node);
                    self.ask(run);
                    if last.replace(value) == Some(value)
                        || !is_set(self.texts.candidates(run.rules, run.side, value), link.place)
                    {
                        continue;
                    }
                    if self.is_left_out(run.rules, number, link, item) {
                        break;
                    }
                    if self.is_granted_in(run, number, link, Item { value, ..item }) {
                        continue;
                    }
                    any |= self.form(run, number, rule, link, Item { value, ..item });
                }
                if self.is_spent {
                    return false;
                }
                self.ask(run);
            }
        }
        any
    }

    /// Where a number of TX is compared with a number, which is what most rules of a rule set are, the answer is there
    /// at once. `None`: it has to be looked at.
    fn quick(&mut self, rules: &RuleSet, link: &Link) -> Option<bool> {
        let Test::Compared { comparison, with, is_negated } = &link.test else { return None };
        let [target] = link.targets.as_slice() else { return None };
        if link.node != 0 || !link.exclusions.is_empty() {
            return None;
        }
        let (LinkTarget::Values(number) | LinkTarget::Count(number)) = *target;
        let source = rules.sources.get(number as usize)?;
        let Picks::Slot(slot) = source.picks else { return None };
        let value = self.slot(slot);
        let value = match target {
            LinkTarget::Count(_) => i64::from(value.is_some()),
            LinkTarget::Values(_) => match value {
                Some(value) => self.number_of(value),
                None => return Some(false),
            },
        };
        let with = self.compared_with(rules, with);
        Some(comparison.holds(value, with) != *is_negated)
    }

    fn compared_with(&mut self, rules: &RuleSet, with: &Number) -> i64 {
        match with {
            Number::Fixed(number) => *number,
            Number::Templated(pieces) => match &**pieces {
                [PieceOf::Slot(slot)] => self.slot(*slot).map_or(0, |value| self.number_of(value)),
                _ => number(&self.filled(rules, pieces)),
            },
        }
    }

    /// One value, in the form or, with `multiMatch`, in each of the forms that the rule looks at.
    fn item(&mut self, run: Run<'_>, number: u32, rule: &Rule, link: &Link, item: Item) -> bool {
        if link.steps.is_empty() {
            let value = self.texts.changed(run.rules, item.value, link.node);
            return self.form(run, number, rule, link, Item { value, ..item });
        }
        let (mut any, mut last) = (false, None);
        for step in &link.steps {
            let value = self.texts.changed(run.rules, item.value, *step);
            if last == Some(value) {
                continue;
            }
            last = Some(value);
            any |= self.form(run, number, rule, link, Item { value, ..item });
        }
        any
    }

    fn form(&mut self, run: Run<'_>, number: u32, rule: &Rule, link: &Link, item: Item) -> bool {
        let Some(captures) = self.holds(run, link, item.value) else { return false };
        if link.captures {
            self.capture(item.value, &captures);
        }
        if self.matched_of != number {
            self.matched.clear();
            self.matched_of = number;
        }
        self.matched.push(item);
        self.last_matched = Some(item);
        self.set_variables(run.rules, &link.on_match);
        if rule.logs && rule.links.len() == 1 {
            self.tell(run.rules, number, rule);
        }
        true
    }

    /// What the operator found, if it holds.
    pub(super) fn holds(&mut self, run: Run<'_>, link: &Link, value: TextId) -> Option<Captures> {
        let mut captures = Captures::default();
        let holds = match &link.test {
            Test::Always => true,
            Test::Compared { comparison, with, is_negated } => {
                let with = self.compared_with(run.rules, with);
                comparison.holds(number(self.texts.get(value)), with) != *is_negated
            }
            Test::Fixed { matcher, is_negated } => {
                // The filter has named it: see [`Self::candidates`].
                let is_named = run.filters && link.feed.is_some();
                if is_named && !link.captures && run.rules.index(run.side).is_exact(link.place) {
                    return Some(captures);
                }
                self.spend(run, value);
                if self.is_spent {
                    return None;
                }
                let operator = run.rules.matchers.get(*matcher as usize)?;
                let wanted = (link.captures && !is_negated).then_some(&mut captures);
                operator.holds(self.texts.get(value), wanted) != *is_negated
            }
            Test::Templated { kind, argument, is_negated } => {
                self.spend(run, value);
                if self.is_spent {
                    return None;
                }
                let argument = self.filled(run.rules, argument);
                // An argument that cannot be: what it stands for holds of nothing.
                let operator = self.made.operator(kind, &argument)?;
                let wanted = (link.captures && !is_negated).then_some(&mut captures);
                operator.holds(self.texts.get(value), wanted) != *is_negated
            }
        };
        holds.then_some(captures)
    }

    fn spend(&mut self, run: Run<'_>, value: TextId) {
        self.work += self.texts.get(value).len() as u64 + RUN_COST;
        self.ask(run);
    }

    /// Looks at the clock once something has been done since: as a rule 64 KiB, or one look at a value that is larger.
    pub(super) fn ask(&mut self, run: Run<'_>) {
        let share = (self.work + self.texts.work()) / ASKED_EACH;
        if share != self.asked {
            self.asked = share;
            if let Some(budget) = run.budget {
                let now = (budget.clock)();
                let begun = *self.begun_at.get_or_insert(now);
                self.is_spent |= self.spent.saturating_add(now.saturating_sub(begun)) > budget.nanoseconds;
            }
        }
    }

    /// The clock of threads is a call into the kernel: a phase over little text starts it late or never.
    pub(crate) fn begin_to_spend(&mut self, run: Run<'_>) {
        let is_large = !self.is_spent && self.texts.bytes() as u64 > ASKED_EACH;
        self.begun_at = run.budget.filter(|_| is_large).map(|budget| (budget.clock)());
    }

    pub(crate) fn end_spending(&mut self, run: Run<'_>) {
        if let (Some(begun), Some(budget)) = (self.begun_at.take(), run.budget) {
            self.spent = self.spent.saturating_add((budget.clock)().saturating_sub(begun));
        }
    }

    fn capture(&mut self, value: TextId, captures: &Captures) {
        for group in 0..10_u32 {
            let place = captures.0.get(group as usize).cloned().flatten();
            let text = place.and_then(|place| self.texts.part(value, place));
            self.set_slot(group, text.map(Scalar::Text));
        }
    }

    /// A template with its variables filled in.
    pub(crate) fn filled(&mut self, rules: &RuleSet, pieces: &Pieces) -> Vec<u8> {
        let mut output = Vec::with_capacity(64);
        for piece in pieces {
            match piece {
                PieceOf::Text(text) => output.extend_from_slice(text),
                PieceOf::Slot(slot) => {
                    if let Some(value) = self.slot(*slot) {
                        let text = self.text_of(value);
                        output.extend_from_slice(self.texts.get(text));
                    }
                }
                PieceOf::Variable(variable, name) => {
                    self.fill(rules, *variable, name.as_deref(), &mut output)
                }
            }
        }
        output
    }

    fn fill(&mut self, rules: &RuleSet, variable: Variable, name: Option<&[u8]>, output: &mut Vec<u8>) {
        // What nearly every message tells.
        match (variable, self.last_matched) {
            (Variable::MatchedVar, Some(item)) => {
                return output.extend_from_slice(self.texts.get(item.value));
            }
            (Variable::MatchedVarName, Some(item)) => {
                return output.extend_from_slice(self.target(item).as_bytes());
            }
            (Variable::MatchedVar | Variable::MatchedVarName, None) => return,
            _ => {}
        }
        let picks = match name {
            None => Picks::All,
            Some(name) => Picks::Named(name.into()),
        };
        let mut items = Vec::new();
        let source = Source { variable, picks, slots: Box::default() };
        self.gather(rules, &source, &mut items);
        if let Some(item) = items.first() {
            output.extend_from_slice(self.texts.get(item.value));
        }
    }
}

/// As UTF-8: what is none is replaced.
fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
