// SPDX-License-Identifier: Apache-2.0
//! Strict readers of bytes that strangers send. Pure: no sockets, no clock, no allocation beyond what is
//! returned (and the one message that is put together of records); each has a bound, and a fuzz target in `fuzz/`.

mod chunked;
mod client_hello;
mod http1_answer;
mod http1_head;
mod http2_frames;
mod proxy_protocol;

pub use chunked::{Chunked, Piece};
pub use client_hello::{CLIENT_HELLO_BYTES_MAX, ClientHello, NotAClientHello, client_hello};
pub use http1_answer::{CheckedAnswer, check_answer};
pub use http1_head::{
    CheckedHead, Framing, HeadLimits, Refusal, check, content_length, encoded_target, find_end, header_lines,
    is_authority, request_line_of,
};
pub use http2_frames::{FrameHead, FrameWalker, PREFACE};
pub use proxy_protocol::{ProxyHeader, ProxySource, Taken};
