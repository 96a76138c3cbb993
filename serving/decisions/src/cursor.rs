// SPDX-License-Identifier: Apache-2.0
//! A place in the order of entries, newest first.

use std::fmt;
use std::str::FromStr;

/// Where a search goes on: after this place. Written and read as text, for links and the API; stays good while
/// entries come and go.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cursor {
    pub(crate) at_micros: u64,
    // Entries of one moment are told apart by where they stand. An offset of the log stays when the index is made
    // again; the number of a row would not.
    pub(crate) class: u8,
    pub(crate) segment: u64,
    pub(crate) offset: u32,
}

impl Cursor {
    /// Before everything that is not newer than `at_micros`.
    pub(crate) fn before(at_micros: u64) -> Self {
        Self { at_micros, class: u8::MAX, segment: u64::MAX, offset: u32::MAX }
    }
}

/// The text is none that a cursor was written as.
#[derive(Debug, thiserror::Error)]
#[error("not a cursor: take it as it stands in the page before")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}-{:x}", self.at_micros, self.class, self.segment, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut parts = text.split('-').map(|part| {
            // `from_str_radix` would take a sign.
            let is_hex = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(part, 16).ok()).flatten().ok_or(CursorError)
        });
        let mut part = || parts.next().ok_or(CursorError)?;
        let (at_micros, class, segment, offset) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(CursorError);
        }
        Ok(Self {
            at_micros,
            class: class.try_into().map_err(|_| CursorError)?,
            segment,
            offset: offset.try_into().map_err(|_| CursorError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_from_their_text_and_nothing_else_is_one() {
        for cursor in [
            Cursor { at_micros: 0, class: 0, segment: 0, offset: 0 },
            Cursor { at_micros: 1_760_000_000_000_000, class: 2, segment: 17, offset: 4_000_000_000 },
            Cursor::before(u64::MAX),
        ] {
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for text in [
            "",
            "1",
            "1-2-3",
            "1-2-3-4-5",
            "1-2-3-",
            "1-2-3-x",
            "1-2-3-+4",
            "1-100-3-4",
            "1-2-3-100000000",
            "-1-2-3-4",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
