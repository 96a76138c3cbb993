// SPDX-License-Identifier: Apache-2.0
//! What the tests of all transformations need.

use super::{Settings, Transformation};

/// The changed value, `None` where it stays. Nothing else of the output may have changed.
pub(super) fn applied(transformation: &Transformation, input: &[u8]) -> Option<Vec<u8>> {
    let mut output = b"before".to_vec();
    let changed = (transformation.apply)(input, &Settings::default(), &mut output);
    let appended = output.strip_prefix(b"before").unwrap();
    assert!(changed || appended.is_empty(), "{transformation:?} of {}", input.escape_ascii());
    changed.then(|| appended.to_vec())
}

/// A name, a value and what it becomes, `None` where it stays.
pub(super) type Row<'a> = (&'a str, &'a [u8], Option<&'a [u8]>);

/// Shows the row that does not hold.
pub(super) fn check(transformation: &Transformation, rows: &[Row<'_>]) {
    for (name, input, want) in rows {
        let output = applied(transformation, input);
        let shown = output.as_deref().map(|output| output.escape_ascii().to_string());
        assert_eq!(output.as_deref(), *want, "{transformation:?}, {name}: {shown:?}");
    }
}
