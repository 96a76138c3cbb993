// SPDX-License-Identifier: Apache-2.0
//! A real browser: Chromium without a screen, driven by `browser.mjs` (with what `./dev setup` installs).

use super::{Generator, How, Label, Run};

/// Seconds: the browser's start counts too.
const BROWSER_SECS_MAX: u64 = 45;

pub(super) const GENERATORS: &[Generator] = &[Generator {
    name: "chromium",
    label: Label::Benign,
    version: &["chromium", "--version"],
    runs: VISITS,
}];

/// Visits by name, as `browser.mjs` knows them, and where they go.
macro_rules! visits {
    ($($intensity:literal: $name:literal at $url:literal,)*) => {
        &[$(Run {
            intensity: $intensity,
            secs_max: BROWSER_SECS_MAX,
            how: How::Tool(&["node", "@ROOT@/xtask/src/traffic/browser.mjs", $url, $name]),
        }),*]
    };
}

const VISITS: &[Run] = visits![
    "reader": "reader" at "@URL@",
    "reader-german": "reader-german" at "@URL@",
    "reader-phone": "reader-phone" at "@URL@",
    "reader-tablet": "reader-tablet" at "@URL@",
    "reader-by-search": "reader-by-search" at "@URL@",
    "searcher": "searcher" at "@URL@",
    "searcher-phone": "searcher-phone" at "@URL@",
    "account-owner": "account-owner" at "@URL@",
    "letter-writer": "letter-writer" at "@URL@",
    "viewer": "viewer" at "@URL@",
    "shopper": "shopper" at "@URL@",
    "shopper-phone": "shopper-phone" at "@URL@",
    "reloader": "reloader" at "@URL@",
    "back-and-forth": "back-and-forth" at "@URL@",
    "tab-opener": "tab-opener" at "@URL@",
    "lost": "lost" at "@URL@",
    "without-scripts": "without-scripts" at "@URL@",
    "film-watcher": "film-watcher" at "@URL@",
    "reader-http2": "reader" at "@HTTPS@",
    "searcher-http2": "searcher" at "@HTTPS@",
    "account-owner-http2": "account-owner" at "@HTTPS@",
    "shopper-http2": "shopper-phone" at "@HTTPS@",
    "tab-opener-http2": "tab-opener" at "@HTTPS@",
];
