// SPDX-License-Identifier: Apache-2.0
//! Judging: every layer asked in order, acted on once, and told afterwards what became of the request.
//!
//! [`Pipeline::judge`] before a request is served, [`Pipeline::answered`] when its answer is known,
//! [`Pipeline::observe`] after it: the proxy and replay make the same calls. What a layer thinks ([`Stage`]) and whether anybody acts on it (`mode.rs`) are apart. No
//! sockets, no clock, no runtime.

mod bans;
mod config;
mod ddos;
mod exceptions;
mod flood;
mod floods;
mod lists;
mod memory;
mod metrics;
mod mode;
mod models;
mod payload;
mod pipeline;
mod probation;
mod proof;
mod proxies;
mod rate_limit;
mod rules;
mod scanner;
mod sight;
mod stage;
mod stages;
mod subject;
mod waf;
mod weighed;

pub use config::{
    ChallengeOverride, DdosSection, DetectionMode, DetectionSection, LayerOverride, ProtectSection,
    ScannerSection,
};
pub use exceptions::{EXCEPTIONS_MAX, Excepted, Exception, Exceptions, Used};
pub use floods::{Flood, FloodReport};
pub use memory::{Memory, MemoryOptions};
pub use metrics::DetectionMetrics;
pub use mode::{Modes, Protection, Switch};
pub use models::Models;
pub use pipeline::{Answer, Decision, Judged, Opinion, Pipeline};
pub use probation::{WorseOfWindows, first_let_go, worse_of_windows};
pub use proof::{Count, DOUBTERS, KeptPerson, PEOPLE, Proof, Standing, Turn, Whom, Why};
pub use proxies::is_likely_proxy;
pub use rules::{RouteRules, Rules, Sections};
pub use sight::{Agreement, Challenger, Sight, Worse};
pub use stage::{Judgement, Stage};
pub use stages::STAGES;
pub use subject::{Offender, RulesScore, Scores, Scratch, Subject};
pub use waf::{
    Category, Interrupted, OnBudget, OnOversizedBody, RulesEngine, RulesFound, Tally, WafRuleset, WafSection,
    WafVerdict, is_binary_type, is_file,
};
pub use weighed::{OddestPart, Weighed, Weight, WorstUnit};
