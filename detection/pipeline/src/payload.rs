// SPDX-License-Identifier: Apache-2.0
//! What stands in a request's texts: each is read alone, and the worst counts. So do, for a model that knows the
//! application, its path, names and values.

use sunbeam_ensemble::{ApplicationModel, ScannerModel};
use sunbeam_features::application::{Part, Request, each_part};
use sunbeam_features::canonical::{BodyKind, Unit, UnitKind, UnitSource, each_unit_but};
use sunbeam_features::payload::{Facts, each_piece, is_plain, read};
use sunbeam_traffic::RequestFacts;

use crate::exceptions::{Applied, Used};
use crate::subject::Buffers;

/// What the worst text came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worst {
    /// In 1/256.
    pub(crate) logit: i32,
    /// The worst of those in which something else too speaks of an attack.
    pub(crate) with_sign: i32,
    /// How odd the request's oddest part is, from where doubt begins, in 1/256; nothing where no application
    /// is known, or another than this one.
    pub(crate) odd: Option<i32>,
    /// How much the path is one that scanners ask for, to 100.
    pub(crate) path_score: u8,
    /// Not all could be looked at.
    pub(crate) is_truncated: bool,
    /// A text that would have been doubted is excepted: nobody may take it for clean.
    pub(crate) is_excepted: bool,
}

/// Reads all units but those that are excepted, and says the worst. A model of an application is asked where it
/// `is_of_application`.
pub(crate) fn worst(
    facts: &RequestFacts<'_>,
    canonical: &[u8],
    model: &ScannerModel,
    is_of_application: bool,
    (applied, used): (&Applied<'_>, &mut Used),
    buffers: &mut Buffers,
) -> Worst {
    let floor = model.payload.floor;
    let mut worst = Worst {
        logit: floor,
        with_sign: floor,
        odd: None,
        path_score: 0,
        is_truncated: false,
        is_excepted: false,
    };
    worst.is_truncated = each_text(facts, canonical, buffers, &mut |unit, texts| {
        if unit.kind == UnitKind::Path && unit.value.len() == canonical.len() {
            worst.path_score = model.paths.score(&texts.symbols);
        }
        let logit = model.payload.read(texts).logit;
        if logit > worst.with_sign
            && let Some(exception) = applied.unit(unit.kind, unit.name)
        {
            if logit >= model.payload.doubtful {
                used.note(exception);
                worst.is_excepted = true;
            }
            return;
        }
        if logit > worst.logit {
            worst.logit = logit;
        }
        if logit > worst.with_sign && texts.has_sign() {
            worst.with_sign = logit;
        }
    });
    if is_of_application {
        let (odd, is_truncated) = odd(facts, &model.application, (applied, used), buffers);
        worst.odd = Some(odd);
        // The application's own parameters in front must not hide what stands behind the bound.
        worst.is_truncated |= is_truncated;
    }
    worst
}

fn odd(
    facts: &RequestFacts<'_>,
    model: &ApplicationModel,
    (applied, used): (&Applied<'_>, &mut Used),
    buffers: &mut Buffers,
) -> (i32, bool) {
    let mut oddest = i32::MIN;
    let is_truncated = each_part_of(facts, buffers, &mut |part| {
        let logit = model.read(part);
        match applied.part(part.kind, part.name) {
            Some(exception) if logit >= model.doubtful => used.note(exception),
            Some(_) => {}
            None => oddest = oddest.max(logit),
        }
    });
    (oddest.saturating_sub(model.doubtful), is_truncated)
}

/// Hands out the parts that an application knows its requests by. Whether there were more than are looked at.
pub(crate) fn each_part_of(
    facts: &RequestFacts<'_>,
    buffers: &mut Buffers,
    visit: &mut dyn FnMut(&Part<'_>),
) -> bool {
    let units = UnitSource {
        path: facts.path.as_bytes(),
        query: facts.query.as_bytes(),
        cookies: b"",
        body: facts.body,
        body_kind: BodyKind::of(facts.content_type, facts.body),
    };
    each_part(&Request { method: facts.method, units }, &mut buffers.application, visit)
}

/// Hands out the path, which has its canonical form already, and every other text that is worth a look. Whether there
/// were more than are looked at.
pub(crate) fn each_text(
    facts: &RequestFacts<'_>,
    canonical: &[u8],
    buffers: &mut Buffers,
    visit: &mut dyn FnMut(&Unit<'_>, &Facts),
) -> bool {
    let Buffers { text, facts: read_facts, .. } = buffers;
    let mut read_all = |unit: &Unit<'_>| {
        each_piece(unit.value, &mut |piece| {
            read(piece, read_facts);
            visit(&Unit { value: piece, ..*unit }, read_facts);
        });
    };
    read_all(&Unit { kind: UnitKind::Path, name: b"", value: canonical });
    let mut look = |unit: Unit<'_>| {
        if !is_plain(unit.value) {
            read_all(&unit);
        }
    };
    let (first, more) =
        facts.cookies.split_first().map_or((&b""[..], &[][..]), |(first, more)| (*first, more));
    let source = UnitSource {
        path: b"",
        query: facts.query.as_bytes(),
        cookies: first,
        body: facts.body,
        body_kind: BodyKind::of(facts.content_type, facts.body),
    };
    let mut is_truncated = each_unit_but(&source, is_plain, text, &mut look).truncated;
    for line in more {
        let source = UnitSource { cookies: line, ..UnitSource::default() };
        is_truncated |= each_unit_but(&source, is_plain, text, &mut look).truncated;
    }
    is_truncated
}
