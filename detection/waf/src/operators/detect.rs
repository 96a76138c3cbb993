// SPDX-License-Identifier: Apache-2.0
//! `@detectSQLi`, `@detectXSS`: whether the value is an injection, told by its tokens.

use super::{Argument, Captures, Needs, Operator, OperatorKind};
use crate::byte_set::ByteSet;
use crate::injection::{SQLI_NEEDS, XSS_NEEDS, is_sqli, is_xss};

/// `SecRule ARGS "@detectSQLi" …`
pub(super) static DETECT_SQLI: OperatorKind = OperatorKind {
    name: "detectSQLi",
    aliases: &[],
    doc: "Whether the value, put into a statement of SQL, would change it.",
    argument: Argument::None,
    compile: |_, _| {
        Ok(Box::new(Injection { is_injection: |text| is_sqli(text).is_some(), needs: SQLI_NEEDS }))
    },
};

/// `SecRule ARGS "@detectXSS" …`
pub(super) static DETECT_XSS: OperatorKind = OperatorKind {
    name: "detectXSS",
    aliases: &[],
    doc: "Whether the value, put into a page, would run a script.",
    argument: Argument::None,
    compile: |_, _| Ok(Box::new(Injection { is_injection: is_xss, needs: XSS_NEEDS })),
};

#[derive(Debug)]
struct Injection {
    is_injection: fn(&[u8]) -> bool,
    needs: &'static [ByteSet],
}

impl Operator for Injection {
    fn holds(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        let holds = (self.is_injection)(value);
        if let Some(captures) = captures.filter(|_| holds) {
            captures.0.push(Some(0..value.len()));
        }
        holds
    }

    fn needs(&self) -> Needs {
        Needs { bytes: self.needs.to_vec(), ..Needs::default() }
    }
}
