// SPDX-License-Identifier: Apache-2.0
//! One request of a data set: kept as it came, never as features, so that old data can be read by new features.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// See the module. Texts are as the client sent them; empty where there was none or the source does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The corpus or log that it is from.
    pub source: String,
    /// Records of one group are never on both sides of a split: near duplicates, one session, one site.
    pub group: String,
    /// What kind of attack, tool or traffic, in the source's words.
    pub class: String,
    /// What is known of it.
    pub label: Option<Label>,
    /// Who says so.
    pub label_source: LabelSource,
    /// How much it counts, in hundredths of a record.
    pub weight_percent: u16,
    /// When it came, in microseconds since 1970; none where the source does not tell.
    pub at_micros: Option<i64>,
    /// Whose it is: an address, or a pseudonym for one.
    pub client: String,
    /// `GET`
    pub method: String,
    /// Without port.
    pub host: String,
    /// Up to the `?`.
    pub path: String,
    /// Past the `?`.
    pub query: String,
    /// `User-Agent`
    pub user_agent: String,
    /// `Referer`
    pub referer: String,
    /// `Accept`
    pub accept: String,
    /// `Accept-Language`
    pub accept_language: String,
    /// Values of the `Cookie` lines; logs keep none.
    pub cookies: String,
    /// Whether any came.
    pub has_cookies: bool,
    /// The fields above are a real client's: corpora of payloads make theirs up, and nothing may learn from those.
    pub has_own_headers: bool,
    /// Corpora only: logs keep no bodies.
    pub body: Vec<u8>,
    /// How the body is read.
    pub body_kind: BodyKind,
    /// The announced length of the body.
    pub content_length: u64,
    /// Of the answer; 0 where the source does not tell.
    pub status: u16,
    /// To the end of the answer.
    pub duration_ms: u64,
    /// Who answered: empty when the proxy did, `static` for files.
    pub backend: String,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// Bytes of a header that are kept: features read no more of it.
const HEADER_BYTES_MAX: usize = 512;
/// Bits of an IPv6 address that tell clients apart: the default of `ddos.ipv6_prefix`.
const IPV6_PREFIX: u32 = 64;

impl Record {
    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        let who = match &self.label_source {
            LabelSource::WafRule(name) | LabelSource::Heuristic(name) => name.capacity(),
            LabelSource::Nobody | LabelSource::Human | LabelSource::Corpus => 0,
        };
        let texts = [
            &self.source,
            &self.group,
            &self.class,
            &self.client,
            &self.method,
            &self.host,
            &self.path,
            &self.query,
            &self.user_agent,
            &self.referer,
            &self.accept,
            &self.accept_language,
            &self.cookies,
            &self.backend,
        ];
        let texts: usize = texts.iter().map(|text| text.capacity()).sum();
        let error = self.error.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + texts + self.body.capacity() + who + error
    }

    /// Cuts what a client may write at any length and of which features read only the beginning.
    pub fn cut_headers(&mut self) {
        let headers = [
            &mut self.host,
            &mut self.user_agent,
            &mut self.referer,
            &mut self.accept,
            &mut self.accept_language,
        ];
        for text in headers.into_iter().chain(&mut self.error) {
            if text.len() > HEADER_BYTES_MAX {
                text.truncate(text.floor_char_boundary(HEADER_BYTES_MAX));
                text.shrink_to_fit();
            }
        }
    }

    /// Who counts as one client, as a node has it: an address, of IPv6 its network, for whoever has one changes his
    /// address within it as he likes; or the pseudonym as it is.
    pub fn client_group(&self) -> Cow<'_, str> {
        match self.client.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(mapped) => mapped.to_string().into(),
                None => {
                    let network = Ipv6Addr::from_bits(address.to_bits() >> IPV6_PREFIX << IPV6_PREFIX);
                    format!("{network}/{IPV6_PREFIX}").into()
                }
            },
            Ok(IpAddr::V4(_)) | Err(_) => Cow::Borrowed(&self.client),
        }
    }
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Label {
    /// People, their browsers, pollers, welcome crawlers.
    Benign,
    /// A probe, an exploit, a flood.
    Attack,
}

/// Who says what a request is. Figures are told by each: what heuristics say is no evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LabelSource {
    /// Nobody.
    #[default]
    Nobody,
    /// A person who looked at it.
    Human,
    /// The corpus is of one kind, or says so line by line; or our own generator made it.
    Corpus,
    /// A rule of a WAF fired.
    WafRule(String),
    /// A heuristic: weak.
    Heuristic(String),
}

/// How a body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// Not at all.
    #[default]
    None,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/json`
    Json,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_takes_memory_and_long_headers_are_cut() {
        let text = || "\u{e9}".repeat(50_000);
        let mut record = Record {
            source: text(),
            group: text(),
            class: text(),
            label_source: LabelSource::Heuristic(text()),
            client: text(),
            method: text(),
            host: text(),
            path: text(),
            query: text(),
            user_agent: text(),
            referer: text(),
            accept: text(),
            accept_language: text(),
            cookies: text(),
            body: text().into_bytes(),
            backend: text(),
            error: Some(text()),
            ..Record::default()
        };
        let (whole, own) = (17 * 100_000, size_of::<Record>());
        assert_eq!(record.bytes(), whole + own);
        record.cut_headers();
        assert_eq!(record.bytes(), whole + own - 6 * (100_000 - HEADER_BYTES_MAX));
        assert_eq!(record.user_agent, "\u{e9}".repeat(HEADER_BYTES_MAX / 2));
        assert_eq!(
            (record.path.len(), record.query.len(), record.cookies.len()),
            (100_000, 100_000, 100_000)
        );
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        for (client, want) in [
            ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
            ("2001:db8:0:1:ffff::2", "2001:db8:0:1::/64"),
            ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("visitor-7", "visitor-7"),
            ("", ""),
        ] {
            assert_eq!(Record { client: client.to_owned(), ..Record::default() }.client_group(), want);
        }
    }
}
