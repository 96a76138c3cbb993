// SPDX-License-Identifier: Apache-2.0
//! Which codings a client takes, from `Accept-Encoding` (RFC 9110, section 12.5.3).

use std::cmp::Reverse;

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::coding::Coding;

/// The compressing codings that a client takes and likes at least as well as no coding, best first.
/// `deflate` is never among them: clients do not agree on what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Sorted; a quality of 0 is "not acceptable".
    ranked: [(Coding, Quality); 3],
}

impl Accepted {
    /// Reads all `Accept-Encoding` lines, up to 16 entries. At equal quality zstd comes before
    /// brotli before gzip. An entry that is malformed counts as absent; the first of two alike counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let (mut listed, mut star, mut identity) = ([None; PREFERENCE.len()], None, None);
        for (token, quality) in entries(headers) {
            let slot = match Coding::from_token(token) {
                _ if token == "*" => &mut star,
                Some(Coding::Identity) => &mut identity,
                Some(coding) => match PREFERENCE.iter().position(|known| *known == coding) {
                    Some(place) => &mut listed[place],
                    None => continue,
                },
                None => continue,
            };
            slot.get_or_insert(quality);
        }
        // Unless the client says so, no coding is its last choice.
        let floor = identity.unwrap_or(0);
        let mut place = 0;
        let mut ranked = PREFERENCE.map(|coding| {
            let quality = listed[place].or(star).unwrap_or(0);
            place += 1;
            (coding, if quality >= floor { quality } else { 0 })
        });
        ranked.sort_by_key(|(_, quality)| Reverse(*quality));
        Self { ranked }
    }

    /// The coding to send: the best, else identity. Identity also answers a client that refuses everything: a
    /// body it can probably read is of more use than 406, and the RFC leaves the choice.
    pub fn best(&self) -> Coding {
        self.codings().next().unwrap_or(Coding::Identity)
    }

    /// The codings, best first.
    pub fn codings(&self) -> impl Iterator<Item = Coding> {
        self.ranked.into_iter().filter(|(_, quality)| *quality > 0).map(|(coding, _)| coding)
    }

    /// Their names, best first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.codings().map(Coding::as_str)
    }
}

/// In thousandths.
type Quality = u16;

fn entries(headers: &HeaderMap) -> impl Iterator<Item = (&str, Quality)> {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .take(ENTRIES_MAX)
        .filter_map(entry)
}

fn entry(text: &str) -> Option<(&str, Quality)> {
    match text.split_once(';') {
        None => Some((text.trim(), QUALITY_ONE)),
        Some((token, parameter)) => {
            let (name, value) = parameter.split_once('=')?;
            let quality = name.trim().eq_ignore_ascii_case("q").then(|| quality(value.trim()))??;
            Some((token.trim(), quality))
        }
    }
}

/// `0`, `1`, or either with up to three decimals, and not above one.
fn quality(text: &str) -> Option<Quality> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(QUALITY_ONE),
        _ => None,
    }
}

const QUALITY_ONE: Quality = 1000;

/// What we like to send, best first.
const PREFERENCE: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// Entries read, over all lines. Browsers send five.
const ENTRIES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accepting(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn the_best_accepted_coding_is_chosen() {
        let late = format!("{}zstd", "x,".repeat(ENTRIES_MAX));
        for (name, lines, want) in [
            ("no header", &[][..], Coding::Identity),
            ("empty", &[""], Coding::Identity),
            ("a browser", &["gzip, deflate, br, zstd"], Coding::Zstd),
            ("without zstd", &["gzip, deflate, br"], Coding::Brotli),
            ("gzip", &["gzip"], Coding::Gzip),
            ("the old name", &["x-gzip"], Coding::Gzip),
            ("capitals", &["GZIP;Q=0.5"], Coding::Gzip),
            ("deflate alone", &["deflate"], Coding::Identity),
            ("qualities", &["zstd;q=0.1, gzip;q=0.9, br;q=0.5"], Coding::Gzip),
            ("equal qualities", &["gzip;q=0.5, br;q=0.50"], Coding::Brotli),
            ("refused", &["zstd;q=0, br;q=0.0, gzip"], Coding::Gzip),
            ("star", &["*"], Coding::Zstd),
            ("star, but", &["zstd;q=0, *"], Coding::Brotli),
            ("star below", &["gzip, *;q=0.5"], Coding::Gzip),
            ("star refused", &["*;q=0"], Coding::Identity),
            ("identity liked better", &["gzip;q=0.5, identity"], Coding::Identity),
            ("identity as good", &["gzip, identity"], Coding::Gzip),
            ("identity refused", &["identity;q=0"], Coding::Identity),
            ("identity refused, star", &["identity;q=0, *"], Coding::Zstd),
            ("two lines", &["gzip;q=0.5", "br"], Coding::Brotli),
            ("blanks", &["  br ; q = 0.7 ,gzip ;q=0.6"], Coding::Brotli),
            ("malformed quality", &["br;q=2, zstd;q=x, gzip;q=0.1234"], Coding::Identity),
            ("other parameter", &["br;level=5"], Coding::Identity),
            ("the first counts", &["br;q=0, br, gzip;q=0.1"], Coding::Gzip),
            ("past the bound", &[late.as_str()], Coding::Identity),
        ] {
            assert_eq!(Accepted::of(&accepting(lines)).best(), want, "{name}");
        }
    }

    #[test]
    fn names_are_ranked() {
        let accepted = Accepted::of(&accepting(&["gzip, br;q=0.4, zstd;q=0.5"]));
        assert_eq!(accepted.names().collect::<Vec<_>>(), ["gzip", "zstd", "br"]);
    }

    proptest! {
        #[test]
        fn negotiation_never_panics(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
            likely in "((gzip|br|zstd|\\*|identity)(;q=[0-9.]{0,5})?,? ?){0,20}",
        ) {
            let mut headers = accepting(&[&likely]);
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(ACCEPT_ENCODING, value);
                }
            }
            prop_assert_ne!(Accepted::of(&headers).best(), Coding::Deflate);
        }
    }
}
