// SPDX-License-Identifier: Apache-2.0
//! Files below one directory, served before the backend is asked.
//!
//! [`StaticRoot::find`] turns a request path into a [`Lookup`] without ever leaving the root;
//! [`Found::respond`] turns what was found into a response with validators, ranges and caching rules;
//! [`FileBody`] is that response's body.
//!
//! Nothing here logs or counts: each refusal and each failure is a variant that the caller handles.

mod body;
mod caching;
mod conditional;
mod media_type;
mod open;
mod path;
mod range;
mod respond;
mod root;
#[cfg(test)]
mod testing;

pub use body::FileBody;
pub use path::Refusal;
pub use respond::Found;
pub use root::{Lookup, OpenRootError, Precompressed, StaticRoot};
