// SPDX-License-Identifier: Apache-2.0
//! The texts a configuration is made of, and places in them.

use std::path::PathBuf;

/// A place in one of the [`Sources`]: which text, and the byte offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Index into the sources.
    pub source: usize,
    /// Byte offset into that source's text.
    pub offset: usize,
}

/// One text: a file, or what an API caller sent.
#[derive(Clone, Debug)]
pub struct Source {
    /// What problems call it: the path as the operator wrote it.
    pub name: String,
    /// The file it came from; `None` for text that came over the API.
    pub path: Option<PathBuf>,
    /// The TOML text.
    pub text: String,
}

/// All texts of one configuration, lowest layer first.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// Whether both hold the same texts in the same order.
    pub fn same_texts(&self, other: &Self) -> bool {
        self.0.iter().map(|source| &source.text).eq(other.0.iter().map(|source| &source.text))
    }

    /// `(name, line, column)`, both counted from 1, columns in characters.
    pub fn locate(&self, at: At) -> (&str, usize, usize) {
        let Some(source) = self.0.get(at.source) else { return ("", 1, 1) };
        let before = source.text.get(..at.offset).unwrap_or(&source.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (&source.name, line, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_line_and_column() {
        let source = Source { name: "c.toml".into(), path: None, text: "a = 1\nbé = 2\n".into() };
        let sources = Sources(vec![source]);
        for (offset, want) in [(0, (1, 1)), (4, (1, 5)), (6, (2, 1)), (9, (2, 3)), (999, (3, 1))] {
            let (_, line, column) = sources.locate(At { source: 0, offset });
            assert_eq!((line, column), want, "offset {offset}");
        }
    }
}
