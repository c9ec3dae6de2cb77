//! The request and the response as they pass through the stack.

mod inbound;
mod outbound;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use stanchion_core::Instant;

use crate::affinity::Wanted;
use crate::problem::Problem;
use crate::trace::TraceId;

pub(crate) use inbound::{Inbound, Stalled, TooLarge};
pub(crate) use outbound::{Ending, Note, Outbound};

/// A request on its way in. Its body carries the [`Origin`] along.
///
/// Boxed, since each step hands it to the next, and none would do so in place.
pub(crate) type Request = Box<http::Request<Inbound>>;

/// A response on its way out. Its body carries a [`Note`] along.
pub(crate) type Response = http::Response<Outbound>;

/// Stands in the extensions of a request that its connection found wrong: it is to be answered with
/// this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused(pub(crate) Problem);

/// Where and when a request came in.
///
/// It travels in the body and not in the request's extensions, which cost an allocation.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The other end of the connection.
    pub(crate) peer: Peer,
    /// The client's address behind trusted proxies; else the peer's.
    pub(crate) client: Client,
    /// When the head was read.
    pub(crate) started: Instant,
    /// The request's id; visible ASCII without quotes and backslashes.
    pub(crate) id: HeaderValue,
    /// What it wants of the choice of its server, where that was looked for.
    pub(crate) wanted: Option<Arc<Wanted>>,
    /// The trace it belongs to, once that was looked for.
    pub(crate) trace: Option<TraceId>,
}

/// The other end of a client's connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// The peer as a client, which it is unless it tells of another.
    pub(crate) client: Client,
    /// The address as a field's value, made once for each connection.
    pub(crate) text: HeaderValue,
    /// Whether what it says of its own clients is believed.
    pub(crate) trusted: bool,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// What limits by address count together: the address as IPv6, of IPv6 only the first 64 bits.
    pub(crate) key: [u8; 16],
}

impl Client {
    pub(crate) fn new(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let key = match address {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => {
                let mut key = ip.octets();
                key[8..].fill(0);
                key
            }
        };
        Self { address, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> [u8; 16] {
        Client::new(address.parse().unwrap()).key
    }

    #[test]
    fn clients_share_a_key_within_an_ipv6_network_and_across_mapped_ipv4() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
