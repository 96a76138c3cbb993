// SPDX-License-Identifier: Apache-2.0
//! Hexadecimal digits, read and written.

/// The byte that two digits at the start of `text` say.
pub(crate) fn pair(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    Some(value(*high)? << 4 | value(*low)?)
}

/// The number that four digits at the start of `text` say.
pub(crate) fn four(text: &[u8]) -> Option<u16> {
    let [high, low] = [pair(text)?, pair(text.get(2..)?)?];
    Some(u16::from_be_bytes([high, low]))
}

/// How many of the first `max` bytes are digits up to one that is not, and the number they say, up to the greatest.
pub(crate) fn leading(text: &[u8], max: usize) -> (usize, u32) {
    let digits = text.iter().take(max).map_while(|byte| value(*byte));
    digits.fold((0, 0), |(count, number), digit| {
        (count + 1, u32::saturating_add(u32::saturating_mul(number, 16), u32::from(digit)))
    })
}

/// Two small digits.
pub(crate) fn digits(byte: u8) -> [u8; 2] {
    [digit(byte >> 4), digit(byte & 0xF)]
}

/// Of a number below 16.
pub(crate) const fn digit(number: u8) -> u8 {
    match number {
        0..=9 => b'0' + number,
        _ => b'a' - 10 + (number & 0xF),
    }
}

/// What a digit is worth.
pub(crate) const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_what_it_is_written_as() {
        for byte in 0..=u8::MAX {
            let text = digits(byte);
            assert_eq!(pair(&text), Some(byte));
            assert_eq!(pair(&text.map(|digit| digit.to_ascii_uppercase())), Some(byte));
            assert_eq!(value(byte).map(u32::from), char::from(byte).to_digit(16));
        }
        assert_eq!((four(b"12aFg"), four(b"12a"), pair(b"4")), (Some(0x12AF), None, None));
        assert_eq!(
            (leading(b"41x", 6), leading(b"x", 6), leading(b"123456", 2)),
            ((2, 0x41), (0, 0), (2, 0x12))
        );
    }
}
