// SPDX-License-Identifier: Apache-2.0
//! Rules while the directives behind them may still change them.

use super::program::{PieceOf, Pieces, Slots};
use crate::operators::rx::Expression;
use crate::seclang::ast::{self, Action, Piece, Sense, Span, Target, Template};

/// A condition of it: where it stands, what it looks at and how, and what it does.
type DraftLink = (Span, Option<(Vec<Target>, ast::Operator)>, Vec<Action>);

/// A rule while the directives behind it may still change it.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) span: Span,
    pub(super) links: Vec<DraftLink>,
    pub(super) defaults: Vec<Action>,
    /// Rules before it, for its jump.
    pub(super) place: usize,
}

impl Draft {
    /// The actions of its head, those of the defaults before them.
    pub(super) fn head(&self) -> impl Iterator<Item = &Action> {
        self.links.first().into_iter().flat_map(|(_, _, actions)| actions)
    }

    pub(super) fn id(&self) -> u64 {
        self.head().find_map(|action| if let Action::Id(id) = action { Some(*id) } else { None }).unwrap_or(0)
    }

    pub(super) fn phase(&self) -> u8 {
        let phase = |action: &Action| if let Action::Phase(phase) = action { Some(*phase) } else { None };
        self.head().find_map(phase).unwrap_or(2)
    }

    pub(super) fn has_msg(&self, msg: &str) -> bool {
        self.head().any(|action| matches!(action, Action::Msg(known) if written(known) == msg))
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.head().any(|action| matches!(action, Action::Tag(known) if known == tag))
    }

    pub(super) fn matches_tag(&self, expression: &Expression) -> bool {
        self.head()
            .any(|action| matches!(action, Action::Tag(known) if expression.is_match(known.as_bytes())))
    }

    pub(super) fn matches_msg(&self, expression: &Expression) -> bool {
        self.head()
            .any(|action| matches!(action, Action::Msg(msg) if expression.is_match(written(msg).as_bytes())))
    }

    /// More or fewer targets. All conditions that look at such a variable are meant.
    pub(super) fn update_targets(&mut self, targets: &[Target]) {
        for target in targets {
            for (number, (_, condition, _)) in self.links.iter_mut().enumerate() {
                // What is added is added to the head; what is taken away, everywhere.
                if let Some((known, _)) = condition
                    && (number == 0 || target.sense == Sense::Except)
                {
                    known.push(target.clone());
                }
            }
        }
    }

    /// Some targets instead of others.
    pub(super) fn replace_targets(&mut self, targets: &[Target], replaced: &[Target]) {
        let Some((_, Some((known, _)), _)) = self.links.first_mut() else { return };
        let before = known.len();
        known.retain(|target| !replaced.contains(target));
        if known.len() < before {
            known.extend_from_slice(targets);
        }
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

/// The same, once its names are numbers.
pub(crate) fn written_again(slots: &Slots, pieces: &Pieces) -> String {
    let piece = |piece: &PieceOf| match piece {
        PieceOf::Text(text) => String::from_utf8_lossy(text).into_owned(),
        PieceOf::Slot(slot) => {
            let name = slots.names.get(*slot as usize).map(|name| String::from_utf8_lossy(name));
            format!("%{{TX.{}}}", name.unwrap_or_default())
        }
        PieceOf::Variable(variable, None) => format!("%{{{}}}", variable.as_str()),
        PieceOf::Variable(variable, Some(name)) => {
            format!("%{{{}.{}}}", variable.as_str(), String::from_utf8_lossy(name))
        }
    };
    pieces.iter().map(piece).collect()
}

/// `SecRuleUpdateActionById`: what may be said once replaces, the rest is added.
pub(super) fn update_actions(head: &mut Vec<Action>, actions: &[Action]) {
    for action in actions {
        let same = |known: &Action| {
            std::mem::discriminant(known) == std::mem::discriminant(action)
                || (super::facts::said(known).is_some() || matches!(known, Action::Block))
                    && (super::facts::said(action).is_some() || matches!(action, Action::Block))
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

pub(super) trait Places {
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
