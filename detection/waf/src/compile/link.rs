// SPDX-License-Identifier: Apache-2.0
//! One condition of a rule, and what it does.

use std::sync::Arc;

use super::builder::Builder;
use super::draft::in_ranges;
use super::program::{
    Amount, Changed, Comparison, Deed, Effect, Except, Exception, Link, LinkTarget, Name, Number,
    SetVariable, Test,
};
use crate::operators::Needs;
use crate::seclang::RuleError;
use crate::seclang::ast::{Action, Change, Ctl, Operator, Sense, SetVar, Span, Target, Template, Variable};

pub(super) fn link(
    builder: &mut Builder<'_>,
    span: &Span,
    condition: Option<&(Vec<Target>, Operator)>,
    actions: &[Action],
    defaults: &[Action],
) -> Result<Link, RuleError> {
    let wrong = |message: String| RuleError { span: span.clone(), message };
    let mut link = Link::new();
    builder.noted.at(span);
    let multi_match = actions.iter().any(|action| matches!(action, Action::MultiMatch));
    link.captures = actions.iter().any(|action| matches!(action, Action::Capture));
    steps(builder, &mut link, actions, defaults);
    if let Some((targets, operator)) = condition {
        for target in targets {
            add_target(builder, &mut link, target).map_err(wrong)?;
        }
        link.operator = operator.kind.name;
        link.test = test(builder, span, operator).map_err(wrong)?;
        feed(builder, &mut link, multi_match);
    }
    if !multi_match {
        link.steps.clear();
    }
    for action in actions {
        effect(builder, span, &mut link, action).map_err(wrong)?;
    }
    Ok(link)
}

/// The transformations, those of the defaults first; `t:none` forgets what stands before it.
fn steps(builder: &mut Builder<'_>, link: &mut Link, actions: &[Action], defaults: &[Action]) {
    link.steps.push(0);
    for action in defaults.iter().chain(actions) {
        match action {
            Action::TransformationNone => {
                link.node = 0;
                link.steps.truncate(1);
            }
            Action::Transformation(step) => {
                link.node = builder.node(link.node, step);
                link.steps.push(link.node);
            }
            _ => {}
        }
    }
}

fn add_target(builder: &mut Builder<'_>, link: &mut Link, target: &Target) -> Result<(), String> {
    match target.sense {
        Sense::Except => {
            let picks = builder.picks(target.variable, &target.selector)?;
            link.exclusions.push(Except { variable: target.variable, picks });
        }
        Sense::Value => {
            let source = builder.source(target.variable, &target.selector)?;
            link.targets.push(LinkTarget::Values(source));
        }
        Sense::Count => {
            let source = builder.source(target.variable, &target.selector)?;
            link.targets.push(LinkTarget::Count(source));
        }
    }
    Ok(())
}

fn test(builder: &mut Builder<'_>, span: &Span, operator: &Operator) -> Result<Test, String> {
    let Operator { kind, is_negated, argument } = operator;
    if let Some(comparison) = Comparison::named(kind.name) {
        let with = match argument.as_text() {
            Some(text) => Number::Fixed(crate::engine::number(text.as_bytes())),
            None => Number::Templated(builder.pieces(argument)),
        };
        return Ok(Test::Compared { comparison, with, is_negated: *is_negated });
    }
    let Some(text) = argument.as_text() else {
        let made = (kind.compile)("", &*builder.resources.beside(&span.file)).ok();
        if let Some(why) = made.and_then(|made| made.never()) {
            builder.warn(span, &format!("`@{}` holds for no value here: {why}", kind.name));
        }
        return Ok(Test::Templated { kind, argument: builder.pieces(argument), is_negated: *is_negated });
    };
    // Data files stand beside the rule's own.
    let beside =
        if kind.name.to_ascii_lowercase().contains("file") { span.file.to_string() } else { String::new() };
    let key = (kind.name, text.to_owned(), beside);
    let matcher = match builder.matcher_numbers.get(&key) {
        Some(number) => *number,
        None => {
            let made = (kind.compile)(text, &*builder.resources.beside(&span.file))
                .map_err(|error| format!("`@{}`: {error}", kind.name))?;
            let number = super::builder::index_of(builder.matchers.len());
            builder.needs.push(made.needs());
            builder.matchers.push(made);
            builder.matcher_numbers.insert(key, number);
            number
        }
    };
    if let Some(why) = builder.matchers.get(matcher as usize).and_then(|matcher| matcher.never()) {
        builder.warn(span, &format!("`@{}` holds for no value here: {why}", kind.name));
    }
    Ok(Test::Fixed { matcher, is_negated: *is_negated })
}

