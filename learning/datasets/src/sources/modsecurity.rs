// SPDX-License-Identifier: Apache-2.0
//! Audit logs of ModSecurity 2 and 3: the native one, of sections between boundaries, and the one in JSON, an object
//! a line.
//!
//! An entry is an attack when a rule of severity `ERROR` or worse fired, says that rule; otherwise nobody knows. The
//! Core Rule Set marks what merely breaks a policy as `WARNING` or `NOTICE`.

mod json;
mod messages;
mod native;

use std::io;

use super::combined::ORIGIN;
use super::lines::{Line, Lines};
use super::report::Fault;
use super::{Sink, Source};
use crate::{Label, LabelSource, Record};

use messages::Fired;

/// See the module.
pub(super) struct ModSecurity;

impl Source for ModSecurity {
    fn name(&self) -> &'static str {
        "modsecurity"
    }

    fn recognises(&self, head: &[&[u8]]) -> bool {
        head.first().is_some_and(|line| native::boundary(line).is_some() || json::is_entry(line))
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut open = native::Open::default();
        while !sink.is_stopped()
            && let Some((number, line)) = lines.next_line()?
        {
            match line {
                Line::TooLong => open.refuse(number, Fault::TooLong, sink),
                Line::Text(line) if open.is_between() && line.starts_with(b"{") => {
                    json::take(number, line, sink)
                }
                Line::Text(line) => open.take(number, line, sink),
            }
        }
        if !sink.is_stopped() {
            open.cut(sink);
        }
        Ok(())
    }
}

/// Sets what both forms say of the rules that fired, and hands the record out.
fn settle(mut record: Record, fired: &Fired, number: u64, sink: &mut Sink<'_>) {
    if record.method.is_empty() || record.path.is_empty() {
        sink.fault(number, Fault::NoRequest);
        return;
    }
    if fired.is_attack() {
        record.label = Some(Label::Attack);
        record.label_source = LabelSource::WafRule(fired.rules());
        fired.class().clone_into(&mut record.class);
    }
    ORIGIN.clone_into(&mut record.backend);
    record.has_own_headers = true;
    sink.record(record);
}

#[cfg(test)]
mod tests;
