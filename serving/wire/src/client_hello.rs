// SPDX-License-Identifier: Apache-2.0
//! What a TLS client offers in its first message (RFC 8446 §4.1.2), and the fingerprint of it: JA4, as `FoxIO`
//! publishes it under the BSD licence. The other fingerprints of the JA4+ family are licensed otherwise: none
//! is here.
//!
//! Only what JA4 needs is read, and whatever could be read in two ways is refused: a list whose length is odd,
//! an extension that comes twice, bytes behind the end.

use std::error::Error;
use std::fmt;

/// Bytes of a `ClientHello` behind its head. Browsers send about 2000; rustls has the same bound.
pub const CLIENT_HELLO_BYTES_MAX: usize = 0xffff;

/// Bytes of a record's content (RFC 8446 §5.1).
const FRAGMENT_BYTES_MAX: usize = 1 << 14;

const SESSION_ID_BYTES_MAX: usize = 32;

/// Of a record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// Of a handshake message (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;

// Of extensions (RFC 8446 §4.2).
const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000d;
const ALPN: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002b;

/// What JA4 says of an empty list.
const NOTHING: &str = "000000000000";

const TOO_SHORT: NotAClientHello = NotAClientHello("a length says more than there is");

type Read<T> = Result<T, NotAClientHello>;

/// What a client offers in its first TLS message, as far as a fingerprint needs it. The values that say nothing
/// and change from one connection to the next (GREASE, RFC 8701) are left out of every list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The field of old: TLS 1.3 says 1.2 here.
    pub legacy_version: u16,
    /// Of `supported_versions`, in the client's order; empty if it sent none.
    pub versions: Vec<u16>,
    /// In the client's order, with signalling values such as `TLS_FALLBACK_SCSV`.
    pub cipher_suites: Vec<u16>,
    /// Their types, in the client's order, with those of the server's name and of ALPN.
    pub extensions: Vec<u16>,
    /// In the client's order.
    pub signature_algorithms: Vec<u16>,
    /// It says whom it wants to speak to (SNI).
    pub has_server_name: bool,
    /// The protocol that it likes best behind TLS (RFC 7301), such as `h2`.
    pub first_alpn: Option<Vec<u8>>,
}

impl ClientHello {
    /// The JA4 fingerprint of this client over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`: always 36
    /// ASCII letters, digits and `_`. What it offers is hashed sorted, because browsers shuffle it.
    pub fn ja4(&self, sha256: impl Fn(&[u8]) -> [u8; 32]) -> String {
        let version = version_name(self.versions.iter().max().copied().unwrap_or(self.legacy_version));
        let target = if self.has_server_name { 'd' } else { 'i' };
        let [cipher_suites, extensions] =
            [&self.cipher_suites, &self.extensions].map(|list| list.len().min(99));
        let [first, last] = self.alpn_characters();
        let ciphers_hash = hash(&sorted_hex_list(self.cipher_suites.clone()), &sha256);
        let extensions_hash = hash(&self.extensions_text(), &sha256);
        format!(
            "t{version}{target}{cipher_suites:02}{extensions:02}{first}{last}_{ciphers_hash}_{extensions_hash}"
        )
    }

