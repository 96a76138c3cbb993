// SPDX-License-Identifier: Apache-2.0
//! Compressing into memory, a bit at a time.

use std::fmt;
use std::io::{self, Write};
use std::mem;

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::coding::Coding;

/// Compresses all of `input`. Quality and window are those of streamed bodies.
pub fn encode(coding: Coding, input: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    encoder.write(input);
    encoder.finish()
}

/// A compressor that writes into memory. Such a write fails only for want of memory, where Rust
/// programs end anyway; so nothing here returns an error.
pub(crate) enum Encoder {
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> Self {
        let output = Vec::new();
        match coding {
            Coding::Identity => Self::Identity(output),
            Coding::Gzip => Self::Gzip(GzEncoder::new(output, Compression::new(GZIP_LEVEL))),
            Coding::Deflate => Self::Deflate(ZlibEncoder::new(output, Compression::new(GZIP_LEVEL))),
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                output,
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                BROTLI_WINDOW_LOG,
            ))),
            Coding::Zstd => Self::Zstd(in_memory(zstd::stream::write::Encoder::new(output, ZSTD_LEVEL))),
        }
    }

    pub(crate) fn write(&mut self, input: &[u8]) {
        in_memory(self.writer().write_all(input));
    }

    /// Brings out all that was written so far, at the cost of some bytes.
    pub(crate) fn flush(&mut self) {
        in_memory(self.writer().flush());
    }

    /// What came out and was not taken yet.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Identity(output) => output,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Deflate(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        mem::take(self.output())
    }

    /// Ends the stream; returns what was not taken yet.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Identity(output) => output,
            Self::Gzip(encoder) => in_memory(encoder.finish()),
            Self::Deflate(encoder) => in_memory(encoder.finish()),
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => in_memory(encoder.finish()),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Identity(output) => output,
            Self::Gzip(encoder) => encoder,
            Self::Deflate(encoder) => encoder,
            Self::Brotli(encoder) => encoder.as_mut(),
            Self::Zstd(encoder) => encoder,
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Identity(_) => "Identity",
            Self::Gzip(_) => "Gzip",
            Self::Deflate(_) => "Deflate",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

fn in_memory<T>(result: io::Result<T>) -> T {
    result.expect("compressing into memory fails only without memory")
}

/// Levels for bodies made on the fly: past these, time grows much faster than bodies shrink.
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 5;
const ZSTD_LEVEL: i32 = 3;

/// 512 KiB: pages are smaller, and each response being compressed holds a window.
const BROTLI_WINDOW_LOG: u32 = 19;

const BROTLI_BUFFER_BYTES: usize = 4096;
