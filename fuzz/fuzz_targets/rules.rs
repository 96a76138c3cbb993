// SPDX-License-Identifier: Apache-2.0
//! `SecLang`: any text is read or refused at places that exist, and what is read becomes a program or is refused, too.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sunbeam_waf::compile::{ResourcesOf, RuleSet};
use sunbeam_waf::engine::Transaction;
use sunbeam_waf::operators::Resources;
use sunbeam_waf::seclang::ast::Span;
use sunbeam_waf::seclang::{Files, RuleError, load};

fuzz_target!(|data: &[u8]| {
    let lines = lines_of(data);
    match load(&One(data), &[NAME]) {
        Ok(directives) => {
            let mut before = 1;
            for directive in &directives {
                check(&directive.span, lines);
                assert!(directive.span.line >= before, "not in order");
                before = directive.span.line;
            }
            match RuleSet::new(&directives, &One(data)) {
                Ok(rules) => run(rules),
                Err(errors) => refused(&errors, lines),
            }
        }
        Err(errors) => refused(&errors, lines),
    }
});

const NAME: &str = "fuzz.conf";

/// One file, and no others; operators find nothing beside it.
struct One<'a>(&'a [u8]);

impl Files for One<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == NAME { Ok(self.0.to_vec()) } else { Err("there is no such file".to_owned()) }
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(if pattern == NAME || pattern == "*" { vec![NAME.to_owned()] } else { Vec::new() })
    }
}

impl ResourcesOf for One<'_> {
    fn beside(&self, _: &str) -> Box<dyn Resources + '_> {
        Box::new(Words)
    }
}

/// Every file that an operator asks for has the same words.
struct Words;

impl Resources for Words {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(b"# words\nselect\n\n10.0.0.0/8\n".to_vec())
    }
}

fn refused(errors: &[RuleError], lines: u32) {
    assert!(!errors.is_empty());
    for error in errors {
        assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error}");
        if error.span.line > 0 {
            check(&error.span, lines);
        }
    }
}

fn check(span: &Span, lines: u32) {
    let is_inside = 1 <= span.line && span.line <= span.end_line && span.end_line <= lines;
    assert!(&*span.file == NAME && is_inside, "{span:?} of {lines}");
}

fn lines_of(data: &[u8]) -> u32 {
    let feeds = data.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(feeds).unwrap_or(u32::MAX) + 1
}

/// Whatever a program is, it runs to its end.
fn run(rules: RuleSet) {
    for rule in rules.rules() {
        let _ = (rule.message(), rule.operators().count());
    }
    let _ = rules.warnings().count();
    let mut transaction = Transaction::new(Arc::new(rules));
    sunbeam_fuzz::waf::ask(
        &mut transaction,
        b"a=1' or 1=1&b=%3Cscript%3E",
        b"application/x-www-form-urlencoded",
        b"a=b",
    );
}
