// SPDX-License-Identifier: Apache-2.0
//! The model of texts over a body: each field, part and leaf alone, as over everything else of a request.

use memchr::memmem;
use sunbeam_ensemble::PayloadModel;
use sunbeam_features::canonical::{BodyKind, Unit, UnitSource, each_unit_but};
use sunbeam_features::payload::{Facts, each_piece, is_plain, read};
use sunbeam_traffic::RequestFacts;

use super::section::kind_of;
use crate::exceptions::{Applied, Used};
use crate::payload::each_text;
use crate::subject::{Buffers, Texts};

/// Parts of a body that are read.
const PARTS_MAX: usize = 1_000;

/// Names in the head of a part: its own, and that of its file.
const NAMES_MAX: usize = 4;

/// Reads all but the body.
pub(crate) fn of_head(
    facts: &RequestFacts<'_>,
    canonical: &[u8],
    model: &PayloadModel,
    (applied, used): (&Applied<'_>, &mut Used),
    buffers: &mut Buffers,
) -> Texts {
    let mut texts = Texts::nothing(model.floor);
    let head = RequestFacts { body: b"", ..*facts };
    texts.is_truncated = each_text(&head, canonical, buffers, &mut |unit, read| {
        note(model, (unit, read), (applied, used), &mut texts);
    });
    texts
}

/// Reads the body. What is no text is not read, and nobody may take it for clean: the model would see attacks in it, as
/// control characters are a sign of them.
pub(crate) fn of_body(
    facts: &RequestFacts<'_>,
    model: &PayloadModel,
    (applied, used): (&Applied<'_>, &mut Used),
    buffers: &mut Buffers,
) -> Texts {
    let mut texts = Texts::nothing(model.floor);
    let Some(parts) = Parts::of(facts.content_type, facts.body) else {
        let kind = BodyKind::of(kind_of(facts.content_type), facts.body);
        read_as((facts.body, kind), model, (applied, used), buffers, &mut texts);
        return texts;
    };
    for (number, part) in parts.enumerate() {
        if number == PARTS_MAX {
            texts.is_truncated = true;
            break;
        }
        // The names that a client chose stand in quotes; around them it is all the same.
        for name in part.head.split(|byte| *byte == b'"').skip(1).step_by(2).take(NAMES_MAX) {
            read_as((name, BodyKind::Other), model, (applied, used), buffers, &mut texts);
        }
        if !part.is_file() {
            read_as((part.content, BodyKind::Other), model, (applied, used), buffers, &mut texts);
        }
    }
    texts
}

/// One text, unless it is excepted.
fn note(
    model: &PayloadModel,
    (unit, read): (&Unit<'_>, &Facts),
    (applied, used): (&Applied<'_>, &mut Used),
    texts: &mut Texts,
) {
    let logit = model.read(read).logit;
    if logit > texts.with_sign
        && let Some(exception) = applied.unit(unit.kind, unit.name)
    {
        if logit >= model.doubtful {
            used.note(exception);
            // Rules still have their say about it, and whom the model is not to doubt it has not found clean.
            texts.is_truncated = true;
        }
        return;
    }
    texts.note(logit, read.has_sign());
}

fn read_as(
    (body, kind): (&[u8], BodyKind),
    model: &PayloadModel,
    (applied, used): (&Applied<'_>, &mut Used),
    buffers: &mut Buffers,
    texts: &mut Texts,
) {
    if is_binary(body) {
        texts.is_truncated = true;
        return;
    }
    let Buffers { text, facts, .. } = buffers;
    let source = UnitSource { body, body_kind: kind, ..UnitSource::default() };
    let mut is_unread = false;
    let units = each_unit_but(&source, is_plain, text, &mut |unit: Unit<'_>| {
        if is_binary(unit.value) {
            is_unread = true;
        } else if !is_plain(unit.value) {
            each_piece(unit.value, &mut |piece| {
                read(piece, facts);
                note(model, (&unit, facts), (applied, used), texts);
            });
        }
    });
    texts.is_truncated |= units.truncated | is_unread;
}

/// Whether this is no text: of a file that is compressed one byte in nine is a control character, of one that is not
/// more. What is short may well be an attack on whoever stops reading at such a character.
fn is_binary(bytes: &[u8]) -> bool {
    const LENGTH_MIN: usize = 256;
    const ONE_IN: usize = 16;
    let is_control = |byte: &&u8| (**byte < b' ' && !byte.is_ascii_whitespace()) || **byte == 0x7f;
    bytes.len() >= LENGTH_MIN && bytes.iter().filter(is_control).count() > bytes.len() / ONE_IN
}

/// The parts of a `multipart/form-data` body, for the model: rules read it strictly.
#[derive(Debug)]
struct Parts<'a> {
    delimiter: memmem::Finder<'static>,
    rest: &'a [u8],
}

#[derive(Debug)]
struct Part<'a> {
    head: &'a [u8],
    content: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `None`: it has none, and is read as one text.
    fn of(content_type: &'a [u8], body: &'a [u8]) -> Option<Self> {
        const MULTIPART: &[u8] = b"multipart/";
        let kind = content_type.trim_ascii_start().get(..MULTIPART.len())?;
        if !kind.eq_ignore_ascii_case(MULTIPART) {
            return None;
        }
        // With its hyphens, which would end the part before as a comment in SQL does.
        let delimiter = [b"--", boundary(content_type)?].concat();
        let delimiter = memmem::Finder::new(&delimiter).into_owned();
        let at = delimiter.find(body)?;
        let rest = body.get(at + delimiter.needle().len()..)?;
        Some(Self { delimiter, rest })
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if self.rest.is_empty() || self.rest.starts_with(b"--\r") || self.rest == b"--" {
            return None;
        }
        // One that the end of what is looked at has cut is read as far as it goes.
        let end = self.delimiter.find(self.rest).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(self.delimiter.needle().len()..).unwrap_or_default();
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        let blanks = [&b"\r\n\r\n"[..], b"\n\n"];
        let ends = blanks.map(|blank| memmem::find(part, blank).map(|at| at + blank.len()));
        // Without an empty line nobody knows what is head and what is not: all of it is read.
        let (head, content) = part.split_at_checked(ends.into_iter().flatten().min().unwrap_or(0))?;
        Some(Part { head: head.trim_ascii(), content })
    }
}

impl Part<'_> {
    /// Whether its content is a file's, which is not read. What only looks like one is a field.
    fn is_file(&self) -> bool {
        let head = self.head.to_ascii_lowercase();
        let mut lines = head.split(|byte| *byte == b'\n');
        let Some(line) = lines.find(|line| line.starts_with(b"content-disposition")) else { return false };
        // Readers differ in what a backslash does to a quote.
        if line.contains(&b'\\') {
            return false;
        }
        let pieces: Vec<&[u8]> = line.split(|byte| *byte == b'"').collect();
        // Every other one stands outside of quotes.
        pieces.chunks(2).any(|pair| {
            let [outside, quoted @ ..] = pair else { return false };
            let Some(at) = memmem::find(outside, b"filename") else { return false };
            let after = outside.get(at..).unwrap_or_default().trim_ascii();
            // Browsers send an empty name where no file was chosen.
            let is_empty = after.ends_with(b"=") && quoted.iter().all(|quoted| quoted.is_empty());
            after.contains(&b'=') && !is_empty
        })
    }
}

/// What `boundary=` says, without its quotes.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"boundary=";
    let at = content_type.windows(NAME.len()).position(|some| some.eq_ignore_ascii_case(NAME))?;
    let value = content_type.get(at + NAME.len()..)?;
    let (value, end) = match value.strip_prefix(b"\"") {
        Some(quoted) => (quoted, quoted.iter().position(|byte| *byte == b'"')),
        None => (value, value.iter().position(|byte| matches!(byte, b';' | b',' | b' '))),
    };
    let value = value.get(..end.unwrap_or(value.len()))?;
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use sunbeam_ensemble::builtin;

    use super::*;

    const ATTACK: &str = "1' UNION SELECT password FROM users-- -";

    fn zone(content_type: &str, body: &[u8]) -> (bool, bool) {
        let facts = RequestFacts { content_type: content_type.as_bytes(), body, ..RequestFacts::EMPTY };
        let model = &builtin::SCANNER.payload;
        let texts =
            of_body(&facts, model, (&Applied::default(), &mut Used::default()), &mut Buffers::default());
        (texts.logit >= model.doubtful, texts.is_truncated)
    }

    #[test]
    fn an_attack_is_seen_in_every_kind_of_body() {
        let part = |head: &str, content: &str| {
            format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let multipart = |parts: &[String]| format!("{}--xyz--\r\n", parts.concat()).into_bytes();
        let form = "multipart/form-data; boundary=xyz";
        let (innocent, attack) = (part("name=\"a\"", "a walk in the park"), part("name=\"q\"", ATTACK));
        for (name, content_type, body, want) in [
            ("nothing", "", Vec::new(), false),
            (
                "form",
                "application/x-www-form-urlencoded",
                b"a=b&q=1%27+UNION+SELECT+password+FROM+users--+-".to_vec(),
                true,
            ),
            ("innocent form", "application/x-www-form-urlencoded", b"a=b&q=red+shoes".to_vec(), false),
            ("json", "application/json", format!("{{\"a\": [1, \"{ATTACK}\"]}}").into_bytes(), true),
            ("innocent json", "application/json", b"{\"a\": [1, \"red shoes\"]}".to_vec(), false),
            ("xml", "application/xml", format!("<a><b>{ATTACK}</b></a>").into_bytes(), true),
            ("a part", form, multipart(&[innocent.clone(), attack.clone()]), true),
            ("innocent parts", form, multipart(&[innocent.clone(), innocent]), false),
            (
                "quoted boundary",
                "multipart/form-data; boundary=\"xyz\"",
                multipart(std::slice::from_ref(&attack)),
                true,
            ),
            (
                "another boundary",
                "multipart/form-data; boundary=no",
                multipart(std::slice::from_ref(&attack)),
                true,
            ),
            ("no boundary", "multipart/form-data", multipart(&[attack]), true),
            ("a cut part", form, part("name=\"q\"", ATTACK).into_bytes(), true),
            (
                "a file's name",
                form,
                multipart(&[part("name=\"f\"; filename=\"../../../../etc/passwd\"", "x")]),
                true,
            ),
            ("a file's content", form, multipart(&[part("name=\"f\"; filename=\"a.sql\"", ATTACK)]), false),
        ] {
            assert_eq!(zone(content_type, &body), (want, false), "{name}");
        }
    }

    #[test]
    fn a_form_of_parts_is_as_doubtful_as_its_worst_text_alone() {
        let model = &builtin::SCANNER.payload;
        let logit = |content_type: &str, body: &[u8]| {
            let facts = RequestFacts { content_type: content_type.as_bytes(), body, ..RequestFacts::EMPTY };
            {
                let excepted = (&Applied::default(), &mut Used::default());
                of_body(&facts, model, excepted, &mut Buffers::default()).logit
            }
        };
        for value in ["a walk in the park", "O'Brien", "2026-11-29", "red & blue", "7", "", "a -- b", ATTACK]
        {
            for boundary in ["----WebKitFormBoundary7MA4YWxkTrZu0gW", "xyz", "\"x y\""] {
                let line = boundary.trim_matches('"');
                let field = |name: &str, value: &str| {
                    format!("--{line}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                };
                let body = [field("a", value), field("b", "1"), format!("--{line}--\r\n")].concat();
                let form = format!("multipart/form-data; boundary={boundary}");
                let alone = [value, "a", "b", "1"].map(|text| logit("text/plain", text.as_bytes()));
                assert_eq!(Some(&logit(&form, body.as_bytes())), alone.iter().max(), "{value:?} {boundary}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_file_is_read() {
        let form = "multipart/form-data; boundary=xyz";
        for (name, head, end, want) in [
            ("a file", "Content-Disposition: form-data; name=\"f\"; filename=\"a.sql\"", "\r\n\r\n", false),
            (
                "its extended name",
                "content-disposition: form-data; name=f; filename*=UTF-8''a.sql",
                "\r\n\r\n",
                false,
            ),
            ("no file chosen", "Content-Disposition: form-data; name=\"f\"; filename=\"\"", "\r\n\r\n", true),
            ("a field of that name", "Content-Disposition: form-data; name=\"filename\"", "\r\n\r\n", true),
            (
                "a field, in quotes",
                "Content-Disposition: form-data; name=\"a; filename=b\"",
                "\r\n\r\n",
                true,
            ),
            (
                "an escaped quote",
                "Content-Disposition: form-data; name=\"a\\\"; filename=\\\"b\"",
                "\r\n\r\n",
                true,
            ),
            (
                "another line",
                "Content-Disposition: form-data; name=\"a\"\r\nX: ; filename=\"b\"",
                "\r\n\r\n",
                true,
            ),
            ("lines without CR", "Content-Disposition: form-data; name=\"a\"", "\n\n", true),
            ("no empty line", "Content-Disposition: form-data; name=\"a\"", "\r\n", true),
        ] {
            let body = format!("--xyz\r\n{head}{end}{ATTACK}\r\n--xyz--\r\n");
            assert_eq!(zone(form, body.as_bytes()), (want, false), "{name}");
        }
    }

    #[test]
    fn what_is_no_text_is_neither_an_attack_nor_clean() {
        let noise: Vec<u8> =
            (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/json"] {
            assert_eq!(zone(kind, &noise), (false, true), "{kind}");
            let short = [ATTACK.as_bytes(), &[0; 20]].concat();
            assert!(zone(kind, &short).0, "{kind}: a few of them hide nothing");
        }
        let form = [b"q=", ATTACK.as_bytes(), b"&noise=%00%01%02"].concat();
        assert!(zone("application/x-www-form-urlencoded", &form).0);
    }

    #[test]
    fn what_is_not_read_is_told() {
        let parts = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n".repeat(PARTS_MAX + 2);
        assert_eq!(zone("multipart/form-data; boundary=x", parts.as_bytes()), (false, true));
        let many = "a=b'c&".repeat(2_000);
        assert!(zone("application/x-www-form-urlencoded", many.as_bytes()).1);
    }
}
