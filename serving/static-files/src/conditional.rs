// SPDX-License-Identifier: Apache-2.0
//! Preconditions (RFC 9110, section 13): whether the client's copy is still good.

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

/// What identifies one representation of a file.
#[derive(Debug)]
pub(crate) struct Validators {
    /// A strong entity tag, quotes included.
    pub(crate) etag: String,
    /// In whole seconds; none where HTTP dates cannot say it.
    pub(crate) modified: Option<SystemTime>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Holds,
    /// 304: the client has it.
    NotModified,
    /// 412: the client meant another one.
    Failed,
}

impl Validators {
    /// `variant` tells representations of one file apart: each coding has its own tag. Two writes of the
    /// same size within one tick of the file system's clock share a tag; servers have lived with that
    /// since there are files, and deploys rename new files into place.
    pub(crate) fn new(len: u64, modified: SystemTime, variant: &str) -> Self {
        let (sign, since_epoch) = match modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => ("", after),
            Err(before) => ("n", before.duration()),
        };
        let etag = format!(
            "\"{len:x}-{sign}{:x}.{:x}{variant}\"",
            since_epoch.as_secs(),
            since_epoch.subsec_nanos()
        );
        Self { etag, modified: http_seconds(modified) }
    }

    /// Evaluates the preconditions of a GET or HEAD in the order of section 13.2.2. Dates that cannot be
    /// read are ignored, as the RFC says; a list of tags that cannot be read matches nothing.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Condition {
        if headers.contains_key(IF_MATCH) {
            if !self.listed_in(headers, &IF_MATCH, Comparison::Strong) {
                return Condition::Failed;
            }
        } else if self.changed_since(headers, &IF_UNMODIFIED_SINCE) == Some(true) {
            return Condition::Failed;
        }
        let unchanged = if headers.contains_key(IF_NONE_MATCH) {
            self.listed_in(headers, &IF_NONE_MATCH, Comparison::Weak)
        } else {
            self.changed_since(headers, &IF_MODIFIED_SINCE) == Some(false)
        };
        if unchanged { Condition::NotModified } else { Condition::Holds }
    }

    /// Whether a `Range` may be honoured: the parts must fit what the client has. Tags are compared
    /// strongly and dates for equality: "not modified since" would join halves of two files.
    pub(crate) fn range_applies(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(IF_RANGE).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return !headers.contains_key(IF_RANGE);
        };
        let Ok(text) = value.to_str() else { return false };
        text.trim() == self.etag
            || (self.modified.is_some() && httpdate::parse_http_date(text).ok() == self.modified)
    }

    fn listed_in(&self, headers: &HeaderMap, name: &HeaderName, comparison: Comparison) -> bool {
        headers.get_all(name).iter().any(|value| {
            value.as_bytes().trim_ascii() == b"*"
                || EntityTags { rest: value.as_bytes() }.any(|tag| {
                    tag.opaque == self.etag.as_bytes() && (comparison == Comparison::Weak || !tag.weak)
                })
        })
    }

    fn changed_since(&self, headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
        let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
        Some(self.modified? > date)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EntityTag<'a> {
    weak: bool,
    /// Quotes included.
    opaque: &'a [u8],
}

/// The tags of one header line; ends at the first thing that is none. A comma may stand inside quotes.
struct EntityTags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for EntityTags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        let start = self.rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let text = self.rest.get(start..)?;
        let (weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |quoted| (true, quoted));
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        let (opaque, rest) = quoted.split_at_checked(end + 2)?;
        self.rest = rest;
        Some(EntityTag { weak, opaque })
    }
}

/// `time` as HTTP dates know it: whole seconds, from 1970 to the year 9999. Files can lie outside.
fn http_seconds(time: SystemTime) -> Option<SystemTime> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    (seconds < YEAR_10000_SECS).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

