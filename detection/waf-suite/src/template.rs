// SPDX-License-Identifier: Apache-2.0
//! The one template that bodies are written with: `{{ "text" | repeat 64000 }}`, or `{{ repeat 64000 "text" }}`.
//! The reference runner has a whole language there, and sends no body where a template is wrong. Here that is a fault,
//! so that a test never passes because its body was lost.

/// A body with its templates filled in, at most [`BYTES_MAX`] long.
pub(crate) fn fill(data: &str) -> Result<String, Fault> {
    let mut filled = String::with_capacity(data.len());
    let mut rest = data;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or_else(|| Fault::Unknown(excerpt(after)))?;
        let (text, times) = repeat(action.trim()).ok_or_else(|| Fault::Unknown(excerpt(action)))?;
        let length = text.len().checked_mul(times).and_then(|length| length.checked_add(filled.len()));
        if length.is_none_or(|length| length > BYTES_MAX) {
            return Err(Fault::TooLarge);
        }
        filled.push_str(before);
        filled.extend(std::iter::repeat_n(text, times));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not the template that is known, with its beginning.
    Unknown(String),
    TooLarge,
}

/// No test needs more, and a file of tests may come from a stranger.
pub(crate) const BYTES_MAX: usize = 16 << 20;

fn repeat(action: &str) -> Option<(&str, usize)> {
    if let Some(rest) = action.strip_prefix("repeat ") {
        let (times, text) = rest.trim_start().split_once(' ')?;
        return Some((quoted(text.trim())?, times.parse().ok()?));
    }
    let (text, call) = action.rsplit_once('|')?;
    let times = call.trim().strip_prefix("repeat ")?;
    Some((quoted(text.trim())?, times.trim().parse().ok()?))
}

/// A text in double quotes without escapes, or in backquotes.
fn quoted(text: &str) -> Option<&str> {
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let plain = inside('"').filter(|text| !text.contains(['"', '\\', '\n']));
    plain.or_else(|| inside('`').filter(|text| !text.contains('`')))
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_one_template_is_filled_in() {
        for (name, data, want) in [
            ("none", "a=b&c={}", "a=b&c={}"),
            ("piped", r#"x{{ "1" | repeat 3 }}y"#, "x111y"),
            ("called", r#"{{repeat 2 "ab"}}"#, "abab"),
            ("twice", r#"{{"a"|repeat 1}}-{{ `b` | repeat 0 }}-"#, "a--"),
            ("closing alone", "}}", "}}"),
            ("a bar in the text", r#"{{ "|" | repeat 2 }}"#, "||"),
        ] {
            assert_eq!(fill(data).as_deref(), Ok(want), "{name}");
        }
        for data in [
            "{{7*7}}",
            "{{",
            r#"{{ "a\n" | repeat 2 }}"#,
            r#"{{ "a" | repeat -1 }}"#,
            r#"{{ "a" "b" | repeat 1 }}"#,
        ] {
            assert!(matches!(fill(data), Err(Fault::Unknown(_))), "{data}");
        }
        assert_eq!(fill(r#"{{ "ab" | repeat 99999999 }}"#), Err(Fault::TooLarge));
        assert_eq!(fill(r#"{{ "ab" | repeat 18446744073709551615 }}"#), Err(Fault::TooLarge));
    }

    proptest! { #[test]
        fn what_holds_no_template_stays(data in "[^{]{0,40}") {
            prop_assert_eq!(fill(&data), Ok(data));
        }
    }

    proptest! { #[test]
        fn nothing_makes_it_panic(data in r#"[{}|"`\\ a-z0-9\n]{0,60}"#) {
            drop(fill(&data));
        }
    }
}
