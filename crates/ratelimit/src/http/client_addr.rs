use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{Extensions, HeaderMap, Request};
use ipnet::IpNet;
use stanchion_core::KeyExtractor;

use super::forwarded::{forwarded, x_forwarded_for};
use crate::layer::Closure;

/// The address at the other end of the connection: put into a request's extensions by the server,
/// read by [`ClientAddr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "complete by nature: a newtype to be constructed"
)]
pub struct PeerAddr(pub SocketAddr);

/// Finds the address of the client that sent a request.
///
/// By default that is the peer of the connection, and no header is believed. Behind proxies, say
/// how many there are ([`trust_hops`](Self::trust_hops)) or where they are
/// ([`trust_proxies`](Self::trust_proxies)); then the address is the one that the farthest
/// trusted proxy saw, which a client cannot choose.
///
/// IPv4 addresses written as IPv6 (`::ffff:192.0.2.1`) count as IPv4. Of IPv6 addresses only the
/// first 64 bits count, since a client owns the rest ([`with_ipv6_prefix`](Self::with_ipv6_prefix)
/// changes that).
///
/// A request whose peer is not known has no key.
///
/// # Examples
///
/// With axum, whose `ConnectInfo` holds the peer:
///
/// ```
/// # use std::net::SocketAddr;
/// # #[derive(Clone)] struct ConnectInfo<T>(T);
/// use stanchion_ratelimit::http::{ClientAddr, ForwardedField};
///
/// let by_address = ClientAddr::new()
///     .with_peer(|extensions| Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip()))
///     .trust_proxies(["10.0.0.0/8".parse().unwrap()], ForwardedField::XForwardedFor);
/// ```
#[derive(Clone)]
pub struct ClientAddr<P = fn(&Extensions) -> Option<IpAddr>> {
    peer: P,
    trust: Trust,
    ipv6_prefix: u8,
}

/// The field in which trusted proxies write the address that they saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedField {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

#[derive(Clone, Debug)]
enum Trust {
    Nobody,
    Hops(u8, ForwardedField),
    Proxies(Box<[IpNet]>, ForwardedField),
}

impl ClientAddr {
    /// The peer's address, from [`PeerAddr`] in the request's extensions.
    #[must_use]
    pub fn new() -> Self {
        Self {
            peer: |extensions| Some(extensions.get::<PeerAddr>()?.0.ip()),
            trust: Trust::Nobody,
            ipv6_prefix: 64,
        }
    }
}

impl Default for ClientAddr {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> ClientAddr<P> {
    /// Finds the peer's address in a request's extensions with `peer`. Default: [`PeerAddr`].
    #[must_use]
    pub fn with_peer<Q>(self, peer: Q) -> ClientAddr<Q>
    where
        Q: Fn(&Extensions) -> Option<IpAddr>,
    {
        ClientAddr {
            peer,
            trust: self.trust,
            ipv6_prefix: self.ipv6_prefix,
        }
    }

    /// Exactly `hops` trusted proxies stand in front of this server: the client is the `hops`-th
    /// entry of `field`, counted from the end. With fewer entries it is the first one, and
    /// without any the peer. 0 believes no header.
    ///
    /// Right only if nobody can reach this server past those proxies.
    #[must_use]
    pub fn trust_hops(mut self, hops: u8, field: ForwardedField) -> Self {
        self.trust = Trust::Hops(hops, field);
        self
    }

    /// Trusts proxies in these networks: the client is the last address that is not a trusted
    /// proxy's, starting from the peer and going back through `field`.
    #[must_use]
    pub fn trust_proxies(
        mut self,
        proxies: impl IntoIterator<Item = IpNet>,
        field: ForwardedField,
    ) -> Self {
        self.trust = Trust::Proxies(proxies.into_iter().collect(), field);
        self
    }

    /// How many leading bits of an IPv6 address make the key. Default: 64.
    ///
    /// # Errors
    ///
    /// `bits` must be from 1 to 128.
    pub fn with_ipv6_prefix(mut self, bits: u8) -> Result<Self, InvalidPrefix> {
        if !(1..=128).contains(&bits) {
            return Err(InvalidPrefix { bits });
        }
        self.ipv6_prefix = bits;
        Ok(self)
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        match &self.trust {
            Trust::Nobody => peer,
            // All of these entries were written by trusted proxies; the farthest is the client.
            Trust::Hops(hops, field) => read(*field, headers, |entries| {
                let known = entries.take(usize::from(*hops)).map_while(|entry| entry);
                known.last().unwrap_or(peer)
            }),
            Trust::Proxies(proxies, field) => read(*field, headers, |entries| {
                let trusted =
                    |ip: IpAddr| proxies.iter().any(|net| net.contains(&ip.to_canonical()));
                let mut client = peer;
                for entry in entries {
                    match entry {
                        Some(ip) if trusted(client) => client = ip,
                        _ => break,
                    }
                }
                client
            }),
        }
    }

