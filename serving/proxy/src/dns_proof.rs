// SPDX-License-Identifier: Apache-2.0
//! Whether an address belongs to the crawler it says it is: forward-confirmed reverse DNS. The owner of an
//! address may give it any name, so a name counts only when its own zone gives the address back.
//!
//! A server that is slow, broken or not there proves nothing either way: the answer is
//! [`DnsProof::Unknown`], after [`PROOF_MAX`] at the latest. A liar can bring that about too, with a reverse
//! zone that never answers: "unknown" must not be worth more than "refuted" to who acts on it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::timeout;

/// How long a whole proof may take, whatever the servers do.
pub(crate) const PROOF_MAX: Duration = Duration::from_secs(6);

/// How long one attempt at a question may take; there is one more after it. Within it, hickory sends a
/// packet again that seems lost.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// Attempts after the first.
const RETRIES: usize = 1;

/// Reverse names that are looked at: a crawler has one or two, a liar may send hundreds, and each could cost
/// a question.
const NAMES_MAX: usize = 8;

/// Addresses of a name that are looked at.
const ADDRESSES_MAX: usize = 32;

/// Why nothing can be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DnsProverError {
    #[error("failed to read the name servers of the system from `/etc/resolv.conf`")]
    System {
        #[source]
        source: NetError,
    },
    #[error("failed to set up the resolver")]
    Resolver {
        #[source]
        source: NetError,
    },
}

/// What DNS says about an address that claims to be a crawler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DnsProof {
    /// The address has this name, and the name has the address.
    Verified { name: String },
    /// It does not. `name` is the first that the address has, if any: its owner's text, escaped to ASCII.
    Refuted { name: Option<String> },
    /// No usable answer came.
    Unknown { why: String },
}

/// Asks the name servers. It keeps no answers: who asks has to remember.
///
/// The first question to a server starts a task in the runtime it is asked from, and later ones go through
/// that task from wherever they are asked. When that runtime has ended, another task is started; while it
/// stands still, every proof is unknown.
#[derive(Debug)]
pub(crate) struct DnsProver {
    resolver: TokioResolver,
}

