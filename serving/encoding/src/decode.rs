// SPDX-License-Identifier: Apache-2.0
//! Decompressing with a bound on what comes out.

use std::fmt;
use std::io::{self, Read};

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use crate::coding::Coding;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The decoded bytes would be more than allowed.
    #[error("decoded, the body would be larger than {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The bytes are not what the coding says.
    #[error("the body is not valid {}: {defect}", coding.as_str())]
    Corrupt {
        /// The coding that the body claimed.
        coding: Coding,
        /// What is wrong with it.
        defect: Defect,
    },
}

/// What is wrong with compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// They end before the stream does.
    Truncated,
    /// The stream ends before they do.
    TrailingBytes,
    /// They cannot be read, want a window larger than we lend, or are cut into too many gzip members.
    Malformed,
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Truncated => "it ends early",
            Self::TrailingBytes => "bytes follow its end",
            Self::Malformed => "it is malformed",
        })
    }
}

/// Decodes all of `input` to at most `max` bytes. Several gzip members and zstd frames in a row are one
/// body; `deflate` may lack its zlib wrapping. No bytes at all are valid identity, and truncated else.
///
/// Holds `max` bytes, a chunk of 16 KiB, and the window that the sender chose: 32 KiB of gzip and deflate,
/// at most 8 MiB of zstd and 16 MiB of brotli.
pub fn decode_bounded(coding: Coding, input: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut output = Output::new(max);
    match decode(coding, input, &mut output) {
        Ok(()) => Ok(output.bytes),
        Err(Stop::Full) => Err(DecodeError::TooLarge { max }),
        Err(Stop::Defect(defect)) => Err(DecodeError::Corrupt { coding, defect }),
    }
}

/// Decodes as much of `input` as gives `max` bytes, and says why it ended there; what it held it would hold for
/// [`decode_bounded`] too. `input` may itself be the beginning of something longer.
pub fn decode_prefix(coding: Coding, input: &[u8], max: usize) -> (Vec<u8>, PrefixEnd) {
    let mut output = Output::new(max);
    let end = match decode(coding, input, &mut output) {
        Ok(()) => PrefixEnd::Whole,
        Err(Stop::Full) => PrefixEnd::Full,
        Err(Stop::Defect(Defect::Truncated)) => PrefixEnd::Truncated,
        Err(Stop::Defect(_)) => PrefixEnd::Corrupt,
    };
    (output.bytes, end)
}

/// Why [`decode_prefix`] came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixEnd {
    /// Nothing is left.
    Whole,
    /// The bound is reached, and there is more.
    Full,
    /// The input ends before the stream does.
    Truncated,
    /// What follows cannot be read.
    Corrupt,
}

fn decode(coding: Coding, input: &[u8], output: &mut Output) -> Result<(), Stop> {
    match coding {
        Coding::Identity => output.push(input),
        Coding::Gzip => gzip(input, output),
        Coding::Deflate => deflate(input, output),
        Coding::Brotli => brotli(input, output),
        Coding::Zstd => zstd(input, output),
    }
}

fn gzip(mut input: &[u8], output: &mut Output) -> Result<(), Stop> {
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = GzDecoder::new(input);
        output.fill_from(&mut member)?;
        input = member.into_inner();
        match input.first() {
            None => return Ok(()),
            Some(&GZIP_MAGIC_FIRST) => {}
            Some(_) => return Err(Stop::Defect(Defect::TrailingBytes)),
        }
    }
    Err(Stop::Defect(Defect::Malformed))
}

/// Tries the zlib wrapping when the first bytes look like it; a raw stream may look so by chance.
fn deflate(input: &[u8], output: &mut Output) -> Result<(), Stop> {
    let wrapped = match input {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
        }
        _ => false,
    };
    if wrapped {
        let mut decoder = ZlibDecoder::new(input);
        match output.fill_from(&mut decoder).and_then(|()| nothing_left(decoder.into_inner())) {
            Err(Stop::Defect(Defect::Malformed)) => output.bytes.clear(),
            done => return done,
        }
    }
    let mut decoder = DeflateDecoder::new(input);
    output.fill_from(&mut decoder)?;
    nothing_left(decoder.into_inner())
}

fn brotli(input: &[u8], output: &mut Output) -> Result<(), Stop> {
    // Strict: without the large windows (up to 1 GiB) that are no part of the `br` coding.
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut input_left, mut input_offset, mut total) = (input.len(), 0, 0);
    loop {
        let (mut output_left, mut written) = (chunk.len(), 0);
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut input_offset,
            input,
            &mut output_left,
            &mut written,
            &mut chunk,
            &mut total,
            &mut state,
        );
        output.push(chunk.get(..written).unwrap_or_default())?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess => {
                return nothing_left(input.get(input_offset..).unwrap_or_default());
            }
            BrotliResult::NeedsMoreInput => return Err(Stop::Defect(Defect::Truncated)),
            BrotliResult::ResultFailure => return Err(Stop::Defect(Defect::Malformed)),
        }
    }
}

