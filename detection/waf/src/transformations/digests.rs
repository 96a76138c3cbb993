// SPDX-License-Identifier: Apache-2.0
//! `md5`, `sha1`: to compare, not to protect.

use md5::Md5;
use sha1::{Digest as _, Sha1};

use super::{Settings, Transformation};

/// `t:md5`
pub(super) static MD5: Transformation = Transformation {
    name: "md5",
    aliases: &[],
    doc: "The MD5 digest, as 16 bytes.",
    changes: None,
    apply: md5,
};

/// `t:sha1`
pub(super) static SHA1: Transformation = Transformation {
    name: "sha1",
    aliases: &[],
    doc: "The SHA-1 digest, as 20 bytes.",
    changes: None,
    apply: sha1,
};

fn md5(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    output.extend_from_slice(&Md5::digest(input));
    true
}

fn sha1(input: &[u8], _: &Settings, output: &mut Vec<u8>) -> bool {
    output.extend_from_slice(&Sha1::digest(input));
    true
}

#[cfg(test)]
mod tests {
    use super::super::testing::applied;
    use super::*;

    #[test]
    fn of_nothing() {
        assert_eq!(applied(&MD5, b"").unwrap()[..4], [0xD4, 0x1D, 0x8C, 0xD9]);
        assert_eq!(applied(&SHA1, b"").unwrap()[..4], [0xDA, 0x39, 0xA3, 0xEE]);
    }
}
