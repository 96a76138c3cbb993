// SPDX-License-Identifier: Apache-2.0
//! What models read: any text, any path, any file. Nothing panics, sums stay in their bounds, the two forms of a
//! perceptron agree, and no file is used that nobody wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_ensemble::{INPUTS, ModelFile, builtin};
use sunbeam_features::application::{Request, Scratch, each_part};
use sunbeam_features::canonical::{BodyKind, UnitSource, canonical_path};
use sunbeam_features::payload::{Facts, is_plain, read};
use sunbeam_features::{probe, scanner};

fuzz_target!(|data: &[u8]| {
    text(data);
    path(data);
    application(data);
    numbers(data);
    file(data);
});

fn text(data: &[u8]) {
    let (model, mut facts) = (&builtin::SCANNER.payload, Facts::default());
    read(data, &mut facts);
    assert!(facts.symbols.len() <= data.len() + 2);
    let _ = (is_plain(data), facts.has_sign());
    let sums = model.grams.sums(&facts.symbols);
    assert!(sums.worst >= 0 && sums.worst >= sums.sum);
    let reading = model.read(&facts);
    assert!(reading.logit >= model.floor);
    if sums.worst >= model.gate {
        assert_eq!(reading.columns, model.columns(&facts, &sums));
    }
}

fn path(data: &[u8]) {
    let mut path = Vec::new();
    let notes = canonical_path(data, &mut path);
    let mut facts = Facts::default();
    read(&path, &mut facts);
    assert!(builtin::SCANNER.paths.score(&facts.symbols) <= 100);
    let _ = scanner::has_sign(probe(&path), &notes);
}

/// A part is bounded by what is read of it, and by no more.
fn application(data: &[u8]) {
    let units = UnitSource { query: data, body: data, body_kind: BodyKind::Form, ..UnitSource::default() };
    each_part(&Request { method: "POST", units }, &mut Scratch::default(), &mut |part| {
        assert!((1..=3 * 2048 + 300).contains(&part.tokens.len()));
        assert_eq!(builtin::SCANNER.application.read(part), 0, "what ships knows no application");
    });
}

fn numbers(data: &[u8]) {
    let Some(inputs) = data.first_chunk::<INPUTS>() else { return };
    for cascade in [&builtin::SCANNER.cascade, &builtin::DDOS.cascade] {
        assert_eq!(cascade.mlp.logit(inputs), cascade.mlp.logit_plain(inputs));
        let (least, most) = cascade.mlp.bounds();
        assert!((least..=most).contains(&cascade.mlp.logit(inputs)));
    }
}

/// Without the right checksum none gets through, whatever is in it.
fn file(data: &[u8]) {
    for bytes in [data.to_vec(), [&b"sunbeam-model\r\n\n"[..], data].concat()] {
        assert!(ModelFile::read(&bytes).is_err());
    }
}
