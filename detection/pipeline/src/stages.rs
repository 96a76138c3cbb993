// SPDX-License-Identifier: Apache-2.0
//! The stages, in the order in which they are asked.

use crate::stage::Stage;
use crate::{bans, ddos, flood, lists, rate_limit, scanner};

/// Block list, blocks that were made, what the client did, what all do together, the request and crawlers,
/// limits. The first that blocks answers.
pub const STAGES: &[&dyn Stage] = &[
    &lists::ListStage,
    &bans::BanStage,
    &ddos::DdosStage,
    &flood::FloodStage,
    &scanner::ScannerStage,
    &rate_limit::RateLimitStage,
];
