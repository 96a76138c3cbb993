// SPDX-License-Identifier: Apache-2.0
//! One request of a data set: kept as it came, never as features, so that old data can be read by new features.

use serde::{Deserialize, Serialize};

/// See the module. Texts are as the client sent them; empty where there was none or the source does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The corpus or log that it is from.
    pub source: String,
    /// Records of one group are never on both sides of a split: near duplicates, one session, one site.
    pub group: String,
    /// What kind of attack, tool or traffic, in the source's words.
    pub class: String,
    /// What is known of it.
    pub label: Option<Label>,
    /// Who says so.
    pub label_source: LabelSource,
    /// How much it counts, in hundredths of a record.
    pub weight_percent: u16,
    /// When it came, in microseconds since 1970; none where the source does not tell.
    pub at_micros: Option<i64>,
    /// Whose it is: an address, or a pseudonym for one.
    pub client: String,
    /// `GET`
    pub method: String,
    /// Without port.
    pub host: String,
    /// Up to the `?`.
    pub path: String,
    /// Past the `?`.
    pub query: String,
    /// `User-Agent`
    pub user_agent: String,
    /// `Referer`
    pub referer: String,
    /// `Accept`
    pub accept: String,
    /// `Accept-Language`
    pub accept_language: String,
    /// Values of the `Cookie` lines; logs keep none.
    pub cookies: String,
    /// Whether any came.
    pub has_cookies: bool,
    /// The fields above are a real client's: corpora of payloads make theirs up, and nothing may learn from those.
    pub has_own_headers: bool,
    /// Corpora only: logs keep no bodies.
    pub body: Vec<u8>,
    /// How the body is read.
    pub body_kind: BodyKind,
    /// The announced length of the body.
    pub content_length: u64,
    /// Of the answer; 0 where the source does not tell.
    pub status: u16,
    /// To the end of the answer.
    pub duration_ms: u64,
    /// Who answered: empty when the proxy did, `static` for files.
    pub backend: String,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Label {
    /// People, their browsers, pollers, welcome crawlers.
    Benign,
    /// A probe, an exploit, a flood.
    Attack,
}

/// Who says what a request is. Figures are told by each: what heuristics say is no evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LabelSource {
    /// Nobody.
    #[default]
    Nobody,
    /// A person who looked at it.
    Human,
    /// The corpus is of one kind, or says so line by line; or our own generator made it.
    Corpus,
    /// A rule of a WAF fired.
    WafRule(String),
    /// A heuristic: weak.
    Heuristic(String),
}

/// How a body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// Not at all.
    #[default]
    None,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// Anything else.
    Other,
}
