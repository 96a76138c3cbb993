// SPDX-License-Identifier: Apache-2.0
//! The proof of work: a number that makes the digest of a ticket's name begin with enough zeros.

use aws_lc_rs::digest;

/// Whether the work is done.
pub(crate) fn is_done(name: &str, number: &str, difficulty: u8) -> bool {
    /// As many as a browser can count exactly.
    const DIGITS_MAX: usize = 16;
    let is_number =
        (1..=DIGITS_MAX).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && zeros(name, number) >= u32::from(difficulty)
}

/// Zero bits before the first one.
fn zeros(name: &str, number: &str) -> u32 {
    let digest = digest::digest(&digest::SHA256, format!("{name}.{number}").as_bytes());
    let first = digest.as_ref().first_chunk::<4>().copied().unwrap_or([u8::MAX; 4]);
    u32::from_be_bytes(first).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_a_number_that_was_looked_for() {
        let found =
            (0..1_000_000_u32).map(|number| number.to_string()).find(|number| zeros("abc", number) >= 12);
        let found = found.unwrap();
        assert!(is_done("abc", &found, 12));
        assert!(!is_done("abd", &found, 12) || zeros("abd", &found) >= 12);
        assert!(!is_done("abc", &found, 32), "{found}");
        for wrong in ["", "-1", "1e3", "12345678901234567", " 1", "0x1"] {
            assert!(!is_done("abc", wrong, 0), "`{wrong}`");
        }
        assert!(is_done("abc", "0", 0));
    }
}
