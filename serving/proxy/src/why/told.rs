// SPDX-License-Identifier: Apache-2.0
//! What of a request's texts is kept: secrets are hidden by the names that they stand under, as in the audit log.

use sunbeam_features::canonical::{JsonLeaf, UnitKind, each_json_leaf};
use sunbeam_pipeline::WorstUnit;
use sunbeam_traffic::MASK;

use super::capture::Capture;
use super::weighed::Tells;

/// By what the request looked like: a worst text may be a piece, which does not tell whose value it is.
pub(super) struct Told<'a>(pub(super) &'a Capture);

impl Tells for Told<'_> {
    fn name(&self, name: &[u8]) -> String {
        // Of a body that is read as what it is not, a name may hold anything.
        self.0.snapshot().redaction.text(&String::from_utf8_lossy(name)).into_owned()
    }

    fn value(&self, unit: &WorstUnit) -> Option<String> {
        // As the record tells it.
        if unit.kind == UnitKind::Path {
            return None;
        }
        if self.is_secret(unit) {
            return Some(MASK.to_owned());
        }
        let redaction = &self.0.snapshot().redaction;
        let value = String::from_utf8_lossy(&unit.value);
        let mut told = redaction.text(&value).into_owned();
        // Whatever it may be a piece of; what says least of it holds.
        self.0.each_unit(&mut |whole| {
            let is_its = whole.kind == unit.kind && whole.name == unit.name;
            if is_its && memchr::memmem::find(whole.value, &unit.value).is_some() {
                let whole = String::from_utf8_lossy(whole.value);
                let shown = redaction.piece(&value, &whole);
                if shown != value && (shown == MASK || told == value) {
                    told = shown.into_owned();
                }
            }
        });
        (told != value).then_some(told)
    }
}

impl Told<'_> {
    fn is_secret(&self, unit: &WorstUnit) -> bool {
        let snapshot = self.0.snapshot();
        let redaction = &snapshot.redaction;
        let hides = |name: &[u8]| redaction.hides(&String::from_utf8_lossy(name));
        match unit.kind {
            UnitKind::Path | UnitKind::ParameterName | UnitKind::CookieName | UnitKind::Body => false,
            UnitKind::Parameter => hides(&unit.name),
            UnitKind::Cookie => {
                let name = String::from_utf8_lossy(&unit.name);
                let cookies = snapshot.pipeline.rules().session_cookies();
                redaction.hides(&name) || cookies.iter().any(|known| known.eq_ignore_ascii_case(&name))
            }
            // It knows its nearest name only.
            UnitKind::JsonLeaf => {
                let mut is_secret = hides(&unit.name);
                each_json_leaf(self.0.body(), &mut |JsonLeaf { names, value }| {
                    let is_its = || memchr::memmem::find(value, &unit.value).is_some();
                    is_secret = is_secret || is_its() && names.iter().any(|name| hides(name));
                });
                is_secret
            }
        }
    }
}
