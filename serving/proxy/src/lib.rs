// SPDX-License-Identifier: Apache-2.0
//! The request path of a node, and the node around it.
//!
//! Start at [`Node`]; a request's way is `service.rs`, top to bottom.

mod admin;
mod answer;
mod audit_log;
mod auth_request;
mod block_page;
mod body;
mod challenge;
mod config;
mod connection;
mod context;
mod core;
mod dns_proof;
mod error_page;
mod exceptions;
mod executor;
mod explain;
mod frame_watch;
mod framed;
mod hand_over;
mod inspect;
mod judging;
mod metrics;
mod node;
mod offenders;
mod offline;
mod outbox;
mod pace;
mod paced_body;
mod paced_stream;
mod parts;
mod request;
mod request_counter;
mod rewound;
mod service;
mod share;
mod shared;
mod snapshot;
mod state;
mod telemetry;
mod unconfirmed;
mod upgrade;
mod upstream;
mod why;
mod worker;

pub use crate::core::{ReloadError, ReloadReport};
pub use admin::OPENAPI;
pub use audit_log::AuditLogError;
pub use challenge::{ChallengeMode, ChallengeSection};
pub use config::{
    AuditSection, ClientIp, Config, LogFormat, ManagementSection, Mode, PlatformSection, StateSection,
    TelemetrySection,
};
pub use explain::{ExplainRequest, explain_offline};
pub use hand_over::{HandOver, HandOverError};
pub use judging::models::{InstalledModelError, ModelKeyError, ModelPublicKey, ModelSignatureError};
pub use judging::waf::rule_options;
pub use judging::{AddedRulesError, AdditionError};
pub use metrics::ProxyMetrics;
pub use node::{Inherit, Node, NodeOptions, OnChange, StartError};
pub use offline::Offline;
pub use snapshot::{CompileError, time_config_reads};
pub use state::{KeptConfiguration, StateError};
pub use telemetry::TelemetryError;
pub use why::cost::RequestCosts;
