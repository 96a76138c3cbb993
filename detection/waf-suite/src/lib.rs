// SPDX-License-Identifier: Apache-2.0
//! The regression tests that rule sets are published with: files in the format of `go-ftw`, as the OWASP Core Rule Set
//! has them. Each stage becomes the bytes of a request, and what came of it is judged. No sockets: whoever runs a
//! suite sends the bytes, or hands the request to an engine.
//!
//! [`load`] reads a folder of [`mod@format`] files, [`overrides`] says where a platform answers otherwise, [`request`]
//! builds the bytes and [`raw`] reads them as a server would, [`backend`] is the server behind it, [`expectation`]
//! judges, [`summary`] counts.

pub mod backend;
pub mod engine;
pub mod expectation;
pub mod format;
pub mod load;
pub mod mutation;
pub mod overrides;
pub mod raw;
pub mod request;
pub mod summary;
mod template;
mod yaml;
