// SPDX-License-Identifier: Apache-2.0
//! The parts a page is made of. Text becomes [`Markup`] only through [`text`], which leaves no tag in it.

use std::fmt;

use super::numbers::count;

/// HTML that is safe to put between tags and into quoted attributes' texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Markup(pub(super) String);

impl fmt::Display for Markup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromIterator<Self> for Markup {
    fn from_iter<T: IntoIterator<Item = Self>>(parts: T) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

/// Shows any text as text: tags, quotes, and letters that would turn the writing round or hide are made harmless.
/// Past [`CHARS_MAX`] it is cut.
pub(super) fn text(plain: &str) -> Markup {
    let mut shown = String::with_capacity(plain.len().min(CHARS_MAX));
    plain.chars().take(CHARS_MAX).for_each(|letter| push(&mut shown, letter));
    if plain.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    Markup(shown)
}

/// A client may write megabytes; nobody reads them here.
const CHARS_MAX: usize = 2000;

fn push(shown: &mut String, letter: char) {
    match letter {
        '&' => shown.push_str("&amp;"),
        '<' => shown.push_str("&lt;"),
        '>' => shown.push_str("&gt;"),
        '"' => shown.push_str("&quot;"),
        '\'' => shown.push_str("&#39;"),
        '\n' | '\t' => shown.push(' '),
        // Marks of direction: they reorder what stands beside them.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            shown.push('\u{fffd}')
        }
        control if control.is_control() => shown.push('\u{fffd}'),
        other => shown.push(other),
    }
}

/// `<p>`
pub(super) fn paragraph(plain: &str) -> Markup {
    Markup(format!("<p>{}</p>\n", text(plain)))
}

/// What a cell says beside its words: a sign and a colour, never the colour alone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Doubtful,
    /// Must be looked at.
    Bad,
}

/// A sign and words.
pub(super) fn status(tone: Tone, plain: &str) -> Markup {
    let (class, sign) = match tone {
        Tone::Good => ("good", "✓"),
        Tone::Doubtful => ("doubtful", "?"),
        Tone::Bad => ("bad", "✗"),
    };
    Markup(format!("<span class=\"{class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>", text(plain)))
}

/// What stands in a table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// At the left.
    Text(String),
    /// At the right.
    Number(String),
    /// As it is.
    Markup(Markup),
}

impl Cell {
    /// At the right where it looks like a number.
    pub(super) fn guess(plain: &str) -> Self {
        let number = plain.trim_end_matches(['%', ' ']).replace(',', "");
        let is_number = number.parse::<f64>().is_ok() && number.ends_with(|last: char| last.is_ascii_digit());
        if is_number { Self::Number(plain.to_owned()) } else { Self::Text(plain.to_owned()) }
    }

    const fn class(&self) -> &'static str {
        if matches!(self, Self::Number(_)) { " class=\"number\"" } else { "" }
    }

    fn html(&self, is_first: bool) -> Markup {
        let (tag, scope) = if is_first { ("th", " scope=\"row\"") } else { ("td", "") };
        let inside = match self {
            Self::Text(plain) | Self::Number(plain) => text(plain),
            Self::Markup(markup) => markup.clone(),
        };
        Markup(format!("<{tag}{scope}{}>{inside}</{tag}>", self.class()))
    }
}

/// A table with a caption, wide ones in a frame of their own that scrolls. Bounded in both directions.
pub(super) fn table<'a>(
    caption: &str,
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<Cell>>,
) -> Markup {
    let caption = text(caption);
    let mut rows = rows.into_iter().peekable();
    let header = head(header, rows.peek().map_or(&[], Vec::as_slice));
    let body: Markup = rows.by_ref().take(ROWS_MAX).map(|cells| row(&cells)).collect();
    let more = more(rows.count());
    Markup(format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table>\
         <caption><span>{caption}</span></caption>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n{more}"
    ))
}

/// More are counted, not shown: the page stays one that a phone opens.
const ROWS_MAX: usize = 500;

/// The same, across.
const COLUMNS_MAX: usize = 40;

/// Names stand where the cells of the first row do.
fn head<'a>(names: impl IntoIterator<Item = &'a str>, first: &[Cell]) -> Markup {
    let classes = first.iter().map(Cell::class).chain(std::iter::repeat(""));
    let name = |(plain, class)| Markup(format!("<th scope=\"col\"{class}>{}</th>", text(plain)));
    names.into_iter().take(COLUMNS_MAX).zip(classes).map(name).collect()
}

fn row(cells: &[Cell]) -> Markup {
    let cells: Markup =
        cells.iter().take(COLUMNS_MAX).enumerate().map(|(index, cell)| cell.html(index == 0)).collect();
    Markup(format!("<tr>{cells}</tr>\n"))
}

/// Says how many are not shown, if any are not.
pub(super) fn more(hidden: usize) -> Markup {
    let hidden = u64::try_from(hidden).unwrap_or(u64::MAX);
    if hidden == 0 {
        Markup::default()
    } else {
        paragraph(&format!("And {} more, not shown.", count(hidden)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_text() {
        for (plain, want) in [
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\u{202e}b\0c\nd", "a\u{fffd}b\u{fffd}c d"),
            ("Grüße ✓", "Grüße ✓"),
        ] {
            assert_eq!(text(plain).0, want);
        }
        assert_eq!(text(&"ä".repeat(9999)).0.chars().count(), CHARS_MAX + 1);
    }

    #[test]
    fn numbers_are_told_from_words() {
        for (plain, want) in [
            ("0.25", true),
            ("-1", true),
            ("1,024", true),
            ("99.9 %", true),
            ("1e-4", true),
            ("", false),
            ("nan", false),
            ("inf", false),
            ("12 layers", false),
        ] {
            assert_eq!(matches!(Cell::guess(plain), Cell::Number(_)), want, "{plain}");
        }
    }

    #[test]
    fn a_table_is_bounded() {
        let rows = (0..ROWS_MAX + 1234).map(|_| vec![Cell::Text("x".into()); COLUMNS_MAX + 5]);
        let Markup(html) = table("c", ["h"], rows);
        assert_eq!(html.matches("<tr>").count(), ROWS_MAX + 1);
        assert_eq!(html.matches("<td>").count(), ROWS_MAX * (COLUMNS_MAX - 1));
        assert!(html.contains("And 1,234 more, not shown."));
    }

    proptest! {
        #[test]
        fn no_text_holds_a_tag(plain in any::<String>()) {
            let Markup(shown) = text(&plain);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
        }
    }
}
