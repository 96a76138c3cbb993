// SPDX-License-Identifier: Apache-2.0
//! How much each identity may ask for: leaky buckets in bounded memory, and who counts as an identity.

mod bucket;
mod config;
mod evidence;
mod identity;
mod limiter;

pub use bucket::{Bucket, Limit, Refused, TOKEN};
pub use config::{
    AuthenticatedSection, GlobalSection, RateLimitSection, RouteLimitSection, UnauthenticatedSection,
};
pub use evidence::{Answered, Evidence, Known};
pub use identity::{Claims, Identity, address_number, cookie_claim};
pub use limiter::{
    Ask, Bound, Charges, Exempt, Grant, Limiter, Quota, ROUTE_LIMITS_MAX, Refusal, RouteLimit, Rules,
};
