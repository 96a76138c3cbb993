// SPDX-License-Identifier: Apache-2.0
//! Lists of paths that scanners ask for: one a line, `#` begins a comment. Each becomes a request that is an attack, unless
//! the caller says that it is none.

use std::io;

use super::group::stem;
use super::lines::Lines;
use super::request::set_target;
use super::{Sink, Source, each_line};
use crate::{Label, LabelSource, Record};

/// See the module.
pub(super) struct Wordlist;

impl Source for Wordlist {
    fn name(&self) -> &'static str {
        "wordlist"
    }

    /// Never: any text without blanks looks like one, and what is none would teach as attacks. It is named.
    fn recognises(&self, _head: &[&[u8]]) -> bool {
        false
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        each_line(lines, sink, |_, line, sink| {
            if line.starts_with(b"#") {
                sink.other_line();
            } else {
                let mut record = record(line, sink.blank());
                if sink.given_label().is_none() {
                    "probe_path".clone_into(&mut record.class);
                    (record.label, record.label_source) = (Some(Label::Attack), LabelSource::Corpus);
                }
                sink.record(record);
            }
        })
    }
}

fn record(line: &[u8], blank: Record) -> Record {
    let mut record = Record { method: "GET".to_owned(), ..blank };
    let slash: &[u8] = if line.starts_with(b"/") { b"" } else { b"/" };
    set_target(&mut record, &[slash, line].concat());
    record.group = stem(&record.path);
    record
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::sources::tests::{Read, read_text};
    use crate::sources::{GivenLabel, ReadOptions, read_from};

    #[test]
    fn each_line_is_a_probe() {
        let Read { records, report } =
            read_text("wordlist", "# top\nadmin.php\n\n/.git/HEAD?x=1\nadmin2\n").unwrap();
        let got: Vec<_> =
            records.iter().map(|record| (&*record.path, &*record.query, &*record.group)).collect();
        let want = [
            ("/admin.php", "", "stem:admin"),
            ("/.git/HEAD", "x=1", "stem:.git"),
            ("/admin2", "", "stem:admin"),
        ];
        assert_eq!(got, want);
        assert!(records.iter().all(|record| record.label == Some(Label::Attack) && !record.has_own_headers));
        assert!(records.iter().all(|record| record.class == "probe_path"));
        assert_eq!(report.other_lines, 1);
    }

    #[test]
    fn what_the_caller_says_of_a_list_counts() {
        let label = Some(GivenLabel { label: Label::Benign, source: LabelSource::Human });
        let options = ReadOptions { format: Some("wordlist".to_owned()), label, ..ReadOptions::default() };
        let mut found = Vec::new();
        read_from(&mut &b"contact\nimprint\n"[..], &options, &mut |record| {
            found.push((record.label, record.label_source, record.class));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found, vec![(Some(Label::Benign), LabelSource::Human, String::new()); 2]);
    }
}
