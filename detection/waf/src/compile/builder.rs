// SPDX-License-Identifier: Apache-2.0
//! Directives in order, to a [`RuleSet`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::draft::{Draft, Places as _, in_ranges, update_actions};
use super::facts::{Facts, Said};
use super::noted::Noted;
use super::program::{
    Disruption, EngineSettings, Feed, Gate, Node, PHASES, Picks, PieceOf, Pieces, Rule, RuleSet, Side, Slots,
    Source, Test,
};
use super::{ResourcesOf, link};
use crate::byte_set::ByteSet;
use crate::engine::statistics::Statistics;
use crate::filter::index::{Index, is_set, set};
use crate::operators::rx::Expression;
use crate::operators::{Needs, Operator};
use crate::seclang::RuleError;
use crate::seclang::ast::{Action, Directive, DirectiveKind, Piece, Selector, Span, Template, Variable};
use crate::transformations::{self, Transformation};

/// At most so many errors are told.
const ERRORS_MAX: usize = 100;

/// What `SecDefaultAction` says of a phase.
#[derive(Clone, Debug, Default)]
struct PhaseDefault {
    actions: Vec<Action>,
}

/// Collects while it goes.
pub(super) struct Builder<'a> {
    pub(super) resources: &'a dyn ResourcesOf,
    pub(super) drafts: Vec<Draft>,
    markers: Vec<(String, usize)>,
    errors: Vec<RuleError>,
    settings: EngineSettings,
    transformations: transformations::Settings,
    pub(super) sources: Vec<Source>,
    source_numbers: HashMap<(Variable, Selector), u32>,
    pub(super) feeds: Vec<Feed>,
    feed_numbers: HashMap<Feed, u32>,
    form_numbers: HashMap<(u32, u32), u32>,
    nodes: Vec<Node>,
    node_numbers: HashMap<(u32, *const Transformation), u32>,
    pub(super) matchers: Vec<Box<dyn Operator>>,
    pub(super) needs: Vec<Needs>,
    pub(super) matcher_numbers: HashMap<(&'static str, String, String), u32>,
    pub(super) slots: Slots,
    pub(super) warnings: Vec<(Span, String)>,
    pub(super) noted: Noted,
    tags: HashSet<Arc<str>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(resources: &'a dyn ResourcesOf) -> Self {
        let mut slots = Slots::default();
        // What captures: TX:0 to TX:9.
        for group in 0..10 {
            slots.number(&group.to_string());
        }
        Self {
            resources,
            drafts: Vec::new(),
            markers: Vec::new(),
            errors: Vec::new(),
            settings: EngineSettings::default(),
            transformations: transformations::Settings::default(),
            sources: Vec::new(),
            source_numbers: HashMap::new(),
            feeds: Vec::new(),
            feed_numbers: HashMap::new(),
            form_numbers: HashMap::new(),
            nodes: vec![Node { parent: 0, step: None, alone: 0, changes: Some(ByteSet::EMPTY) }],
            node_numbers: HashMap::new(),
            matchers: Vec::new(),
            needs: Vec::new(),
            matcher_numbers: HashMap::new(),
            slots,
            warnings: Vec::new(),
            noted: Noted::default(),
            tags: HashSet::new(),
        }
    }

    pub(super) fn build(mut self, directives: &[Directive]) -> Result<RuleSet, Vec<RuleError>> {
        self.read(directives);
        self.same_numbers();
        let drafts = std::mem::take(&mut self.drafts);
        let mut rules = Vec::new();
        let mut phases: [Vec<u32>; PHASES] = Default::default();
        let mut places: [Vec<usize>; PHASES] = Default::default();
        self.drafts = drafts;
        for number in 0..self.drafts.len() {
            let draft = self.drafts[number].clone();
            match self.rule(&draft) {
                Ok(rule) => {
                    let phase = usize::from(rule.phase.clamp(1, 5)) - 1;
                    phases[phase].push(index_of(rules.len()));
                    places[phase].push(draft.place);
                    rules.push(rule);
                }
                Err(error) => self.error(error),
            }
        }
        self.jumps(&mut rules, &phases, &places);
        for (span, text) in self.noted.empty() {
            self.warn(&span, &text);
        }
        let mut rules = RuleSet {
            statistics: Statistics::new(rules.len()),
            rules,
            phases,
            gates: Default::default(),
            sources: self.sources,
            feeds: self.feeds,
            forms: self.form_numbers.len(),
            nodes: self.nodes,
            matchers: self.matchers,
            indexes: [Index::default(), Index::default()],
            slots: self.slots,
            settings: self.settings,
            transformations: self.transformations,
            warnings: self.warnings,
            read: self.noted.read,
            files: Vec::new(),
        };
        if self.errors.is_empty() {
            super::constant::fold(&mut rules);
            rules.indexes = indexes(&rules, &self.needs);
            number_places(&mut rules);
            number_slots(&mut rules);
            rules.gates = rules.phases.each_ref().map(|numbers| gates(&rules.rules, numbers));
        }
        if self.errors.is_empty() { Ok(rules) } else { Err(self.errors) }
    }

    fn error(&mut self, error: RuleError) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }

    /// In order: later directives change the rules before them.
    fn read(&mut self, directives: &[Directive]) {
        let mut defaults: [PhaseDefault; PHASES] = Default::default();
        let mut open: Option<Draft> = None;
        for directive in directives {
            let span = &directive.span;
            let (condition, actions) = match &directive.kind {
                DirectiveKind::Rule(rule) => {
                    (Some((rule.targets.clone(), rule.operator.clone())), rule.actions.clone())
                }
                DirectiveKind::Action(actions) => (None, actions.clone()),
                other => {
                    if let Some(draft) = open.take() {
                        let message = "a chain does not end: the rule behind it is missing".to_owned();
                        self.error(RuleError { span: draft.span, message });
                    }
                    self.directive(span, other, &mut defaults);
                    continue;
                }
            };
            let has_id = actions.iter().any(|action| matches!(action, Action::Id(id) if *id != 0));
            if let Some(draft) = open.take_if(|_| has_id) {
                // It would hold only where the one before does, and be silent otherwise.
                let message = format!(
                    "a chain does not end: the rule behind it, in line {}, has an `id` and is one of its own",
                    span.line
                );
                self.error(RuleError { span: draft.span, message });
            }
            let chains = actions.iter().any(|action| matches!(action, Action::Chain));
            let place = self.drafts.len();
            let mut draft = open.take().unwrap_or_else(|| Draft {
                span: span.clone(),
                links: Vec::new(),
                defaults: Vec::new(),
                place,
            });
            draft.span.end_line = span.end_line;
            draft.links.push((span.clone(), condition, actions));
            if chains {
                open = Some(draft);
                continue;
            }
            if draft.id() == 0 {
                let message = "a rule has no `id`: give it a number that no other rule has".to_owned();
                self.error(RuleError { span: draft.span, message });
                continue;
            }
            let phase = usize::from(draft.phase().clamp(1, 5)) - 1;
            draft.defaults.clone_from(&defaults[phase].actions);
            self.drafts.push(draft);
        }
        if let Some(draft) = open {
            let message = "a chain does not end: the rule behind it is missing".to_owned();
            self.error(RuleError { span: draft.span, message });
        }
    }

    fn directive(&mut self, span: &Span, kind: &DirectiveKind, defaults: &mut [PhaseDefault; PHASES]) {
        let settings = &mut self.settings;
        match kind {
            DirectiveKind::Rule(_) | DirectiveKind::Action(_) => {}
            DirectiveKind::Marker(name) => self.markers.push((name.clone(), self.drafts.len())),
            DirectiveKind::DefaultAction(actions) => {
                let phase =
                    actions.iter().find_map(|a| if let Action::Phase(p) = a { Some(*p) } else { None });
                let phase = usize::from(phase.unwrap_or(2).clamp(1, 5)) - 1;
                defaults[phase].actions.clone_from(actions);
            }
            DirectiveKind::RemoveById(ranges) => {
                self.drafts.retain_with_places(|draft| !in_ranges(ranges, draft.id()), &mut self.markers);
            }
            DirectiveKind::RemoveByTag(tag) => match expression(tag) {
                Ok(tag) => {
                    self.drafts.retain_with_places(|draft| !draft.matches_tag(&tag), &mut self.markers)
                }
                Err(message) => self.error(RuleError { span: span.clone(), message }),
            },
            DirectiveKind::RemoveByMsg(msg) => match expression(msg) {
                Ok(msg) => {
                    self.drafts.retain_with_places(|draft| !draft.matches_msg(&msg), &mut self.markers)
                }
                Err(message) => self.error(RuleError { span: span.clone(), message }),
            },
            DirectiveKind::UpdateTargetById(ranges, targets) => {
                self.each(|draft| in_ranges(ranges, draft.id()), |draft| draft.update_targets(targets));
            }
            DirectiveKind::UpdateTargetByTag(tag, targets) => {
                self.each(|draft| draft.has_tag(tag), |draft| draft.update_targets(targets));
            }
            DirectiveKind::UpdateTargetByMsg(msg, targets) => {
                self.each(|draft| draft.has_msg(msg), |draft| draft.update_targets(targets));
            }
            DirectiveKind::ReplaceTargetById(ranges, targets, replaced) => self
                .each(|draft| in_ranges(ranges, draft.id()), |draft| draft.replace_targets(targets, replaced)),
            DirectiveKind::ReplaceTargetByTag(tag, targets, replaced) => {
                self.each(|draft| draft.has_tag(tag), |draft| draft.replace_targets(targets, replaced));
            }
            DirectiveKind::ReplaceTargetByMsg(msg, targets, replaced) => {
                self.each(|draft| draft.has_msg(msg), |draft| draft.replace_targets(targets, replaced));
            }
            DirectiveKind::UpdateActionById(id, actions) => {
                let update = |draft: &mut Draft| {
                    if let Some((_, _, head)) = draft.links.first_mut() {
                        update_actions(head, actions);
                    }
                };
                self.each(|draft| draft.id() == *id, update);
            }
            // Rules say themselves what version they are of.
            DirectiveKind::ComponentSignature(_) | DirectiveKind::CookieFormat(0) => {}
            DirectiveKind::CookieFormat(_) => {
                self.warn(span, "`SecCookieFormat 1` has no effect here: cookies are read as in format 0");
            }
            DirectiveKind::CollectionTimeout(seconds) => {
                settings.collection_timeout = i64::try_from(*seconds).unwrap_or(i64::MAX);
            }
            DirectiveKind::Ignored(name, why) => {
                self.warn(span, &format!("`{name}` has no effect here: {why}"));
            }
            DirectiveKind::Engine(mode) => settings.mode = *mode,
            DirectiveKind::RequestBodyAccess(on) => settings.request_body = *on,
            DirectiveKind::ResponseBodyAccess(on) => settings.response_body = *on,
            DirectiveKind::ResponseBodyLimitRejects(false) => {}
            DirectiveKind::ResponseBodyLimitRejects(true) => self.warn(
                span,
                "`SecResponseBodyLimitAction Reject` has no effect here: of a longer answer the beginning is looked at",
            ),
            DirectiveKind::ResponseBodyLimit(bytes) => settings.response_body_max = size(*bytes),
            DirectiveKind::ResponseBodyMimeTypes(types) => {
                settings.response_types.extend(types.iter().map(|text| text.to_ascii_lowercase()));
            }
            DirectiveKind::ResponseBodyMimeTypesClear => settings.response_types.clear(),
            DirectiveKind::JsonDepthLimit(depth) => settings.json_depth_max = size(*depth),
            DirectiveKind::ArgumentSeparator(byte) => settings.separator = *byte,
            DirectiveKind::UnicodeMap(pairs) => {
                let mut map = vec![0; 0x1_0000];
                for (code, byte) in pairs {
                    if let Some(place) = map.get_mut(*code as usize) {
                        *place = *byte;
                    }
                }
                self.transformations.unicode_map = Some(map.into_boxed_slice());
            }
        }
    }

    /// Changes the rules before that are meant.
    fn each(&mut self, is_meant: impl Fn(&Draft) -> bool, change: impl Fn(&mut Draft)) {
        self.drafts.iter_mut().filter(|draft| is_meant(draft)).for_each(change);
    }

    /// Told once for each place.
    pub(super) fn warn(&mut self, span: &Span, text: &str) {
        if self.warnings.iter().rev().take_while(|(known, _)| known == span).all(|(_, known)| known != text) {
            self.warnings.push((span.clone(), text.to_owned()));
        }
    }

    /// Two rules of one number cannot be told apart.
    fn same_numbers(&mut self) {
        let mut seen: HashMap<u64, Span> = HashMap::new();
        let mut errors = Vec::new();
        for draft in &self.drafts {
            let id = draft.id();
            if let Some(first) = seen.get(&id) {
                let message = format!("rule {id} is there already, at {}:{}", first.file, first.line);
                errors.push(RuleError { span: draft.span.clone(), message });
            } else {
                seen.insert(id, draft.span.clone());
            }
        }
        errors.into_iter().for_each(|error| self.error(error));
    }

    /// Where `skipAfter` leads: to the first rule of the phase behind the marker; to the end, where there is none.
    fn jumps(&mut self, rules: &mut [Rule], phases: &[Vec<u32>; PHASES], places: &[Vec<usize>; PHASES]) {
        for (phase, numbers) in phases.iter().enumerate() {
            for (at, number) in numbers.iter().enumerate() {
                let place = places[phase][at];
                let Some(draft) = self.drafts.get(place) else { continue };
                let wanted = draft.head().find_map(|action| {
                    if let Action::SkipAfter(name) = action { Some(name.clone()) } else { None }
                });
                let Some(wanted) = wanted else { continue };
                // A marker's place is the number of rules before it.
                let marker = self.markers.iter().find(|(name, at)| *name == wanted && *at > place);
                let to = match marker {
                    Some((_, marker)) => places[phase].partition_point(|place| place < marker),
                    None => numbers.len(),
                };
                if marker.is_none() {
                    let text = format!(
                        "`skipAfter:{wanted}`: no such marker follows; the rest of the phase is skipped"
                    );
                    let span = draft.span.clone();
                    self.warn(&span, &text);
                }
                if let Some(rule) = rules.get_mut(*number as usize) {
                    rule.jump = Some(index_of(to));
                }
            }
        }
    }

    fn rule(&mut self, draft: &Draft) -> Result<Rule, RuleError> {
        let mut facts = Facts::default();
        // The defaults first: what the rule says itself is stronger.
        for action in draft.defaults.iter() {
            facts.by_default(action);
        }
        for action in draft.head() {
            facts.action(action);
        }
        let mut links = Vec::new();
        for (number, (span, condition, actions)) in draft.links.iter().enumerate() {
            let defaults: &[Action] = &draft.defaults;
            links.push(link::link(self, span, condition.as_ref(), actions, defaults)?);
            if number > 0 {
                for action in actions {
                    facts.of_link(action);
                }
            }
        }
        let disruption = match facts.disruption {
            Some(Said::Pass) | None => Disruption::Pass,
            Some(Said::Deny) => Disruption::Deny { status: facts.status.unwrap_or(403) },
            Some(Said::Drop) => Disruption::Drop,
            Some(Said::Allow(how)) => Disruption::Allow(how),
            Some(Said::Redirect(to)) => {
                Disruption::Redirect { status: facts.status.unwrap_or(302), to: self.pieces(&to) }
            }
        };
        let msg = facts.msg.unwrap_or_default();
        self.noted.at(&draft.span);
        let mut rule = Rule {
            id: draft.id(),
            phase: draft.phase(),
            span: draft.span.clone(),
            msg_pieces: self.pieces(&msg),
            msg,
            logdata: self.pieces(&facts.logdata.unwrap_or_default()),
            tags: facts.tags.iter().map(|tag| self.tag(tag)).collect(),
            version: facts.version,
            severity: facts.severity,
            revision: facts.revision,
            logs: facts.logs,
            is_plain: false,
            links,
            disruption,
            jump: None,
            skip: facts.skip,
        };
        rule.is_plain = rule.is_plain();
        Ok(rule)
    }

    fn tag(&mut self, tag: &str) -> Arc<str> {
        if let Some(known) = self.tags.get(tag) {
            return Arc::clone(known);
        }
        let new: Arc<str> = tag.into();
        self.tags.insert(Arc::clone(&new));
        new
    }

    /// A template with its names as numbers.
    pub(super) fn pieces(&mut self, template: &Template) -> Pieces {
        for piece in &template.0 {
            if let Piece::Variable(variable, name) = piece {
                self.noted.reads(*variable, name.as_deref());
            }
        }
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => PieceOf::Text(text.as_bytes().into()),
            Piece::Variable(Variable::Tx, Some(name)) => PieceOf::Slot(self.slots.number(name)),
            Piece::Variable(variable, name) => {
                PieceOf::Variable(*variable, name.as_ref().map(|name| name.as_bytes().into()))
            }
        };
        template.0.iter().map(piece).collect()
    }

    /// What a selector picks.
    pub(super) fn picks(&mut self, variable: Variable, selector: &Selector) -> Result<Picks, String> {
        Ok(match selector {
            Selector::All => Picks::All,
            Selector::Named(name) if variable == Variable::Tx => Picks::Slot(self.slots.number(name)),
            Selector::Named(name) => Picks::Named(name.to_ascii_lowercase().into_bytes().into()),
            Selector::Matching(text) => match beginning(text) {
                Some(prefix) => Picks::Beginning(prefix),
                None => Picks::Matching(expression_of_names(text)?),
            },
        })
    }

    pub(super) fn source(&mut self, variable: Variable, selector: &Selector) -> Result<u32, String> {
        let selector = match selector {
            Selector::Named(name) => Selector::Named(name.to_ascii_lowercase()),
            other => other.clone(),
        };
        self.noted.reads(variable, if let Selector::Named(name) = &selector { Some(name) } else { None });
        let key = (variable, selector);
        if let Some(number) = self.source_numbers.get(&key) {
            return Ok(*number);
        }
        let picks = self.picks(variable, &key.1)?;
        let number = index_of(self.sources.len());
        self.sources.push(Source { variable, picks, slots: Box::default() });
        self.source_numbers.insert(key, number);
        Ok(number)
    }

    /// The number of what an operator looks at: these sources, each after each of these nodes.
    pub(super) fn feed(&mut self, sources: &[u32], nodes: &[u32]) -> u32 {
        let pairs = sources.iter().flat_map(|source| nodes.iter().map(|node| (*source, *node)));
        let known = &mut self.form_numbers;
        let number = |pair| {
            let next = index_of(known.len());
            *known.entry(pair).or_insert(next)
        };
        let forms = pairs.map(number).collect();
        let feed = Feed { sources: sources.into(), nodes: nodes.into(), forms };
        if let Some(number) = self.feed_numbers.get(&feed) {
            return *number;
        }
        let number = index_of(self.feeds.len());
        self.feeds.push(feed.clone());
        self.feed_numbers.insert(feed, number);
        number
    }

    /// The node after one more step.
    pub(super) fn node(&mut self, parent: u32, step: &'static Transformation) -> u32 {
        let key = (parent, std::ptr::from_ref(step));
        if let Some(known) = self.node_numbers.get(&key) {
            return *known;
        }
        let alone = (parent != 0).then(|| self.node(0, step));
        let number = index_of(self.nodes.len());
        let before = self.nodes.get(parent as usize).and_then(|node| node.changes);
        let changes = before.zip(step.changes).map(|(before, step)| before.union(step));
        self.nodes.push(Node { parent, step: Some(step), alone: alone.unwrap_or(number), changes });
        self.node_numbers.insert(key, number);
        number
    }

    /// Rules of this set of rules, as a set of bits.
    pub(super) fn numbered(&self, is_meant: impl Fn(&Draft) -> bool) -> Box<[u64]> {
        let mut bits = vec![0; self.drafts.len().div_ceil(64)];
        for (number, draft) in self.drafts.iter().enumerate() {
            if is_meant(draft) {
                set(&mut bits, index_of(number));
            }
        }
        bits.into_boxed_slice()
    }
}

