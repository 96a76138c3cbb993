// SPDX-License-Identifier: Apache-2.0
//! Requests that were refused without a layer of judging: their pages name an id, too.

use http::StatusCode;

/// Who refused a request, and why, in fixed words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    by: By,
    pub(crate) reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Protocol,
    Limits,
    Challenge,
}

impl Refused {
    /// By what an answer of our own says; `None`: that is no refusal of the request.
    pub(crate) fn by_status(status: StatusCode) -> Option<Self> {
        let (by, reason) = match status.as_u16() {
            400 => (By::Protocol, "malformed"),
            405 => (By::Protocol, "method"),
            421 => (By::Protocol, "unknown_host"),
            501 => (By::Protocol, "not_implemented"),
            408 => (By::Limits, "too_slow"),
            413 => (By::Limits, "body_too_large"),
            414 => (By::Limits, "url_too_long"),
            429 => (By::Limits, "too_many_at_once"),
            431 => (By::Limits, "head_too_large"),
            _ => return None,
        };
        Some(Self { by, reason })
    }

    /// By a challenge that was not solved.
    pub(crate) const fn by_challenge(reason: &'static str) -> Self {
        Self { by: By::Challenge, reason }
    }

    /// In the place of a layer's name.
    pub(crate) const fn layer(self) -> &'static str {
        self.by.as_str()
    }

    /// In a row on the disk.
    pub(crate) const fn number(self) -> u8 {
        self.by.number()
    }
}

impl By {
    const ALL: [Self; 3] = [Self::Protocol, Self::Limits, Self::Challenge];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Limits => "limits",
            Self::Challenge => "challenge",
        }
    }

    /// Never given to another; layers have those from 1.
    const fn number(self) -> u8 {
        match self {
            Self::Protocol => 129,
            Self::Limits => 130,
            Self::Challenge => 131,
        }
    }
}

/// The number of what is no layer, by its name.
pub(crate) fn number_of(name: &str) -> Option<u8> {
    By::ALL.into_iter().find(|by| by.as_str() == name).map(By::number)
}

/// What whoever wants such a request to pass can do.
pub(crate) fn remedy(layer: &str, reason: &str) -> Option<String> {
    let text = match (layer, reason) {
        ("protocol", "unknown_host") => "no route names its host: add one to `[[routes]]`",
        ("protocol", "malformed") => {
            "it could be read in two ways, or broke off: nothing lets such a request pass; `error` in the audit log says what"
        }
        ("protocol", _) => "this method or protocol is not served here",
        ("limits", "body_too_large") => {
            "it is larger than `limits.max_body_bytes`, or its route's `max_body_bytes`"
        }
        ("limits", "url_too_long") => "its target is longer than `limits.max_url_bytes`",
        ("limits", "head_too_large") => {
            "its head is larger than `limits.max_header_bytes` or `limits.max_headers`"
        }
        ("limits", "too_slow") => {
            "it came more slowly than `limits.header_timeout_secs` and `limits.min_body_rate_bytes` want it"
        }
        ("limits", _) => "its address had too many requests at once",
        ("challenge", "no_cookie") => {
            "its browser did not bring back the challenge's cookie: cookies are off, or blocked there"
        }
        ("challenge", "capped") => {
            "too many challenges were solved from its address today: `challenge.per_address_solves`"
        }
        ("challenge", _) => {
            "its browser did not solve the challenge; `[[routes]] protect.challenge = \"off\"` asks nobody there"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
