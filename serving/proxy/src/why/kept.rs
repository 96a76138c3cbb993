// SPDX-License-Identifier: Apache-2.0
//! A decision as it is read back. What a later program adds is not lost on the way to who asks; what it needs is typed.

use serde::Deserialize;
use serde_json::Value;
use sunbeam_traffic::{AuditRecord, RuleMatch};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// As it is kept.
    pub(crate) whole: Value,
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
        let whole: Value = serde_json::from_str(text).ok()?;
        let mut record = whole.clone();
        let why = record.as_object_mut()?.remove("why")?;
        let why = Why::deserialize(why).ok()?;
        let record = AuditRecord::deserialize(record).ok()?;
        Some(Self { whole, record, why })
    }
}

fn or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<RuleMatch>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
