//! Loopback ports that nobody listens on.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Below the ports that Linux gives to outgoing connections (32,768 and up), so that none of
/// those takes the port of a server that is down for a moment.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port that was free a moment ago: another process may take it before the server does.
pub(super) fn free() -> u16 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    // Processes start at random places, to stay out of each other's way.
    let next = NEXT.get_or_init(|| AtomicU64::new(RandomState::new().hash_one(0) >> 1));
    (0..COUNT)
        .map(|_| {
            let offset = next.fetch_add(1, Ordering::Relaxed) % u64::from(COUNT);
            FIRST + u16::try_from(offset).expect("below COUNT")
        })
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .unwrap_or_else(|| panic!("no free port from {FIRST} to {}", FIRST + COUNT - 1))
}
