// SPDX-License-Identifier: Apache-2.0
//! Directives in order, to a [`RuleSet`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::program::{
    Amount, Changed, Disruption, EngineSettings, Feed, Gate, Name, Node, PHASES, Picks, PieceOf, Pieces,
    Rule, RuleSet, SetVariable, Side, Slots, Source, Test,
};
use super::{Link, ResourcesOf, link};
use crate::byte_set::ByteSet;
use crate::engine::statistics::Statistics;
use crate::filter::index::{Index, is_set, set};
use crate::operators::rx::Expression;
use crate::operators::{Needs, Operator};
use crate::seclang::RuleError;
use crate::seclang::ast::{
    self, Action, Directive, DirectiveKind, Piece, Selector, Sense, Span, Target, Template, Variable,
};
use crate::transformations::{self, Transformation};

/// At most so many errors are told.
const ERRORS_MAX: usize = 100;

/// What `SecDefaultAction` says of a phase.
#[derive(Clone, Debug, Default)]
struct PhaseDefault {
    actions: Vec<Action>,
}

/// A condition of it: where it stands, what it looks at and how, and what it does.
type DraftLink = (Span, Option<(Vec<Target>, ast::Operator)>, Vec<Action>);

/// A rule while the directives behind it may still change it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) span: Span,
    pub(super) links: Vec<DraftLink>,
    defaults: Vec<Action>,
    /// Markers and rules before it, for its jump.
    place: usize,
}

impl Draft {
    /// The actions of its head, those of the defaults before them.
    pub(super) fn head(&self) -> impl Iterator<Item = &Action> {
        self.links.first().into_iter().flat_map(|(_, _, actions)| actions)
    }

    pub(super) fn id(&self) -> u64 {
        self.head().find_map(|action| if let Action::Id(id) = action { Some(*id) } else { None }).unwrap_or(0)
    }

    fn phase(&self) -> u8 {
        let phase = |action: &Action| if let Action::Phase(phase) = action { Some(*phase) } else { None };
        self.head().find_map(phase).unwrap_or(2)
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.head().any(|action| matches!(action, Action::Tag(known) if known == tag))
    }

    fn matches_tag(&self, expression: &Expression) -> bool {
        self.head()
            .any(|action| matches!(action, Action::Tag(known) if expression.is_match(known.as_bytes())))
    }

    fn matches_msg(&self, expression: &Expression) -> bool {
        self.head()
            .any(|action| matches!(action, Action::Msg(msg) if expression.is_match(written(msg).as_bytes())))
    }
}

