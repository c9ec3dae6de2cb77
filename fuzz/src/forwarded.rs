//! Lists of forwarded addresses: nothing that a client writes changes what a trusted proxy
//! appended, and `X-Forwarded-For` is read as by a reader that takes no short cuts.
//!
//! Each line of the input is one field of the request.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderName, HeaderValue, Request, header};
use stanchion_core::KeyExtractor as _;
use stanchion_ratelimit::http::{ClientAddr, ForwardedField, PeerAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// A proxy in a trusted network.
const PEER: &str = "10.0.0.1";
/// Whom that proxy saw.
const CLIENT: &str = "192.0.2.7";

pub(crate) fn run(data: &[u8]) {
    let fields: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    for (field, name, client) in [
        (ForwardedField::XForwardedFor, X_FORWARDED_FOR, CLIENT),
        (
            ForwardedField::Forwarded,
            header::FORWARDED,
            "for=192.0.2.7",
        ),
    ] {
        let Some(written) = request(&name, &fields) else {
            return;
        };
        assert_eq!(key(&ClientAddr::new(), &written), address(PEER));

        let mut own_field = fields.clone();
        own_field.push(client.as_bytes());
        let last = fields.last().copied().unwrap_or_default();
        let same_field = [last, b",", client.as_bytes()].concat();
        let mut joined = fields.clone();
        joined.pop();
        joined.push(&same_field);
        for appended in [own_field, joined] {
            let request = request(&name, &appended).expect("its parts were valid");
            for trust in [one_hop(field), network(field)] {
                assert_eq!(key(&trust, &request), address(CLIENT));
            }
        }

        for hops in 0..4 {
            let found = key(&ClientAddr::new().trust_hops(hops, field), &written);
            assert_eq!(found, cut(found), "a form that a client can vary");
            if field == ForwardedField::XForwardedFor {
                assert_eq!(found, naive(&fields, usize::from(hops)));
            }
        }
    }
}

fn one_hop(field: ForwardedField) -> ClientAddr {
    ClientAddr::new().trust_hops(1, field)
}

fn network(field: ForwardedField) -> ClientAddr {
    let network = "10.0.0.0/8".parse().expect("it is written here");
    ClientAddr::new().trust_proxies([network], field)
}

/// A request with `fields` from [`PEER`]; none if one is no field value.
fn request(name: &HeaderName, fields: &[&[u8]]) -> Option<Request<()>> {
    let mut request = Request::new(());
    let peer = PeerAddr(SocketAddr::new(address(PEER), 1));
    request.extensions_mut().insert(peer);
    for field in fields {
        let value = HeaderValue::from_bytes(field).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

fn key(client: &ClientAddr, request: &Request<()>) -> IpAddr {
    let key = client.extract(request).expect("the peer is known");
    key.into_owned()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("it is written here")
}

/// All entries in one list, the last `hops` of them from the end up to the first that is none.
fn naive(fields: &[&[u8]], hops: usize) -> IpAddr {
    let list = fields.join(&b',');
    let list = String::from_utf8_lossy(&list);
    let trimmed = list
        .split(',')
        .map(|entry| entry.trim_matches(|c: char| c.is_ascii_whitespace()));
    let entries: Vec<&str> = trimmed.filter(|entry| !entry.is_empty()).collect();
    let mut client = address(PEER);
    for entry in entries.iter().rev().take(hops) {
        let bare = entry
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let alone = bare.unwrap_or(entry).parse::<IpAddr>().ok();
        let with_port = entry.parse::<SocketAddr>().ok();
        let Some(ip) = alone.or(with_port.map(|with_port| with_port.ip())) else {
            break;
        };
        client = ip;
    }
    cut(client)
}

/// IPv4 as IPv4, IPv6 by its first 64 bits.
fn cut(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        ip => ip,
    }
}
