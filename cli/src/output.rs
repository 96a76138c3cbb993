// SPDX-License-Identifier: Apache-2.0
//! Printing: aligned tables, JSON, colour only where a person looks, and text that a client sent made
//! harmless.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::exit::{CliError, ExitCode};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line; a list is a line an element.
    Jsonl,
}

/// A colour of the terminal. It never says anything that the words beside it do not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    /// Good.
    Green,
    /// Look at it.
    Yellow,
    /// Bad.
    Red,
    /// Headings.
    Bold,
    /// Less important.
    Dim,
}

/// Prints on standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Format,
    colour: bool,
}

impl Printer {
    /// Colour is used on a terminal, unless `no_color`, `NO_COLOR` or `TERM=dumb` say otherwise.
    pub(crate) fn new(format: Format, no_color: bool) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let colour = !no_color && !dumb && set("NO_COLOR").is_none() && io::stdout().is_terminal();
        Self { format, colour }
    }

    /// Whether a machine reads the result.
    pub(crate) fn is_json(self) -> bool {
        self.format != Format::Table
    }

    /// How results are printed.
    pub(crate) const fn format(self) -> Format {
        self.format
    }

    /// Colours the text where colour is used.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
            Colour::Bold => 1,
            Colour::Dim => 2,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// One line.
    pub(crate) fn line(self, text: impl Display) -> Result<(), CliError> {
        self.raw(&format!("{text}\n"))
    }

    /// Text as it is. A reader that has seen enough changes nothing: the exit code is that of what was found.
    pub(crate) fn raw(self, text: &str) -> Result<(), CliError> {
        match written(text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| unwritten(&error)),
        }
    }

    /// Text of a command that goes on until it is stopped: `sunbeam tail | head` is done when head is.
    pub(crate) fn endless(self, text: impl Display) -> Result<(), CliError> {
        written(&text.to_string()).map_err(|error| unwritten(&error))
    }

    /// A value as JSON.
    pub(crate) fn json(self, value: &Value) -> Result<(), CliError> {
        match (self.format, value) {
            (Format::Jsonl, Value::Array(items)) => items.iter().try_for_each(|item| self.line(item)),
            (_, value) => self.line(self.document(value)),
        }
    }

    /// A value as one JSON document, without the end of its last line.
    pub(crate) fn document(self, value: &Value) -> String {
        if self.format == Format::Jsonl { value.to_string() } else { format!("{value:#}") }
    }

    /// An aligned table with a heading.
    pub(crate) fn table(self, header: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
        let heading = header.iter().map(|name| self.paint(Colour::Bold, name)).collect();
        self.raw(&aligned(std::iter::once(&heading).chain(rows)))
    }

    /// `name  value` lines, the values aligned.
    pub(crate) fn pairs(self, pairs: &[(&str, String)]) -> Result<(), CliError> {
        let rows: Vec<Vec<String>> =
            pairs.iter().map(|(name, value)| vec![self.paint(Colour::Bold, name), value.clone()]).collect();
        self.raw(&aligned(rows.iter()))
    }
}

fn written(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// The error for what could not be written to standard output; nobody who reads it any more is none.
pub(crate) fn unwritten(error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::silent(ExitCode::Done),
        _ => CliError::failed(format!("failed to write to standard output: {error}")),
    }
}

/// Opens the terminal's second screen, without its cursor.
pub(crate) fn screen_on() -> io::Result<()> {
    io::stdout().write_all(b"\x1b[?1049h\x1b[?25l\x1b[2J")
}

/// Back to what stood there before.
pub(crate) fn screen_off() -> io::Result<()> {
    io::stdout().write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| io::stdout().flush())
}

/// A line beside the result, on standard error: machines that read standard output do not see it.
pub(crate) fn note(text: impl Display) {
    // Nothing is left to tell it to when standard error is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Pads each column to its widest cell; the last column is left ragged.
pub(crate) fn aligned<'a>(rows: impl Iterator<Item = &'a Vec<String>> + Clone) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.clone() {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(visible(cell));
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - visible(cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Columns that the text takes: our own colour codes take none.
pub(crate) fn visible(text: &str) -> usize {
    let mut in_code = false;
    text.chars()
        .filter(|character| {
            let counts = !in_code && *character != '\u{1b}';
            in_code = (in_code || *character == '\u{1b}') && *character != 'm';
            counts
        })
        .count()
}

/// Makes text that a client sent fit for a terminal: control characters, escape sequences, marks that
/// turn the direction of writing and characters without width are shown as `\u{..}`.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            safe.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// As [`escape`], for a text of several lines that shall take one.
pub(crate) fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("; ")
}

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character),
            0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
            | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// `3d 4h`, `4m 5s`: the two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(length, _)| seconds >= *length).unwrap_or(3);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (length, unit) in units.iter().skip(first).take(2) {
        parts.push(format!("{}{unit}", rest / length));
        rest %= length;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_cannot_steer_the_terminal() {
        for (sent, want) in [
            ("/index.html?a=1&b=ü€", "/index.html?a=1&b=ü€"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\r\nb\0\u{7f}\u{9b}", "a\\u{d}\\u{a}b\\u{0}\\u{7f}\\u{9b}"),
            ("moc.\u{202e}evil\u{2066}\u{200f}", "moc.\\u{202e}evil\\u{2066}\\u{200f}"),
            ("\u{feff}\u{200b}", "\\u{feff}\\u{200b}"),
        ] {
            assert_eq!(escape(sent), want);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_colour_takes_no_room() {
        let rows = [
            vec!["\u{1b}[1mNAME\u{1b}[0m".to_owned(), "N".to_owned(), "LAST".to_owned()],
            vec!["é".to_owned(), "100".to_owned(), String::new()],
        ];
        assert_eq!(aligned(rows.iter()), "\u{1b}[1mNAME\u{1b}[0m  N    LAST\né     100\n");
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, want) in [(0, "0s"), (59, "59s"), (61, "1m 1s"), (7_300, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(duration(seconds), want);
        }
    }
}
