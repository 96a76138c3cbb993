// SPDX-License-Identifier: Apache-2.0
//! Which route a request takes and how its path changes on the way: pure, no sockets, no files.

mod backends;
mod config;
mod group;
mod path;
mod rewrite;
mod table;
mod url;

pub use backends::{BackendEntry, BackendList, BackendSection};
pub use config::{
    Balance, BodyRewriteSection, HeaderSection, HealthSection, Http2Mode, PathSection, RewriteSection,
    RouteSection,
};
pub use group::{Backend, Check, Group, Health, Member};
pub use path::{AmbiguousPath, match_prefix, normalise};
pub use rewrite::{Rewrite, rewrite};
pub use table::{AuthRequest, PathRoute, Route, Table, host_of};
pub use url::{BackendUrl, Scheme, UrlError};
