// SPDX-License-Identifier: Apache-2.0
//! Hashes that tell requests, groups and files apart: SHA-256, because who poisons a log may look for collisions.

use sha2::{Digest as _, Sha256};
use sunbeam_features::canonical::{Form, canonical_path, canonical_text};

use crate::Record;

/// What makes two requests the same to a model: method, canonical path, canonical query, body, and, where they
/// are the client's own, agent, referer, languages and what it accepts. The label is no part of it, nor are
/// host, client and time. 128 bits of SHA-256.
pub fn request_key(record: &Record) -> u128 {
    let mut canonical = Vec::with_capacity(record.path.len());
    let mut parts = Parts::default();
    parts.add(record.method.as_bytes());
    canonical_path(record.path.as_bytes(), &mut canonical);
    parts.add(&canonical);
    canonical.clear();
    canonical_text(record.query.as_bytes(), Form::Query, &mut canonical);
    parts.add(&canonical);
    parts.add(&record.body);
    if record.has_own_headers {
        for header in [&record.user_agent, &record.referer, &record.accept, &record.accept_language] {
            parts.add(header.as_bytes());
        }
    }
    parts.finish()
}

/// 128 bits of a text, for sets of texts that may be long or many.
pub(crate) fn text_key(text: &str) -> u128 {
    bytes_key(text.as_bytes())
}

/// The same of bytes.
pub fn bytes_key(bytes: &[u8]) -> u128 {
    let mut parts = Parts::default();
    parts.add(bytes);
    parts.finish()
}

/// 64 bits of a text; `seed` chooses which.
pub(crate) fn seeded(seed: u64, text: &str) -> u64 {
    let mut parts = Parts::default();
    parts.add(&seed.to_le_bytes());
    parts.add(text.as_bytes());
    let [high, ..] = halves(parts.finish());
    high
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Parts that cannot run into each other: each is told with its length.
#[derive(Default)]
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(part);
    }

    fn finish(self) -> u128 {
        let digest: [u8; 32] = self.0.finalize().into();
        digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
    }
}

fn halves(key: u128) -> [u64; 2] {
    let low = u64::try_from(key & u128::from(u64::MAX)).unwrap_or(u64::MAX);
    [u64::try_from(key >> 64).unwrap_or(u64::MAX), low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    #[test]
    fn requests_are_the_same_when_a_model_sees_the_same() {
        let plain = get("a", "g", None, "/login?next=/a b");
        let own = |agent: &str| Record { has_own_headers: true, user_agent: agent.into(), ..plain.clone() };
        for (name, left, right, want) in [
            (
                "another source and label",
                plain.clone(),
                get("b", "h", Some(crate::Label::Attack), "/login?next=/a b"),
                true,
            ),
            ("another encoding", plain.clone(), get("a", "g", None, "/%6cogin?next=%2Fa+b"), true),
            ("another path", plain.clone(), get("a", "g", None, "/logout?next=/a b"), false),
            (
                "the query's part in the path",
                get("a", "g", None, "/ab?c"),
                get("a", "g", None, "/a?bc"),
                false,
            ),
            ("another method", plain.clone(), Record { method: "POST".into(), ..plain.clone() }, false),
            ("a body", plain.clone(), Record { body: b"a=1".to_vec(), ..plain.clone() }, false),
            (
                "agents that are made up",
                plain.clone(),
                Record { user_agent: "x".into(), ..plain.clone() },
                true,
            ),
            ("agents of their own", own("curl/8"), own("Mozilla/5.0"), false),
        ] {
            assert_eq!(request_key(&left) == request_key(&right), want, "{name}");
        }
    }

    #[test]
    fn a_seed_chooses_other_bits() {
        assert_eq!(seeded(1, "group"), seeded(1, "group"));
        assert_ne!(seeded(1, "group"), seeded(2, "group"));
        assert_eq!(hex(&[0, 0xaf]), "00af");
        assert_ne!(text_key("a"), text_key("b"));
    }
}