/// What is asked before the values themselves are looked at. Not for a negation, which holds where nothing is found,
/// nor for what changes while rules run.
fn feed(builder: &mut Builder<'_>, link: &mut Link, multi_match: bool) {
    let Test::Fixed { matcher, is_negated: false } = link.test else { return };
    if builder.needs.get(matcher as usize).is_none_or(|needs| *needs == Needs::default()) {
        return;
    }
    let mut sources = Vec::new();
    for target in &link.targets {
        let LinkTarget::Values(source) = target else { return };
        let Some(known) = builder.sources.get(*source as usize) else { return };
        if is_volatile(known.variable) {
            return;
        }
        sources.push(*source);
    }
    let nodes = if multi_match { link.steps.as_slice() } else { &[link.node] };
    link.feed = Some(builder.feed(&sources, nodes));
}

/// Whether a rule may change what stands there.
pub(super) const fn is_volatile(variable: Variable) -> bool {
    matches!(
        variable,
        Variable::Tx
            | Variable::MatchedVar
            | Variable::MatchedVarName
            | Variable::MatchedVars
            | Variable::MatchedVarsNames
            | Variable::Rule
            | Variable::HighestSeverity
            | Variable::ReqbodyProcessor
            | Variable::Global
            | Variable::Ip
            | Variable::Session
            | Variable::User
            | Variable::Resource
            | Variable::SessionId
            | Variable::UserId
            | Variable::Env
    )
}

fn effect(builder: &mut Builder<'_>, span: &Span, link: &mut Link, action: &Action) -> Result<(), String> {
    match action {
        Action::SetVar(set) => {
            let set = set_variable(builder, set);
            link.on_match.push(Deed::Set(set));
        }
        Action::InitCol(collection, key) => {
            let key = builder.pieces(key);
            builder.noted.begins(*collection);
            link.on_match.push(Deed::Begin { collection: *collection, key, told: None });
        }
        Action::SetCollectionKey(collection, key) => {
            let key = builder.pieces(key);
            let told = match collection {
                Variable::Session => Some(Variable::SessionId),
                Variable::User => Some(Variable::UserId),
                _ => None,
            };
            builder.noted.begins(*collection);
            told.into_iter().for_each(|told| builder.noted.begins(told));
            link.on_match.push(Deed::Begin { collection: *collection, key, told });
        }
        Action::SetEnv(name, value) => {
            builder.noted.sets_environment(name.as_text());
            let (name, value) = (builder.pieces(name), builder.pieces(value));
            link.on_match.push(Deed::Environment { name, value });
        }
        Action::Ctl(Ctl::Ignored(name)) => {
            builder.warn(span, &format!("`ctl:{name}` has no effect here"));
        }
        Action::Ctl(ctl) => {
            if let Some(effect) = control(builder, ctl)? {
                link.effects.push(effect);
            }
        }
        Action::Proxy(_) => {
            return Err("`proxy` is not supported: routes say where requests go".to_owned());
        }
        Action::ExpireVar(Variable::Tx, ..) | Action::DeprecateVar(Variable::Tx, ..) => {
            let text = "`expirevar` and `deprecatevar` have no effect on `TX`, which lasts for one request";
            builder.warn(span, text);
        }
        Action::ExpireVar(collection, name, after) => {
            let (name, after) = (builder.pieces(name), amount(builder, after));
            link.on_match.push(Deed::Expire { collection: *collection, name, after });
        }
        Action::DeprecateVar(collection, name, by, every) => {
            let name = builder.pieces(name);
            let (by, every) = (*by, *every);
            link.on_match.push(Deed::Deprecate { collection: *collection, name, by, every });
        }
        Action::Ignored(name) => builder.warn(span, &format!("`{name}` has no effect here")),
        _ => {}
    }
    Ok(())
}

