// SPDX-License-Identifier: Apache-2.0
//! Changes to a value before a rule looks at it: `t:lowercase`.

use std::fmt;

use crate::byte_set::ByteSet;

/// What a transformation may need to know beside the value.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `SecUnicodeMapFile`: what a code point of the basic plane is written as in one byte, 0 where it is not. All
    /// 65,536 of them.
    pub unicode_map: Option<Box<[u8]>>,
}

/// A transformation.
pub struct Transformation {
    /// As rules write it.
    pub name: &'static str,
    /// As they may also write it.
    pub aliases: &'static [&'static str],
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// A value in which none of these bytes stands it leaves as it is. `None`: it may change any.
    pub changes: Option<ByteSet>,
    /// Appends the changed value to `output`. `false`: the value is as it was, and `output` was left as it was.
    pub apply: fn(input: &[u8], settings: &Settings, output: &mut Vec<u8>) -> bool,
}

impl fmt::Debug for Transformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All, by name.
pub static TRANSFORMATIONS: &[&Transformation] = &[];

/// In whatever case.
pub fn find(name: &str) -> Option<&'static Transformation> {
    let is_named = |known: &str| known.eq_ignore_ascii_case(name);
    TRANSFORMATIONS
        .iter()
        .copied()
        .find(|known| is_named(known.name) || known.aliases.iter().any(|alias| is_named(alias)))
}
