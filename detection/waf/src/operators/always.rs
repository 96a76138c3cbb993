// SPDX-License-Identifier: Apache-2.0
//! `@unconditionalMatch`, `@noMatch`: whatever the value is. And those that hold for none here: `@geoLookup`, `@rbl`.

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

/// `SecRule REMOTE_ADDR "@geoLookup" …`
pub(super) static GEO_LOOKUP: OperatorKind = OperatorKind {
    name: "geoLookup",
    aliases: &[],
    doc: "Holds for no value here, and leaves `GEO` empty: there is no database of countries. Loading warns.",
    argument: Argument::Optional,
    compile: |_, _| Ok(Box::new(Never("there is no database of countries: `GEO` stays empty"))),
};

/// `SecRule REMOTE_ADDR "@rbl list.example.org" …`
pub(super) static RBL: OperatorKind = OperatorKind {
    name: "rbl",
    aliases: &[],
    doc: "Holds for no value here: no request waits for an answer of DNS. Loading warns.",
    argument: Argument::Required,
    compile: |_, _| Ok(Box::new(Never("no request waits for an answer of DNS"))),
};

#[derive(Debug)]
struct Always(bool);

impl Operator for Always {
    fn holds(&self, _: &[u8], _: Option<&mut Captures>) -> bool {
        self.0
    }
}

/// Why it holds for nothing.
#[derive(Debug)]
struct Never(&'static str);

impl Operator for Never {
    fn holds(&self, _: &[u8], _: Option<&mut Captures>) -> bool {
        false
    }

    fn never(&self) -> Option<&'static str> {
        Some(self.0)
    }
}