impl DnsProver {
    /// Asks `servers`, over UDP and, for answers that do not fit, over TCP; the system's when there are
    /// none (read here, once). Search domains and the hosts file play no part.
    ///
    /// # Errors
    /// When there are no `servers` and the system names none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, DnsProverError> {
        let servers = match servers {
            [] => system_servers()?,
            servers => servers.iter().copied().map(name_server).collect(),
        };
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.ndots = 0;
        options.timeout = ATTEMPT_MAX;
        options.attempts = RETRIES;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        options.preserve_intermediates = false;
        let resolver = builder.build().map_err(|source| DnsProverError::Resolver { source })?;
        Ok(Self { resolver })
    }

    /// Whether `address` has a name under one of `suffixes` that has the address in turn. A suffix is a
    /// name such as `googlebot.com`, which stands for itself and for what is under it. An IPv4 address that
    /// is written as IPv6 counts as IPv4.
    ///
    /// At most [`NAMES_MAX`] names and [`ADDRESSES_MAX`] addresses of each are looked at: what comes after
    /// them proves nothing. Never takes longer than [`PROOF_MAX`].
    pub(crate) async fn prove(&self, address: IpAddr, suffixes: &[String]) -> DnsProof {
        let proof = self.look_up_both_ways(address.to_canonical(), suffixes);
        timeout(PROOF_MAX, proof).await.unwrap_or_else(|_| DnsProof::Unknown {
            why: format!("no answer within {} seconds", PROOF_MAX.as_secs()),
        })
    }

    async fn look_up_both_ways(&self, address: IpAddr, suffixes: &[String]) -> DnsProof {
        let names = match self.names_of(address).await {
            Ok(names) => names,
            Err(error) => return DnsProof::Unknown { why: format!("reverse look-up: {error}") },
        };
        let mut unknown = None;
        for name in &names {
            let text = text_of(name);
            if !counts(&text, suffixes) {
                continue;
            }
            match self.has_address(name, address).await {
                Ok(true) => return DnsProof::Verified { name: text },
                Ok(false) => {}
                Err(error) => unknown = Some(format!("look-up of `{text}`: {error}")),
            }
        }
        match unknown {
            Some(why) => DnsProof::Unknown { why },
            None => DnsProof::Refuted { name: names.first().map(text_of) },
        }
    }

    async fn names_of(&self, address: IpAddr) -> Result<Vec<Name>, NetError> {
        let name = |data: &RData| match data {
            RData::PTR(name) => Some(name.0.clone()),
            _ => None,
        };
        self.look_up(Name::from(address), RecordType::PTR, NAMES_MAX, name).await
    }

    async fn has_address(&self, name: &Name, address: IpAddr) -> Result<bool, NetError> {
        let kind = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let addresses = self.look_up(name.clone(), kind, ADDRESSES_MAX, RData::ip_addr).await?;
        Ok(addresses.contains(&address))
    }

    /// What `read` finds in the answer, at most `most`; nothing when DNS says that there is nothing.
    async fn look_up<T>(
        &self,
        mut name: Name,
        kind: RecordType,
        most: usize,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, NetError> {
        // The trailing dot: no search domain is ever put behind it.
        name.set_fqdn(true);
        let answer = match self.resolver.lookup(name, kind).await {
            Ok(answer) => answer,
            Err(error) if is_denial(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let found: Vec<T> =
            answer.answers().iter().filter_map(|record| read(&record.data)).take(most).collect();
        if found.is_empty() { Err(NetError::from("an answer without an answer")) } else { Ok(found) }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

/// Only the servers: how often and how long they are asked is ours to say.
fn system_servers() -> Result<Vec<NameServerConfig>, DnsProverError> {
    let (config, _) = read_system_conf().map_err(|source| DnsProverError::System { source })?;
    let (_, _, servers) = config.into_parts();
    Ok(servers)
}

/// Whether a server said that there is no such name or no such record, rather than nothing of use. A referral
/// comes from a server that does not look further: it denies nothing.
fn is_denial(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else { return false };
    match none.response_code {
        ResponseCode::NXDomain => true,
        ResponseCode::NoError => none.ns.is_none() || none.soa.is_some(),
        _ => false,
    }
}

/// In lower case, without the trailing dot; what is no letter, digit, `-` or `_` stands behind a backslash.
fn text_of(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

/// Whether a reverse name is worth asking about: a host's name under one of `suffixes`. A dot within a label
/// is text with a backslash before it, and would otherwise pass for the end of a label.
fn counts(name: &str, suffixes: &[String]) -> bool {
    let is_host_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_host_name && suffixes.iter().any(|suffix| is_under(name, suffix))
}

fn is_under(name: &str, suffix: &str) -> bool {
    let (name, suffix) = (name.strip_suffix('.').unwrap_or(name), suffix.strip_suffix('.').unwrap_or(suffix));
    let start = name.len().checked_sub(suffix.len());
    let Some((head, tail)) = start.and_then(|start| name.as_bytes().split_at_checked(start)) else {
        return false;
    };
    !suffix.is_empty()
        && tail.eq_ignore_ascii_case(suffix.as_bytes())
        && (head.is_empty() || head.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;

    use super::*;

    #[test]
    fn a_name_counts_at_a_suffix_and_under_it() {
        for (name, reverse, suffix, want) in [
            ("the suffix itself", "googlebot.com", "googlebot.com", true),
            ("under it", "crawl-1.googlebot.com", "googlebot.com", true),
            ("far under it", "a.b.c.googlebot.com", "googlebot.com", true),
            ("its case", "crawl-1.GoogleBot.COM", "googlebot.com", true),
            ("the suffix's case", "crawl-1.googlebot.com", "GOOGLEBOT.com", true),
            ("its trailing dot", "crawl-1.googlebot.com.", "googlebot.com", true),
            ("the suffix's trailing dot", "crawl-1.googlebot.com", "googlebot.com.", true),
            ("both trailing dots", "googlebot.com.", "googlebot.com.", true),
            ("no label boundary", "evilgooglebot.com", "googlebot.com", false),
            ("a hyphen is none", "evil-googlebot.com", "googlebot.com", false),
            ("the suffix in the middle", "googlebot.com.evil.example", "googlebot.com", false),
            ("the suffix's parent", "com", "googlebot.com", false),
            ("an escaped dot is none", r"crawl\.googlebot.com", "googlebot.com", false),
            ("another label's escaped dot", r"a\.b.googlebot.com", "googlebot.com", false),
            ("a space", r"a\032b.googlebot.com", "googlebot.com", false),
            ("letters beyond ASCII", "ü.googlebot.com", "googlebot.com", false),
            ("a cut within a letter", "ügooglebot.com", "xgooglebot.com", false),
            ("the root", "", "googlebot.com", false),
            ("no suffix", "googlebot.com", "", false),
            ("the root as a suffix", "googlebot.com", ".", false),
        ] {
            assert_eq!(counts(reverse, &[suffix.to_owned()]), want, "{name}");
        }
        let suffixes = ["google.com".to_owned(), "googlebot.com".to_owned()];
        assert!(counts("crawl-1.googlebot.com", &suffixes), "the second of two");
        assert!(!counts("crawl-1.googlebot.com", &[]), "none at all");
    }

    #[test]
    fn a_dot_within_a_label_is_escaped() {
        let name = Name::from_labels([b"Crawl.googlebot".as_slice(), b"com".as_slice()]).unwrap();
        assert_eq!(text_of(&name), r"crawl\.googlebot.com");
        assert_eq!(text_of(&Name::from_ascii("Crawl-1.GoogleBot.com.").unwrap()), "crawl-1.googlebot.com");
    }

    #[test]
    fn only_a_servers_word_refutes() {
        let none = |code| NoRecords::new(Query::query(Name::root(), RecordType::PTR), code);
        let mut referral = none(ResponseCode::NoError);
        referral.ns = Some(Vec::new().into());
        for (name, error, want) in [
            ("no such name", none(ResponseCode::NXDomain).into(), true),
            ("no such record", none(ResponseCode::NoError).into(), true),
            ("a referral", referral.into(), false),
            ("an unknown code", none(ResponseCode::Unknown(3000)).into(), false),
            ("servfail", DnsError::ResponseCode(ResponseCode::ServFail).into(), false),
            ("refused", DnsError::ResponseCode(ResponseCode::Refused).into(), false),
            ("a timeout", NetError::Timeout, false),
            ("a truncated answer", NetError::Truncated, false),
            (
                "an unreachable server",
                std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into(),
                false,
            ),
        ] {
            assert_eq!(is_denial(&error), want, "{name}");
        }
    }
}
