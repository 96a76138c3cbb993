// SPDX-License-Identifier: Apache-2.0
//! One rule of search and replace.

use bytes::Bytes;
use memchr::memmem::Finder;

/// One text to replace by another in bodies of some types.
#[derive(Debug, Clone)]
pub struct BodyRewrite {
    finder: Finder<'static>,
    replace: Bytes,
    types: Vec<String>,
    max_bytes: usize,
}

/// Why a rule cannot be. Shown to the operator as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyRewriteError {
    /// It would match everywhere.
    #[error("the text to find is empty")]
    EmptyFind,
    /// Not `type/subtype`; wildcards and parameters are not understood.
    #[error("`{media_type}` is not a media type such as `text/html`")]
    MediaType {
        /// As configured.
        media_type: String,
    },
    /// An event stream has no end to wait for.
    #[error("`text/event-stream` cannot be rewritten: the body would be held back until its end")]
    EventStream,
}

impl BodyRewrite {
    /// Replaces each `find` by `replace` in bodies of one of `types` (`text/html`). `max_bytes` is how large
    /// a body may be, as it comes and decoded; where several rules are for one type, the largest counts.
    pub fn new(
        find: &[u8],
        replace: impl Into<Bytes>,
        types: Vec<String>,
        max_bytes: usize,
    ) -> Result<Self, BodyRewriteError> {
        if find.is_empty() {
            return Err(BodyRewriteError::EmptyFind);
        }
        for media_type in &types {
            if media_type.eq_ignore_ascii_case("text/event-stream") {
                return Err(BodyRewriteError::EventStream);
            }
            let parts: Vec<&str> = media_type.split('/').collect();
            if parts.len() != 2 || parts.iter().any(|part| part.is_empty() || part.contains([';', '*', ' ']))
            {
                return Err(BodyRewriteError::MediaType { media_type: media_type.clone() });
            }
        }
        Ok(Self { finder: Finder::new(find).into_owned(), replace: replace.into(), types, max_bytes })
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    pub(crate) fn is_for(&self, media_type: &str) -> bool {
        self.types.iter().any(|known| known.eq_ignore_ascii_case(media_type))
    }

    /// Replaces all occurrences, from the left and not overlapping; none when there is no occurrence, an
    /// error when the result would exceed `max` bytes.
    pub(crate) fn apply(&self, input: &[u8], max: usize) -> Result<Option<Vec<u8>>, TooLarge> {
        let mut output = Vec::new();
        let mut copied = 0;
        for found in self.finder.find_iter(input) {
            let before = input.get(copied..found).unwrap_or_default();
            if output.len().saturating_add(before.len()).saturating_add(self.replace.len()) > max {
                return Err(TooLarge);
            }
            output.extend_from_slice(before);
            output.extend_from_slice(&self.replace);
            copied = found.saturating_add(self.finder.needle().len());
        }
        if copied == 0 {
            return Ok(None);
        }
        let rest = input.get(copied..).unwrap_or_default();
        if output.len().saturating_add(rest.len()) > max {
            return Err(TooLarge);
        }
        output.extend_from_slice(rest);
        Ok(Some(output))
    }
}

/// The result of replacing would exceed its bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(find: &str, replace: &str) -> BodyRewrite {
        BodyRewrite::new(find.as_bytes(), replace.to_owned(), vec!["text/html".into()], 1000).unwrap()
    }

    #[test]
    fn rules_that_cannot_be_are_refused() {
        let types = |media_type: &str| BodyRewrite::new(b"x", "", vec![media_type.into()], 1).map(drop);
        assert_eq!(BodyRewrite::new(b"", "", vec![], 1).map(drop), Err(BodyRewriteError::EmptyFind));
        assert_eq!(types("Text/Event-Stream"), Err(BodyRewriteError::EventStream));
        for media_type in ["html", "text/", "/html", "text/*", "text/html; charset=utf-8", "a/b/c", ""] {
            let refused = BodyRewriteError::MediaType { media_type: media_type.into() };
            assert_eq!(types(media_type), Err(refused), "{media_type}");
        }
        assert_eq!(types("application/manifest+json"), Ok(()));
    }

    #[test]
    fn the_result_has_a_bound() {
        assert_eq!(rule("a", "bbbb").apply(b"aaa", 12), Ok(Some(b"bbbbbbbbbbbb".to_vec())));
        assert_eq!(rule("a", "bbbb").apply(b"aaa", 11), Err(TooLarge));
        assert_eq!(rule("a", "b").apply(b"a...", 3), Err(TooLarge));
        assert_eq!(rule("a", "b").apply(b"....", 3), Ok(None));
    }

    proptest! {
        #[test]
        fn replacing_equals_the_obvious_version(find in "[ab]{1,3}", replace in "[abc]{0,5}", text in "[abc]{0,80}") {
            let rewritten = rule(&find, &replace).apply(text.as_bytes(), 1000).unwrap();
            prop_assert_eq!(rewritten.is_some(), text.contains(&find));
            let rewritten = rewritten.unwrap_or_else(|| text.clone().into_bytes());
            prop_assert_eq!(rewritten, text.replace(&find, &replace).into_bytes());
        }
    }
}
