// SPDX-License-Identifier: Apache-2.0
//! What is odd for one application, learned from its own requests that somebody labelled. Nothing in what ships.

use sunbeam_features::application::{HostKey, Part};

use crate::grams::root;
use crate::stored::Stored;

/// Places of tokens.
pub const TOKENS: usize = 1 << 14;

/// One application has a few names. Of more nobody knows which are the same.
pub const HOSTS_MAX: usize = 16;
const NO_HOST: [u32; 2] = [0; 2];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationModel {
    /// Of tokens, by the top bits of their hash.
    pub weights: [i8; TOKENS],
    /// Of a part with no known token, in 1/256 of a logit.
    pub bias: i32,
    /// From the mean of weights to a logit, in 1/65,536.
    pub scale: i32,
    /// From here on a request is doubtful, in 1/256 of a logit; [`i32::MAX`] in one that knows no application.
    pub doubtful: i32,
    /// The hosts whose requests it learned from: of each the name and its first label ([`HostKey`]), zeros behind the
    /// last. None where nobody told the hosts: then it is asked about every one.
    pub hosts: [[u32; 2]; HOSTS_MAX],
}

impl ApplicationModel {
    /// Knows no application, and is not asked.
    pub const NONE: Self =
        Self { weights: [0; TOKENS], bias: 0, scale: 0, doubtful: i32::MAX, hosts: [NO_HOST; HOSTS_MAX] };

    /// Whether it knows one.
    #[inline]
    pub const fn is_trained(&self) -> bool {
        self.doubtful != i32::MAX
    }

    /// How many hosts it knows; 0 where it is asked about every one.
    pub fn host_count(&self) -> usize {
        self.hosts.iter().filter(|host| **host != NO_HOST).count()
    }

    /// Keeps the hosts that it learned from; of more than [`HOSTS_MAX`] none, so that it is asked about every one.
    pub fn set_hosts(&mut self, hosts: &[HostKey]) {
        self.hosts = [NO_HOST; HOSTS_MAX];
        if hosts.len() <= HOSTS_MAX {
            for (place, host) in self.hosts.iter_mut().zip(hosts) {
                *place = [host.name, host.label];
            }
        }
    }

    /// Whether it is asked about a request to a host. `by_label`: what stands behind the first label does not matter
    /// to who answers there, and so the client chooses it.
    #[inline]
    pub fn is_for(&self, host: &str, by_label: bool) -> bool {
        if !self.is_trained() {
            return false;
        }
        if self.hosts.iter().all(|known| *known == NO_HOST) {
            return true;
        }
        let HostKey { name, label } = HostKey::of(host);
        self.hosts.iter().any(|[known, first]| *known == name || (by_label && *first == label))
    }

    /// Whether the numbers are such that training gives: no threshold lies beyond all logits.
    pub(crate) fn is_possible(&self) -> bool {
        let is_logit = |number: i32| i64::from(number).abs() <= LOGIT_MAX;
        !self.is_trained() || (is_logit(self.bias) && is_logit(self.doubtful) && self.scale >= 0)
    }

    /// How odd a part is: a logit in 1/256. A request is as odd as its oddest part.
    pub fn read(&self, part: &Part<'_>) -> i32 {
        let weight = |token: &u32| self.weights.get(token_place(*token)).copied().map_or(0, i32::from);
        let sum: i32 = part.tokens.iter().map(weight).fold(0, i32::wrapping_add);
        let count = u32::try_from(part.tokens.len()).unwrap_or(u32::MAX);
        let mean = i64::from(sum) * 64 / i64::from(root(count));
        let logit = i64::from(self.bias) + ((mean * i64::from(self.scale)) >> 16);
        i32::try_from(logit.clamp(-LOGIT_MAX, LOGIT_MAX)).unwrap_or(0)
    }
}

/// No logit is larger, so that differences of them fit too.
const LOGIT_MAX: i64 = 1 << 20;

/// Where the weight of a token stands.
#[inline]
pub const fn token_place(token: u32) -> usize {
    (token >> (32 - TOKENS.trailing_zeros())) as usize
}

