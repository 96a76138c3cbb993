// SPDX-License-Identifier: Apache-2.0
//! What a data set says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hash::hex;

/// The fields of a record and their types. Postcard keeps neither, so a file of other fields would be read as
/// nonsense; a change here makes such files stale instead. A test holds it to the type.
pub const SCHEMA: &str = "source:text group:text class:text label:option(benign|attack) \
    label_source:nobody|human|corpus|waf_rule(text)|heuristic(text) weight_percent:u16 at_micros:option(i64) client:text \
    method:text host:text path:text query:text user_agent:text referer:text accept:text accept_language:text cookies:text \
    has_cookies:bool has_own_headers:bool body:bytes body_kind:none|form|json|other content_length:u64 status:u16 \
    duration_ms:u64 backend:text error:option(text)";

/// 32 hexadecimal digits of [`SCHEMA`]'s SHA-256.
pub fn schema_fingerprint() -> String {
    let digest = Sha256::digest(SCHEMA.as_bytes());
    hex(digest.get(..16).unwrap_or_default())
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`schema_fingerprint`] of the program that wrote the file.
    pub schema: String,
    /// The fingerprint of the features that the set was made for, as the writer was told. Records are not features:
    /// other features can be drawn from them, so this is for telling, and no reason to refuse.
    pub features: String,
    /// Records.
    pub rows: u64,
    /// Where they are from, in the order of their names.
    pub sources: Vec<Manifest>,
}

/// One source of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// As in [`crate::Record::source`].
    pub name: String,
    /// Of the file that it was read from, in hexadecimal; empty where there was no file.
    pub sha256: String,
    /// `MIT`; empty when unknown.
    pub licence: String,
    /// Its records; counted by the writer.
    pub rows: u64,
    /// How many of its records are labelled by whom (`human`, `corpus`, `waf_rule`, `heuristic`, `nobody`); counted
    /// by the writer.
    pub labelled_by: BTreeMap<String, u64>,
}