    /// First and last character, `00` without any. Of a name that does not begin and end with ASCII letters or
    /// digits: of its hexadecimal form.
    fn alpn_characters(&self) -> [char; 2] {
        let name = self.first_alpn.as_deref().unwrap_or_default();
        let (Some(first), Some(last)) = (name.first(), name.last()) else { return ['0', '0'] };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            [char::from(*first), char::from(*last)]
        } else {
            [hex_digit(first >> 4), hex_digit(*last)]
        }
    }

    /// Without the server's name and ALPN: they are told elsewhere in the fingerprint, and change with the
    /// server that the same client speaks to.
    fn extensions_text(&self) -> String {
        let is_told = |kind: &u16| matches!(*kind, SERVER_NAME | ALPN);
        let mut text =
            sorted_hex_list(self.extensions.iter().copied().filter(|kind| !is_told(kind)).collect());
        if !text.is_empty() && !self.signature_algorithms.is_empty() {
            text.push('_');
            text.push_str(&hex_list(&self.signature_algorithms));
        }
        text
    }

    fn read(body: &[u8]) -> Read<Self> {
        let mut body = Reader(body);
        let legacy_version = u16::from_be_bytes(body.array()?);
        let _random: [u8; 32] = body.array()?;
        if body.vector8()?.len() > SESSION_ID_BYTES_MAX {
            return Err(NotAClientHello("the session id is longer than 32 bytes"));
        }
        let cipher_suites = codes(body.vector16()?)?;
        if body.vector8()?.is_empty() {
            return Err(NotAClientHello("there is no compression method"));
        }
        let mut hello = Self { legacy_version, cipher_suites, ..Self::default() };
        // Before TLS 1.3 a client may end here (RFC 5246 §7.4.1.2).
        if !body.0.is_empty() {
            hello.read_extensions(body.vector16()?)?;
        }
        body.end()?;
        Ok(hello)
    }

    fn read_extensions(&mut self, extensions: &[u8]) -> Read<()> {
        let (mut rest, mut kinds) = (Reader(extensions), Vec::new());
        while !rest.0.is_empty() {
            let kind = u16::from_be_bytes(rest.array()?);
            self.read_extension(kind, rest.vector16()?)?;
            kinds.push(kind);
        }
        self.extensions = kinds.iter().copied().filter(|kind| !is_grease(*kind)).collect();
        self.has_server_name = kinds.contains(&SERVER_NAME);
        kinds.sort_unstable();
        if kinds.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(NotAClientHello("an extension comes twice"));
        }
        Ok(())
    }

    fn read_extension(&mut self, kind: u16, content: &[u8]) -> Read<()> {
        let mut content = Reader(content);
        match kind {
            SUPPORTED_VERSIONS => self.versions = codes(content.vector8()?)?,
            SIGNATURE_ALGORITHMS => self.signature_algorithms = codes(content.vector16()?)?,
            ALPN => self.first_alpn = first_alpn(content.vector16()?)?,
            // Their contents are the TLS library's to judge.
            _ => return Ok(()),
        }
        content.end()
    }
}

/// Why bytes are not a `ClientHello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAClientHello(&'static str);

impl fmt::Display for NotAClientHello {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not a TLS client's first message: {}", self.0)
    }
}

impl Error for NotAClientHello {}

/// Reads the `ClientHello` at the start of what a client sent, from one TLS record or from several.
///
/// `Ok(None)` while bytes are missing; then all of them are to be given again, with those that came. What follows
/// the message is not looked at. Copies the message, and never more than [`CLIENT_HELLO_BYTES_MAX`] and a record.
///
/// # Errors
/// As soon as the bytes can no longer become a `ClientHello` within the bound.
pub fn client_hello(bytes: &[u8]) -> Result<Option<ClientHello>, NotAClientHello> {
    let (mut message, mut rest) = (Vec::new(), bytes);
    while let Some((fragment, after)) = next_fragment(rest)? {
        message.extend_from_slice(fragment);
        rest = after;
        if let Some(body) = whole_body(&message)? {
            return ClientHello::read(body).map(Some);
        }
    }
    Ok(None)
}

/// As much as there is of the first record's content, and what follows it (RFC 8446 §5.1). The record's version
/// says nothing but that this is TLS.
fn next_fragment(bytes: &[u8]) -> Read<Option<(&[u8], &[u8])>> {
    match bytes {
        [kind, ..] if *kind != HANDSHAKE => Err(NotAClientHello("a record is not of the handshake")),
        [_, major, ..] if *major != 3 => Err(NotAClientHello("a record is not of TLS")),
        [_, _, _, high, low, rest @ ..] => match usize::from(u16::from_be_bytes([*high, *low])) {
            0 => Err(NotAClientHello("a record is empty")),
            length if length > FRAGMENT_BYTES_MAX => Err(NotAClientHello("a record is longer than 16 KiB")),
            length => Ok(Some(rest.split_at(length.min(rest.len())))),
        },
        _ => Ok(None),
    }
}

/// What stands behind the message's head (RFC 8446 §4), once it is whole.
fn whole_body(message: &[u8]) -> Read<Option<&[u8]>> {
    match message {
        [kind, ..] if *kind != CLIENT_HELLO => Err(NotAClientHello("another message comes first")),
        [_, length, ..] if *length != 0 => Err(NotAClientHello("it is longer than 65535 bytes")),
        [_, _, high, low, rest @ ..] => Ok(rest.get(..usize::from(u16::from_be_bytes([*high, *low])))),
        _ => Ok(None),
    }
}

