// SPDX-License-Identifier: Apache-2.0
//! How a rule looks at a value: `@rx`, `@pm`, `@eq`.

pub mod rx;

mod always;
mod detect;
mod ip;
mod number;
mod pm;
mod text;
mod validate;
mod verify;

use std::fmt;

pub use self::number::number;
use crate::byte_set::ByteSet;

/// An operator, with its argument.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Whether it holds for a value. What it found is added to `captures` when there are any: the whole first, then the
    /// groups.
    fn holds(&self, value: &[u8], captures: Option<&mut Captures>) -> bool;

    /// What must stand in a value for which it holds.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Why it holds for no value here, where that is so: told where a rule that has it is loaded.
    fn never(&self) -> Option<&'static str> {
        None
    }
}

/// What an operator found: places in the value, the whole first, then groups; at most ten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(pub Vec<Option<std::ops::Range<usize>>>);

/// What must stand in a value for which an operator holds: the filter's ground. Too little costs time, too much would
/// let attacks pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// At least one of these stands in it, ASCII letters in whatever case. Empty: nothing is known.
    pub any_of: Vec<Vec<u8>>,
    /// Whether one of them standing in it is all that it takes.
    pub is_exact: bool,
    /// At least one byte of each set stands in it.
    pub bytes: Vec<ByteSet>,
}

/// Whether an operator takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// It must have one.
    Required,
    /// It may.
    Optional,
    /// It has none.
    None,
}

/// Where operators read the files that their arguments name (beside the rule file).
pub trait Resources {
    /// The file's bytes.
    ///
    /// # Errors
    /// What is wrong, for the operator to read.
    fn read(&self, name: &str) -> Result<Vec<u8>, String>;
}

/// Makes an operator ready. The error is for the operator to read, and says what is wrong with the argument.
pub type Compile = fn(argument: &str, resources: &dyn Resources) -> Result<Box<dyn Operator>, String>;

/// An operator, before it has its argument.
pub struct OperatorKind {
    /// As rules write it, without the `@`.
    pub name: &'static str,
    /// As they may also write it.
    pub aliases: &'static [&'static str],
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Whether it takes one.
    pub argument: Argument,
    /// Makes it ready.
    pub compile: Compile,
}

impl fmt::Debug for OperatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All, by name.
pub static OPERATORS: &[&OperatorKind] = &[
    &rx::RX,
    &pm::PM,
    &pm::PM_FROM_FILE,
    &number::EQ,
    &number::GE,
    &number::GT,
    &number::LE,
    &number::LT,
    &text::STREQ,
    &text::STRMATCH,
    &text::CONTAINS,
    &text::CONTAINS_WORD,
    &text::BEGINS_WITH,
    &text::ENDS_WITH,
    &text::WITHIN,
    &ip::IP_MATCH,
    &ip::IP_MATCH_FROM_FILE,
    &detect::DETECT_SQLI,
    &detect::DETECT_XSS,
    &validate::VALIDATE_BYTE_RANGE,
    &validate::VALIDATE_URL_ENCODING,
    &validate::VALIDATE_UTF8_ENCODING,
    &verify::VERIFY_CC,
    &verify::VERIFY_CPF,
    &verify::VERIFY_SSN,
    &verify::VERIFY_SVNR,
    &verify::VALIDATE_NID,
    &always::UNCONDITIONAL_MATCH,
    &always::NO_MATCH,
    &always::GEO_LOOKUP,
    &always::RBL,
];

/// In whatever case.
pub fn find(name: &str) -> Option<&'static OperatorKind> {
    let is_named = |known: &str| known.eq_ignore_ascii_case(name);
    OPERATORS
        .iter()
        .copied()
        .find(|known| is_named(known.name) || known.aliases.iter().any(|alias| is_named(alias)))
}
