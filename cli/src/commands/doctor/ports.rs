// SPDX-License-Identifier: Apache-2.0
//! Ports, and the right to bind them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

use super::{Finding, Patient};

/// Whether each configured address is ours already, or could be.
pub(super) fn listeners(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mut wanted: Vec<SocketAddr> =
        config.listen.http.0.iter().chain(&config.listen.https.0).map(|address| address.0).collect();
    wanted.extend(config.ssh.listen.map(|address| address.0));
    wanted.retain(|address| address.port() != 0);
    if let Some(node) = &patient.node {
        // Between two programs that hold a port there is no telling without rights: ask the node.
        let held = |address: &SocketAddr| {
            node.listeners.iter().any(|listener| listener.address == address.to_string())
        };
        let (held, missing): (Vec<_>, Vec<_>) = wanted.iter().copied().partition(held);
        let mut findings = vec![Finding::ok("ports", format!("the node listens on {}", listed(&held)))];
        if held.is_empty() {
            findings.clear();
        }
        findings.extend(
            missing.into_iter().filter(|address| Some(*address) != config.ssh.listen.map(|ssh| ssh.0)).map(
                |address| {
                    Finding::warning(
                        "ports",
                        format!("the node does not listen on {address}"),
                        "`sunbeam reload`, then look at `sunbeam status`",
                    )
                },
            ),
        );
        return findings;
    }
    let findings: Vec<Finding> = wanted.iter().filter_map(|address| bindable(*address)).collect();
    if findings.is_empty() {
        return vec![Finding::ok("ports", format!("{} can be listened on", listed(&wanted)))];
    }
    findings
}

/// Root, `CAP_NET_BIND_SERVICE`, or neither.
pub(super) fn privilege(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let low = config
        .listen
        .http
        .0
        .iter()
        .chain(&config.listen.https.0)
        .any(|address| (1..1024).contains(&address.0.port()));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    let first: u16 = first.and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    vec![match (rustix::process::geteuid().is_root(), may_bind_low(&status)) {
        (true, _) => Finding::ok("privilege", "this user is root"),
        (_, Some(true)) => Finding::ok("privilege", "this user has CAP_NET_BIND_SERVICE"),
        _ if !low => Finding::ok("privilege", "no port below 1024 is configured: none is needed"),
        _ if first <= 80 => Finding::ok("privilege", format!("ports from {first} need none on this system")),
        (_, None) => Finding::not_checked("privilege", "this system does not tell capabilities"),
        // The service's user may have it all the same.
        (_, Some(false)) => Finding::warning(
            "privilege",
            "this user may not listen on ports below 1024",
            "run the service as root, or with AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit",
        ),
    }]
}

fn bindable(address: SocketAddr) -> Option<Finding> {
    let error = sunbeam_bind(address).err()?;
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => Finding::failed(
            "ports",
            format!("{address} is taken by another program"),
            format!(
                "`ss -ltnp 'sport = :{}'` shows which: stop it, or configure another port",
                address.port()
            ),
        ),
        io::ErrorKind::PermissionDenied => Finding::warning(
            "ports",
            format!("{address} cannot be listened on by this user"),
            "run as the service's user to know whether it can; ports below 1024 need CAP_NET_BIND_SERVICE",
        ),
        io::ErrorKind::AddrNotAvailable => Finding::failed(
            "ports",
            format!("{address} is not an address of this host"),
            "`ip address` shows them",
        ),
        _ => Finding::failed("ports", format!("{address}: {error}"), "configure another address"),
    })
}

/// As the node binds: IPv6 sockets take IPv6 only.
fn sunbeam_bind(address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        return TcpListener::bind(address).map(drop);
    }
    sunbeam_listeners::bind(address, 1).map(drop).map_err(|error| error.source)
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `CAP_NET_BIND_SERVICE` among the effective capabilities of a `/proc/PID/status`.
fn may_bind_low(status: &str) -> Option<bool> {
    const CAP_NET_BIND_SERVICE: u32 = 10;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    Some(u64::from_str_radix(hex.trim(), 16).ok()? >> CAP_NET_BIND_SERVICE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Outcome;

    #[test]
    fn a_taken_port_is_a_failure() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let finding = bindable(taken.local_addr().unwrap()).unwrap();
        assert_eq!(finding.outcome, Outcome::Failed);
        assert!(bindable("127.0.0.1:0".parse().unwrap()).is_none());
    }

    #[test]
    fn capabilities_are_read_from_their_mask() {
        for (status, want) in [
            ("Name:\tx\nCapEff:\t0000000000000400\n", Some(true)),
            ("CapEff:\t0000000000000000\n", Some(false)),
            ("Name:\tx\n", None),
        ] {
            assert_eq!(may_bind_low(status), want, "{status}");
        }
    }
}
