// SPDX-License-Identifier: Apache-2.0
//! Why a request was answered as it was: decisions are kept, weighed and told.

pub(crate) mod capture;
pub(crate) mod cost;
pub(crate) mod decision;
pub(crate) mod kept;
pub(crate) mod labels;
pub(crate) mod refused;
pub(crate) mod store;
pub(crate) mod suspicion;
mod told;
pub(crate) mod weighed;