fn zstd(mut input: &[u8], output: &mut Output) -> Result<(), Stop> {
    let malformed = |_: io::Error| Stop::Defect(Defect::Malformed);
    let mut decoder = ZstdDecoder::new().map_err(malformed)?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(malformed)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut any_frame = false;
    loop {
        let status = decoder.run_on_buffers(input, &mut chunk).map_err(malformed)?;
        input = input.get(status.bytes_read..).unwrap_or_default();
        output.push(chunk.get(..status.bytes_written).unwrap_or_default())?;
        any_frame |= status.bytes_read > 0;
        // No hint of more: a frame has just ended. What follows, if anything, is the next one.
        if status.remaining == 0 && input.is_empty() && any_frame {
            return Ok(());
        }
        if input.is_empty() && status.bytes_written < chunk.len() {
            return Err(Stop::Defect(Defect::Truncated));
        }
    }
}

fn nothing_left(rest: &[u8]) -> Result<(), Stop> {
    if rest.is_empty() { Ok(()) } else { Err(Stop::Defect(Defect::TrailingBytes)) }
}

/// Why decoding ended before its end.
#[derive(Debug)]
enum Stop {
    Full,
    Defect(Defect),
}

/// Decoded bytes, never more than `max` and never more room than that.
struct Output {
    bytes: Vec<u8>,
    max: usize,
}

impl Output {
    fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max }
    }

    fn fill_from(&mut self, decoder: &mut impl Read) -> Result<(), Stop> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = decoder.read(&mut chunk).map_err(|error| {
                let early = error.kind() == io::ErrorKind::UnexpectedEof;
                Stop::Defect(if early { Defect::Truncated } else { Defect::Malformed })
            })?;
            if read == 0 {
                return Ok(());
            }
            self.push(chunk.get(..read).unwrap_or_default())?;
        }
    }

    /// Takes as much as there is room for.
    fn push(&mut self, decoded: &[u8]) -> Result<(), Stop> {
        let room = self.max - self.bytes.len();
        let (decoded, done) = match decoded.split_at_checked(room) {
            Some((fits, [_, ..])) => (fits, Err(Stop::Full)),
            _ => (decoded, Ok(())),
        };
        let needed = self.bytes.len() + decoded.len();
        if needed > self.bytes.capacity() {
            // Doubling, as `Vec` would, but not past the bound.
            let capacity = self.bytes.capacity().saturating_mul(2).clamp(needed, self.max);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(decoded);
        done
    }
}

/// Decoded at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// 8 MiB: what RFC 9659 lets a sender of the `zstd` coding ask for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Each member sets up a decoder anew, which an empty one of 20 bytes would make work out of nothing. Tools
/// that write members put at least 64 KiB into one.
const GZIP_MEMBERS_MAX: usize = 1024;

