// SPDX-License-Identifier: Apache-2.0
//! `parityEven7bit`, `parityOdd7bit`, `parityZero7bit`: the eighth bit of seven-bit data.

use super::{Settings, Transformation};
use crate::byte_set::ByteSet;

/// `t:parityEven7bit`
pub(super) static EVEN: Transformation = Transformation {
    name: "parityEven7bit",
    aliases: &[],
    doc: "Sets the eighth bit of each byte so that an even number of its bits are ones.",
    changes: Some(changed_by(0)),
    apply: |input, _: &Settings, output| apply::<0>(input, output),
};

/// `t:parityOdd7bit`
pub(super) static ODD: Transformation = Transformation {
    name: "parityOdd7bit",
    aliases: &[],
    doc: "Sets the eighth bit of each byte so that an odd number of its bits are ones.",
    changes: Some(changed_by(1)),
    apply: |input, _: &Settings, output| apply::<1>(input, output),
};

/// `t:parityZero7bit`
pub(super) static ZERO: Transformation = Transformation {
    name: "parityZero7bit",
    aliases: &[],
    doc: "Clears the eighth bit of each byte.",
    changes: Some(changed_by(CLEARED)),
    apply: |input, _: &Settings, output| apply::<CLEARED>(input, output),
};

fn apply<const ODD: u32>(input: &[u8], output: &mut Vec<u8>) -> bool {
    let changed = input.iter().any(|byte| with_parity(*byte, ODD) != *byte);
    if changed {
        output.extend(input.iter().map(|byte| with_parity(*byte, ODD)));
    }
    changed
}

/// `odd` 0 for even parity, 1 for odd, [`CLEARED`] for none.
const fn with_parity(byte: u8, odd: u32) -> u8 {
    let data = byte & 0x7F;
    if odd != CLEARED && data.count_ones() % 2 != odd { data | 0x80 } else { data }
}

const fn changed_by(odd: u32) -> ByteSet {
    let mut set = ByteSet::EMPTY;
    let mut byte = 0;
    loop {
        if with_parity(byte, odd) != byte {
            set.insert(byte);
        }
        if byte == u8::MAX {
            return set;
        }
        byte += 1;
    }
}

const CLEARED: u32 = 2;

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn parities() {
        check(
            &EVEN,
            &[
                ("even", b"cef", None),
                ("odd", b"abc", Some(b"\xE1\xE2c")),
                ("set already", b"\xE1\xE2c", None),
            ],
        );
        check(
            &ODD,
            &[
                ("odd", b"abd", None),
                ("even", b"abc\0", Some(b"ab\xE3\x80")),
                ("set wrong", b"\xE1", Some(b"a")),
            ],
        );
        check(&ZERO, &[("clear", b"abc\0", None), ("set", b"\xE1bc\x80", Some(b"abc\0"))]);
    }
}
