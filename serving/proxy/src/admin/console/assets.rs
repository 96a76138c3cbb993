// SPDX-License-Identifier: Apache-2.0
//! The console's files, as `./dev console` built them from `console/`.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sunbeam_encoding::{Accepted, Coding, encode};

use super::super::api::failure;

/// A built file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

const INDEX: &str = "index.html";

const ASSETS: [Asset; 4] = [
    Asset {
        name: INDEX,
        media_type: "text/html; charset=utf-8",
        bytes: include_bytes!("../../../console-dist/index.html"),
    },
    Asset {
        name: "app.js",
        media_type: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../../console-dist/app.js"),
    },
    Asset {
        name: "app.css",
        media_type: "text/css; charset=utf-8",
        bytes: include_bytes!("../../../console-dist/app.css"),
    },
    Asset {
        name: "icon.svg",
        media_type: "image/svg+xml",
        bytes: include_bytes!("../../../console-dist/icon.svg"),
    },
];

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// What is sent of a file.
struct Sent {
    tag: String,
    plain: Bytes,
    gzip: Bytes,
    brotli: Bytes,
}

/// The page.
pub(super) async fn index(headers: HeaderMap) -> Response {
    serve(INDEX, &headers)
}

/// What it loads.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let found = ASSETS.iter().zip(sent()).find(|(asset, _)| asset.name == name);
    let Some((asset, sent)) = found else { return failure(StatusCode::NOT_FOUND, "no such page") };
    let accepted =
        Accepted::of(headers).codings().find(|coding| matches!(coding, Coding::Brotli | Coding::Gzip));
    let (coding, body) = match accepted {
        Some(Coding::Brotli) => (Some("br"), &sent.brotli),
        Some(Coding::Gzip) => (Some("gzip"), &sent.gzip),
        _ => (None, &sent.plain),
    };
    let common = [
        (header::ETAG, sent.tag.as_str()),
        // Asked for each time, sent once: an upgraded node's page is never a mixture.
        (header::CACHE_CONTROL, "no-cache"),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_TYPE, asset.media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|line| line.split(',')).any(|tag| tag.trim() == sent.tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    match coding {
        Some(coding) => (common, [(header::CONTENT_ENCODING, coding)], body.clone()).into_response(),
        None => (common, body.clone()).into_response(),
    }
}

/// Compressed when the first browser comes: most nodes never see one.
fn sent() -> &'static [Sent] {
    static SENT: OnceLock<Arc<[Sent]>> = OnceLock::new();
    SENT.get_or_init(|| ASSETS.iter().map(Sent::of).collect())
}

impl Sent {
    fn of(asset: &Asset) -> Self {
        let hash = digest(&SHA256, asset.bytes);
        let tag = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            tag: format!("\"{tag}\""),
            plain: Bytes::from_static(asset.bytes),
            gzip: encode(Coding::Gzip, asset.bytes).into(),
            brotli: encode(Coding::Brotli, asset.bytes).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_console_is_small() {
        for coding in [Coding::Gzip, Coding::Brotli] {
            let sizes = ASSETS.map(|asset| (asset.name, encode(coding, asset.bytes).len()));
            let whole: usize = sizes.iter().map(|(_, size)| size).sum();
            assert!(whole <= 60_000, "{coding:?}: {whole} bytes: {sizes:?}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_nothing_inline() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        for wrong in ["http://", "https://", "//", "style=", "<style", "onload=", "<script>"] {
            assert!(!page.contains(wrong), "{wrong}: {page}");
        }
        for asset in ASSETS.iter().skip(1).filter(|asset| asset.name.starts_with("app")) {
            assert!(page.contains(&format!("\"./{}\"", asset.name)), "{}: {page}", asset.name);
        }
    }
}