impl Stored for ApplicationModel {
    fn write(&self, out: &mut Vec<u8>) {
        self.weights.write(out);
        [self.bias, self.scale, self.doubtful].write(out);
        self.hosts.write(out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let weights = Stored::read(input)?;
        let [bias, scale, doubtful] = Stored::read(input)?;
        Some(Self { weights, bias, scale, doubtful, hosts: Stored::read(input)? })
    }

    /// By name where it knows nothing: thousands of zeros say no more.
    fn literal(&self, out: &mut String) {
        if *self == Self::NONE {
            return out.push_str("crate::ApplicationModel::NONE");
        }
        out.push_str("crate::ApplicationModel { weights: ");
        self.weights.literal(out);
        out.push_str(&format!(
            ", bias: {}, scale: {}, doubtful: {}, hosts: ",
            self.bias, self.scale, self.doubtful
        ));
        self.hosts.literal(out);
        out.push_str(" }");
    }
}

#[cfg(test)]
mod tests {
    use sunbeam_features::application::PartKind;

    use super::*;

    #[test]
    fn a_part_is_as_odd_as_its_tokens() {
        let part = |tokens| Part { kind: PartKind::Path, name: b"", tokens };
        let mut model = ApplicationModel { bias: -512, scale: 65_536, doubtful: 0, ..ApplicationModel::NONE };
        let [odd, usual, unknown] = [0_u32, 1 << 18, 2 << 18];
        model.weights[token_place(odd)] = 100;
        model.weights[token_place(usual)] = -50;
        for (tokens, want) in [
            (&[unknown][..], -512),
            (&[odd], -512 + 800),
            (&[usual], -512 - 400),
            (&[odd, unknown, unknown, unknown], -512 + 400),
            (&[odd | 77], -512 + 800),
        ] {
            assert_eq!(model.read(&part(tokens)), want, "{tokens:?}");
        }
        assert!(model.is_trained() && !ApplicationModel::NONE.is_trained());
        assert!(model.is_possible() && ApplicationModel::NONE.is_possible());
        for (bias, scale, doubtful) in [(0, 0, i32::MIN), (i32::MAX, 0, 0), (0, -1, 0)] {
            assert!(!ApplicationModel { bias, scale, doubtful, ..model.clone() }.is_possible());
        }
    }

    #[test]
    fn a_model_is_asked_about_the_hosts_that_it_learned_from() {
        let names = ["shop.example", "www.shop.example", "[::1]"];
        let mut model = ApplicationModel { doubtful: 0, ..ApplicationModel::NONE };
        assert!(model.is_for("any.test", false) && model.host_count() == 0, "nobody told the hosts");
        model.set_hosts(&names.map(HostKey::of));
        assert_eq!(model.host_count(), 3);
        for (host, by_label, want) in [
            ("shop.example", false, true),
            ("www.shop.example", false, true),
            ("::1", false, true),
            ("shop.test", false, false),
            // A route for `shop` whatever follows: under no other name does anybody get past the model.
            ("shop.test", true, true),
            ("blog.example", true, false),
            ("", false, false),
            ("", true, false),
        ] {
            assert_eq!(model.is_for(host, by_label), want, "{host} {by_label}");
        }
        model.set_hosts(&[HostKey::of("shop.example"); HOSTS_MAX + 1]);
        assert!(model.is_for("any.test", false) && model.host_count() == 0, "too many");
        assert!(!ApplicationModel::NONE.is_for("shop.example", true));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let mut model = ApplicationModel { bias: -1, scale: 2, doubtful: 3, ..ApplicationModel::NONE };
        model.weights[7] = -9;
        model.set_hosts(&[HostKey::of("shop.example")]);
        let mut bytes = Vec::new();
        model.write(&mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(<ApplicationModel as Stored>::read(&mut rest), Some(model.clone()));
        assert!(rest.is_empty());
        let mut text = String::new();
        model.literal(&mut text);
        assert!(
            text.starts_with("crate::ApplicationModel { weights: [0, ") && text.ends_with("[0, 0]] }"),
            "{text}"
        );
        text.clear();
        ApplicationModel::NONE.literal(&mut text);
        assert_eq!(text, "crate::ApplicationModel::NONE");
    }
}
