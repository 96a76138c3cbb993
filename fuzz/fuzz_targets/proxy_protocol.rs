// SPDX-License-Identifier: Apache-2.0
//! PROXY headers: the same address and the same end however the bytes arrive; what is written by the book is
//! read back; what was read can be written by the book.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use sunbeam_fuzz::{arrival, pieces};
use sunbeam_wire::{ProxyHeader, ProxySource};

/// The longest header that is taken: the fixed part of version 2, and its bound for what follows.
const BYTES_MAX: usize = 16 + 4096;

type Read = Result<(usize, Option<ProxySource>), &'static str>;

fuzz_target!(|data: &[u8]| {
    let Some((cuts, stream)) = arrival(data) else { return };
    let whole = read(std::iter::once(stream));
    assert_eq!(whole, read(pieces(cuts, stream)), "the result depends on how the bytes arrive");
    match whole {
        Ok((used, Some(source))) => {
            assert!(used <= stream.len() && used <= BYTES_MAX);
            // Not a byte less is a header, and what follows changes nothing.
            assert_eq!(read(std::iter::once(&stream[..used - 1])), Ok((used - 1, None)));
            if let ProxySource::Client(address) = source {
                for written in [version_1(address), version_2(address)].into_iter().flatten() {
                    let again = read(std::iter::once(written.as_slice()));
                    assert_eq!(again, Ok((written.len(), Some(source))));
                }
                assert!(names(&stream[..used], address), "an address that the header does not name");
            }
        }
        Ok((used, None)) => assert!(used == stream.len() && used < BYTES_MAX, "endless"),
        Err(why) => assert!(!why.is_empty()),
    }
});

fn read<'a>(stream: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut header = ProxyHeader::default();
    let mut used = 0;
    for piece in stream {
        let taken = header.take(piece)?;
        used += taken.used;
        if taken.source.is_some() {
            return Ok((used, taken.source));
        }
        assert_eq!(taken.used, piece.len(), "bytes are left, and the end is not reached");
    }
    Ok((used, None))
}

/// `PROXY TCP4 192.0.2.1 192.0.2.1 1 1`
fn version_1(client: SocketAddr) -> Option<Vec<u8>> {
    let (ip, port) = (client.ip(), client.port());
    let family = if ip.is_ipv4() { 4 } else { 6 };
    Some(format!("PROXY TCP{family} {ip} {ip} {port} {port}\r\n").into_bytes())
}

fn version_2(client: SocketAddr) -> Option<Vec<u8>> {
    let (family, address) = match client.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    let length = u16::try_from(2 * address.len() + 4).ok()?;
    let mut written = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    written.push(family);
    written.extend(length.to_be_bytes());
    written.extend(address.repeat(2));
    written.extend(client.port().to_be_bytes().repeat(2));
    Some(written)
}

/// Whether the header says this address, found by another way than the reader's.
fn names(header: &[u8], client: SocketAddr) -> bool {
    match header.strip_prefix(b"PROXY TCP") {
        Some(line) => {
            let line = std::str::from_utf8(line).expect("text").trim_end();
            let words: Vec<&str> = line.split(' ').collect();
            words.len() == 5 && words[1].parse() == Ok(client.ip()) && words[3].parse() == Ok(client.port())
        }
        None => {
            let written = version_2(client).expect("short");
            let half = (written.len() - 16 - 4) / 2;
            header.len() >= written.len()
                && header[12..14] == written[12..14]
                && header[16..16 + half] == written[16..16 + half]
                && header[16 + 2 * half..][..2] == client.port().to_be_bytes()
        }
    }
}
