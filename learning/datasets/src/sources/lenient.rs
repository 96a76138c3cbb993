// SPDX-License-Identifier: Apache-2.0
//! JSON values of the wrong type that can be read as the right one: logs go through collectors that turn numbers
//! into texts and texts into numbers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::report::Fault;

/// Text, or a number or truth value written as one; empty for null, lists and objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// A count, or text that reads as one; 0 for null, nothing, `-` and what is below. Fractions are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

/// A truth value, or `1`, `"true"`, `"yes"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Any)?;
        let text = text.trim();
        if matches!(text, "" | "-") || text.starts_with('-') {
            return Ok(Self(0));
        }
        let whole = text.split('.').next().unwrap_or_default();
        let fraction = text.get(whole.len()..).unwrap_or_default().trim_start_matches('.');
        let count = whole.parse().ok().filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()));
        count.map(Self).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(text), &"a count"))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Any)?;
        Ok(Self(matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes")))
    }
}

/// What is wrong with a line that serde refused.
pub(super) fn fault(error: &serde_json::Error) -> Fault {
    match error.classify() {
        serde_json::error::Category::Eof => Fault::Cut,
        serde_json::error::Category::Data => Fault::WrongField,
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => Fault::NotJson,
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<String, E> {
        Ok(flag.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(String::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<String, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_what_they_should_be() {
        for (json, text, count, flag) in [
            ("\"12\"", "12", Some(12), false),
            ("12", "12", Some(12), false),
            ("12.75", "12.75", Some(12), false),
            ("\"12.5\"", "12.5", Some(12), false),
            ("-3", "-3", Some(0), false),
            ("\"-\"", "-", Some(0), false),
            ("null", "", Some(0), false),
            ("true", "true", None, true),
            ("\"True\"", "True", None, true),
            ("1", "1", Some(1), true),
            ("[1,{}]", "", Some(0), false),
            ("{\"a\":[1]}", "", Some(0), false),
            ("\"abc\"", "abc", None, false),
            ("1e30", "1000000000000000000000000000000", None, false),
        ] {
            assert_eq!(serde_json::from_str::<Text>(json).unwrap().0, text, "{json}");
            assert_eq!(serde_json::from_str::<Count>(json).ok().map(|count| count.0), count, "{json}");
            assert_eq!(serde_json::from_str::<Flag>(json).unwrap().0, flag, "{json}");
        }
    }
}
