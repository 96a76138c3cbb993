// SPDX-License-Identifier: Apache-2.0
//! A parsed file as a tree in which each value knows its place, and the layering of one file over another.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::source::At;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub value: Value,
    /// Where it begins.
    pub at: At,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `true`, `false`
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text, `${NAME}` not yet replaced.
    String(String),
    /// A date or time: no key takes one.
    Datetime,
    /// `[…]` or repeated `[[…]]`
    Array(Vec<Item>),
    /// `{…}` or `[…]`
    Table(Table),
}

impl Value {
    /// What an error message calls it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Datetime => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys, their places and their values.
#[derive(Clone, Debug, Default)]
pub struct Table(pub BTreeMap<String, (At, Item)>);

impl Table {
    /// The tree of one parsed source.
    pub(crate) fn from_toml(table: &DeTable<'_>, source: usize, problems: &mut Vec<(At, String)>) -> Self {
        let at = |offset| At { source, offset };
        Self(
            table
                .iter()
                .map(|(key, value)| {
                    let item = Item {
                        value: convert(value.get_ref(), source, value.span().start, problems),
                        at: at(value.span().start),
                    };
                    (key.get_ref().to_string(), (at(key.span().start), item))
                })
                .collect(),
        )
    }

    /// Lays `over` on top: tables are merged key by key, everything else is replaced.
    pub(crate) fn lay(&mut self, over: Self) {
        for (key, (at, item)) in over.0 {
            match (self.0.get_mut(&key), item) {
                (
                    Some((_, Item { value: Value::Table(below), .. })),
                    Item { value: Value::Table(above), .. },
                ) => below.lay(above),
                (_, item) => {
                    self.0.insert(key, (at, item));
                }
            }
        }
    }
}

fn convert(value: &DeValue<'_>, source: usize, offset: usize, problems: &mut Vec<(At, String)>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or_else(
            |_| {
                problems.push((At { source, offset }, "the number is too large".to_owned()));
                Value::Integer(0)
            },
            Value::Integer,
        ),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| Item {
                    value: convert(item.get_ref(), source, item.span().start, problems),
                    at: At { source, offset: item.span().start },
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(Table::from_toml(table, source, problems)),
    }
}
