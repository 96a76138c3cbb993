// SPDX-License-Identifier: Apache-2.0
//! Names that must resolve, and backends that clients could reach without us.

use std::fs;
use std::net::IpAddr;

use super::{Finding, Patient};
use crate::commands::validate::finding;
use crate::configuration::count;
use crate::destinations::{Destination, Kind};
use crate::probe;

/// Whether each configured address resolves and answers.
pub(super) fn names(patient: &Patient) -> Vec<Finding> {
    let destinations = Destination::all(&patient.config);
    if destinations.is_empty() {
        return vec![Finding::not_checked("backends", "the configuration names none")];
    }
    let found = probe::connect_all(destinations.iter().map(|to| (to.host.clone(), to.port)));
    let mut findings = Vec::new();
    for ((host, port), result) in &found {
        let Some(to) = destinations.iter().find(|to| to.host == *host && to.port == *port) else { continue };
        let Some(text) = finding(to, result) else { continue };
        let remedy = if result.addresses().is_empty() {
            format!("is the name in `{}` right? `getent hosts {host}` asks the same resolver", to.key)
        } else {
            "start it, or let its firewall admit this host; until then its requests are answered 502"
                .to_owned()
        };
        findings.push(Finding::failed("backends", text, remedy));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "backends",
            format!("{}: each name resolves, each port answers", count(found.len(), "destination")),
        ));
    }
    findings
}

/// Backends on this host that listen on all its addresses.
pub(super) fn leaks(patient: &Patient) -> Vec<Finding> {
    let local = |to: &&Destination| {
        to.kind == Kind::Backend
            && (to.host == "localhost"
                || to.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
    };
    let destinations = Destination::all(&patient.config);
    let mut ports: Vec<u16> = destinations.iter().filter(local).map(|to| to.port).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return vec![Finding::not_checked("backend leak", "no backend is on this host")];
    }
    let tables: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    if tables.is_empty() {
        return vec![Finding::not_checked("backend leak", "this system has no /proc/net/tcp")];
    }
    let open: Vec<u16> = tables.iter().flat_map(|table| listening_everywhere(table)).collect();
    let leaking: Vec<Finding> = ports
        .iter()
        .filter(|port| open.contains(port))
        .map(|port| {
            let text = format!(
                "the backend at port {port} listens on all addresses: reachable from outside around Sunbeam"
            );
            Finding::warning("backend leak", text, "bind it to 127.0.0.1")
        })
        .collect();
    if leaking.is_empty() {
        return vec![Finding::ok("backend leak", "backends on this host listen on loopback only")];
    }
    leaking
}

/// Whether `listen.trusted_proxies` fits the traffic.
pub(super) fn trusted_proxies(patient: &Patient) -> Vec<Finding> {
    let trusted = patient.config.listen.trusted_proxies.len();
    let text = format!(
        "{trusted} ranges are trusted; whether they fit the traffic is not known without looking at it"
    );
    vec![Finding::not_checked("trusted proxies", text)]
}

/// Ports that a table of the kernel shows as listening on every address.
fn listening_everywhere(table: &str) -> Vec<u16> {
    /// `TCP_LISTEN`
    const LISTEN: &str = "0A";
    let lines = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (address, port) = local.split_once(':')?;
        let everywhere = address.bytes().all(|byte| byte == b'0');
        (state == LISTEN && everywhere).then(|| u16::from_str_radix(port, 16).ok())?
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_who_listens_everywhere() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            \x20  0: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000\n\
            \x20  1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n\
            \x20  2: 00000000:0016 00000000:0000 01 00000000:00000000 00:00000000\n\
            \x20  3: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0\n\
            broken\n";
        assert_eq!(listening_everywhere(table), [3000, 443]);
    }
}
