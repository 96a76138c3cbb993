// SPDX-License-Identifier: Apache-2.0
//! Whether a body without a `Content-Type` is a file that is sent as it is (`curl -T`). Rules are not to look at its noise,
//! in which they find something or other. Nobody is to get a form past them by putting noise into it, so one sign alone
//! is not enough.
//!
//! - Bytes that no text has: control characters, and what is no UTF-8. Of bytes by chance and of what is compressed it
//!   is half of all. A run of one byte counts once: a form keeps its meaning behind a thousand NULs in a row.
//! - No stretch of text: chance makes one of [`STRETCH_MAX`] bytes in one body of thousands, and hardly an attack is
//!   shorter than that.
//! - Files of formats that have text in them (a PDF, pictures with descriptions) begin with the mark of their format.
//!   Whoever writes that before a form could as well say `Content-Type: image/png`, which nobody looks into either.

/// What is shorter is read.
const LENGTH_MIN: usize = 256;

/// One in so many bytes is none of a text.
const FOREIGN_ONE_IN: usize = 4;

/// The same, behind the mark of a format.
const FOREIGN_ONE_IN_FORMAT: usize = 16;

/// So many bytes of text in a row are text.
const STRETCH_MAX: usize = 20;

/// Marks that formats begin with, each with a byte that no text begins with; but that of PDF.
const MARKS: &[&[u8]] = &[
    b"\x1f\x8b\x08",
    b"PK\x03\x04",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"%PDF-1.",
    b"%PDF-2.",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c",
    b"\x7fELF",
    b"\x1a\x45\xdf\xa3",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
];

/// Whether a body that does not say what it is, is a file and no text.
pub fn is_file(bytes: &[u8]) -> bool {
    if bytes.len() < LENGTH_MIN {
        return false;
    }
    let Content { foreign, longest_text } = Content::of(bytes);
    if MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return foreign > bytes.len() / FOREIGN_ONE_IN_FORMAT;
    }
    foreign > bytes.len() / FOREIGN_ONE_IN && longest_text < STRETCH_MAX
}

#[derive(Debug, Default)]
struct Content {
    /// Bytes that are none of a text; of a run of one byte only the first.
    foreign: usize,
    /// The longest stretch without any.
    longest_text: usize,
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        let (mut text, mut last) = (0, None);
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid().bytes().map(|byte| (byte, is_control(byte)));
            let invalid = chunk.invalid().iter().map(|byte| (*byte, true));
            for (byte, is_foreign) in valid.chain(invalid) {
                if is_foreign {
                    content.foreign += usize::from(last != Some(byte));
                    text = 0;
                } else {
                    text += 1;
                    content.longest_text = content.longest_text.max(text);
                }
                last = Some(byte);
            }
        }
        content
    }
}

const fn is_control(byte: u8) -> bool {
    (byte < b' ' && !byte.is_ascii_whitespace()) || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACK: &[u8] = b"&q=1'+UNION+SELECT+password+FROM+users--+-";

    /// Marsaglia's shifts.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn files_are_files_and_forms_with_noise_are_not() {
        let pairs: Vec<u8> = (0..200_u8).chain(0..200).flat_map(|at| [at % 7, at % 5 + 14]).collect();
        let png = [b"\x89PNG\r\n\x1a\n", noise(600).as_slice(), &[b'd'; 600]].concat();
        for (name, body, want) in [
            ("a random file", noise(131_072), true),
            ("a short random file", noise(LENGTH_MIN), true),
            ("too short", noise(LENGTH_MIN - 1), false),
            ("a picture with a description", png.clone(), true),
            ("the same without its mark", png[8..].to_vec(), false),
            ("NULs within a form", [b"z=", &[0; 400][..], ATTACK].concat(), false),
            ("a form behind many NULs", [b"z=", &[0; 40_000][..], ATTACK].concat(), false),
            ("changing control characters", [b"z=", pairs.as_slice(), ATTACK].concat(), false),
            ("noise and a form", [noise(4_096).as_slice(), ATTACK].concat(), false),
            ("a mark before a form", [b"\x1f\x8b\x08", &[0; 400][..], ATTACK].concat(), false),
            ("text", b"a walk in the park ".repeat(40), false),
            ("text in another language", "прогулка в парке ".repeat(40).into_bytes(), false),
        ] {
            assert_eq!(is_file(&body), want, "{name}");
        }
    }
}