const _: () = assert!(CLIENT_HELLO_BYTES_MAX == u16::MAX as usize, "`whole_body` reads lengths of two bytes");

/// The first protocol of a list (RFC 7301 §3.1) that is not GREASE.
fn first_alpn(list: &[u8]) -> Read<Option<Vec<u8>>> {
    let (mut rest, mut first) = (Reader(list), None);
    if list.is_empty() {
        return Err(NotAClientHello("a list is empty"));
    }
    while !rest.0.is_empty() {
        let name = rest.vector8()?;
        if name.is_empty() {
            return Err(NotAClientHello("a protocol has no name"));
        }
        let is_grease = matches!(name, [high, low] if is_grease(u16::from_be_bytes([*high, *low])));
        if first.is_none() && !is_grease {
            first = Some(name.to_vec());
        }
    }
    Ok(first)
}

/// A list of numbers, which may not be empty, without GREASE.
fn codes(list: &[u8]) -> Read<Vec<u16>> {
    let (pairs, odd) = list.as_chunks();
    if !odd.is_empty() {
        return Err(NotAClientHello("a list ends within a number"));
    }
    if pairs.is_empty() {
        return Err(NotAClientHello("a list is empty"));
    }
    Ok(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).filter(|code| !is_grease(*code)).collect())
}

/// `0x0a0a`, `0x1a1a` and so on to `0xfafa` (RFC 8701 §2).
const fn is_grease(code: u16) -> bool {
    let [high, low] = code.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// As JA4 writes it; DTLS has no business here, and is in its table.
const fn version_name(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// The first twelve hexadecimal digits.
fn hash(text: &str, sha256: impl Fn(&[u8]) -> [u8; 32]) -> String {
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    let digits = sha256(text.as_bytes()).into_iter().flat_map(|byte| [byte >> 4, byte]).map(hex_digit);
    digits.take(NOTHING.len()).collect()
}

fn sorted_hex_list(mut codes: Vec<u16>) -> String {
    codes.sort_unstable();
    hex_list(&codes)
}

/// `0005,000a,ff01`
fn hex_list(codes: &[u16]) -> String {
    let mut text = String::with_capacity(codes.len() * "0005,".len());
    for code in codes {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(code.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte]).map(hex_digit));
    }
    text
}

/// Of the lower four bits.
fn hex_digit(byte: u8) -> char {
    char::from_digit(u32::from(byte & 0x0f), 16).unwrap_or_default()
}

