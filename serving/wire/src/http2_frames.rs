// SPDX-License-Identifier: Apache-2.0
//! Walks HTTP/2 frames (RFC 9113 §4.1) without reading what is in them: for counting, not for understanding.

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of payload that follow, below 2^24.
    pub length: u32,
    /// [`FrameHead::DATA`] and the like.
    pub kind: u8,
    /// As sent.
    pub flags: u8,
    /// 0 is the connection itself.
    pub stream: u32,
}

impl FrameHead {
    /// RFC 9113 §6.1
    pub const DATA: u8 = 0;
    /// RFC 9113 §6.2
    pub const HEADERS: u8 = 1;
    /// RFC 9113 §6.4
    pub const RST_STREAM: u8 = 3;
    /// RFC 9113 §6.10
    pub const CONTINUATION: u8 = 9;

    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    /// Whether the sender's side of the stream ends here. Only DATA and HEADERS can say so.
    pub const fn ends_stream(self) -> bool {
        matches!(self.kind, Self::DATA | Self::HEADERS) && self.flags & Self::END_STREAM != 0
    }

    /// Whether a DATA frame holds no data for all that its head says: it is empty, or all padding.
    pub const fn may_be_empty(self) -> bool {
        const PADDED: u8 = 8;
        const PADDING_MAX: u32 = 256;
        self.length == 0 || (self.flags & PADDED != 0 && self.length <= PADDING_MAX)
    }

    /// Whether this is a piece of a header block, and more of it must follow.
    pub const fn leaves_block_open(self) -> bool {
        matches!(self.kind, Self::HEADERS | Self::CONTINUATION) && self.flags & Self::END_HEADERS == 0
    }

    const fn read(bytes: [u8; HEAD_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            // The first bit is reserved, and ignored.
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }
}

/// Where in one direction of a connection the bytes stand. Takes them in any pieces, keeps none, and
/// never fails: a broken preface is the protocol library's to answer, and nothing behind it is counted.
#[derive(Clone, Debug)]
pub struct FrameWalker {
    /// Bytes of the preface that have come.
    preface: usize,
    is_broken: bool,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    current: Option<FrameHead>,
    payload_left: u32,
}

impl FrameWalker {
    /// For what a client sends: the preface comes first.
    pub const fn client() -> Self {
        Self {
            preface: 0,
            is_broken: false,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            current: None,
            payload_left: 0,
        }
    }

    /// For what a server sends.
    pub const fn server() -> Self {
        Self { preface: PREFACE.len(), ..Self::client() }
    }

    /// Whether the whole preface has come, and was one.
    pub const fn has_preface(&self) -> bool {
        self.preface == PREFACE.len()
    }

    /// The frame whose payload has not come to its end; `None` between two frames, and inside a head.
    pub const fn partial(&self) -> Option<FrameHead> {
        self.current
    }

    /// Whether the bytes end inside a frame's head.
    pub const fn is_inside_head(&self) -> bool {
        self.head_bytes > 0
    }

    /// Bytes that have come of the payload of [`FrameWalker::partial`].
    pub const fn partial_bytes(&self) -> u32 {
        match self.current {
            Some(head) => head.length - self.payload_left,
            None => 0,
        }
    }

    /// Walks on over `bytes` and tells of each frame as soon as its head is whole.
    pub fn walk(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(FrameHead)) {
        while !bytes.is_empty() && !self.is_broken {
            if !self.has_preface() {
                bytes = self.take_preface(bytes);
            } else if self.current.is_some() {
                bytes = self.take_payload(bytes);
            } else {
                bytes = self.take_head(bytes);
                if let Some(head) = self.finished_head() {
                    on_frame(head);
                }
            }
        }
    }

    fn take_preface<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let wanted = PREFACE.get(self.preface..).unwrap_or_default();
        let (here, rest) = bytes.split_at(wanted.len().min(bytes.len()));
        self.is_broken = !wanted.starts_with(here);
        self.preface += if self.is_broken { 0 } else { here.len() };
        rest
    }