const YEAR_10000_SECS: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators() -> Validators {
        let modified = SystemTime::UNIX_EPOCH + Duration::new(784_111_777, 500);
        Validators::new(255, modified, "-br")
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn preconditions_are_evaluated_in_order() {
        let tag = validators().etag;
        assert_eq!(tag, "\"ff-2ebc98a1.1f4-br\"");
        let weak = format!("W/{tag}");
        let list = format!("\"a,b\" , W/\"c\",{tag}");
        for (name, pairs, want) in [
            ("none", vec![], Condition::Holds),
            ("if-none-match hit", vec![(IF_NONE_MATCH, tag.as_str())], Condition::NotModified),
            ("weak hit", vec![(IF_NONE_MATCH, &weak)], Condition::NotModified),
            ("star", vec![(IF_NONE_MATCH, "*")], Condition::NotModified),
            ("list", vec![(IF_NONE_MATCH, &list)], Condition::NotModified),
            ("two lines", vec![(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, &tag)], Condition::NotModified),
            ("miss", vec![(IF_NONE_MATCH, "\"x\"")], Condition::Holds),
            ("other coding", vec![(IF_NONE_MATCH, "\"ff-2ebc98a1.1f4\"")], Condition::Holds),
            ("no quotes", vec![(IF_NONE_MATCH, "ff-2ebc98a1.1f4-br")], Condition::Holds),
            ("if-modified-since, same", vec![(IF_MODIFIED_SINCE, AT)], Condition::NotModified),
            ("if-modified-since, later", vec![(IF_MODIFIED_SINCE, AFTER)], Condition::NotModified),
            ("if-modified-since, earlier", vec![(IF_MODIFIED_SINCE, BEFORE)], Condition::Holds),
            ("bad date", vec![(IF_MODIFIED_SINCE, "yesterday")], Condition::Holds),
            (
                "tags before dates",
                vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)],
                Condition::Holds,
            ),
            ("if-match hit", vec![(IF_MATCH, &tag)], Condition::Holds),
            ("if-match star", vec![(IF_MATCH, "*")], Condition::Holds),
            ("if-match weak", vec![(IF_MATCH, &weak)], Condition::Failed),
            ("if-match miss", vec![(IF_MATCH, "\"x\"")], Condition::Failed),
            ("if-match unreadable", vec![(IF_MATCH, "x")], Condition::Failed),
            ("if-unmodified-since, same", vec![(IF_UNMODIFIED_SINCE, AT)], Condition::Holds),
            ("if-unmodified-since, earlier", vec![(IF_UNMODIFIED_SINCE, BEFORE)], Condition::Failed),
            (
                "if-match silences if-unmodified-since",
                vec![(IF_MATCH, &tag), (IF_UNMODIFIED_SINCE, BEFORE)],
                Condition::Holds,
            ),
            (
                "failing comes before not modified",
                vec![(IF_MATCH, "\"x\""), (IF_NONE_MATCH, &tag)],
                Condition::Failed,
            ),
            ("both hold", vec![(IF_MATCH, &tag), (IF_NONE_MATCH, &tag)], Condition::NotModified),
        ] {
            assert_eq!(validators().check(&headers(&pairs)), want, "{name}");
        }
    }

    #[test]
    fn if_range_wants_the_very_same() {
        let tag = validators().etag;
        let weak = format!("W/{tag}");
        for (name, pairs, want) in [
            ("absent", vec![], true),
            ("tag", vec![(IF_RANGE, tag.as_str())], true),
            ("weak tag", vec![(IF_RANGE, &weak)], false),
            ("other tag", vec![(IF_RANGE, "\"x\"")], false),
            ("date", vec![(IF_RANGE, AT)], true),
            ("later date", vec![(IF_RANGE, AFTER)], false),
            ("rubbish", vec![(IF_RANGE, "x")], false),
            ("two", vec![(IF_RANGE, tag.as_str()), (IF_RANGE, &tag)], false),
        ] {
            assert_eq!(validators().range_applies(&headers(&pairs)), want, "{name}");
        }
    }

    #[test]
    fn files_older_than_http_have_a_tag_but_no_date() {
        let old = SystemTime::UNIX_EPOCH - Duration::new(1, 0);
        let young = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(Validators::new(1, old, "").modified, None);
        assert_ne!(Validators::new(1, old, "").etag, Validators::new(1, young, "").etag);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_10000_SECS);
        assert_eq!(Validators::new(1, far, "").modified, None);
    }

    proptest! {
        #[test]
        fn no_list_of_tags_panics(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let count = EntityTags { rest: &value }.count();
            prop_assert!(count <= 32);
        }
    }
}
