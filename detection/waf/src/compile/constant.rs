// SPDX-License-Identifier: Apache-2.0
//! Rules that can never run are taken out of their phase: a rule set has rules for every level of paranoia, and skips
//! those above its own, with `SecRule TX:DETECTION_PARANOIA_LEVEL "@lt 2" "…,skipAfter:END"`, on every request anew.

use std::collections::HashMap;

use super::program::{Changed, Effect, Link, LinkTarget, Name, Number, PHASES, Picks, Rule, RuleSet, Test};
use crate::filter::index::is_set;
use crate::seclang::ast::Variable;

/// Takes out what a skip that always happens always skips.
pub(super) fn fold(rules: &mut RuleSet) {
    let constants = constants(rules);
    for phase in 0..PHASES {
        let dead = dead(rules, phase, &constants);
        remove(rules, phase, &dead);
    }
}

/// A number that is the same in every request, behind the rule that sets it.
struct Constant {
    value: i64,
    since: u32,
}

/// Numbers of TX that are the same in every request: set by actions without a condition in the first phase, and
/// otherwise only where they are not set yet.
fn constants(rules: &RuleSet) -> HashMap<u32, Constant> {
    let mut constants = HashMap::new();
    let mut variable = std::collections::HashSet::new();
    // A name that is made up may be any that begins as it does.
    let mut prefixes: Vec<Vec<u8>> = Vec::new();
    for (number, rule) in (0..).zip(&rules.rules) {
        for link in &rule.links {
            for set in link.sets().filter(|set| set.collection == Variable::Tx) {
                match &set.name {
                    Name::Templated(pieces) => prefixes.push(prefix(pieces)),
                    Name::Slot(slot) => match &set.change {
                        _ if sets_default(rules, rule, *slot) && constants.contains_key(slot) => {}
                        Changed::Number(value) if is_unconditional(rules, rule, number) => {
                            constants.insert(*slot, Constant { value: *value, since: number });
                        }
                        _ => drop(variable.insert(*slot)),
                    },
                }
            }
        }
    }
    let name = |slot: &u32| rules.slots.names.get(*slot as usize).cloned().unwrap_or_default();
    constants.retain(|slot, _| {
        *slot > 9 && !variable.contains(slot) && !prefixes.iter().any(|prefix| name(slot).starts_with(prefix))
    });
    constants
}

fn prefix(pieces: &super::Pieces) -> Vec<u8> {
    match pieces.first() {
        Some(super::PieceOf::Text(text)) => text.to_ascii_lowercase(),
        _ => Vec::new(),
    }
}

/// An action that nothing skips: no rule before it in its phase jumps.
fn is_unconditional(rules: &RuleSet, rule: &Rule, number: u32) -> bool {
    let [link] = rule.links.as_slice() else { return false };
    let Some(first) = rules.phases.first() else { return false };
    let before = first.iter().take_while(|other| **other != number);
    let jumps = |other: &u32| {
        rules
            .rules
            .get(*other as usize)
            .is_some_and(|rule| rule.jump.is_some() || rule.skip > 0 || has_removal(rule))
    };
    rule.phase == 1 && matches!(link.test, Test::Always) && !before.into_iter().any(jumps)
}

fn has_removal(rule: &Rule) -> bool {
    rule.links.iter().flat_map(|link| &link.effects).any(|effect| matches!(effect, Effect::RemoveRules(_)))
}

/// `SecRule &TX:NAME "@eq 0"`
fn sets_default(rules: &RuleSet, rule: &Rule, slot: u32) -> bool {
    rule.links.first().is_some_and(|link| {
        let is_zero = matches!(
            link.test,
            Test::Compared {
                comparison: super::program::Comparison::Equal,
                with: Number::Fixed(0),
                is_negated: false
            }
        );
        is_zero
            && matches!(link.targets.as_slice(), [LinkTarget::Count(source)] if is_slot(rules, *source, slot))
    })
}

fn is_slot(rules: &RuleSet, source: u32, slot: u32) -> bool {
    let source = rules.sources.get(source as usize);
    source.is_some_and(|source| matches!(source.picks, Picks::Slot(known) if known == slot))
}

/// The places of a phase that no request comes to.
fn dead(rules: &RuleSet, phase: usize, constants: &HashMap<u32, Constant>) -> Vec<bool> {
    let numbers = &rules.phases[phase];
    let mut dead = vec![false; numbers.len()];
    for (place, number) in numbers.iter().enumerate() {
        let Some(rule) = rules.rules.get(*number as usize) else { continue };
        let [link] = rule.links.as_slice() else { continue };
        if dead[place] {
            continue;
        }
        let Some(holds) = always(rules, *number, link, constants) else { continue };
        if !holds {
            dead[place] = true;
            continue;
        }
        let between = place + 1..rule.jump.map_or(place + 1, |to| to as usize);
        // Another may jump past this one into what it skips, or take this one away and leave the others.
        let is_entered = numbers.iter().take(place).any(|other| {
            rules.rules.get(*other as usize).is_some_and(|other| {
                other.skip > 0 || other.jump.is_some_and(|to| between.contains(&(to as usize)))
            })
        });
        if between.is_empty() || is_entered || is_removed_alone(rules, *number, &numbers[between.clone()]) {
            continue;
        }
        dead[between].fill(true);
        // Nothing is left for it to do.
        dead[place] = rule.only_jumps();
    }
    dead
}

/// What a condition comes to in every request, where that is known.
fn always(rules: &RuleSet, number: u32, link: &Link, constants: &HashMap<u32, Constant>) -> Option<bool> {
    let Test::Compared { comparison, with: Number::Fixed(with), is_negated } = &link.test else {
        return None;
    };
    let [LinkTarget::Values(source)] = link.targets.as_slice() else { return None };
    let Picks::Slot(slot) = rules.sources.get(*source as usize)?.picks else { return None };
    let constant = constants.get(&slot)?;
    let is_known = link.node == 0 && link.exclusions.is_empty() && constant.since < number;
    is_known.then(|| comparison.holds(constant.value, *with) != *is_negated)
}

/// Whether a rule takes this one away at run time, and not all of those.
fn is_removed_alone(rules: &RuleSet, number: u32, others: &[u32]) -> bool {
    let effects = rules.rules.iter().flat_map(|rule| &rule.links).flat_map(|link| &link.effects);
    effects.into_iter().any(|effect| match effect {
        Effect::RemoveRules(bits) => is_set(bits, number) && !others.iter().all(|other| is_set(bits, *other)),
        _ => false,
    })
}

fn remove(rules: &mut RuleSet, phase: usize, dead: &[bool]) {
    let numbers = std::mem::take(&mut rules.phases[phase]);
    // Where each place is once those before it are gone.
    let mut places = Vec::with_capacity(numbers.len() + 1);
    let mut live = 0;
    for is_dead in dead {
        places.push(live);
        live += u32::from(!is_dead);
    }
    places.push(live);
    for number in &numbers {
        if let Some(rule) = rules.rules.get_mut(*number as usize)
            && let Some(jump) = &mut rule.jump
        {
            *jump = places.get(*jump as usize).copied().unwrap_or(live);
        }
    }
    let kept = numbers.iter().zip(dead).filter(|(_, is_dead)| !**is_dead);
    rules.phases[phase] = kept.map(|(number, _)| *number).collect();
}
