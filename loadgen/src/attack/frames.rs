// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 frames (RFC 9113, section 6) as an attacker writes them.

/// What a client says first, with an empty SETTINGS frame.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// One frame; the payload is short.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A request's head without a Huffman code or a table (RFC 7541, section 6.2.2).
pub(super) fn head(is_post: bool, authority: &str, path: &str) -> Vec<u8> {
    // :method GET or POST and :scheme https, from the static table.
    let mut block = vec![if is_post { 0x83 } else { 0x82 }, 0x87];
    for (name, value) in [(0x04, path), (0x01, authority)] {
        block.push(name);
        block.push(u8::try_from(value.len()).unwrap_or(0).min(126));
        block.extend_from_slice(value.get(..value.len().min(126)).unwrap_or_default().as_bytes());
    }
    block
}

/// The n-th of its kind.
pub(super) fn ping(count: u32) -> Vec<u8> {
    frame(PING, 0, 0, &u64::from(count).to_be_bytes())
}

pub(super) fn settings(_: u32) -> Vec<u8> {
    // SETTINGS_MAX_CONCURRENT_STREAMS = 100: harmless, and has to be acknowledged.
    frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])
}

pub(super) fn window_update(_: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())
}

pub(super) fn priority(count: u32) -> Vec<u8> {
    // A stream that nobody opened, depending on its neighbour.
    let stream = (count % 1_000_000) * 2 + 1;
    let mut payload = (stream + 2).to_be_bytes().to_vec();
    payload.push(16);
    frame(PRIORITY, 0, stream, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_the_rfc_says() {
        assert_eq!(ping(1), [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(frame(RST_STREAM, 0, 3, &[0, 0, 0, 8]), [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]);
        assert_eq!(head(false, "a", "/"), [0x82, 0x87, 0x04, 1, b'/', 0x01, 1, b'a']);
        assert_eq!(priority(0).len(), 14);
    }
}