/// A template as it was written.
pub(super) fn written(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Variable(variable, None) => format!("%{{{}}}", variable.as_str()),
        Piece::Variable(variable, Some(name)) => format!("%{{{}.{name}}}", variable.as_str()),
    };
    template.0.iter().map(piece).collect()
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
                self.update_targets(targets, |draft| in_ranges(ranges, draft.id()));
            }
            DirectiveKind::UpdateTargetByTag(tag, targets) => {
                self.update_targets(targets, |draft| draft.has_tag(tag));
            }
            DirectiveKind::UpdateTargetByMsg(msg, targets) => {
                self.update_targets(targets, |draft| {
                    draft.head().any(|a| matches!(a, Action::Msg(known) if written(known) == *msg))
                });
            }
            DirectiveKind::ReplaceTargetById(ranges, targets, replaced) => {
                self.replace_targets(targets, replaced, |draft| in_ranges(ranges, draft.id()));
            }
            DirectiveKind::ReplaceTargetByTag(tag, targets, replaced) => {
                self.replace_targets(targets, replaced, |draft| draft.has_tag(tag));
            }
            DirectiveKind::ReplaceTargetByMsg(msg, targets, replaced) => {
                self.replace_targets(targets, replaced, |draft| {
                    draft.head().any(|a| matches!(a, Action::Msg(known) if written(known) == *msg))
                });
            }
            DirectiveKind::UpdateActionById(id, actions) => {
                for draft in self.drafts.iter_mut().filter(|draft| draft.id() == *id) {
                    if let Some((_, _, head)) = draft.links.first_mut() {
                        update_actions(head, actions);
                    }
                }
            }
            DirectiveKind::ComponentSignature(_)
            | DirectiveKind::CookieFormat(_)
            | DirectiveKind::CollectionTimeout(_) => {}
            DirectiveKind::Ignored(_) => {}
            DirectiveKind::Engine(mode) => settings.mode = *mode,
            DirectiveKind::RequestBodyAccess(on) => settings.request_body = *on,
            DirectiveKind::ResponseBodyAccess(on) => settings.response_body = *on,
            DirectiveKind::RequestBodyLimit(bytes) => settings.request_body_max = size(*bytes),
            DirectiveKind::RequestBodyNoFilesLimit(_)
            | DirectiveKind::RequestBodyLimitRejects(_)
            | DirectiveKind::ResponseBodyLimitRejects(_) => {}
            DirectiveKind::ResponseBodyLimit(bytes) => settings.response_body_max = size(*bytes),
            DirectiveKind::ResponseBodyMimeTypes(types) => {
                settings.response_types.extend(types.iter().map(|text| text.to_ascii_lowercase()));
            }
            DirectiveKind::ResponseBodyMimeTypesClear => settings.response_types.clear(),
            DirectiveKind::JsonDepthLimit(depth) => settings.json_depth_max = size(*depth),
            DirectiveKind::ArgumentsLimit(count) => settings.arguments_max = size(*count),
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

    /// Of the rules before: more or fewer targets. All links that look at such a variable are meant.
    fn update_targets(&mut self, targets: &[Target], is_meant: impl Fn(&Draft) -> bool) {
        for draft in self.drafts.iter_mut().filter(|draft| is_meant(draft)) {
            for target in targets {
                for (number, (_, condition, _)) in draft.links.iter_mut().enumerate() {
                    // What is added is added to the head; what is taken away, everywhere.
                    if let Some((known, _)) = condition
                        && (number == 0 || target.sense == Sense::Except)
                    {
                        known.push(target.clone());
                    }
                }
            }
        }
    }

    /// Of the rules before: some targets instead of others.
    fn replace_targets(
        &mut self,
        targets: &[Target],
        replaced: &[Target],
        is_meant: impl Fn(&Draft) -> bool,
    ) {
        for draft in self.drafts.iter_mut().filter(|draft| is_meant(draft)) {
            let Some((_, Some((known, _)), _)) = draft.links.first_mut() else { continue };
            let before = known.len();
            known.retain(|target| !replaced.contains(target));
            if known.len() < before {
                known.extend_from_slice(targets);
            }
        }
    }

    /// Two rules of one number cannot be told apart.
    fn same_numbers(&mut self) {
        let mut seen: HashMap<u64, Span> = HashMap::new();
        let mut errors = Vec::new();
        for draft in &self.drafts {
            let id = draft.id();
            if id == 0 {
                continue;
            }
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
                    self.warnings.push((draft.span.clone(), text));
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
            links.push(link::link(self, draft, span, condition.as_ref(), actions, defaults)?);
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
        Ok(Rule {
            id: draft.id(),
            phase: draft.phase(),
            span: draft.span.clone(),
            msg_pieces: self.pieces(&msg),
            msg,
            logdata: self.pieces(&facts.logdata.unwrap_or_default()),
            tags: facts.tags.iter().map(|tag| self.tag(tag)).collect(),
            version: facts.version,
            severity: facts.severity,
            logs: facts.logs,
            is_plain: !facts.logs && is_plain(&links),
            links,
            disruption,
            jump: None,
            skip: facts.skip,
        })
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

/// What the actions of a rule say together.
#[derive(Default)]
struct Facts {
    disruption: Option<Said>,
    default_disruption: Option<Said>,
    status: Option<u16>,
    msg: Option<Template>,
    logdata: Option<Template>,
    tags: Vec<String>,
    version: String,
    severity: Option<u8>,
    logs: bool,
    skip: u32,
}

#[derive(Clone)]
enum Said {
    Pass,
    Deny,
    Drop,
    Allow(ast::Allow),
    Redirect(Template),
}

fn said(action: &Action) -> Option<Said> {
    Some(match action {
        Action::Pass => Said::Pass,
        Action::Deny => Said::Deny,
        Action::Drop => Said::Drop,
        Action::Allow(how) => Said::Allow(*how),
        Action::Redirect(to) => Said::Redirect(to.clone()),
        _ => return None,
    })
}

impl Facts {
    fn by_default(&mut self, action: &Action) {
        match action {
            Action::Log => self.logs = true,
            Action::NoLog => self.logs = false,
            Action::Status(status) => self.status = Some(*status),
            other => {
                if let Some(said) = said(other) {
                    self.default_disruption = Some(said.clone());
                    self.disruption = Some(said);
                }
            }
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Msg(msg) => self.msg = Some(msg.clone()),
            Action::Logdata(data) => self.logdata = Some(data.clone()),
            Action::Tag(tag) => self.tags.push(tag.clone()),
            Action::Ver(version) => self.version.clone_from(version),
            Action::Severity(severity) => self.severity = Some(*severity),
            Action::Log => self.logs = true,
            Action::NoLog => self.logs = false,
            Action::Status(status) => self.status = Some(*status),
            Action::Skip(count) => self.skip = *count,
            // What the phase's default says.
            Action::Block => self.disruption = self.default_disruption.clone(),
            other => {
                if let Some(said) = said(other) {
                    self.disruption = Some(said);
                }
            }
        }
    }

    /// A link may tell what its head does not.
    fn of_link(&mut self, action: &Action) {
        match action {
            Action::Msg(msg) if self.msg.is_none() => self.msg = Some(msg.clone()),
            Action::Logdata(data) if self.logdata.is_none() => self.logdata = Some(data.clone()),
            Action::Severity(severity) if self.severity.is_none() => self.severity = Some(*severity),
            _ => {}
        }
    }
}

/// Whether nothing that is done asks what was matched.
fn is_plain(links: &[Link]) -> bool {
    let asks = |pieces: &Pieces| pieces.iter().any(|piece| !matches!(piece, PieceOf::Text(_)));
    let [link] = links else { return false };
    let is_plain = |set: &SetVariable| {
        let name = matches!(&set.name, Name::Slot(_));
        name && match &set.change {
            Changed::Text(pieces)
            | Changed::Add(Amount::Text(pieces))
            | Changed::Subtract(Amount::Text(pieces)) => !asks(pieces),
            _ => true,
        }
    };
    !link.captures && link.on_match.iter().all(is_plain)
}

/// `SecRuleUpdateActionById`: what may be said once replaces, the rest is added.
fn update_actions(head: &mut Vec<Action>, actions: &[Action]) {
    for action in actions {
        let same = |known: &Action| {
            std::mem::discriminant(known) == std::mem::discriminant(action)
                || (said(known).is_some() || matches!(known, Action::Block))
                    && (said(action).is_some() || matches!(action, Action::Block))
        };
        let adds =
            matches!(action, Action::Tag(_) | Action::SetVar(_) | Action::Ctl(_) | Action::Transformation(_));
        if matches!(action, Action::Id(_) | Action::Phase(_) | Action::Chain) {
            continue;
        }
        if matches!(action, Action::TransformationNone) {
            head.retain(|known| !matches!(known, Action::Transformation(_) | Action::TransformationNone));
        } else if !adds {
            head.retain(|known| !same(known));
        }
        head.push(action.clone());
    }
}

trait Places {
    fn retain_with_places(&mut self, keeps: impl Fn(&Draft) -> bool, markers: &mut [(String, usize)]);
}

impl Places for Vec<Draft> {
    /// Takes rules away; markers stay between the same rules.
    fn retain_with_places(&mut self, keeps: impl Fn(&Draft) -> bool, markers: &mut [(String, usize)]) {
        let kept: Vec<bool> = self.iter().map(keeps).collect();
        for (_, place) in markers.iter_mut() {
            *place = kept.iter().take(*place).filter(|kept| **kept).count();
        }
        let mut number = 0;
        self.retain(|_| {
            number += 1;
            kept.get(number - 1).copied().unwrap_or(true)
        });
        for (place, draft) in self.iter_mut().enumerate() {
            draft.place = place;
        }
    }
}

pub(super) fn in_ranges(ranges: &[(u64, u64)], id: u64) -> bool {
    id != 0 && ranges.iter().any(|(first, last)| (*first..=*last).contains(&id))
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

impl Link {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            targets: Vec::new(),
            exclusions: Vec::new(),
            node: 0,
            steps: Vec::new(),
            operator: "",
            test: Test::Always,
            feed: None,
            place: u32::MAX,
            captures: false,
            on_match: Vec::new(),
            effects: Vec::new(),
        }
    }
}
