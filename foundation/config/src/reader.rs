// SPDX-License-Identifier: Apache-2.0
//! Turns items into typed values and collects every problem on the way.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::problem::{Problem, Severity};
use crate::section::{Key, SectionDoc};
use crate::source::{At, Sources};
use crate::tree::{Item, Table, Value};

/// A type that a key can have.
pub trait FromItem: Sized {
    /// What a message says was expected: "an integer".
    const EXPECTS: &'static str;

    /// Reads the item, or reports to `reader` why not and returns `None`.
    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self>;

    /// The keys below, for types that are sections or lists of them.
    fn nested() -> Option<SectionDoc> {
        None
    }
}

/// The state of one reading: the texts, where each key stands, what is wrong so far.
#[derive(Debug)]
pub struct Reader {
    sources: Sources,
    places: BTreeMap<String, At>,
    problems: Vec<(At, Problem)>,
    environment: fn(&str) -> Option<String>,
}

impl Reader {
    pub(crate) fn new(sources: Sources, environment: fn(&str) -> Option<String>) -> Self {
        Self { sources, places: BTreeMap::new(), problems: Vec::new(), environment }
    }

    /// Reports an error about the key at `path` (its own place if it stands in a file, else its section's).
    pub fn error(&mut self, path: &str, message: impl Into<String>) {
        let at = self.place(path);
        self.push(at, path, message.into(), Severity::Error);
    }

    /// Reports something that is allowed but will bite.
    pub fn warning(&mut self, path: &str, message: impl Into<String>) {
        let at = self.place(path);
        self.push(at, path, message.into(), Severity::Warning);
    }

    /// Whether the key was written by the operator (and is not a default).
    pub fn is_set(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// The value of an environment variable, or a problem at `path`.
    pub fn environment(&mut self, name: &str, path: &str) -> Option<String> {
        let value = (self.environment)(name);
        if value.is_none() {
            self.error(path, format!("environment variable `{name}` is not set"));
        }
        value
    }

    /// Reads `key` of `table`; `None` when it is absent or wrong (then it was reported).
    pub fn field<T: FromItem>(&mut self, table: &Table, path: &str, key: &str) -> Option<T> {
        let (key_at, item) = table.0.get(key)?;
        let path = join(path, key);
        self.places.insert(path.clone(), *key_at);
        T::from_item(item, &path, self)
    }

    /// As [`Reader::field`], and the value must lie in `range`.
    pub fn field_in<T>(&mut self, table: &Table, path: &str, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromItem + PartialOrd + Display,
    {
        let value: T = self.field(table, path, key)?;
        if range.contains(&value) {
            return Some(value);
        }
        let message = format!("{value} is out of range: {} to {}", range.start(), range.end());
        self.error(&join(path, key), message);
        None
    }

    /// Reports the keys of `table` that its section does not have.
    pub fn unknown_keys(&mut self, table: &Table, path: &str, keys: &[Key], later: &[&str]) {
        for (name, (at, _)) in &table.0 {
            if keys.iter().any(|key| key.name == name) {
                continue;
            }
            let message = if later.contains(&name.as_str()) {
                "not supported yet by this version".to_owned()
            } else {
                let known = keys.iter().map(|key| key.name).chain(later.iter().copied());
                nearest(name, known).map_or_else(
                    || "unknown key".to_owned(),
                    |near| format!("unknown key; did you mean `{near}`?"),
                )
            };
            self.push(*at, &join(path, name), message, Severity::Error);
        }
    }

    /// Reports that `item` is of the wrong type.
    pub fn wrong_type(&mut self, item: &Item, path: &str, expects: &str) {
        let message = format!("expected {expects}, found {}", item.value.kind());
        self.push(item.at, path, message, Severity::Error);
    }

    /// Reports that `item` has the right type and a wrong value.
    pub fn wrong_value(&mut self, item: &Item, path: &str, message: impl Into<String>) {
        self.push(item.at, path, message.into(), Severity::Error);
    }

    /// Remembers where a list's element stands.
    pub(crate) fn note_place(&mut self, path: &str, at: At) {
        self.places.insert(path.to_owned(), at);
    }

    pub(crate) fn push(&mut self, at: At, key: &str, message: String, severity: Severity) {
        let (file, line, column) = self.sources.locate(at);
        let problem = Problem { file: file.to_owned(), line, column, key: key.to_owned(), message, severity };
        self.problems.push((at, problem));
    }

    /// All problems in the order in which they stand in the files.
    pub(crate) fn finish(mut self) -> (Vec<Problem>, Sources) {
        self.problems.sort_by_key(|(at, _)| *at);
        (self.problems.into_iter().map(|(_, problem)| problem).collect(), self.sources)
    }

    fn place(&self, path: &str) -> At {
        let mut path = path;
        loop {
            if let Some(at) = self.places.get(path) {
                return *at;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or(""),
                None => return At::default(),
            }
        }
    }
}

/// The known word that a misspelt one is nearest to, if any is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3 + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl FromItem for bool {
    const EXPECTS: &'static str = "true or false";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        if let Value::Boolean(flag) = item.value {
            return Some(flag);
        }
        reader.wrong_type(item, path, Self::EXPECTS);
        None
    }
}

macro_rules! whole_numbers {
    ($($type:ty)*) => {$(
        impl FromItem for $type {
            const EXPECTS: &'static str = "a whole number";

            fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
                let Value::Integer(number) = item.value else {
                    reader.wrong_type(item, path, Self::EXPECTS);
                    return None;
                };
                let value = Self::try_from(number).ok();
                if value.is_none() {
                    let message = format!("{number} is out of range: 0 to {}", Self::MAX);
                    reader.wrong_value(item, path, message);
                }
                value
            }
        }
    )*};
}
whole_numbers!(u8 u16 u32 u64 usize);

impl FromItem for f64 {
    const EXPECTS: &'static str = "a number";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        match item.value {
            Value::Float(number) if number.is_finite() => Some(number),
            // Whole numbers that a person writes (`1` for 1.0) are exact in an f64.
            Value::Integer(number) => i32::try_from(number).ok().map(Self::from),
            _ => {
                reader.wrong_type(item, path, Self::EXPECTS);
                None
            }
        }
    }
}

impl FromItem for String {
    const EXPECTS: &'static str = "a string";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        let Value::String(text) = &item.value else {
            reader.wrong_type(item, path, Self::EXPECTS);
            return None;
        };
        substitute(text, path, reader)
    }
}

impl<T: FromItem> FromItem for Vec<T> {
    const EXPECTS: &'static str = "a list";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        let Value::Array(items) = &item.value else {
            reader.wrong_type(item, path, Self::EXPECTS);
            return None;
        };
        let mut values = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            reader.note_place(&path, item.at);
            values.extend(T::from_item(item, &path, reader));
        }
        // A list with a wrong element was reported; its other elements still take part in the checks.
        Some(values)
    }

    fn nested() -> Option<SectionDoc> {
        T::nested()
    }
}

/// Replaces `${NAME}` by the environment variable; `$${` stands for a plain `${`.
fn substitute(text: &str, path: &str, reader: &mut Reader) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut complete = true;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            result.push_str(literal);
            result.push_str("${");
            rest = after;
            continue;
        }
        result.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            reader.error(path, "`${` without `}`; write `$${` for the two characters themselves");
            return None;
        };
        match reader.environment(name, path) {
            Some(value) => result.push_str(&value),
            None => complete = false,
        }
        rest = tail;
    }
    result.push_str(rest);
    complete.then_some(result)
}
