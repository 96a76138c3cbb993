// SPDX-License-Identifier: Apache-2.0
//! Ports for what cannot be asked to take port 0.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address on 127.0.0.1 that nothing listens on. It lies below the range from which the system serves
/// port 0, so that no other test is given it before it is used.
pub fn free_address() -> SocketAddr {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time have numbers close together, and begin far apart.
    let start = u16::try_from(std::process::id().wrapping_mul(7919) % u32::from(COUNT)).unwrap_or_default();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < COUNT, "no port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], FIRST + (start + step) % COUNT));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
