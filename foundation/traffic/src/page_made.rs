// SPDX-License-Identifier: Apache-2.0
//! Whether somebody asked for something, or a page made their browser do it.
//!
//! Whoever may put an image into a page (a post in a forum, any site of his own) chooses what the browsers of all who see
//! it ask for, in their names. Browsers say so themselves (Fetch Metadata, W3C), and no page can forge that. A client that
//! is no browser can say what it likes here: it speaks of its own requests alone.

/// What a browser says of how a request came about; `None` where a field is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct FetchMetadata<'a> {
    /// `Sec-Fetch-Site`
    pub site: Option<&'a [u8]>,
    /// `Sec-Fetch-Dest`
    pub destination: Option<&'a [u8]>,
    /// `Sec-Purpose`
    pub purpose: Option<&'a [u8]>,
    /// `Accept`
    pub accept: Option<&'a [u8]>,
}

impl FetchMetadata<'_> {
    /// Whether a page's author can bring such a request about without a click: parts of a page (images, frames, fonts, …),
    /// what another site asks for in whatever way, and what is fetched in case somebody will want it. What remains are
    /// pages that somebody goes to, and what the site's own scripts ask for; and all of who says nothing of the kind: old
    /// browsers, browsers over plain HTTP, and programs.
    pub fn is_page_made(&self) -> bool {
        let is_own = matches!(self.site, None | Some(b"none" | b"same-origin" | b"same-site"));
        let is_part = match self.destination {
            Some(destination) => !matches!(destination, b"document" | b"empty"),
            None => self.accept.is_some_and(names_part),
        };
        !is_own || is_part || self.purpose.is_some()
    }
}

/// What browsers accept where they load a part of a page; for scripts and fonts it is `*/*`, which says nothing.
fn names_part(accept: &[u8]) -> bool {
    let begins =
        |with: &&[u8]| accept.get(..with.len()).is_some_and(|found| found.eq_ignore_ascii_case(with));
    [&b"image/"[..], b"text/css", b"audio/", b"video/"].iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_pages_and_what_other_sites_ask_for_are_made_by_pages() {
        const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (name, site, destination, purpose, accept, want) in [
            ("somebody types an address", "none", "document", "", PAGE, false),
            ("a link of the site, or its form", "same-origin", "document", "", PAGE, false),
            ("a link of a sibling host", "same-site", "document", "", PAGE, false),
            ("the site's script", "same-origin", "empty", "", "*/*", false),
            ("the site's script asks for an image", "same-origin", "empty", "", "image/png", false),
            ("a script of a sibling host", "same-site", "empty", "", "application/json", false),
            ("a program", "", "", "", "*/*", false),
            ("an old browser", "", "", "", PAGE, false),
            ("an image in a post", "same-origin", "image", "", "image/avif,*/*", true),
            ("a frame", "same-origin", "iframe", "", PAGE, true),
            ("a script", "same-origin", "script", "", "*/*", true),
            ("a style", "same-origin", "style", "", "text/css,*/*;q=0.1", true),
            ("an object", "same-origin", "object", "", PAGE, true),
            ("what is new", "same-origin", "hologram", "", "*/*", true),
            ("an image of another site", "cross-site", "image", "", "image/avif,*/*", true),
            ("a link of another site", "cross-site", "document", "", PAGE, true),
            ("a script of another site", "cross-site", "empty", "", "*/*", true),
            ("what makes no sense", "here", "document", "", PAGE, true),
            ("a page in case it is wanted", "same-origin", "document", "prefetch;prerender", PAGE, true),
            ("a link to be fetched early", "same-origin", "empty", "prefetch", "*/*", true),
            ("an image of an old browser", "", "", "", "image/webp,*/*", true),
            ("a style of an old browser", "", "", "", "text/css,*/*;q=0.1", true),
        ] {
            let field = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
            let said = FetchMetadata {
                site: field(site),
                destination: field(destination),
                purpose: field(purpose),
                accept: field(accept),
            };
            assert_eq!(said.is_page_made(), want, "{name}");
        }
    }
}
