// SPDX-License-Identifier: Apache-2.0
//! One spelling for everything a request says. A client can write the same attack in countless ways, and the
//! backend undoes most of them; features, payload model and WAF therefore read this form, made once. It is
//! for judging only: what goes to the backend stays as the client wrote it.

mod decode;
#[cfg(test)]
mod disguise;
mod json;
mod path;
mod units;

pub use decode::{Form, canonical_text};
pub use json::{JSON_DEPTH_MAX, JsonLeaf, each_json_leaf};
pub use path::{PathNotes, canonical_path};
pub use units::{BodyKind, UNITS_MAX, Unit, UnitKind, UnitSource, Units, each_unit, each_unit_but};