/// Of the operators that look at requests, and of those that look at answers.
fn indexes(rules: &RuleSet, needs: &[Needs]) -> [Index; 2] {
    let of = |side: Side| {
        let mut used = vec![0; needs.len().div_ceil(64)];
        for (phase, numbers) in (1..).zip(&rules.phases) {
            let numbers = numbers.iter().filter(|_| Side::of(phase) == side);
            let live = numbers.filter_map(|number| rules.rules.get(*number as usize));
            for link in live.flat_map(|rule| &rule.links) {
                if let Test::Fixed { matcher, .. } = link.test {
                    set(&mut used, matcher);
                }
            }
        }
        Index::new(needs, |number| is_set(&used, number))
    };
    [of(Side::Request), of(Side::Response)]
}

/// Tells each condition by which number the filter names its operator.
fn number_places(rules: &mut RuleSet) {
    for (phase, numbers) in (1..).zip(&rules.phases) {
        let Some(index) = rules.indexes.get(Side::of(phase) as usize) else { continue };
        for number in numbers {
            let links = rules.rules.get_mut(*number as usize).map(|rule| &mut rule.links);
            for link in links.into_iter().flatten() {
                if let Test::Fixed { matcher, .. } = link.test {
                    link.place = index.place(matcher);
                }
            }
        }
    }
}

