// SPDX-License-Identifier: Apache-2.0
//! A decision as it is read back. What a later program adds is not lost on the way to who asks; what it needs is typed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use sunbeam_pipeline::Whom;
use sunbeam_traffic::{AuditRecord, RuleMatch};

/// Whose request it was, by hashes that mean something to this node alone: nobody is told them.
pub(crate) const WHOM: &str = "whom";

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// As it is kept, without [`WHOM`].
    pub(crate) whole: Value,
    /// Whose it was; nothing of one that an earlier version kept.
    pub(crate) whom: Option<Whom>,
    /// As the audit log tells it.
    pub(crate) record: AuditRecord,
    pub(crate) why: Why,
}

/// What is told beside the record.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Why {
    pub(crate) authenticated: bool,
    pub(crate) stands_for: u64,
    /// Layers that doubted it.
    pub(crate) doubted_by: Vec<String>,
    #[serde(deserialize_with = "or_nothing")]
    pub(crate) rules: Vec<RuleMatch>,
    pub(crate) models: Value,
}

impl Why {
    /// Whether the worst text has a sign of an attack that no model gave.
    pub(crate) fn has_sign(&self) -> bool {
        self.models.pointer("/payload/has_sign").and_then(Value::as_bool).unwrap_or(false)
    }
}

impl Kept {
    /// `None`: it is no decision that this program understands.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let mut whole: Value = serde_json::from_str(text).ok()?;
        let whom = whole.get_mut("why").and_then(Value::as_object_mut).and_then(|why| why.remove(WHOM));
        let mut record = whole.clone();
        let why = record.as_object_mut()?.remove("why")?;
        let why = Why::deserialize(why).ok()?;
        let record = AuditRecord::deserialize(record).ok()?;
        Some(Self { whole, whom: whom.as_ref().and_then(whom_of), record, why })
    }
}

/// The little of a decision that says whether it is like another: thousands are looked at to tell one, so that the rest
/// is passed over unread.
#[derive(Debug, Deserialize)]
pub(crate) struct Glimpse<'a> {
    #[serde(borrow)]
    pub(crate) client_ip: Cow<'a, str>,
    #[serde(borrow)]
    route: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
    #[serde(default)]
    rules: Vec<u64>,
    pub(crate) why: GlimpsedWhy,
}

/// See [`Why`].
#[derive(Debug, Deserialize)]
pub(crate) struct GlimpsedWhy {
    #[serde(default)]
    pub(crate) authenticated: bool,
}

impl<'a> Glimpse<'a> {
    /// `None`: it is no decision that this program understands.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The same reason on the same route, and one rule in common where rules matched.
    pub(crate) fn is_like(&self, record: &AuditRecord) -> bool {
        self.route == record.route
            && self.reason == record.reason
            && (record.rules.is_empty() || self.rules.iter().any(|rule| record.rules.contains(rule)))
    }
}

fn whom_of(written: &Value) -> Option<Whom> {
    let number = |text: &Value| u64::from_str_radix(text.as_str()?, 16).ok();
    let numbers: Option<Vec<u64>> = written.as_array()?.iter().map(number).collect();
    Some(Whom::of_numbers(numbers?.try_into().ok()?))
}

fn or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<RuleMatch>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