/// What is left to read. An `Err` where it is less than a length says.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Behind a length of one byte (RFC 8446 §3.4).
    fn vector8(&mut self) -> Read<&'a [u8]> {
        let [length] = self.array()?;
        self.bytes(usize::from(length))
    }

    /// Behind a length of two bytes.
    fn vector16(&mut self) -> Read<&'a [u8]> {
        let length = u16::from_be_bytes(self.array()?);
        self.bytes(usize::from(length))
    }

    const fn end(&self) -> Read<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(NotAClientHello("bytes follow where there should be an end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The example of JA4's specification, as a browser sends it: with GREASE in every list.
    const CIPHERS: &[u16] = &[
        0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
        0x009c, 0x009d, 0x002f, 0x0035,
    ];
    const EXTENSIONS: &[u16] = &[
        0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
        0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0xfafa,
    ];
    const ALGORITHMS: &[u16] = &[0x1a1a, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

    const CIPHERS_TEXT: &str = "002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9";
    const EXTENSIONS_TEXT: &str = "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01";
    const ALGORITHMS_TEXT: &str = "0403,0804,0401,0503,0805,0501,0806,0601";

    fn list(codes: &[u16]) -> Vec<u8> {
        codes.iter().flat_map(|code| code.to_be_bytes()).collect()
    }

    fn vector8(bytes: &[u8]) -> Vec<u8> {
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn vector16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector16(content)].concat()
    }

    fn alpn(names: &[&[u8]]) -> Vec<u8> {
        extension(ALPN, &vector16(&names.iter().flat_map(|name| vector8(name)).collect::<Vec<_>>()))
    }

    /// What stands before the extensions.
    fn start(version: u16, ciphers: &[u16]) -> Vec<u8> {
        let random = [7; 32];
        let [session, ciphers, compression] = [vector8(&[9; 32]), vector16(&list(ciphers)), vector8(&[0])];
        [&version.to_be_bytes()[..], &random, &session, &ciphers, &compression].concat()
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO], &length[1..], body].concat()
    }

    fn record(fragment: &[u8]) -> Vec<u8> {
        [&[HANDSHAKE, 3, 1][..], &vector16(fragment)].concat()
    }

    /// In one record, with these extensions.
    fn hello(version: u16, ciphers: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
        record(&message(&[start(version, ciphers), vector16(&extensions.concat())].concat()))
    }

    fn browser() -> Vec<u8> {
        let extensions = EXTENSIONS.iter().map(|kind| match *kind {
            SERVER_NAME => extension(SERVER_NAME, b"\0\x0e\0\0\x0bexample.com"),
            ALPN => alpn(&[b"h2", b"http/1.1"]),
            SIGNATURE_ALGORITHMS => extension(*kind, &vector16(&list(ALGORITHMS))),
            SUPPORTED_VERSIONS => extension(*kind, &vector8(&list(&[0xdada, 0x0303, 0x0304]))),
            _ => extension(*kind, &[1, 2, 3]),
        });
        hello(0x0303, CIPHERS, &extensions.collect::<Vec<_>>())
    }

    fn read(bytes: &[u8]) -> ClientHello {
        client_hello(bytes).unwrap().unwrap()
    }

    fn why(bytes: &[u8]) -> &'static str {
        client_hello(bytes).unwrap_err().0
    }

    /// The fingerprint, and the texts that were hashed. The hashes are those of `sha256sum`.
    fn ja4(hello: &ClientHello) -> (String, Vec<String>) {
        let texts = RefCell::new(Vec::new());
        let with_algorithms = format!("{EXTENSIONS_TEXT}_{ALGORITHMS_TEXT}");
        let fingerprint = hello.ja4(|text| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let start: [u8; 7] = match text.as_str() {
                CIPHERS_TEXT => [0x8d, 0xaa, 0xf6, 0x15, 0x27, 0x71, 0xe3],
                EXTENSIONS_TEXT => [0x6d, 0x80, 0x7f, 0xfa, 0x2a, 0x79, 0x9a],
                other if other == with_algorithms => [0xe5, 0x62, 0x7e, 0xfa, 0x2a, 0xb1, 0x97],
                _ => [0x0f; 7],
            };
            texts.borrow_mut().push(text);
            let mut hash = [0xff; 32];
            hash[..7].copy_from_slice(&start);
            hash
        });
        (fingerprint, texts.into_inner())
    }

    #[test]
    fn a_browsers_hello_is_read_without_grease() {
        let hello = read(&browser());
        assert_eq!(hello.legacy_version, 0x0303);
        assert_eq!(hello.versions, [0x0303, 0x0304]);
        assert_eq!(hello.cipher_suites, CIPHERS[1..]);
        assert_eq!(hello.extensions, EXTENSIONS[1..17]);
        assert_eq!(hello.signature_algorithms, ALGORITHMS[1..]);
        assert!(hello.has_server_name);
        assert_eq!(hello.first_alpn.as_deref(), Some(&b"h2"[..]));
    }

    #[test]
    fn only_the_sixteen_values_are_grease() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|code| is_grease(*code)).collect();
        let want: Vec<u16> = (0..16).map(|high| 0x0a0a + high * 0x1010).collect();
        assert_eq!(grease, want);
    }

    #[test]
    fn the_specifications_example_has_its_fingerprint() {
        let browser = read(&browser());
        let quiet = ClientHello { signature_algorithms: Vec::new(), ..browser.clone() };
        let with_algorithms = format!("{EXTENSIONS_TEXT}_{ALGORITHMS_TEXT}");
        for (name, hello, want, extensions) in [
            ("whole", &browser, "t13d1516h2_8daaf6152771_e5627efa2ab1", with_algorithms.as_str()),
            ("no signature algorithms", &quiet, "t13d1516h2_8daaf6152771_6d807ffa2a79", EXTENSIONS_TEXT),
        ] {
            let (fingerprint, texts) = ja4(hello);
            assert_eq!(fingerprint, want, "{name}");
            assert_eq!(texts, [CIPHERS_TEXT, extensions], "{name}");
        }
    }

    #[test]
    fn the_first_part_tells_version_name_counts_and_protocol() {
        let versions = |list_: &[u16]| extension(SUPPORTED_VERSIONS, &vector8(&list(list_)));
        let name = extension(SERVER_NAME, b"");
        let many: Vec<u16> = (0x2000..0x2100).collect();
        let kinds = |count: u16| (0..count).map(|kind| extension(0x3000 + kind, b"")).collect::<Vec<_>>();
        for (name, bytes, want) in [
            ("tls 1.2, nothing else", record(&message(&start(0x0303, &[0x002f]))), "t12i010000"),
            ("tls 1.2, no extension", hello(0x0303, &[0x002f], &[]), "t12i010000"),
            ("tls 1.1", hello(0x0302, &[0x002f], &[]), "t11i010000"),
            ("tls 1.0", hello(0x0301, &[0x002f], &[]), "t10i010000"),
            ("ssl 3", hello(0x0300, &[0x002f], &[]), "ts3i010000"),
            ("ssl 2", hello(0x0002, &[0x002f], &[]), "ts2i010000"),
            ("dtls 1.2", hello(0xfefd, &[0x002f], &[]), "td2i010000"),
            ("unknown version", hello(0x0305, &[0x002f], &[]), "t00i010000"),
            (
                "the highest version",
                hello(0x0303, &[1], &[versions(&[0x0301, 0x0304, 0x0303])]),
                "t13i010100",
            ),
            ("the list goes first", hello(0x0304, &[1], &[versions(&[0x0301])]), "t10i010100"),
            ("grease is no version", hello(0x0303, &[1], &[versions(&[0xfafa, 0x0304])]), "t13i010100"),
            ("nothing but grease", hello(0x0303, &[1], &[versions(&[0xfafa])]), "t12i010100"),
            ("a server's name", hello(0x0303, &[1, 2], &[name]), "t12d020100"),
            ("99 and no more", hello(0x0303, &many, &kinds(100)), "t12i999900"),
            ("grease does not count", hello(0x0303, &[0x1a1a, 1], &[extension(0x2a2a, b"")]), "t12i010000"),
            ("signals count", hello(0x0303, &[0x00ff, 0x5600, 0xfe00], &[]), "t12i030000"),
        ] {
            assert_eq!(&ja4(&read(&bytes)).0[..10], want, "{name}");
        }
    }

    #[test]
    fn a_protocol_is_told_by_its_ends() {
        for (name, names, want) in [
            ("h2", &[&b"h2"[..], b"http/1.1"][..], "h2"),
            ("http/1.1", &[b"http/1.1", b"h2"], "h1"),
            ("one character", &[b"x"], "xx"),
            ("capitals stay", &[b"Az"], "Az"),
            ("one odd byte", &[b"\xab"], "ab"),
            ("two odd bytes", &[b"\xab\xcd"], "ad"),
            ("odd end", &[b"0\xab"], "3b"),
            ("odd end, longer", &[b"01\xab\xcd"], "3d"),
            ("odd middle", &[b"0\xab\xcd1"], "01"),
            ("odd start", &[b"-a"], "21"),
            ("space", &[b" "], "20"),
            ("letters beyond ASCII", &["é".as_bytes()], "c9"),
            ("grease first", &[b"\x1a\x1a", b"h2"], "h2"),
            ("nothing but grease", &[b"\x1a\x1a"], "00"),
            ("not quite grease", &[b"\x1a\x2a"], "1a"),
        ] {
            assert_eq!(&ja4(&read(&hello(0x0303, &[1], &[alpn(names)]))).0[8..10], want, "{name}");
        }
        let nameless = ClientHello { first_alpn: Some(Vec::new()), ..ClientHello::default() };
        assert_eq!(&ja4(&nameless).0[8..10], "00", "made by hand");
    }

    #[test]
    fn nothing_is_not_hashed() {
        let grease = [0x1a1a];
        let told = [extension(SERVER_NAME, b""), alpn(&[b"h2"])];
        for (name, bytes, want) in [
            ("only grease", hello(0x0303, &grease, &[]), "t12i000000_000000000000_000000000000"),
            ("only what is told", hello(0x0303, &grease, &told), "t12d0002h2_000000000000_000000000000"),
        ] {
            assert_eq!(ja4(&read(&bytes)), (want.to_owned(), Vec::new()), "{name}");
        }
        let odd = ClientHello { signature_algorithms: vec![0x0403], ..ClientHello::default() };
        assert_eq!(ja4(&odd).0, "t00i000000_000000000000_000000000000", "made by hand");
    }

    #[test]
    fn order_matters_to_algorithms_only() {
        let hello = read(&browser());
        let mut shuffled = hello.clone();
        shuffled.cipher_suites.reverse();
        shuffled.extensions.reverse();
        assert_eq!(ja4(&shuffled), ja4(&hello));
        shuffled.signature_algorithms.reverse();
        assert_ne!(ja4(&shuffled), ja4(&hello));
    }

    #[test]
    fn records_of_any_size_are_read_as_one() {
        let whole = browser();
        let (want, message) = (read(&whole), &whole[5..]);
        for cut in 1..message.len() {
            let (left, right) = message.split_at(cut);
            assert_eq!(read(&[record(left), record(right)].concat()), want, "cut at {cut}");
            assert_eq!(client_hello(&record(left)), Ok(None), "only {cut}");
            assert_eq!(read(&message.chunks(cut).flat_map(record).collect::<Vec<_>>()), want, "each {cut}");
        }
    }

    #[test]
    fn what_follows_is_not_looked_at() {
        let mut bytes = browser();
        let want = read(&bytes);
        bytes.extend(b"\x14\x03\x03\0\x01\x01GET / HTTP/1.1\r\n\r\n");
        assert_eq!(read(&bytes), want);
        let longer = record(&[&browser()[5..], &[0xff; 9]].concat());
        assert_eq!(read(&longer), want, "in the same record");
    }

    #[test]
    fn the_start_of_a_hello_needs_more() {
        let bytes = browser();
        for end in 0..bytes.len() {
            assert_eq!(client_hello(&bytes[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn what_stops_short_within_the_message_is_refused() {
        let whole = browser();
        let without_extensions = start(0x0303, CIPHERS).len();
        for end in 0..whole.len() - 9 {
            let cut = client_hello(&record(&message(&whole[9..9 + end])));
            assert_eq!(cut.is_err(), end != without_extensions, "{end} bytes");
        }
    }

    #[test]
    fn no_changed_byte_makes_it_panic() {
        let whole = browser();
        for at in 0..whole.len() {
            for byte in
                [0, 1, 0x7f, 0xff, whole[at] ^ 1, whole[at].wrapping_add(1), whole[at].wrapping_sub(1)]
            {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Ok(Some(hello)) = client_hello(&changed) {
                    let (fingerprint, _) = ja4(&hello);
                    assert!(fingerprint.len() == 36 && fingerprint.is_ascii(), "{at}: {byte}: {fingerprint}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_hello_is_refused_as_soon_as_it_shows() {
        let length_65536 = [CLIENT_HELLO, 1, 0, 0];
        for (name, bytes, want) in [
            ("http", b"G".to_vec(), "a record is not of the handshake"),
            ("ssl 2", vec![0x80, 0x2e, 1, 3, 1], "a record is not of the handshake"),
            (
                "an alert in between",
                [record(&[CLIENT_HELLO]), vec![21]].concat(),
                "a record is not of the handshake",
            ),
            ("no tls", vec![HANDSHAKE, 2], "a record is not of TLS"),
            ("empty record", vec![HANDSHAKE, 3, 1, 0, 0], "a record is empty"),
            ("long record", vec![HANDSHAKE, 3, 1, 0x40, 1], "a record is longer than 16 KiB"),
            ("server hello", record(&[2]), "another message comes first"),
            ("long message", record(&length_65536), "it is longer than 65535 bytes"),
        ] {
            assert_eq!(why(&bytes), want, "{name}");
        }
        assert_eq!(
            NotAClientHello("a record is empty").to_string(),
            "not a TLS client's first message: a record is empty",
        );
    }

    #[test]
    fn the_longest_message_is_read() {
        let start = start(0x0303, &[0x002f]);
        let padding = CLIENT_HELLO_BYTES_MAX - start.len() - 2 - 4;
        let body = [start, vector16(&extension(0x0015, &vec![0; padding]))].concat();
        assert_eq!(body.len(), CLIENT_HELLO_BYTES_MAX);
        let records = |size| message(&body).chunks(size).flat_map(record).collect::<Vec<_>>();
        assert_eq!(read(&records(FRAGMENT_BYTES_MAX)).extensions, [0x0015]);
        let all = records(FRAGMENT_BYTES_MAX);
        assert_eq!(client_hello(&all[..all.len() - 1]), Ok(None));
        assert_eq!(read(&records(1)), read(&all));
    }

    #[test]
    fn a_hello_that_is_malformed_is_refused() {
        let body = |parts: &[&[u8]]| record(&message(&[&[3, 3][..], &[7; 32], &parts.concat()].concat()));
        let with = |extensions: &[u8]| body(&[&[0], &vector16(&[0, 1]), &[1, 0], extensions]);
        let one = |kind, content: &[u8]| with(&vector16(&extension(kind, content)));
        let ext = |kind, content: &[u8]| extension(kind, content);
        for (name, bytes, want) in [
            ("no body", record(&message(&[])), TOO_SHORT.0),
            ("session id", body(&[&[33; 34], &[0, 2, 0, 1, 1, 0]]), "the session id is longer than 32 bytes"),
            ("no cipher suites", body(&[&[0], &[0, 0], &[1, 0]]), "a list is empty"),
            ("odd cipher suites", body(&[&[0], &[0, 3, 0, 1, 2], &[1, 0]]), "a list ends within a number"),
            ("half a cipher suite", body(&[&[0], &[0, 1, 0], &[1, 0]]), "a list ends within a number"),
            ("no compression", body(&[&[0], &[0, 2, 0, 1], &[0]]), "there is no compression method"),
            ("half a length", with(&[0]), TOO_SHORT.0),
            ("long extensions", with(&[0, 1]), TOO_SHORT.0),
            ("short extensions", with(&[0, 0, 9]), "bytes follow where there should be an end"),
            ("half an extension", with(&vector16(&[0, 5, 0])), TOO_SHORT.0),
            ("long extension", with(&vector16(&[0, 5, 0, 2, 1])), TOO_SHORT.0),
            (
                "twice",
                with(&vector16(&[ext(5, b""), ext(6, b""), ext(5, b"")].concat())),
                "an extension comes twice",
            ),
            ("grease twice", with(&vector16(&ext(0x0a0a, b"").repeat(2))), "an extension comes twice"),
            ("no versions", one(SUPPORTED_VERSIONS, &[]), TOO_SHORT.0),
            ("empty versions", one(SUPPORTED_VERSIONS, &[0]), "a list is empty"),
            ("odd versions", one(SUPPORTED_VERSIONS, &[3, 3, 4, 3]), "a list ends within a number"),
            ("long versions", one(SUPPORTED_VERSIONS, &[4, 3, 4]), TOO_SHORT.0),
            (
                "short versions",
                one(SUPPORTED_VERSIONS, &[2, 3, 4, 3, 3]),
                "bytes follow where there should be an end",
            ),
            ("empty algorithms", one(SIGNATURE_ALGORITHMS, &[0, 0]), "a list is empty"),
            ("odd algorithms", one(SIGNATURE_ALGORITHMS, &[0, 3, 4, 3, 4]), "a list ends within a number"),
            ("long algorithms", one(SIGNATURE_ALGORITHMS, &[0, 4, 4, 3]), TOO_SHORT.0),
            ("no protocols", one(ALPN, &[0, 0]), "a list is empty"),
            ("nameless protocol", one(ALPN, &[0, 1, 0]), "a protocol has no name"),
            ("second is nameless", one(ALPN, b"\0\x04\x02h2\0"), "a protocol has no name"),
            ("long protocol", one(ALPN, b"\0\x03\x03h2"), TOO_SHORT.0),
            ("short protocols", one(ALPN, b"\0\x03\x02h2\0"), "bytes follow where there should be an end"),
        ] {
            assert_eq!(why(&bytes), want, "{name}");
        }
    }
}
