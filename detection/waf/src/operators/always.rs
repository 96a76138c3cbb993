// SPDX-License-Identifier: Apache-2.0
//! `@unconditionalMatch`, `@noMatch`: whatever the value is.

use super::{Argument, Captures, Operator, OperatorKind};

/// `SecRule REMOTE_ADDR "@unconditionalMatch" …`
pub(super) static UNCONDITIONAL_MATCH: OperatorKind = OperatorKind {
    name: "unconditionalMatch",
    aliases: &[],
    doc: "Holds for every value.",
    argument: Argument::Optional,
    compile: |_, _| Ok(Box::new(Always(true))),
};

/// `SecRule ARGS "@noMatch" …`
pub(super) static NO_MATCH: OperatorKind = OperatorKind {
    name: "noMatch",
    aliases: &[],
    doc: "Holds for no value.",
    argument: Argument::Optional,
    compile: |_, _| Ok(Box::new(Always(false))),
};

#[derive(Debug)]
struct Always(bool);

impl Operator for Always {
    fn holds(&self, _: &[u8], _: Option<&mut Captures>) -> bool {
        self.0
    }
}
