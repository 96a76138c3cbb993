// SPDX-License-Identifier: Apache-2.0
//! The media type of a file, told from its extension.

/// The `Content-Type` of a file name; `application/octet-stream` for an extension that is not listed.
/// Only the last extension counts: `jquery.min.js` is a script, `app.js.br` is not.
pub(crate) fn media_type(file_name: &str) -> &'static str {
    let Some((_, extension)) = file_name.rsplit_once('.') else { return UNKNOWN };
    MEDIA_TYPES.iter().find(|row| row.0.eq_ignore_ascii_case(extension)).map_or(UNKNOWN, |row| row.1)
}

/// Whether build tools write compressed siblings for such files: only there is one looked for.
pub(crate) fn may_have_siblings(media_type: &str) -> bool {
    let packed = ["image/", "audio/", "video/", "font/woff", "application/zip", "application/gzip"];
    media_type.starts_with("image/svg")
        || media_type.starts_with("image/bmp")
        || !packed.iter().any(|prefix| media_type.starts_with(prefix))
}

const UNKNOWN: &str = "application/octet-stream";

/// Extension, `Content-Type`. The commonest first: the table is read from the top.
const MEDIA_TYPES: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml; charset=utf-8"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("gif", "image/gif"),
    ("ico", "image/x-icon"),
    ("woff2", "font/woff2"),
    ("woff", "font/woff"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("txt", "text/plain; charset=utf-8"),
    ("xml", "application/xml; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("xhtml", "application/xhtml+xml; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("ics", "text/calendar; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("toml", "application/toml; charset=utf-8"),
    ("yaml", "application/yaml; charset=utf-8"),
    ("yml", "application/yaml; charset=utf-8"),
    ("jsonld", "application/ld+json"),
    ("geojson", "application/geo+json"),
    ("rss", "application/rss+xml; charset=utf-8"),
    ("atom", "application/atom+xml; charset=utf-8"),
    ("xsl", "application/xslt+xml; charset=utf-8"),
    ("xslt", "application/xslt+xml; charset=utf-8"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("ttc", "font/collection"),
    ("eot", "application/vnd.ms-fontobject"),
    ("apng", "image/apng"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("jxl", "image/jxl"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("ogv", "video/ogg"),
    ("mov", "video/quicktime"),
    ("avi", "video/x-msvideo"),
    ("mkv", "video/matroska"),
    ("mpeg", "video/mpeg"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("mpd", "application/dash+xml"),
    ("m4s", "video/iso.segment"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("weba", "audio/webm"),
    ("mid", "audio/midi"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("zst", "application/zstd"),
    ("bz2", "application/x-bzip2"),
    ("xz", "application/x-xz"),
    ("tar", "application/x-tar"),
    ("7z", "application/x-7z-compressed"),
    ("rar", "application/vnd.rar"),
    ("jar", "application/java-archive"),
    ("apk", "application/vnd.android.package-archive"),
    ("epub", "application/epub+zip"),
    ("rtf", "application/rtf"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("gltf", "model/gltf+json"),
    ("glb", "model/gltf-binary"),
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn extensions_give_types() {
        for (name, file_name, want) in [
            ("page", "index.html", "text/html; charset=utf-8"),
            ("upper case", "INDEX.HTML", "text/html; charset=utf-8"),
            ("last one counts", "jquery.min.js", "text/javascript; charset=utf-8"),
            ("no charset for images", "a.png", "image/png"),
            ("sibling asked for by name", "app.js.br", "application/octet-stream"),
            ("none", "LICENSE", "application/octet-stream"),
            ("ends in a dot", "odd.", "application/octet-stream"),
        ] {
            assert_eq!(media_type(file_name), want, "{name}");
        }
    }

    #[test]
    fn the_table_is_well_formed() {
        for (row, (extension, value)) in MEDIA_TYPES.iter().enumerate() {
            assert_eq!(extension.to_ascii_lowercase(), *extension);
            assert!(HeaderValue::from_str(value).is_ok(), "{extension}");
            assert!(!value.starts_with("text/") || value.ends_with("; charset=utf-8"), "{extension}");
            assert!(MEDIA_TYPES[..row].iter().all(|other| other.0 != *extension), "{extension} twice");
        }
    }

    #[test]
    fn packed_types_have_no_siblings() {
        for (file_name, want) in [
            ("a.js", true),
            ("a.svg", true),
            ("a.wasm", true),
            ("a.png", false),
            ("a.woff2", false),
            ("a.zip", false),
        ] {
            assert_eq!(may_have_siblings(media_type(file_name)), want, "{file_name}");
        }
    }
}
