// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 frames: the same heads however the bytes arrive, and the same as a simple reader of the whole finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::{arrival, pieces};
use sunbeam_wire::{FrameHead, FrameWalker, PREFACE};

fuzz_target!(|data: &[u8]| {
    let Some((cuts, stream)) = arrival(data) else { return };
    // The lowest bit of the first cut says whose direction it is.
    let from_client = cuts[0] & 1 == 1;
    let start = if from_client { FrameWalker::client() } else { FrameWalker::server() };
    let (mut whole, mut heads) = (start.clone(), Vec::new());
    whole.walk(stream, |head| heads.push(head));
    let (mut walker, mut found) = (start, Vec::new());
    let mut came = 0;
    for piece in pieces(cuts, stream) {
        walker.walk(piece, |head| found.push(head));
        came += piece.len();
        if let Some(head) = walker.partial() {
            assert!(walker.partial_bytes() < head.length && walker.partial_bytes() as usize <= came);
        }
    }
    assert_eq!(found, heads, "the frames depend on how the bytes arrive");
    assert_eq!(walker.partial(), whole.partial());
    assert_eq!(walker.partial_bytes(), whole.partial_bytes());
    assert_eq!(walker.is_inside_head(), whole.is_inside_head());
    assert_eq!(walker.has_preface(), whole.has_preface());
    assert_eq!(whole.has_preface(), !from_client || stream.starts_with(PREFACE));
    let frames = if from_client { stream.strip_prefix(PREFACE) } else { Some(stream) };
    let (want, partial) = frames.map_or((Vec::new(), None), simple);
    assert_eq!(heads, want, "another reader sees other frames");
    assert_eq!(whole.partial().map(|head| (head, whole.partial_bytes())), partial);
});

/// All heads, and the frame that is not whole with its bytes so far.
fn simple(mut rest: &[u8]) -> (Vec<FrameHead>, Option<(FrameHead, u32)>) {
    let mut heads = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(9) {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let length = number(&head[..3]);
        let head =
            FrameHead { length, kind: head[3], flags: head[4], stream: number(&head[5..]) & (u32::MAX >> 1) };
        heads.push(head);
        match after.get(length as usize..) {
            Some(behind) => rest = behind,
            None => return (heads, Some((head, after.len() as u32))),
        }
    }
    (heads, None)
}
