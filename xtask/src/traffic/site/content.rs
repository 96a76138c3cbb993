// SPDX-License-Identifier: Apache-2.0
//! What the site holds: its pages, and what each of them needs.

use super::super::profiles::Kind;

/// Articles, `/articles/SLUG`.
pub(in super::super) const ARTICLES: &[&str] = &[
    "lamps-for-long-evenings",
    "a-chair-that-lasts",
    "how-linen-is-made",
    "small-kitchens",
    "the-return-of-the-bookshelf",
    "repairing-what-you-own",
    "colours-of-the-north",
    "a-desk-by-the-window",
    "wool-and-weather",
    "quiet-fans",
    "on-buying-less",
    "the-potters-street",
    "beds-for-guests",
    "glass-from-the-forest",
    "moving-house-in-a-week",
    "plants-that-forgive",
    "good-knives",
    "a-table-for-ten",
    "curtains-or-blinds",
    "the-carpenters-daughter",
    "light-switches",
    "what-oak-costs",
    "balconies-in-march",
    "the-second-hand-sofa",
    "tiles-from-porto",
    "drawers-that-close",
    "a-room-for-two-children",
    "the-cast-iron-pan",
    "mirrors-and-narrow-halls",
    "painting-a-door",
    "winter-coats-and-hooks",
    "a-workshop-in-leipzig",
    "baskets",
    "the-reading-corner",
    "how-to-oil-wood",
    "kettles-compared",
    "rugs-on-cold-floors",
    "the-museum-of-spoons",
    "letters-from-readers",
    "a-garden-on-the-roof",
];

/// Other pages that are linked.
pub(in super::super) const PAGES: &[&str] =
    &["/", "/about", "/contact", "/articles/", "/gallery", "/search", "/login", "/shop"];

/// Pages that old bookmarks and other sites' links still name.
pub(in super::super) const GONE: &[&str] = &[
    "/blog/2016/05/hello",
    "/articles/summer-sale-2019",
    "/articles/the-old-catalogue",
    "/newsletter/archive",
    "/products/4711",
    "/de/impressum",
    "/about/team/anna",
    "/articles/baskets/amp",
];

/// What people look for.
pub(in super::super) const SEARCHES: &[&str] = &[
    "lamp",
    "oak+table",
    "o%27brien+chair",
    "select+a+sofa",
    "50%25+wool",
    "kettle+%26+cups",
    "b%C3%BCcherregal",
    "how+to+oil+wood%3F",
    "1+or+2+person+bed",
    "union+square+shop",
];

/// Pictures of the gallery.
pub(in super::super) const GALLERY: u64 = 24;

/// What a page needs besides itself, in the order in which it names it.
pub(in super::super) fn parts(path: &str) -> Vec<(Kind, String)> {
    let mut parts = vec![
        (Kind::Style, "/assets/site.3f2a9c.css".to_owned()),
        (Kind::Script, "/assets/site.81b0d4.js".to_owned()),
        (Kind::Image, "/assets/logo.svg".to_owned()),
        (Kind::Font, "/assets/inter-regular.woff2".to_owned()),
    ];
    parts.extend(pictures(path).into_iter().map(|picture| (Kind::Image, picture)));
    parts.push((Kind::Image, "/favicon.ico".to_owned()));
    parts
}

/// The pictures of a page.
pub(in super::super) fn pictures(path: &str) -> Vec<String> {
    let cover = |number: usize| format!("/images/cover-{number:02}.jpg");
    match path {
        "/" => (0..6).map(cover).collect(),
        "/articles/" => (0..12).map(cover).collect(),
        "/gallery" => (0..GALLERY).map(|number| format!("/images/gallery/{number:02}-thumb.jpg")).collect(),
        "/about" => vec!["/images/office.jpg".to_owned()],
        _ => match path.strip_prefix("/articles/").and_then(number_of) {
            Some(number) => vec![cover(number), format!("/images/detail-{number:02}.jpg")],
            None => Vec::new(),
        },
    }
}

/// The number of an article.
pub(in super::super) fn number_of(slug: &str) -> Option<usize> {
    ARTICLES.iter().position(|known| *known == slug)
}
