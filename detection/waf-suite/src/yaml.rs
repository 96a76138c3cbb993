// SPDX-License-Identifier: Apache-2.0
//! YAML in, with the line of what is wrong.

use serde::de::DeserializeOwned;

/// What is wrong in a text, and where. Line and column count from 1; a fault of the whole text is at line 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) text: String,
}

/// Reads one document. A text of blanks and comments is none.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<Option<T>, Fault> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| fault(&error))
}

fn fault(error: &serde_saphyr::Error) -> Fault {
    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
    // The place stands in its own fields.
    let text = error.without_snippet().to_string();
    let place = format!(" at line {line}, column {column}");
    Fault { line: line.max(1), column: column.max(1), text: text.replace(&place, "").trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Row {
        name: String,
    }

    #[test]
    fn nothing_is_none_and_a_fault_has_its_line() {
        assert_eq!(read::<Row>("# only a comment\n"), Ok(None));
        assert_eq!(read::<Row>(""), Ok(None));
        assert_eq!(read("name: 12\n"), Ok(Some(Row { name: "12".to_owned() })));
        let fault = read::<Row>("\nnaem: x\n").unwrap_err();
        assert_eq!(fault.line, 2, "{fault:?}");
        assert!(!fault.text.contains("line 2"), "{fault:?}");
        assert!(read::<Row>("name: [").is_err());
    }
}
