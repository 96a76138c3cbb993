// SPDX-License-Identifier: Apache-2.0
//! Media types, as far as codings care.

/// Whether bodies of this `Content-Type` shrink when compressed, and may be buffered a little to do so.
/// Not server-sent events, whose clients count on each event at once, nor gRPC, which has its own
/// compression, nor what is compressed already.
pub fn compressible(content_type: &str) -> bool {
    let media_type = essence(content_type);
    let Some((kind, subtype)) = media_type.split_once('/') else { return false };
    if starts_with_ignoring_case(subtype, "grpc") {
        return false;
    }
    if kind.eq_ignore_ascii_case("text") {
        return !subtype.eq_ignore_ascii_case("event-stream");
    }
    let suffix = subtype.rsplit_once('+').map_or("", |(_, suffix)| suffix);
    ["json", "xml"].iter().any(|known| suffix.eq_ignore_ascii_case(known))
        || COMPRESSIBLE.iter().any(|known| known.eq_ignore_ascii_case(media_type))
}

/// The media type without its parameters: `text/html` of `text/html; charset=utf-8`.
pub(crate) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or("").trim()
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Besides `text/*`, `*+json` and `*+xml`.
const COMPRESSIBLE: &[&str] = &[
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/xml",
    "application/xml-dtd",
    "application/wasm",
    "application/x-ndjson",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/graphql",
    "application/sql",
    "application/rtf",
    "application/x-www-form-urlencoded",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
    "font/collection",
    "image/bmp",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compressible_and_packed_bytes_are_not() {
        for (content_type, want) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/CSS", true),
            ("text/event-stream", false),
            ("Text/Event-Stream;charset=utf-8", false),
            ("application/json", true),
            ("application/problem+json", true),
            ("application/manifest+json", true),
            ("application/rss+xml", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("image/jpeg", false),
            ("video/mp4", false),
            ("application/zip", false),
            ("application/gzip", false),
            ("application/octet-stream", false),
            ("application/grpc", false),
            ("application/grpc+json", false),
            ("application/grpc-web-text", false),
            ("multipart/byteranges; boundary=x", false),
            ("font/woff2", false),
            ("text", false),
            ("", false),
        ] {
            assert_eq!(compressible(content_type), want, "{content_type}");
        }
    }
}
