// SPDX-License-Identifier: Apache-2.0
//! The vectors that other engines test their transformations with.
//!
//! Their strings are JSON, read as UTF-8: `"\u00d0"` is the two bytes `C3 90`. In the text that this gives, `\xHH` and
//! `\uHHHH` stand for one byte each, as ModSecurity's own runner reads them. `ret` is whether the value changed; but no
//! runner looks at it, and some cases contradict themselves. What is tested is whether the value changed by the case's
//! own input and output; `ret` says the same in all but 15 of 358.

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;
use sunbeam_waf::transformations::{Settings, TRANSFORMATIONS, Transformation, find};

#[test]
fn every_vector_holds() {
    let Some(shared) = std::env::var_os("SUNBEAM_SHARED") else {
        say("skipped: SUNBEAM_SHARED is not set, so there are no vectors");
        return;
    };
    let folder = Path::new(&shared).join("conformance/seclang-vectors/transformations");
    let (mut cases, mut ret_wrong, mut failures, mut covered) = (0, 0, Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap();
        let transformation = find(path.file_stem().unwrap().to_str().unwrap()).unwrap();
        for (index, case) in serde_json::from_slice::<Vec<Value>>(&text).unwrap().iter().enumerate() {
            let case = Case::new(case).unwrap();
            let failure = case.failure(transformation);
            failures.extend(failure.map(|what| format!("{transformation:?} {index}: {what}")));
            cases += 1;
            ret_wrong += usize::from(case.changes() != case.ret);
        }
        covered.push(transformation.name);
    }
    say(&format!("{cases} cases in {} files, `ret` is wrong in {ret_wrong}", covered.len()));
    assert!(failures.is_empty(), "{} of {cases} fail:\n{}", failures.len(), failures.join("\n"));
    assert!(TRANSFORMATIONS.iter().all(|known| covered.contains(&known.name)), "one has no vectors");
    assert!(cases >= CASES_MIN, "only {cases} cases");
    assert!(ret_wrong <= RET_WRONG_MAX, "`ret` is wrong in {ret_wrong}");
}

struct Case<'a> {
    name: &'a str,
    input: Vec<u8>,
    output: Vec<u8>,
    ret: bool,
}

impl<'a> Case<'a> {
    fn new(case: &'a Value) -> Option<Self> {
        let text = |key: &str| case.get(key)?.as_str();
        let (input, output) = (bytes(text("input")?), bytes(text("output")?));
        Some(Self { name: text("name")?, input, output, ret: case.get("ret")?.as_u64()? == 1 })
    }

    fn failure(&self, transformation: &Transformation) -> Option<String> {
        let (input, want) = (&self.input, self.wanted());
        let settings = Settings { unicode_map: Some(us_ascii()) };
        let mut output = Vec::new();
        let changed = (transformation.apply)(input, &settings, &mut output);
        let got = if changed { &output } else { input };
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        (got != want || changed != self.changes())
            .then(|| format!("`{}` gives `{}` ({changed}), not `{}`", show(input), show(got), show(want)))
    }

    fn changes(&self) -> bool {
        self.input != *self.wanted()
    }

    /// A case that is named after what is invalid is one of an error: the output is only what stands beside it, and the
    /// value stays.
    fn wanted(&self) -> &Vec<u8> {
        if self.name.starts_with("invalid") { &self.input } else { &self.output }
    }
}

/// A vector's text as bytes. An escape may have other letters than hex digits: only the digits in front count, as
/// `sscanf` reads them. What it makes of none does not matter, being the same in input and output.
fn bytes(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let length = match rest {
            [b'\\', b'x', ..] => 2,
            [b'\\', b'u', ..] => 4,
            _ => 0,
        };
        let digits = rest
            .get(2..2 + length)
            .filter(|digits| length > 0 && digits.iter().all(u8::is_ascii_alphanumeric));
        if let Some(digits) = digits {
            let value = digits
                .iter()
                .map_while(|digit| char::from(*digit).to_digit(16))
                .fold(0, |sum, one| sum << 4 | one);
            bytes.push(value.to_be_bytes()[3]);
            rest = &rest[2 + length..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Of code page 20127 what the vectors need: Latin-1, where a dot is none, and some punctuation.
fn us_ascii() -> Box<[u8]> {
    let latin =
        b" !c.$Y|..Ca<.-R...23....,1o>....AAAAAAACEEEEIIIIDNOOOOO.OUUUUY..aaaaaaaceeeeiiii.nooooo.ouuuuy.y";
    let mut map = vec![0; 1 << 16];
    for (code, byte) in (0xA0..).zip(latin).filter(|(_, byte)| **byte != b'.') {
        map[code] = *byte;
    }
    for (code, byte) in
        [(0xB7, b'.'), (0x2014, b'-'), (0x2018, b'\''), (0x2019, b'\''), (0x201C, b'"'), (0x201D, b'"')]
    {
        map[code] = byte;
    }
    map.into()
}

fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// How many there were when this was written.
const CASES_MIN: usize = 358;
/// How many of those say that a value changes that does not, or the other way about.
const RET_WRONG_MAX: usize = 15;