const GZIP_MAGIC_FIRST: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::encoder::encode;

    const PACKED: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    fn corrupt(coding: Coding, defect: Defect) -> Result<Vec<u8>, DecodeError> {
        Err(DecodeError::Corrupt { coding, defect })
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let zeros = vec![0; 16 << 20];
        for coding in PACKED {
            let bomb = encode(coding, &zeros);
            assert!(bomb.len() < zeros.len() / 500, "{coding:?}");
            assert_eq!(decode_bounded(coding, &bomb, 1 << 20), Err(DecodeError::TooLarge { max: 1 << 20 }));
        }
    }

    #[test]
    fn a_prefix_of_a_prefix_is_decoded_as_far_as_it_goes() {
        let plain: Vec<u8> =
            (0..60_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for coding in PACKED {
            let packed = encode(coding, &plain);
            assert_eq!(
                decode_prefix(coding, &packed, plain.len()),
                (plain.clone(), PrefixEnd::Whole),
                "{coding:?}"
            );
            let (bytes, end) = decode_prefix(coding, &packed, 50_000);
            assert_eq!((bytes.as_slice(), end), (&plain[..50_000], PrefixEnd::Full), "{coding:?}");
            let (bytes, end) = decode_prefix(coding, &packed[..packed.len() / 2], plain.len());
            assert_eq!(end, PrefixEnd::Truncated, "{coding:?}");
            assert!(bytes.len() < plain.len() && plain.starts_with(&bytes), "{coding:?}");
            assert_eq!(decode_prefix(coding, b"\xff\xffno stream", 100).1, PrefixEnd::Corrupt, "{coding:?}");
        }
        assert_eq!(decode_prefix(Coding::Identity, b"12345", 3), (b"123".to_vec(), PrefixEnd::Full));
        assert_eq!(decode_prefix(Coding::Gzip, b"", 3), (Vec::new(), PrefixEnd::Truncated));
    }

    #[test]
    fn the_bound_itself_is_allowed() {
        for coding in Coding::ALL {
            for len in [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
                let plain = vec![b'x'; len];
                let packed = encode(coding, &plain);
                assert_eq!(decode_bounded(coding, &packed, len), Ok(plain), "{coding:?} {len}");
                let less = decode_bounded(coding, &packed, len - 1);
                assert_eq!(less, Err(DecodeError::TooLarge { max: len - 1 }), "{coding:?} {len}");
            }
        }
    }

    #[test]
    fn damaged_bytes_are_corrupt() {
        let plain: Vec<u8> =
            (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for coding in PACKED {
            let packed = encode(coding, &plain);
            for cut in [0, 1, packed.len() / 2, packed.len() - 1] {
                let decoded = decode_bounded(coding, &packed[..cut], 1 << 20);
                assert_eq!(decoded, corrupt(coding, Defect::Truncated), "{coding:?} cut to {cut}");
            }
            let longer = [&packed, b"garbage".as_slice()].concat();
            let decoded = decode_bounded(coding, &longer, 1 << 20);
            assert!(matches!(decoded, Err(DecodeError::Corrupt { .. })), "{coding:?} with garbage");
            let decoded = decode_bounded(coding, b"\xff\xff plainly no stream", 1 << 20);
            assert!(matches!(decoded, Err(DecodeError::Corrupt { .. })), "{coding:?} of garbage");
        }
    }

    #[test]
    fn members_and_frames_in_a_row_are_one_body() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let packed = [encode(coding, b"one, "), encode(coding, b""), encode(coding, b"two")].concat();
            assert_eq!(decode_bounded(coding, &packed, 100), Ok(b"one, two".to_vec()), "{coding:?}");
        }
    }

    #[test]
    fn members_are_counted() {
        let empty = encode(Coding::Gzip, b"");
        assert_eq!(decode_bounded(Coding::Gzip, &empty.repeat(GZIP_MEMBERS_MAX), 1), Ok(vec![]));
        let decoded = decode_bounded(Coding::Gzip, &empty.repeat(GZIP_MEMBERS_MAX + 1), 1);
        assert_eq!(decoded, corrupt(Coding::Gzip, Defect::Malformed));
    }

    #[test]
    fn deflate_may_lack_its_wrapping() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(b"raw").unwrap();
        let raw = encoder.finish().unwrap();
        assert_eq!(decode_bounded(Coding::Deflate, &raw, 100), Ok(b"raw".to_vec()));
        let longer = [&raw, b"x".as_slice()].concat();
        let decoded = decode_bounded(Coding::Deflate, &longer, 100);
        assert_eq!(decoded, corrupt(Coding::Deflate, Defect::TrailingBytes));
    }

    #[test]
    fn a_large_zstd_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(&[0; 1000]).unwrap();
        let packed = encoder.finish().unwrap();
        let decoded = decode_bounded(Coding::Zstd, &packed, 1 << 20);
        assert_eq!(decoded, corrupt(Coding::Zstd, Defect::Malformed));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn encoding_and_decoding_is_identity(plain in prop::collection::vec(any::<u8>(), 0..5000), repeat in 1..20_usize) {
            let plain = plain.repeat(repeat);
            for coding in Coding::ALL {
                prop_assert_eq!(decode_bounded(coding, &encode(coding, &plain), plain.len()), Ok(plain.clone()));
            }
        }

        #[test]
        fn any_bytes_decode_within_the_bound_or_not_at_all(
            mut packed in prop::collection::vec(any::<u8>(), 0..300),
            max in 0..2000_usize,
            damage in any::<(u8, u8)>(),
        ) {
            for coding in Coding::ALL {
                if let Ok(decoded) = decode_bounded(coding, &packed, max) {
                    prop_assert!(decoded.len() <= max && decoded.capacity() <= max.max(packed.len()));
                }
            }
            packed.extend(std::iter::repeat_n(0, 5000));
            for coding in PACKED {
                let mut damaged = encode(coding, &packed);
                let place = usize::from(damage.0) % damaged.len();
                damaged[place] ^= damage.1;
                if let Ok(decoded) = decode_bounded(coding, &damaged, max) {
                    prop_assert!(decoded.len() <= max && decoded.capacity() <= max);
                }
            }
        }
    }
}
