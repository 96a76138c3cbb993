// SPDX-License-Identifier: Apache-2.0
//! The address of a backend or an auth server.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::Uri;
use sunbeam_config::{FromItem, Item, Reader, Show, ShownValue};

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

/// `http://name:port/path?query`. The port is always known; user information is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendUrl {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// Given, or 80 or 443.
    pub port: u16,
    /// With its query; `/` when none was given.
    pub path_and_query: String,
    text: String,
}

impl BackendUrl {
    /// `name:port` as it stands in a Host header; the default port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether both lead to the same socket in the same way, however they are written.
    pub fn same_place(&self, other: &Self) -> bool {
        (self.scheme, self.port, &self.host) == (other.scheme, other.port, &other.host)
    }

    /// The URL as the operator wrote it: a configured name, fit for a metric label.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a text is not such an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("`{0}` is not a URL like `http://name:port`")]
    Malformed(String),
    /// Another scheme.
    #[error("`{0}` must begin with `http://` or `https://`")]
    Scheme(String),
    /// `user:password@`
    #[error("a backend's URL cannot carry a user name or password")]
    UserInfo,
}

impl FromStr for BackendUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(text.to_owned());
        let scheme = match text.split_once("://") {
            Some(("http", _)) => Scheme::Http,
            Some(("https", _)) => Scheme::Https,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = uri.host().filter(|host| is_host(host)).ok_or_else(malformed)?;
        let has_port = authority.as_str().len() > host.len();
        let port = match uri.port_u16() {
            Some(0) => return Err(malformed()),
            Some(port) => port,
            None if has_port => return Err(malformed()),
            None => scheme.default_port(),
        };
        Ok(Self {
            scheme,
            host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
            port,
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            text: text.to_owned(),
        })
    }
}

/// A name, or an IPv6 address in brackets. The URI type alone would take `a&b[0]` for a name.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !host.is_empty() && host.bytes().all(is_plain)
        }
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromItem for BackendUrl {
    const EXPECTS: &'static str = "a URL";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        match String::from_item(item, path, reader)?.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                reader.wrong_value(item, path, UrlError::to_string(&error));
                None
            }
        }
    }
}

impl Show for BackendUrl {
    fn show(&self) -> ShownValue {
        ShownValue::String(self.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_scheme_a_name_and_a_port() {
        for (text, want) in [
            ("http://a", Ok((Scheme::Http, "a", 80, "/", "a"))),
            ("https://A.b:8443/x?y=1", Ok((Scheme::Https, "a.b", 8443, "/x?y=1", "a.b:8443"))),
            ("http://[::1]:80", Ok((Scheme::Http, "::1", 80, "/", "[::1]"))),
            ("a:80", Err(UrlError::Scheme("a:80".into()))),
            ("ftp://a", Err(UrlError::Scheme("ftp://a".into()))),
            ("http://u:p@a", Err(UrlError::UserInfo)),
            ("http://", Err(UrlError::Malformed("http://".into()))),
            ("http://a:x", Err(UrlError::Malformed("http://a:x".into()))),
            ("http://a:99999", Err(UrlError::Malformed("http://a:99999".into()))),
            ("http://a:0", Err(UrlError::Malformed("http://a:0".into()))),
            ("http://a&b[0].c/", Err(UrlError::Malformed("http://a&b[0].c/".into()))),
            ("http://[::g]", Err(UrlError::Malformed("http://[::g]".into()))),
            ("http://a%20b", Err(UrlError::Malformed("http://a%20b".into()))),
        ] {
            let got = text.parse::<BackendUrl>();
            let got = got.as_ref().map(|url| {
                (url.scheme, url.host.as_str(), url.port, url.path_and_query.as_str(), url.authority())
            });
            let want = want.map(|(s, h, p, q, a)| (s, h, p, q, a.to_owned()));
            assert_eq!(got.map_err(ToString::to_string), want.map_err(|e| e.to_string()), "{text}");
        }
    }
}
