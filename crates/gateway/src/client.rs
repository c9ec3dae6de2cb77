//! Finds out who sent a request.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::exchange::{Client, Peer};

/// Knows which peers are proxies whose word is taken.
#[derive(Debug)]
pub(crate) struct Clients {
    trusted: Vec<IpNet>,
}

impl Clients {
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted }
    }

    /// The other end of a connection, as it stands with these clients.
    pub(crate) fn judge(&self, peer: &Peer) -> Peer {
        Peer {
            trusted: self.trusts(peer.address),
            ..peer.clone()
        }
    }

    /// The client of a request: the peer, or the address that the farthest trusted proxy saw.
    pub(crate) fn find(&self, peer: &Peer, headers: &HeaderMap) -> Client {
        if !peer.trusted {
            return peer.client;
        }
        let mut client = peer.address;
        let fields = headers.get_all("x-forwarded-for").into_iter();
        // Nearest proxy first: what one appended stands after the last comma.
        let entries = fields
            .rev()
            .flat_map(|field| field.as_bytes().rsplit(|b| *b == b','));
        for entry in entries {
            match address(entry) {
                Some(address) if self.trusts(client) => client = address,
                _ => break,
            }
        }
        Client::new(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }
}

impl Peer {
    /// The other end of a new connection, not trusted yet.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let address = address.ip().to_canonical();
        let text = address.to_string();
        Self {
            address,
            client: Client::new(address),
            text: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            trusted: false,
        }
    }
}

/// The address that an entry of `X-Forwarded-For` begins with.
pub(crate) fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let address = match entry.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => entry.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, fields: &[&'static str]) -> String {
        let clients = Clients::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("x-forwarded-for", HeaderValue::from_static(field));
        }
        let peer = Peer::new(SocketAddr::new(peer.parse().unwrap(), 1));
        let peer = clients.judge(&peer);
        clients.find(&peer, &headers).address.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_their_peer() {
        for (peer, fields, client) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["6.6.6.6", "203.0.113.9, 10.0.0.2"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(found(peer, fields), client, "{peer} {fields:?}");
        }
    }
}
