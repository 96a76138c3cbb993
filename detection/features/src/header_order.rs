// SPDX-License-Identifier: Apache-2.0
//! Which header fields a client sends, and in what order: clients of one make send them alike.

use sunbeam_tables::HashKey;

/// The same in every process, so that a fingerprint has one name everywhere.
const KEY: HashKey = HashKey::fixed(0x5ead_0e7e);

/// The fingerprint of a request's field names in their order. Fields that come and go with what a client has
/// seen before (cookies, conditions, lengths) do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderOrder(u64);

impl HeaderOrder {
    /// The next field's name, in lower case.
    pub fn add(&mut self, name: &str) {
        if !is_changeable(name) {
            self.0 = KEY.bytes(self.0, name.as_bytes());
        }
    }

    /// 48 bits of it.
    pub const fn finish(self) -> u64 {
        self.0 >> 16
    }
}

fn is_changeable(name: &str) -> bool {
    matches!(
        name,
        "cookie"
            | "referer"
            | "authorization"
            | "content-length"
            | "content-type"
            | "range"
            | "if-range"
            | "if-none-match"
            | "if-modified-since"
            | "cache-control"
            | "pragma"
            | "origin"
            | "host"
            | "x-request-id"
            | "traceparent"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> u64 {
        let mut order = HeaderOrder::default();
        names.iter().for_each(|name| order.add(name));
        order.finish()
    }

    #[test]
    fn order_counts_and_what_comes_and_goes_does_not() {
        let plain = order(&["user-agent", "accept", "accept-language"]);
        assert_eq!(plain, order(&["host", "user-agent", "cookie", "accept", "referer", "accept-language"]));
        assert_ne!(plain, order(&["accept", "user-agent", "accept-language"]));
        assert_ne!(plain, order(&["user-agent", "accept"]));
        assert!(plain < 1 << 48);
    }
}
