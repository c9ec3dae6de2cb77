//! Makes the request that the upstream gets of the one that the client sent.

mod forwarded;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, uri};
use http_body::Body;

use crate::config::Telling;
use crate::exchange::{Peer, Request, Response};
use crate::hop_by_hop;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Drops what ends here, and tells the upstream who asked.
pub(crate) fn request(request: &mut Request, forwarded: Telling) {
    let peer = request.body().origin().peer.clone();
    let headers = request.headers_mut();
    hop_by_hop::strip(headers);
    tell_peer(headers, peer, forwarded);
    if request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
    }
    if !request.body().is_end_stream() {
        // hyper sends a body of unknown length with GET only if told how.
        let exact = request.body().size_hint().exact();
        let headers = request.headers_mut();
        if exact.is_none() {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(header::TRANSFER_ENCODING, chunked);
        }
        // It is met here: hyper says 100 when the body is asked for, and nobody waits for another.
        let expects = headers.get(header::EXPECT);
        if expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            headers.remove(header::EXPECT);
        }
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Drops what ends here.
pub(crate) fn response(response: &mut Response) {
    hop_by_hop::strip(response.headers_mut());
    // The client's version is hyper's business.
    *response.version_mut() = Version::HTTP_11;
}

/// Sets `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`, or both. What a client wrote itself
/// is dropped, under any spelling that a server might take for it; what a trusted peer wrote is kept
/// and added to.
fn tell_peer(headers: &mut HeaderMap, peer: Peer, told: Telling) {
    if !peer.trusted {
        drop_claims(headers);
    }
    if told != Telling::Unofficial {
        // Before `X-Forwarded-For` has the peer too.
        let value = forwarded::value(headers, &peer);
        headers.insert(header::FORWARDED, value);
    }
    if told == Telling::Standard {
        for name in [FOR, PROTO, HOST] {
            headers.remove(name);
        }
        return;
    }
    let host = headers.get(header::HOST).cloned();
    if peer.trusted {
        let list = joined(headers, peer.text);
        headers.insert(FOR, list);
        headers
            .entry(PROTO)
            .or_insert(HeaderValue::from_static("http"));
        if let Some(host) = host {
            headers.entry(HOST).or_insert(host);
        }
        return;
    }
    headers.insert(FOR, peer.text);
    headers.insert(PROTO, HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}

/// All `X-Forwarded-For` fields and the peer as one list, since servers tend to read one field.
fn joined(headers: &HeaderMap, peer: HeaderValue) -> HeaderValue {
    let mut list = Vec::new();
    for value in headers.get_all(FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        return peer;
    }
    list.extend_from_slice(peer.as_bytes());
    HeaderValue::from_bytes(&list).unwrap_or(peer)
}

fn drop_claims(headers: &mut HeaderMap) {
    // Few requests have any, so nothing is collected until one is found.
    while let Some(name) = headers.keys().find(|name| is_claim(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether a field says who is behind the client. Servers that map names to variables take `_` and
/// `.` for `-`.
fn is_claim(name: &HeaderName) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let name = name.as_str().as_bytes();
    let dashed = |byte: &u8| match byte {
        b'_' | b'.' => b'-',
        other => *other,
    };
    let matches = |wanted: &[u8]| name.iter().map(dashed).eq(wanted.iter().copied());
    match name.first() {
        Some(b'x') => {
            let begins = name.iter().map(dashed).take(PREFIX.len());
            begins.eq(PREFIX.iter().copied()) || matches(b"x-real-ip")
        }
        Some(b'f') => name == b"forwarded",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(fields: &[(&str, &str)], trusted: bool) -> HeaderMap {
        told_in(fields, trusted, Telling::Unofficial)
    }

    fn told_in(fields: &[(&str, &str)], trusted: bool, forwarded: Telling) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("a.test"));
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let peer = Peer {
            trusted,
            ..Peer::new("192.0.2.1:1".parse().unwrap())
        };
        tell_peer(&mut headers, peer, forwarded);
        headers
    }

    #[test]
    fn a_clients_own_claims_are_dropped_under_every_spelling() {
        let headers = told(
            &[
                ("x-forwarded-for", "203.0.113.9"),
                ("x_forwarded_for", "203.0.113.9"),
                ("x.forwarded.host", "evil.test"),
                ("x-forwarded-port", "1"),
                ("x-real-ip", "203.0.113.9"),
                ("x_real_ip", "203.0.113.9"),
                ("forwarded", "for=203.0.113.9"),
                ("x-forward", "kept"),
            ],
            false,
        );
        assert_eq!(headers.len(), 5);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "a.test");
        assert_eq!(headers["x-forward"], "kept");
    }

    #[test]
    fn a_trusted_peers_claims_are_added_to() {
        let headers = told(
            &[
                ("x-forwarded-for", "203.0.113.9"),
                ("x-forwarded-for", "198.51.100.7"),
                ("x-forwarded-proto", "https"),
            ],
            true,
        );
        assert_eq!(
            headers["x-forwarded-for"],
            "203.0.113.9, 198.51.100.7, 192.0.2.1"
        );
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "a.test");
    }

    proptest! {
        #[test]
        fn nothing_that_a_stranger_writes_is_told(
            fields in proptest::collection::vec(
                ("(x[-_.])?forwarded([-_.](for|proto|host|by|x))?|x[-_.]real[-_.]ip", "[ -~]{0,20}"),
                0..6,
            ),
            told in prop_oneof![
                Just(Telling::Unofficial), Just(Telling::Standard), Just(Telling::Both),
            ],
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            // What is no claim stays.
            let others = |name: &str| {
                let name = name.replace(['_', '.'], "-");
                name != "forwarded" && name != "x-real-ip" && !name.starts_with("x-forwarded-")
            };
            let kept: Vec<_> = fields.iter().copied().filter(|(name, _)| others(name)).collect();
            prop_assert_eq!(told_in(&fields, false, told), told_in(&kept, false, told));
        }
    }
}