    fn key(&self, client: IpAddr) -> IpAddr {
        match client.to_canonical() {
            IpAddr::V6(ip) => {
                let mask = u128::MAX << (128 - u32::from(self.ipv6_prefix));
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
            ip => ip,
        }
    }
}

/// Hands the entries of `field`, nearest first, to `f`.
fn read<T>(
    field: ForwardedField,
    headers: &HeaderMap,
    f: impl FnOnce(&mut dyn Iterator<Item = Option<IpAddr>>) -> T,
) -> T {
    match field {
        ForwardedField::XForwardedFor => f(&mut x_forwarded_for(headers)),
        ForwardedField::Forwarded => f(&mut forwarded(headers)),
    }
}

impl<P, B> KeyExtractor<Request<B>> for ClientAddr<P>
where
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    type Key = IpAddr;

    fn extract<'a>(&'a self, request: &'a Request<B>) -> Option<Cow<'a, IpAddr>> {
        let peer = (self.peer)(request.extensions())?;
        Some(Cow::Owned(self.key(self.client(peer, request.headers()))))
    }
}

impl<P> fmt::Debug for ClientAddr<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAddr")
            .field("peer", &Closure::of(&self.peer))
            .field("trust", &self.trust)
            .field("ipv6_prefix", &self.ipv6_prefix)
            .finish()
    }
}

/// A prefix that no IPv6 address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPrefix {
    bits: u8,
}

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipv6_prefix is {}, must be from 1 to 128", self.bits)
    }
}

impl Error for InvalidPrefix {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: &ClientAddr, peer: &str, forwarded: &[&str]) -> String {
        let mut request = Request::new(());
        request
            .extensions_mut()
            .insert(PeerAddr(SocketAddr::new(peer.parse().unwrap(), 1)));
        for value in forwarded {
            request
                .headers_mut()
                .append("x-forwarded-for", value.parse().unwrap());
        }
        client.extract(&request).unwrap().to_string()
    }

    fn hops(hops: u8) -> ClientAddr {
        ClientAddr::new().trust_hops(hops, ForwardedField::XForwardedFor)
    }

    #[test]
    fn by_default_no_header_is_believed() {
        assert_eq!(
            key(&ClientAddr::new(), "192.0.2.1", &["9.9.9.9"]),
            "192.0.2.1"
        );
        assert_eq!(key(&hops(0), "192.0.2.1", &["9.9.9.9"]), "192.0.2.1");
        assert_eq!(ClientAddr::new().extract(&Request::new(())), None);
    }

    #[test]
    fn with_hops_what_the_client_wrote_itself_does_not_count() {
        assert_eq!(
            key(&hops(1), "10.0.0.1", &["9.9.9.9, 192.0.2.1"]),
            "192.0.2.1"
        );
        assert_eq!(
            key(&hops(2), "10.0.0.1", &["9.9.9.9", "192.0.2.1, 10.0.0.2"]),
            "192.0.2.1"
        );
        assert_eq!(key(&hops(2), "10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(key(&hops(2), "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(
            key(&hops(2), "10.0.0.1", &["nonsense, 10.0.0.2"]),
            "10.0.0.2"
        );
    }

    #[test]
    fn with_networks_the_last_address_that_is_not_trusted_counts() {
        let client = ClientAddr::new().trust_proxies(
            ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ForwardedField::XForwardedFor,
        );
        assert_eq!(
            key(&client, "10.0.0.1", &["9.9.9.9, 192.0.2.1, 10.0.0.2"]),
            "192.0.2.1"
        );
        assert_eq!(key(&client, "::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        // Not from a proxy at all: the header is the client's invention.
        assert_eq!(key(&client, "192.0.2.7", &["9.9.9.9"]), "192.0.2.7");
        assert_eq!(key(&client, "10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(key(&client, "fd00::1", &["10.0.0.3"]), "10.0.0.3");
    }

    #[test]
    fn addresses_are_brought_to_the_form_that_a_client_cannot_vary() {
        let client = ClientAddr::new();
        assert_eq!(key(&client, "::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(key(&client, "2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
        let whole = ClientAddr::new().with_ipv6_prefix(128).unwrap();
        assert_eq!(key(&whole, "2001:db8::6", &[]), "2001:db8::6");
        for bits in [0, 129] {
            let error = ClientAddr::new().with_ipv6_prefix(bits).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("ipv6_prefix is {bits}, must be from 1 to 128")
            );
        }
    }
}