    fn take_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let (here, rest) = bytes.split_at(left.min(bytes.len()));
        // At most `payload_left`, so it fits.
        self.payload_left = u32::try_from(left - here.len()).unwrap_or(0);
        if self.payload_left == 0 {
            self.current = None;
        }
        rest
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (here, rest) = bytes.split_at((HEAD_BYTES - self.head_bytes).min(bytes.len()));
        for (place, byte) in self.head.iter_mut().skip(self.head_bytes).zip(here) {
            *place = *byte;
        }
        self.head_bytes += here.len();
        rest
    }

    fn finished_head(&mut self) -> Option<FrameHead> {
        if self.head_bytes < HEAD_BYTES {
            return None;
        }
        let head = FrameHead::read(self.head);
        self.head_bytes = 0;
        self.payload_left = head.length;
        self.current = (head.length > 0).then_some(head);
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn walk(walker: &mut FrameWalker, bytes: &[u8]) -> Vec<FrameHead> {
        let mut seen = Vec::new();
        walker.walk(bytes, |head| seen.push(head));
        seen
    }

    #[test]
    fn frames_are_told_apart_and_the_one_that_is_not_whole_is_known() {
        let mut walker = FrameWalker::client();
        assert_eq!(walk(&mut walker, &PREFACE[..10]), []);
        assert!(!walker.has_preface());
        let mut bytes = PREFACE[10..].to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        bytes.extend(frame(FrameHead::HEADERS, 4 | 1, 0x8000_0001, b"abc"));
        bytes.extend(frame(FrameHead::HEADERS, 0, 3, b"abcdef"));
        let whole = bytes.len();
        let seen = walk(&mut walker, &bytes[..whole - 2]);
        let headers = |length, flags, stream| FrameHead { length, kind: FrameHead::HEADERS, flags, stream };
        let settings = FrameHead { length: 0, kind: 4, flags: 0, stream: 0 };
        assert_eq!(seen, [settings, headers(3, 5, 1), headers(6, 0, 3)]);
        assert!(walker.has_preface() && seen[1].ends_stream() && !seen[1].leaves_block_open());
        assert!(!seen[2].ends_stream() && seen[2].leaves_block_open());
        assert_eq!((walker.partial(), walker.partial_bytes()), (Some(seen[2]), 4));
        walk(&mut walker, &bytes[whole - 2..]);
        assert_eq!((walker.partial(), walker.partial_bytes(), walker.is_inside_head()), (None, 0, false));
        walk(&mut walker, &[0, 0]);
        assert!(walker.is_inside_head());
    }

    #[test]
    fn behind_a_broken_preface_nothing_is_a_frame() {
        let mut walker = FrameWalker::client();
        let bytes = [&b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"[..], &frame(6, 0, 0, &[0; 8])].concat();
        assert_eq!(walk(&mut walker, &bytes), []);
        assert!(!walker.has_preface());
    }

    proptest! {
        #[test]
        fn pieces_are_walked_as_the_whole(
            frames in vec((any::<u8>(), any::<u8>(), any::<u32>(), vec(any::<u8>(), 0..40)), 0..20),
            pieces in vec(1usize..30, 1..10),
        ) {
            let mut bytes = PREFACE.to_vec();
            for (kind, flags, stream, payload) in &frames {
                bytes.extend(frame(*kind, *flags, *stream, payload));
            }
            let mut seen = Vec::new();
            let mut walker = FrameWalker::client();
            let (mut rest, mut sizes) = (&bytes[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                seen.extend(walk(&mut walker, piece));
                rest = more;
            }
            let want: Vec<_> = frames
                .iter()
                .map(|(kind, flags, stream, payload)| FrameHead {
                    length: u32::try_from(payload.len()).unwrap(),
                    kind: *kind,
                    flags: *flags,
                    stream: *stream & 0x7fff_ffff,
                })
                .collect();
            prop_assert_eq!(seen, want);
            prop_assert!(walker.partial().is_none() && !walker.is_inside_head());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), with_preface in any::<bool>()) {
            let mut walker = if with_preface { FrameWalker::client() } else { FrameWalker::server() };
            let frames = walk(&mut walker, &bytes).len();
            prop_assert!(frames * HEAD_BYTES <= bytes.len());
            prop_assert!(walker.partial().is_none_or(|head| walker.partial_bytes() < head.length));
        }
    }
}
