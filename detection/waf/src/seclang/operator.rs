// SPDX-License-Identifier: Apache-2.0
//! How a rule looks: `!@rx expression`.

use super::ast::Operator;
use super::error::{shown, unknown};
use super::template;
use crate::operators::{self, Argument, OPERATORS};

/// Reads an operator with its argument. What has no `@` is an expression for `@rx`.
pub(super) fn parse(text: &str) -> Result<Operator, String> {
    let text = text.trim_start();
    let (is_negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let (name, argument) = match text.strip_prefix('@') {
        Some(named) => named.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((named, "")),
        None => ("rx", text),
    };
    let kind = operators::find(name).ok_or_else(|| unknown_operator(name))?;
    // A blank at the end may be a part of what is looked for.
    let argument = argument.trim_start();
    match kind.argument {
        Argument::Required if argument.is_empty() => Err(format!("`@{}` needs an argument", kind.name)),
        Argument::None if !argument.is_empty() => {
            Err(format!("`@{}` takes no argument, and was given `{}`", kind.name, shown(argument)))
        }
        _ => Ok(Operator { kind, is_negated, argument: template::parse(argument)? }),
    }
}

fn unknown_operator(name: &str) -> String {
    let known =
        OPERATORS.iter().flat_map(|kind| std::iter::once(kind.name).chain(kind.aliases.iter().copied()));
    unknown("operator", name, known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operators_are_read() {
        for (from, name, is_negated, argument) in [
            ("@rx ^a b$", "rx", false, "^a b$"),
            ("^a@b", "rx", false, "^a@b"),
            ("!@rx ^a", "rx", true, "^a"),
            ("! @rx ^a", "rx", true, "^a"),
            ("!^a", "rx", true, "^a"),
            ("@RX a ", "rx", false, "a "),
            (" @contains  a", "contains", false, "a"),
            ("@pmf a.data", "pmFromFile", false, "a.data"),
            ("@detectSQLi", "detectSQLi", false, ""),
            ("!@eq 0", "eq", true, "0"),
            ("@rx a%{2}[%{}]", "rx", false, "a%{2}[%{}]"),
        ] {
            let found = parse(from).unwrap();
            assert_eq!((found.kind.name, found.is_negated), (name, is_negated), "{from}");
            assert_eq!(found.argument.as_text(), Some(argument), "{from}");
        }
        let found = parse("!@within .%{tx.allowed_methods}").unwrap();
        assert_eq!(found.argument.0.len(), 2, "{found:?}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, want) in [
            ("@contain a", "unknown operator `contain`; did you mean `contains`?"),
            ("@", "unknown operator ``"),
            ("@streq %{TY.x}", "unknown variable `TY`; did you mean `TX`?"),
        ] {
            let error = parse(from).err();
            assert!(error.as_ref().is_some_and(|error| error.starts_with(want)), "{from}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[!@a-z %{}.]{0,30}", more in ".{0,40}") {
            drop(parse(&text).map(drop));
            drop(parse(&more).map(drop));
        }
    }
}
