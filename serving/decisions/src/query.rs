// SPDX-License-Identifier: Apache-2.0
//! What is searched for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::class::Class;
use crate::row::Row;

/// What entries must be; what is `None` is not asked.
///
/// All but `path_prefix` and `filter` are decided without reading texts. `client`, `host` and `path` are hashes
/// ([`text_hash`](crate::text_hash)), and two texts can share one: give a `filter` that compares the texts
/// themselves where that matters.
#[derive(Clone, Copy, Default)]
pub struct Query<'a> {
    /// The id, or its beginning.
    pub id: Option<IdPrefix>,
    /// Hash of the client's address.
    pub client: Option<u64>,
    /// Hash of the host.
    pub host: Option<u64>,
    /// Hash of the whole path.
    pub path: Option<u64>,
    /// How the text's member `path` begins.
    pub path_prefix: Option<&'a str>,
    /// The layer.
    pub layer: Option<u8>,
    /// What was decided.
    pub decision: Option<u8>,
    /// The ring; the others are not looked into.
    pub class: Option<Class>,
    /// The earliest moment, microseconds of Unix time.
    pub from_micros: Option<u64>,
    /// The moment before which it was, microseconds of Unix time.
    pub until_micros: Option<u64>,
    /// Asked about texts whose rows fit.
    pub filter: Option<&'a dyn Fn(&str) -> bool>,
}

impl Query<'_> {
    pub(crate) fn fits_row(&self, row: &Row) -> bool {
        let is = |wanted: Option<u64>, found: u64| wanted.is_none_or(|wanted| wanted == found);
        self.id.is_none_or(|id| id.begins(row.id))
            && is(self.client, row.client)
            && is(self.host, row.host)
            && is(self.path, row.path)
            && self.layer.is_none_or(|layer| layer == row.layer)
            && self.decision.is_none_or(|decision| decision == row.decision)
            && self.from_micros.is_none_or(|from| row.at_micros >= from)
            && self.until_micros.is_none_or(|until| row.at_micros < until)
    }

    pub(crate) fn fits_text(&self, text: &str) -> bool {
        self.path_prefix.is_none_or(|prefix| path_begins(text, prefix))
            && self.filter.is_none_or(|filter| filter(text))
    }
}

impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("id", &self.id)
            .field("client", &self.client)
            .field("host", &self.host)
            .field("path", &self.path)
            .field("path_prefix", &self.path_prefix)
            .field("layer", &self.layer)
            .field("decision", &self.decision)
            .field("class", &self.class)
            .field("from_micros", &self.from_micros)
            .field("until_micros", &self.until_micros)
            .field("filter", &self.filter.map(|_| "…"))
            .finish()
    }
}

/// An id, or the beginning of one: 1 to 32 hexadecimal digits; hyphens, as UUIDs have them, do not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdPrefix {
    /// The digits, at the upper end.
    value: u128,
    mask: u128,
}

impl IdPrefix {
    /// One id.
    pub const fn whole(id: u128) -> Self {
        Self { value: id, mask: u128::MAX }
    }

    fn begins(self, id: u128) -> bool {
        id & self.mask == self.value
    }
}

/// The text is no beginning of an id.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no beginning of an id: 1 to 32 hexadecimal digits, hyphens between them")]
pub struct IdPrefixError {
    text: String,
}

impl FromStr for IdPrefix {
    type Err = IdPrefixError;

    fn from_str(text: &str) -> Result<Self, IdPrefixError> {
        let wrong = || IdPrefixError { text: text.chars().take(40).collect() };
        let (mut value, mut digits) = (0_u128, 0_u32);
        for character in text.chars().filter(|character| *character != '-') {
            let digit = character.to_digit(16).filter(|_| digits < 32).ok_or_else(wrong)?;
            value = value << 4 | u128::from(digit);
            digits += 1;
        }
        let missing_bits = match digits {
            0 => return Err(wrong()),
            some => 128 - 4 * some,
        };
        Ok(Self { value: value << missing_bits, mask: u128::MAX << missing_bits })
    }
}

/// Whether `text` is an object whose member `path` begins with `prefix`.
fn path_begins(text: &str, prefix: &str) -> bool {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        path: Cow<'a, str>,
    }
    serde_json::from_str::<Named<'_>>(text).is_ok_and(|named| named.path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_their_beginning() {
        let id = 0x3fa8_5f64_5717_4562_b3fc_2c96_3f66_afa6_u128;
        for text in ["3", "3fa85f64", "3FA85F64-5717", "3fa85f64-5717-4562-b3fc-2c963f66afa6"] {
            assert!(text.parse::<IdPrefix>().unwrap().begins(id), "{text}");
        }
        for text in ["4", "3fa85f65", "3fa85f64-5717-4562-b3fc-2c963f66afa7"] {
            assert!(!text.parse::<IdPrefix>().unwrap().begins(id), "{text}");
        }
        for text in ["", "-", "3g", "+3", "3fa85f64-5717-4562-b3fc-2c963f66afa60", "３"] {
            assert!(text.parse::<IdPrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_is_the_member_of_that_name() {
        for (text, want) in [
            (r#"{"path":"/admin/users","host":"a"}"#, true),
            (r#"{"host":"/admin/","path":"\/admin\/"}"#, true),
            (r#"{"path":"/adm"}"#, false),
            (r#"{"other":{"path":"/admin/"}}"#, false),
            (r#"{"path":7}"#, false),
            ("{}", false),
            ("no JSON", false),
        ] {
            assert_eq!(path_begins(text, "/admin/"), want, "{text}");
        }
    }
}