fn control(builder: &mut Builder<'_>, ctl: &Ctl) -> Result<Option<Effect>, String> {
    let except = |builder: &mut Builder<'_>, target: &Target| -> Result<Except, String> {
        let picks = builder.picks(target.variable, &target.selector)?;
        Ok(Except { variable: target.variable, picks })
    };
    Ok(Some(match ctl {
        Ctl::RuleEngine(mode) => Effect::Engine(*mode),
        Ctl::RuleRemoveById(first, last) => {
            Effect::RemoveRules(builder.numbered(|draft| in_ranges(&[(*first, *last)], draft.id())))
        }
        Ctl::RuleRemoveByTag(tag) => Effect::RemoveRules(builder.numbered(|draft| draft.has_tag(tag))),
        Ctl::RuleRemoveByMsg(msg) => Effect::RemoveRules(builder.numbered(|draft| draft.has_msg(msg))),
        Ctl::RuleRemoveTargetById(first, last, target) => {
            let rules = builder.numbered(|draft| in_ranges(&[(*first, *last)], draft.id()));
            Effect::RemoveTarget(Arc::new(Exception { rules, except: except(builder, target)? }))
        }
        Ctl::RuleRemoveTargetByTag(tag, target) => {
            let rules = builder.numbered(|draft| draft.has_tag(tag));
            Effect::RemoveTarget(Arc::new(Exception { rules, except: except(builder, target)? }))
        }
        Ctl::RuleRemoveTargetByMsg(msg, target) => {
            let rules = builder.numbered(|draft| draft.has_msg(msg));
            Effect::RemoveTarget(Arc::new(Exception { rules, except: except(builder, target)? }))
        }
        Ctl::RequestBodyProcessor(processor) => Effect::Processor(*processor),
        Ctl::ForceRequestBodyVariable(on) => Effect::ForceRequestBody(*on),
        Ctl::RequestBodyAccess(on) => Effect::RequestBodyAccess(*on),
        Ctl::ResponseBodyAccess(on) => Effect::ResponseBodyAccess(*on),
        Ctl::OfLogs | Ctl::Ignored(_) => return Ok(None),
    }))
}

fn set_variable(builder: &mut Builder<'_>, set: &SetVar) -> SetVariable {
    builder.noted.reads(set.collection, set.name.as_text());
    let name = match set.name.as_text() {
        Some(text) if set.collection == Variable::Tx => Name::Slot(builder.slots.number(text)),
        _ => Name::Templated(builder.pieces(&set.name)),
    };
    let change = match &set.change {
        Change::Set(template) => match template.as_text().and_then(canonical) {
            Some(number) => Changed::Number(number),
            None => Changed::Text(builder.pieces(template)),
        },
        Change::Add(template) => Changed::Add(amount(builder, template)),
        Change::Subtract(template) => Changed::Subtract(amount(builder, template)),
        Change::Remove => Changed::Remove,
    };
    SetVariable { collection: set.collection, name, change }
}

/// A number that is written as it would be told.
fn canonical(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

fn amount(builder: &mut Builder<'_>, template: &Template) -> Amount {
    use crate::seclang::ast::Piece;
    if let Some(text) = template.as_text() {
        return Amount::Number(crate::engine::number(text.as_bytes()));
    }
    if let [Piece::Variable(Variable::Tx, Some(name))] = template.0.as_slice() {
        return Amount::Slot(builder.slots.number(name));
    }
    Amount::Text(builder.pieces(template))
}
