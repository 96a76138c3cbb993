// SPDX-License-Identifier: Apache-2.0
//! The content codings that are understood.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// The bytes as they are.
    Identity,
    /// `gzip`, also known as `x-gzip`.
    Gzip,
    /// `deflate`: zlib, though some senders leave the zlib wrapping off. Read, never chosen.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Identity, Self::Gzip, Self::Deflate, Self::Brotli, Self::Zstd];

    /// Reads one coding's name, in any case.
    pub fn from_token(token: &str) -> Option<Self> {
        if token.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| coding.as_str().eq_ignore_ascii_case(token))
    }

    /// The coding of a message with these headers: identity without `Content-Encoding`; none when it
    /// names an unknown coding or several of them.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        match (values.next(), values.next()) {
            (None, _) => Some(Self::Identity),
            (Some(value), None) => Self::from_token(value.to_str().ok()?.trim()),
            _ => None,
        }
    }

    /// The name as `Content-Encoding` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_name_one_coding_or_none() {
        for (name, lines, want) in [
            ("absent", &[][..], Some(Coding::Identity)),
            ("gzip", &["gzip"], Some(Coding::Gzip)),
            ("the old name", &["x-gzip"], Some(Coding::Gzip)),
            ("any case, blanks", &[" GZip "], Some(Coding::Gzip)),
            ("brotli", &["br"], Some(Coding::Brotli)),
            ("zstd", &["zstd"], Some(Coding::Zstd)),
            ("deflate", &["deflate"], Some(Coding::Deflate)),
            ("identity", &["identity"], Some(Coding::Identity)),
            ("two", &["gzip, br"], None),
            ("two lines", &["gzip", "br"], None),
            ("unknown", &["compress"], None),
            ("empty", &[""], None),
        ] {
            let headers =
                lines.iter().map(|line| (CONTENT_ENCODING, HeaderValue::from_str(line).unwrap())).collect();
            assert_eq!(Coding::of(&headers), want, "{name}");
        }
    }
}
