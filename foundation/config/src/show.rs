// SPDX-License-Identifier: Apache-2.0
//! Prints configuration back: `config show`, `config diff`, the reference page.

use std::collections::BTreeSet;

use toml::Value;

/// A value that can be printed. Secrets print as a mask.
pub trait Show {
    /// As a TOML value.
    fn show(&self) -> Value;
}

/// The configuration as TOML text.
pub fn render(table: &toml::Table) -> String {
    toml::to_string_pretty(table).unwrap_or_default()
}

/// One line for each key whose value differs: `key: old -> new`, in key order.
pub fn diff(old: &toml::Table, new: &toml::Table) -> Vec<String> {
    let mut lines = Vec::new();
    let (old, new) = (Value::Table(old.clone()), Value::Table(new.clone()));
    walk("", Some(&old), Some(&new), &mut lines);
    lines
}

fn walk(path: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Table(old)), Some(Value::Table(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                walk(&crate::reader::join(path, key), old.get(key), new.get(key), lines);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new)))
            if old.iter().chain(new).any(|item| matches!(item, Value::Table(_))) =>
        {
            for index in 0..old.len().max(new.len()) {
                walk(&format!("{path}[{index}]"), old.get(index), new.get(index), lines);
            }
        }
        (old, new) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "(none)".to_owned(), Value::to_string);
            lines.push(format!("{path}: {} -> {}", text(old), text(new)));
        }
    }
}

impl Show for bool {
    fn show(&self) -> Value {
        Value::Boolean(*self)
    }
}

macro_rules! show_whole_numbers {
    ($($type:ty)*) => {$(
        impl Show for $type {
            fn show(&self) -> Value {
                Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
            }
        }
    )*};
}
show_whole_numbers!(u8 u16 u32 u64 usize);

impl Show for f64 {
    fn show(&self) -> Value {
        Value::Float(*self)
    }
}

impl Show for String {
    fn show(&self) -> Value {
        Value::String(self.clone())
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> Value {
        Value::Array(self.iter().map(Show::show).collect())
    }
}
