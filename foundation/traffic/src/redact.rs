// SPDX-License-Identifier: Apache-2.0
//! What must not reach the audit log.

use std::borrow::Cow;
use std::net::IpAddr;

/// What stands in place of a secret value.
const MASK: &str = "[redacted]";

/// Hides the values of some keys in query strings.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    keys: Vec<String>,
}

impl Redaction {
    /// Keys are compared without regard to case, after percent-decoding.
    pub fn new(keys: &[String]) -> Self {
        Self { keys: keys.iter().map(|key| key.to_ascii_lowercase()).collect() }
    }

    /// The query with the values of secret keys replaced.
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let is_secret = |pair: &str| {
            pair.split_once('=').is_some_and(|(key, value)| !value.is_empty() && self.hides(key))
        };
        if !query.split('&').any(is_secret) {
            return Cow::Borrowed(query);
        }
        let mut result = String::with_capacity(query.len());
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                result.push('&');
            }
            match pair.split_once('=') {
                Some((key, value)) if !value.is_empty() && self.hides(key) => {
                    result.push_str(key);
                    result.push('=');
                    result.push_str(MASK);
                }
                _ => result.push_str(pair),
            }
        }
        Cow::Owned(result)
    }

    /// A URL with its query redacted and its user information and fragment removed.
    pub fn url<'a>(&self, url: &'a str) -> Cow<'a, str> {
        if !url.contains(['#', '?', '@']) {
            return Cow::Borrowed(url);
        }
        let url = url.split_once('#').map_or(url, |(before, _)| before);
        let (head, query) = url.split_once('?').map_or((url, None), |(head, query)| (head, Some(query)));
        let mut result = match head.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                format!("{scheme}://{host}{path}")
            }
            None => head.to_owned(),
        };
        if let Some(query) = query {
            result.push('?');
            result.push_str(&self.query(query));
        }
        Cow::Owned(result)
    }

    /// Whether what stands under this key is a secret.
    pub fn hides(&self, key: &str) -> bool {
        if key.contains(['%', '+']) { self.hides_decoded(&decoded(key)) } else { self.hides_decoded(key) }
    }

    fn hides_decoded(&self, key: &str) -> bool {
        // `user[password]` and `user.password` are how frameworks nest forms.
        let last = key.trim_end_matches(']').rsplit(['[', '.']).next().unwrap_or_default();
        self.keys.iter().any(|hidden| hidden.eq_ignore_ascii_case(key) || hidden.eq_ignore_ascii_case(last))
    }
}

/// The address with its host part cut off: /24, /48.
pub fn truncated_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (byte == b'%').then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?))).flatten();
        match digits {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secret_values_are_hidden_however_the_key_is_written() {
        let redaction = Redaction::new(&["token".into(), "password".into()]);
        for (query, want) in [
            ("a=1&token=abc&b=2", "a=1&token=[redacted]&b=2"),
            ("TOKEN=abc", "TOKEN=[redacted]"),
            ("%74oken=abc", "%74oken=[redacted]"),
            ("user[password]=x", "user[password]=[redacted]"),
            ("user%5Bpassword%5D=x", "user%5Bpassword%5D=[redacted]"),
            ("token=", "token="),
            ("tokens=abc", "tokens=abc"),
            ("", ""),
        ] {
            assert_eq!(redaction.query(query), want);
        }
        assert_eq!(
            redaction.url("https://u:p@a.example/x?token=abc&y=1#frag"),
            "https://a.example/x?token=[redacted]&y=1"
        );
    }

    #[test]
    fn addresses_lose_their_host_part() {
        for (full, want) in [
            ("203.0.113.42", "203.0.113.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1::"),
            ("::ffff:1.2.3.4", "1.2.3.0"),
        ] {
            assert_eq!(truncated_address(full.parse().unwrap()), want.parse::<IpAddr>().unwrap());
        }
    }

    proptest! {
        #[test]
        fn the_secret_never_survives(before in "[a-z&=%0-9]{0,20}", secret in "[A-Z]{12}") {
            let redaction = Redaction::new(&["token".into()]);
            let query = format!("{before}&token={secret}");
            prop_assert!(!redaction.query(&query).contains(&secret));
        }
    }
}
