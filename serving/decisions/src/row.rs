// SPDX-License-Identifier: Apache-2.0
//! What is known of an entry without reading its text, and how it stands in a log.

use crate::class::Class;

/// Bytes of a row, in a log and in an index.
pub(crate) const ROW_BYTES: usize = 64;

/// The longest text that is kept.
pub const TEXT_BYTES_MAX: usize = 64 << 10;

/// Begins each record of a log. No valid UTF-8 holds it, so no text can look like a record.
pub(crate) const MAGIC: [u8; 4] = [0xff, b'D', b'1', 0xfe];

pub(crate) type RowBytes = [u8; ROW_BYTES];

/// What is asked for most, beside the text. Texts are named by their [`text_hash`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Row {
    /// When it was decided, in microseconds of Unix time. Entries should come within minutes of it: a ring that
    /// gets one that is 71 minutes behind another begins a new file for it.
    pub at_micros: u64,
    /// The request's id.
    pub id: u128,
    /// Hash of the client's address.
    pub client: u64,
    /// Hash of the host.
    pub host: u64,
    /// Hash of the path.
    pub path: u64,
    /// The layer that decided; the caller gives numbers their meaning and never changes it.
    pub layer: u8,
    /// What was decided; as above.
    pub decision: u8,
}

/// One decision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The ring that it belongs to.
    pub class: Class,
    /// What it is found by.
    pub row: Row,
    /// A JSON object, up to [`TEXT_BYTES_MAX`]. Longer ones are refused by [`Writer::append`](crate::Writer::append).
    pub text: String,
}

/// The hash of a text in a [`Row`]: the same in every process and every release, as it is kept on disk. Anybody can
/// compute it and find two texts that share one: who must not be fooled looks into the text too
/// ([`Query::filter`](crate::Query::filter)).
///
/// FNV-1a with 64 bits, its bits mixed at the end.
pub fn text_hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}

/// A row in an index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct IndexRow {
    /// Where the record begins in the log.
    pub(crate) offset: u32,
    /// Microseconds that this row is behind the newest row up to here.
    pub(crate) behind: u32,
    pub(crate) row: Row,
    /// Bytes of the text.
    pub(crate) length: u32,
    /// The most that any row up to here is behind, in whole seconds, rounded up.
    pub(crate) disorder_secs: u16,
}

impl IndexRow {
    /// The time of the newest row of the segment up to this one.
    pub(crate) fn newest_micros(&self) -> u64 {
        self.row.at_micros.saturating_add(self.behind.into())
    }

    pub(crate) fn disorder_micros(&self) -> u64 {
        u64::from(self.disorder_secs) * 1_000_000
    }

    pub(crate) fn encode(&self) -> RowBytes {
        let mut bytes = encode(&self.row, self.length);
        bytes[0..4].copy_from_slice(&self.offset.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.behind.to_le_bytes());
        bytes[62..64].copy_from_slice(&self.disorder_secs.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &RowBytes) -> Self {
        Self {
            offset: u32::from_le_bytes(piece::<0, 4>(bytes)),
            behind: u32::from_le_bytes(piece::<4, 4>(bytes)),
            row: decode(bytes),
            length: length(bytes),
            disorder_secs: u16::from_le_bytes(piece::<62, 2>(bytes)),
        }
    }
}

/// Appends a record to `log`: its row and its text, which is no longer than [`TEXT_BYTES_MAX`].
pub(crate) fn write_record(row: &Row, text: &str, log: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut bytes = encode(row, length);
    bytes[0..4].copy_from_slice(&MAGIC);
    let sum = checksum(&bytes, text.as_bytes()).to_le_bytes();
    bytes[4..8].copy_from_slice(&sum);
    log.extend_from_slice(&bytes);
    log.extend_from_slice(text.as_bytes());
}

/// Reads the record that `bytes` begins with: its row and its text. `None`: there is none, it is not whole, or it
/// is damaged.
pub(crate) fn read_record(bytes: &[u8]) -> Option<(Row, &str)> {
    let (head, rest) = bytes.split_first_chunk::<ROW_BYTES>()?;
    let length = usize::try_from(length(head)).ok().filter(|length| *length <= TEXT_BYTES_MAX)?;
    if !head.starts_with(&MAGIC) {
        return None;
    }
    let text = rest.get(..length)?;
    if checksum(head, text) != u32::from_le_bytes(piece::<4, 4>(head)) {
        return None;
    }
    Some((decode(head), std::str::from_utf8(text).ok()?))
}

/// Over all but the magic and the sum itself.
fn checksum(head: &RowBytes, text: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[8..]);
    sum.update(text);
    sum.finalize()
}

