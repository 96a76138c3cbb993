// SPDX-License-Identifier: Apache-2.0
//! Names of groups: requests that are nearly the same have the same name, so that no split tears them apart.

use sunbeam_features::canonical::{Form, canonical_path, canonical_text};

use crate::Record;
use crate::hash::{hex, text_key};

/// Bytes of a name; what is longer is named by its beginning and a hash.
const NAME_BYTES_MAX: usize = 256;

/// The request without numbers, case and encoding.
pub(super) fn normalised(record: &Record) -> String {
    let mut text = Vec::new();
    canonical_path(record.path.as_bytes(), &mut text);
    text.push(b'?');
    canonical_text(record.query.as_bytes(), Form::Query, &mut text);
    if !record.body.is_empty() {
        text.push(b'&');
        canonical_text(&record.body, Form::Query, &mut text);
    }
    coarse(&String::from_utf8_lossy(&text))
}

/// A group's name as a corpus gives it, with each number a `0` and in lower case: corpora of the same site then
/// agree on names. Groups become larger by it, never smaller.
pub(super) fn coarse(name: &str) -> String {
    let mut coarse = String::with_capacity(name.len().min(NAME_BYTES_MAX));
    let mut was_digit = false;
    for character in name.chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit {
            coarse.push(character.to_ascii_lowercase());
        } else if !was_digit {
            coarse.push('0');
        }
        was_digit = is_digit;
    }
    bounded(coarse)
}

/// The first segment of a path without digits and extension: `/admin2.php` and `/admin/x` are both `stem:admin`.
pub(super) fn stem(path: &str) -> String {
    let mut canonical = Vec::new();
    canonical_path(path.as_bytes(), &mut canonical);
    let text = String::from_utf8_lossy(&canonical);
    let segment = text.split('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    // The point of `.git` begins a name, and no extension.
    let end = segment.char_indices().skip(1).find(|(_, character)| *character == '.').map(|(at, _)| at);
    let name = segment.get(..end.unwrap_or(segment.len())).unwrap_or_default();
    let letters: String = name.chars().filter(|character| !character.is_ascii_digit()).collect();
    bounded(format!("stem:{letters}"))
}

fn bounded(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let key = hex(&text_key(&name).to_be_bytes());
    let kept = name.floor_char_boundary(NAME_BYTES_MAX - key.len() - 1);
    format!("{}#{key}", name.get(..kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{get, records};

    #[test]
    fn names_leave_out_what_does_not_matter() {
        for (name, target, want) in [
            ("numbers", "/item/12345?page=7", "/item/0?page=0"),
            ("case and encoding", "/%49tem?Q=%41", "/item?q=a"),
            ("no query", "/a", "/a?"),
        ] {
            assert_eq!(normalised(&get("s", "", None, target)), want, "{name}");
        }
        for (name, path, want) in [
            ("a folder", "/admin/login.php", "stem:admin"),
            ("digits and an extension", "/admin2.tar.gz", "stem:admin"),
            ("a hidden file", "/.git/config", "stem:.git"),
            ("a hidden file with an extension", "/.env.bak", "stem:.env"),
            ("nothing but digits", "/123", "stem:"),
            ("the root", "/", "stem:"),
        ] {
            assert_eq!(stem(path), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_are_bounded_and_tell_long_ones_apart(record in records(), long in "\\PC{200,300}") {
            prop_assert!(normalised(&record).len() <= NAME_BYTES_MAX);
            prop_assert!(stem(&record.path).len() <= NAME_BYTES_MAX);
            let (left, right) = (coarse(&format!("{long}{long}a")), coarse(&format!("{long}{long}b")));
            prop_assert!(left.len() <= NAME_BYTES_MAX);
            prop_assert_ne!(left, right);
        }
    }
}
