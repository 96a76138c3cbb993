// SPDX-License-Identifier: Apache-2.0
//! The only code that turns facts about requests into numbers: the proxy, replay and training call the same.
//! Pure: time and chance are arguments.

mod agent;
pub mod application;
pub mod canonical;
pub mod ddos;
mod event;
mod header_order;
pub mod payload;
mod probes;
pub mod scanner;
mod window;

pub use agent::{AgentClass, BrowserEvidence, agent_class, browser_evidence};
pub use event::{Finished, Hashes, PathFacts, event, is_ours, path_facts};
pub use header_order::HeaderOrder;
pub use probes::{Probe, is_probe, probe};
pub use window::{EventHash, FULL_COST, Window, WindowEvent, WindowShape};
