// SPDX-License-Identifier: Apache-2.0
//! How long a file may be kept by caches, told from its name.

/// The `Cache-Control` of a file: forever for an asset whose name holds a hash of its content (a
/// changed file gets a new name), else "ask again each time", which costs a 304.
///
/// A hash that is missed costs a revalidation; a name wrongly taken for hashed would pin an old file
/// in browsers for a year. So the rules are narrow, and only for what build tools emit.
pub(crate) fn cache_control(file_name: &str) -> &'static str {
    if has_content_hash(file_name) { "public, max-age=31536000, immutable" } else { "no-cache" }
}

/// `app.3f2a9c.js`, `index-BxQ1s9kA.css`, `main.3f2a9c1d.chunk.js.map`: the last part of the name
/// before the extension, suffixes of build tools left out, is a hash, and is not the whole name.
fn has_content_hash(file_name: &str) -> bool {
    let mut parts: Vec<&str> = file_name.split(['.', '-', '_']).collect();
    let Some(extension) = parts.pop() else { return false };
    if !BUILT_EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
        || !file_name.ends_with(&format!(".{extension}"))
        || is_uuid(&parts)
    {
        return false;
    }
    while parts.last().is_some_and(|part| BUILD_SUFFIXES.contains(part)) {
        parts.pop();
    }
    let Some(last) = parts.pop() else { return false };
    parts.iter().any(|part| !part.is_empty()) && (is_hex_hash(last) || is_base64_hash(last))
}

/// All digits is a date or a build number (`report-20240115`), all letters a word (`facade`).
fn is_hex_hash(part: &str) -> bool {
    part.len() >= HEX_HASH_CHARS_MIN
        && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Words with a year (`March2024`) change between upper, lower and digit once or twice; a hash does so
/// all the time.
fn is_base64_hash(part: &str) -> bool {
    let class = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = part.bytes().zip(part.bytes().skip(1)).filter(|(a, b)| class(*a) != class(*b)).count();
    (BASE64_HASH_CHARS_MIN..=BASE64_HASH_CHARS_MAX).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part.bytes().any(|byte| byte.is_ascii_uppercase())
        && part.bytes().any(|byte| byte.is_ascii_lowercase())
        && changes >= BASE64_CLASS_CHANGES_MIN
}

/// A UUID names a thing, not a content: the thing's file may change.
fn is_uuid(parts: &[&str]) -> bool {
    parts.windows(UUID_PARTS.len()).any(|window| {
        window
            .iter()
            .zip(UUID_PARTS)
            .all(|(part, len)| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

const HEX_HASH_CHARS_MIN: usize = 6;
const BASE64_HASH_CHARS_MIN: usize = 8;
const BASE64_HASH_CHARS_MAX: usize = 32;
const BASE64_CLASS_CHANGES_MIN: usize = 4;
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// What build tools put between the hash and the extension.
const BUILD_SUFFIXES: &[&str] = &["min", "chunk", "bundle", "module", "js", "mjs", "css"];

/// What build tools emit with a hash. Never pages, nor documents that people upload.
const BUILT_EXTENSIONS: &[&str] = &[
    "js", "mjs", "cjs", "css", "map", "wasm", "json", "svg", "png", "jpg", "jpeg", "gif", "webp", "avif",
    "ico", "woff", "woff2", "ttf", "otf", "eot", "mp3", "mp4", "webm", "ogg", "wav",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names_are_kept_forever() {
        for name in [
            "app.3f2a9c.js",
            "index-BxQ1s9kA.css",
            "chunk.3f2a9c1d.mjs",
            "main.3f2a9c1d.chunk.js",
            "main.3f2a9c1d.chunk.css.map",
            "app.3f2a9c1d.min.js",
            "vendor_3F2A9C1D.js",
            "logo.0a1b2c3d4e5f6a7b8c9d.png",
            "roboto-v30-d8Kx92LqP1.woff2",
            "engine.9f8e7d6c.wasm",
            "app.3f2a9c.JS",
        ] {
            assert!(has_content_hash(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_asked_for_again() {
        for name in [
            "jquery-3.6.0.js",
            "2024-report.pdf",
            "bootstrap.min.js",
            "index.html",
            "index.3f2a9c1d.html",
            "report-3f2a9c1d.pdf",
            "photo-20240115.jpg",
            "build-123456.js",
            "my-facade.js",
            "feedback-defaced.css",
            "poster-March2024.png",
            "Team-Photo2024b.jpg",
            "3f2a9c1d.js",
            ".3f2a9c1d.js",
            "550e8400-e29b-41d4-a716-44665544a0b0.png",
            "avatar-550e8400-e29b-41d4-a716-44665544a0b0.png",
            "app.js",
            "app-3f2a9c1d",
            "js",
            "",
            "app.3f2a9.js",
            "font-awesome-5.15.4.css",
            "React.production.min.js",
        ] {
            assert!(!has_content_hash(name), "{name}");
        }
    }
}
