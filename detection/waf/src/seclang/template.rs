// SPDX-License-Identifier: Apache-2.0
//! Texts with variables in them: `%{TX.score}`.

use super::ast::{Piece, Template, Variable};
use super::error::shown;
use super::targets;

/// Reads a text. What stands between `%{` and `}` is a variable when it begins as a name does (`%{2}` in an expression
/// is text, and so is a `%{` that is not closed).
pub(super) fn parse(text: &str) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, inside, after)) = next_macro(rest) {
        literal.push_str(before);
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(variable(inside)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(Template(pieces))
}

/// Where `separator` first stands outside of variables.
pub(super) fn find_outside(text: &str, separator: char) -> Option<usize> {
    let mut passed = 0;
    let mut rest = text;
    while let Some((before, inside, after)) = next_macro(rest) {
        if let Some(at) = before.find(separator) {
            return Some(passed + at);
        }
        passed += before.len() + OPEN.len() + inside.len() + CLOSE.len_utf8();
        rest = after;
    }
    rest.find(separator).map(|at| passed + at)
}

/// What stands before the next variable, within and after it.
fn next_macro(text: &str) -> Option<(&str, &str, &str)> {
    let mut searched = 0;
    loop {
        let open = searched + text.get(searched..)?.find(OPEN)?;
        let (before, opened) = text.split_at_checked(open)?;
        let inside = opened.get(OPEN.len()..)?;
        if inside.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let (name, after) = inside.split_once(CLOSE)?;
            return Some((before, name, after));
        }
        searched = open + OPEN.len();
    }
}

/// `NAME`, `NAME.key` or `NAME:key`.
fn variable(text: &str) -> Result<Piece, String> {
    let (name, key) = match text.split_once(['.', ':']) {
        Some((name, key)) => (name, Some(key)),
        None => (text, None),
    };
    let variable = targets::variable(name)?;
    match key {
        Some(key) if key.is_empty() || key.contains(OPEN) => {
            Err(format!("`%{{{}}}` has no name after `{name}`", shown(text)))
        }
        _ => Ok(Piece::Variable(variable, key.map(str::to_owned))),
    }
}

const OPEN: &str = "%{";
const CLOSE: char = '}';

/// `COLLECTION.name`: which collection of those that rules write, and the rest.
pub(super) fn collection_and_name(text: &str) -> Result<(Variable, Template), String> {
    let Some((collection, name)) = text.split_once('.') else {
        return Err(format!("`{}` is not `collection.name`", shown(text)));
    };
    let name = name.trim();
    if name.is_empty() {
        return Err(format!("`{}` has no name after the dot", shown(text)));
    }
    Ok((written_collection(collection)?, parse(name)?))
}

/// A collection that rules may write.
pub(super) fn written_collection(name: &str) -> Result<Variable, String> {
    let name = name.trim();
    let variable = targets::variable(name)?;
    if WRITTEN.contains(&variable) {
        return Ok(variable);
    }
    Err(format!("`{}` is not a collection that rules write", shown(name)))
}

const WRITTEN: &[Variable] =
    &[Variable::Tx, Variable::Global, Variable::Ip, Variable::Session, Variable::User, Variable::Resource];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn named(variable: Variable, name: &str) -> Piece {
        Piece::Variable(variable, Some(name.into()))
    }

    #[test]
    fn variables_are_found_in_texts() {
        for (from, want) in [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("%{tx.0}", vec![named(Variable::Tx, "0")]),
            ("%{TX.0}%{tX:Score}", vec![named(Variable::Tx, "0"), named(Variable::Tx, "Score")]),
            ("%{REQUEST_HEADERS.User-Agent}", vec![named(Variable::RequestHeaders, "User-Agent")]),
            ("%{ARGS.a.b:c}", vec![named(Variable::Args, "a.b:c")]),
            ("%{rule.msg}", vec![named(Variable::Rule, "msg")]),
            (
                "a %{matched_var_name} b",
                vec![text("a "), Piece::Variable(Variable::MatchedVarName, None), text(" b")],
            ),
            ("100%", vec![text("100%")]),
            ("a%{", vec![text("a%{")]),
            ("a%{tx.x", vec![text("a%{tx.x")]),
            ("%%{tx.x}}", vec![text("%"), named(Variable::Tx, "x"), text("}")]),
            ("[%{}] %{2,3} %{tx.x}", vec![text("[%{}] %{2,3} "), named(Variable::Tx, "x")]),
        ] {
            assert_eq!(parse(from), Ok(Template(want)), "{from}");
        }
        for (from, want) in [
            ("%{NOPE}", "unknown variable `NOPE`"),
            (
                "a %{MATCHED_VAR_NAM} b",
                "unknown variable `MATCHED_VAR_NAM`; did you mean `MATCHED_VAR_NAME`?",
            ),
            ("%{tx.}", "`%{tx.}` has no name after `tx`"),
            ("%{tx.%{tx.x}}", "`%{tx.%{tx.x}` has no name after `tx`"),
        ] {
            assert_eq!(parse(from), Err(want.to_owned()), "{from}");
        }
    }

    #[test]
    fn a_separator_counts_outside_of_variables_only() {
        for (from, want) in [
            ("a=b", Some(1)),
            ("%{ARGS.a=b}=c", Some(11)),
            ("x%{ARGS.a=b}y", None),
            ("%{2=3}", Some(3)),
            ("x%{ARGS.a", None),
            ("x%{ARGS.a=", Some(9)),
        ] {
            assert_eq!(find_outside(from, '='), want, "{from}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[%{}a.:tx=é0]{0,40}") {
            if let Some(at) = find_outside(&text, '=') {
                prop_assert!(text[at..].starts_with('='));
            }
            if let Ok(template) = parse(&text) && template.0.iter().all(|piece| matches!(piece, Piece::Text(_))) {
                prop_assert_eq!(template.as_text(), Some(text.as_str()));
            }
        }
    }
}
