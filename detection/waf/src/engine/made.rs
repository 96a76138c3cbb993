// SPDX-License-Identifier: Apache-2.0
//! Operators whose argument is made up while rules run (`@within %{tx.allowed_methods}`). It is the same in nearly every
//! request, and so is the operator: the last few are kept.

use crate::operators::{Operator, OperatorKind, Resources, rx};

/// So many are kept, each in the place of the oldest: more than the Core Rule Set has such rules in one phase.
const KEPT_MAX: usize = 8;
/// Bytes of an argument whose operator is kept.
const ARGUMENT_BYTES_MAX: usize = 1024;

/// Operators that were made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    kept: Vec<(&'static OperatorKind, Vec<u8>, Box<dyn Operator>)>,
    oldest: usize,
    /// One that is not worth keeping, or too large: an expression may be, whose argument is short.
    passing: Option<Box<dyn Operator>>,
}

impl Made {
    /// An operator with that argument; none, where the argument cannot be.
    pub(super) fn operator(&mut self, kind: &'static OperatorKind, argument: &[u8]) -> Option<&dyn Operator> {
        let is_it =
            |(known, of, _): &(&OperatorKind, Vec<u8>, _)| std::ptr::eq(*known, kind) && of == argument;
        if let Some(place) = self.kept.iter().position(is_it) {
            return self.kept.get(place).map(|(_, _, operator)| &**operator);
        }
        let made = (kind.compile)(&String::from_utf8_lossy(argument), &NoFiles).ok()?;
        if std::ptr::eq(kind, &rx::RX) || argument.len() > ARGUMENT_BYTES_MAX {
            return Some(&**self.passing.insert(made));
        }
        let kept = (kind, argument.to_vec(), made);
        let place = if self.kept.len() < KEPT_MAX {
            self.kept.push(kept);
            self.kept.len() - 1
        } else {
            let place = self.oldest;
            self.oldest = (place + 1) % KEPT_MAX;
            *self.kept.get_mut(place)? = kept;
            place
        };
        self.kept.get(place).map(|(_, _, operator)| &**operator)
    }
}

/// An argument that is made up while rules run names no files.
struct NoFiles;

impl Resources for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("a file's name cannot be made up while rules run".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::find;

    #[test]
    fn whatever_was_asked_before_the_answer_is_that_of_the_argument() {
        let mut made = Made::default();
        let (begins, within) = (find("beginsWith").unwrap(), find("within").unwrap());
        for round in 0..3 {
            for argument in (0..2 * KEPT_MAX).map(|number| format!("a{number}")) {
                for (kind, value, holds) in [
                    (begins, format!("{argument}b"), true),
                    (within, format!("{argument}b"), false),
                    (&rx::RX, format!("b{argument}"), true),
                    (&rx::RX, "a".to_owned(), false),
                ] {
                    let operator = made.operator(kind, argument.as_bytes()).unwrap();
                    assert_eq!(operator.holds(value.as_bytes(), None), holds, "{kind:?} {argument} {round}");
                }
            }
            assert_eq!(made.kept.len(), KEPT_MAX);
        }
        assert!(made.operator(&rx::RX, b"(").is_none());
    }
}