fn gates(rules: &[Rule], numbers: &[u32]) -> Vec<Gate> {
    let gate = |number: &u32| {
        let link = rules.get(*number as usize).and_then(|rule| rule.links.first());
        link.map_or(Gate { feed: None, place: u32::MAX }, |link| Gate { feed: link.feed, place: link.place })
    };
    numbers.iter().map(gate).collect()
}

/// Which names of TX each source picks: they are all known now.
fn number_slots(rules: &mut RuleSet) {
    for source in rules.sources.iter_mut().filter(|source| source.variable == Variable::Tx) {
        let named = (0..).zip(&rules.slots.names);
        source.slots = named.filter(|(_, name)| source.picks.takes(name)).map(|(slot, _)| slot).collect();
    }
}

fn expression(text: &str) -> Result<Expression, String> {
    Expression::new(text).map_err(|error| format!("`{text}` is no expression: {error}"))
}

/// What names begin with, by an expression that says nothing else.
fn beginning(text: &str) -> Option<Box<[u8]>> {
    let prefix = text.strip_prefix('^')?;
    let is_plain = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    is_plain.then(|| prefix.to_ascii_lowercase().into_bytes().into())
}

/// Names stand in whatever case.
fn expression_of_names(text: &str) -> Result<Arc<Expression>, String> {
    let folded = Expression::new(&format!("(?i){text}"));
    folded.map(Arc::new).map_err(|error| format!("`{text}` is no expression: {error}"))
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Numbers of what stands in rule files fit: a file has at most so many bytes.
pub(super) fn index_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
