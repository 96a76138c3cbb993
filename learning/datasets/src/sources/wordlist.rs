// SPDX-License-Identifier: Apache-2.0
//! Lists of paths that scanners ask for: one a line, `#` begins a comment. Each becomes a request that is an attack.

use std::io;

use super::group::stem;
use super::lines::Lines;
use super::request::set_target;
use super::{Sink, Source, each_line};
use crate::{Label, LabelSource, Record};

/// See the module.
pub(super) struct Wordlist;

/// Bytes of a path that looks like one.
const PATH_BYTES_MAX: usize = 2048;

impl Source for Wordlist {
    fn name(&self) -> &'static str {
        "wordlist"
    }

    /// Any text of short lines without blanks: asked last.
    fn recognises(&self, head: &[&[u8]]) -> bool {
        let is_word = |byte: &u8| byte.is_ascii_graphic() || !byte.is_ascii();
        let looks = |line: &&[u8]| {
            let is_short = line.len() <= PATH_BYTES_MAX && str::from_utf8(line).is_ok();
            is_short && !line.starts_with(b"{") && !line.starts_with(b"<") && line.iter().all(is_word)
        };
        let mut words = head.iter().filter(|line| !line.starts_with(b"#")).peekable();
        words.peek().is_some() && words.all(looks)
    }

    fn read(&self, lines: &mut Lines<'_>, sink: &mut Sink<'_>) -> io::Result<()> {
        each_line(lines, sink, |_, line, sink| {
            if line.starts_with(b"#") {
                sink.other_line();
            } else {
                let record = record(line, sink.blank());
                sink.record(record);
            }
        })
    }
}

fn record(line: &[u8], blank: Record) -> Record {
    let mut record = Record {
        class: "probe_path".to_owned(),
        label: Some(Label::Attack),
        label_source: LabelSource::Corpus,
        method: "GET".to_owned(),
        ..blank
    };
    let slash: &[u8] = if line.starts_with(b"/") { b"" } else { b"/" };
    set_target(&mut record, &[slash, line].concat());
    record.group = stem(&record.path);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tests::{Read, read_text};

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
        assert_eq!(report.other_lines, 1);
    }
}
