// SPDX-License-Identifier: Apache-2.0
//! Content codings of bodies: which one a client gets, compressing and decompressing, and search and
//! replace in bodies that came compressed.
//!
//! Everything that holds a body has a bound. Nothing here logs or counts: outcomes are values that the
//! caller counts.

mod accept;
mod coding;
mod collect;
mod compress;
mod compress_response;
mod decode;
mod encoder;
mod headers;
mod media_type;
mod rewrite;
mod rewrite_response;

pub use accept::Accepted;
pub use coding::Coding;
pub use collect::{Collected, Replay, collect_bounded};
pub use compress::CompressBody;
pub use compress_response::{MaybeCompressed, compress_response};
pub use decode::{DecodeError, Defect, PrefixEnd, decode_bounded, decode_prefix};
pub use encoder::encode;
pub use media_type::compressible;
pub use rewrite::{BodyRewrite, BodyRewriteError};
pub use rewrite_response::{Outcome, Rewritten, RewrittenBody, rewrite_response};