fn encode(row: &Row, length: u32) -> RowBytes {
    let mut bytes = [0; ROW_BYTES];
    bytes[8..16].copy_from_slice(&row.at_micros.to_le_bytes());
    bytes[16..32].copy_from_slice(&row.id.to_le_bytes());
    bytes[32..40].copy_from_slice(&row.client.to_le_bytes());
    bytes[40..48].copy_from_slice(&row.host.to_le_bytes());
    bytes[48..56].copy_from_slice(&row.path.to_le_bytes());
    bytes[56..60].copy_from_slice(&length.to_le_bytes());
    bytes[60] = row.layer;
    bytes[61] = row.decision;
    bytes
}

fn decode(bytes: &RowBytes) -> Row {
    Row {
        at_micros: u64::from_le_bytes(piece::<8, 8>(bytes)),
        id: u128::from_le_bytes(piece::<16, 16>(bytes)),
        client: u64::from_le_bytes(piece::<32, 8>(bytes)),
        host: u64::from_le_bytes(piece::<40, 8>(bytes)),
        path: u64::from_le_bytes(piece::<48, 8>(bytes)),
        layer: bytes[60],
        decision: bytes[61],
    }
}

fn length(bytes: &RowBytes) -> u32 {
    u32::from_le_bytes(piece::<56, 4>(bytes))
}

/// `LENGTH` bytes from `AT` on: that they lie within is checked when this is compiled.
fn piece<const AT: usize, const LENGTH: usize>(bytes: &RowBytes) -> [u8; LENGTH] {
    const { assert!(AT + LENGTH <= ROW_BYTES) };
    let mut piece = [0; LENGTH];
    piece.copy_from_slice(&bytes[AT..AT + LENGTH]);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            at_micros: 0x0102_0304_0506_0708,
            id: 0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20,
            client: 0x2122_2324_2526_2728,
            host: 0x3132_3334_3536_3738,
            path: 0x4142_4344_4546_4748,
            layer: 0x51,
            decision: 0x52,
        }
    }

    #[test]
    fn a_record_has_the_bytes_that_earlier_releases_wrote() {
        let mut log = Vec::new();
        write_record(&row(), "{}", &mut log);
        let hex: String = log.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "ff4431feda2a96e50807060504030201201f1e1d1c1b1a1918171615141312112827262524232221\
             3837363534333231484746454443424102000000515200007b7d"
        );
        assert_eq!(read_record(&log), Some((row(), "{}")));
        assert_eq!(read_record(&log[..log.len() - 1]), None, "torn");
        for place in 0..log.len() {
            let mut damaged = log.clone();
            damaged[place] ^= 0x10;
            assert_eq!(read_record(&damaged), None, "byte {place}");
        }
    }

    #[test]
    fn an_index_row_comes_back() {
        let one = IndexRow { offset: 7, behind: 9, row: row(), length: 1234, disorder_secs: 60_000 };
        assert_eq!(IndexRow::decode(&one.encode()), one);
    }

    #[test]
    fn hashes_are_those_on_disk() {
        for (text, want) in [
            ("", 0xecba_3df2_c338_3c52_u64),
            ("/", 0xdd5b_2165_bc28_d44a_u64),
            ("198.51.100.7", 0x1304_9a47_9a19_ce5d_u64),
            ("2001:db8::7", 0xfec3_e55f_cc06_e44a_u64),
        ] {
            assert_eq!(text_hash(text), want, "{text}");
        }
    }
}
