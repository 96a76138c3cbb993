// SPDX-License-Identifier: Apache-2.0
//! Tries addresses: does the name resolve, does something listen, does it answer HTTP?

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, header};
use sunbeam_routing::BackendUrl;

use crate::http1;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long everything may take: the system's resolver cannot be hurried.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(6);
/// Addresses that are tried at the same time.
const PARALLEL: usize = 32;

/// What became of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Something listens; these are all addresses of the name.
    Listens(Vec<IpAddr>),
    /// It resolves, but nobody answers; the system's word.
    Silent(Vec<IpAddr>, String),
    /// It does not resolve; the system's word.
    Unknown(String),
}

impl Found {
    /// What the name resolves to.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Listens(addresses) | Self::Silent(addresses, _) => addresses,
            Self::Unknown(_) => &[],
        }
    }
}

/// Tries each `(host, port)` once, many at the same time.
pub(crate) fn connect_all(
    targets: impl IntoIterator<Item = (String, u16)>,
) -> BTreeMap<(String, u16), Found> {
    let mut waiting: Vec<(String, u16)> = targets.into_iter().collect();
    waiting.sort();
    waiting.dedup();
    let mut found = BTreeMap::new();
    for batch in waiting.chunks(PARALLEL) {
        let (sender, receiver) = mpsc::channel();
        for target in batch {
            let (sender, target) = (sender.clone(), target.clone());
            // Not joined: a resolver that hangs must not hold the command; nobody misses its answer.
            thread::spawn(move || drop(sender.send((target.clone(), connect(&target.0, target.1)))));
        }
        drop(sender);
        let deadline = Instant::now() + TOTAL_TIMEOUT;
        while let Ok((target, result)) =
            receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            found.insert(target, result);
        }
        for target in batch {
            found
                .entry(target.clone())
                .or_insert_with(|| Found::Unknown("no answer from the resolver".to_owned()));
        }
    }
    found
}

/// The status that the backend answers to `GET` of its URL, without TLS.
pub(crate) fn get(url: &BackendUrl, limit: Duration) -> io::Result<u16> {
    let host = url.authority();
    let request = Request::get(&url.path_and_query)
        .header(header::HOST, &host)
        .header(header::USER_AGENT, concat!("sunbeam/", env!("CARGO_PKG_VERSION")))
        .body(String::new())
        .map_err(io::Error::other)?;
    let name = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let answer = http1::runtime()?.block_on(http1::send(&format!("{name}:{}", url.port), request, limit))?;
    Ok(answer.status().as_u16())
}

/// Whether the address can be reached from other networks: neither loopback nor private nor special.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_documentation()
                || shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local())
        }
    }
}

fn connect(host: &str, port: u16) -> Found {
    let resolved: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Found::Unknown(error.to_string()),
    };
    let addresses = resolved.iter().map(SocketAddr::ip).collect();
    let mut last = "the name has no address".to_owned();
    // Bounds the time of a name with many addresses.
    for address in resolved.iter().take(4) {
        match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
            Ok(_) => return Found::Listens(addresses),
            Err(error) => last = error.to_string(),
        }
    }
    Found::Silent(addresses, last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_listens_is_told_from_what_does_not() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = open.local_addr().unwrap().port();
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let local = |port| ("127.0.0.1".to_owned(), port);
        let found = connect_all([local(port), local(closed), local(port)]);
        assert_eq!(found.len(), 2);
        assert!(matches!(found[&local(port)], Found::Listens(_)));
        assert!(matches!(found[&local(closed)], Found::Silent(..)), "{found:?}");
    }

    #[test]
    fn public_addresses_are_those_that_anyone_can_reach() {
        for (address, want) in [
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("192.168.0.1", false),
            ("169.254.1.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("8.8.8.8", true),
            ("::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("2001:4860::1", true),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), want, "{address}");
        }
    }
}
