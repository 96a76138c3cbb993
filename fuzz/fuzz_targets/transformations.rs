// SPDX-License-Identifier: Apache-2.0
//! Each transformation: without its bytes a value stays as it is, what it says is changed is, and nothing grows by much.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sunbeam_waf::byte_set::ByteSet;
use sunbeam_waf::transformations::{Settings, TRANSFORMATIONS, Transformation};

fuzz_target!(|value: &[u8]| {
    let present = ByteSet::present(value);
    for first in TRANSFORMATIONS {
        let once = apply(first, value, &present);
        // What one makes is another's value.
        if let Some(once) = once {
            let present = ByteSet::present(&once);
            for second in TRANSFORMATIONS {
                apply(second, &once, &present);
            }
        }
    }
});

static SETTINGS: LazyLock<[Settings; 2]> = LazyLock::new(|| {
    let map = (0..=u16::MAX).map(|code| code.to_be_bytes()[1] ^ 1).collect();
    [Settings::default(), Settings { unicode_map: Some(map) }]
});

fn apply(known: &Transformation, value: &[u8], present: &ByteSet) -> Option<Vec<u8>> {
    let mut last = None;
    for settings in &*SETTINGS {
        let mut output = b"before".to_vec();
        let is_changed = (known.apply)(value, settings, &mut output);
        let added = output.strip_prefix(b"before").expect("what was there stays");
        assert!(if is_changed { added != value } else { added.is_empty() }, "{known:?}");
        assert!(!is_changed || known.changes.is_none_or(|changes| changes.meets(present)), "{known:?}");
        assert!(added.len() <= 4 * value.len() + 20, "{known:?} grows");
        last = is_changed.then(|| added.to_vec());
    }
    last
}
