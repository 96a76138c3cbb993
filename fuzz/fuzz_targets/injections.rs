// SPDX-License-Identifier: Apache-2.0
//! SQL and script in a text: any bytes have an answer, what the crate finds we find, and what we find has what the
//! filter asks for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libinjectionrs::{SqliFlags, SqliState, detect_xss};
use sunbeam_waf::byte_set::ByteSet;
use sunbeam_waf::injection::{SQLI_NEEDS, XSS_NEEDS, is_sqli, is_xss};

fuzz_target!(|text: &[u8]| {
    let present = ByteSet::present(text);
    let has = |needs: &[ByteSet]| needs.iter().all(|set| set.meets(&present));
    match is_sqli(text) {
        Some(found) => assert!(has(SQLI_NEEDS) && (1..=8).contains(&found.as_bytes().len()), "{found}"),
        None => {
            assert!(!SqliState::new(text, SqliFlags::FLAG_NONE).detect(), "an injection that the crate finds")
        }
    }
    if is_xss(text) {
        assert!(has(XSS_NEEDS));
    } else {
        assert!(!detect_xss(text).is_injection(), "a script that the crate finds");
    }
});
