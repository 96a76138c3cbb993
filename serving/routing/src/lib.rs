// SPDX-License-Identifier: Apache-2.0
//! Which route a request takes and how its path changes on the way: pure, no sockets, no files.

mod config;
mod path;
mod rewrite;
mod table;
mod url;

pub use config::{BodyRewriteSection, HeaderSection, Http2Mode, PathSection, RewriteSection, RouteSection};
pub use path::{AmbiguousPath, match_prefix, normalise};
pub use rewrite::{Rewrite, rewrite};
pub use table::{AuthRequest, Backend, PathRoute, Route, Table, host_of};
pub use url::{BackendUrl, Scheme, UrlError};
