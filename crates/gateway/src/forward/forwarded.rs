//! Writes `Forwarded`.
//!
//! Source: RFC 7239, sections 4 and 7.4.

use std::io::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};

use super::{FOR, PROTO};
use crate::client;
use crate::exchange::Peer;

/// Who asked: what a trusted peer wrote in `X-Forwarded-For`, by which the client is found as well,
/// or else in `Forwarded`; and then the peer. What a stranger wrote must be gone.
pub(super) fn value(headers: &HeaderMap, peer: &Peer) -> HeaderValue {
    let mut list = Vec::with_capacity(64);
    // Of the farthest client.
    let mut scheme = headers.get(PROTO).map(HeaderValue::as_bytes);
    let fields = headers.get_all(FOR).into_iter();
    let entries = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    for entry in entries.filter(|entry| !entry.trim_ascii().is_empty()) {
        write_node(&mut list, client::address(entry));
        if let Some(scheme @ (b"http" | b"https")) = scheme.take() {
            list.extend_from_slice(b";proto=");
            list.extend_from_slice(scheme);
        }
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        let given = headers.get_all(header::FORWARDED).into_iter();
        let given = given.map(|value| value.as_bytes().trim_ascii());
        for value in given.filter(|value| !value.is_empty() && closes_its_quotes(value)) {
            list.extend_from_slice(value);
            list.extend_from_slice(b", ");
        }
    }
    write_node(&mut list, Some(peer.address));
    if let Some(host) = headers.get(header::HOST).filter(|host| !host.is_empty()) {
        // It was found to be a host, so no quote is in it.
        list.extend_from_slice(b";host=\"");
        list.extend_from_slice(host.as_bytes());
        list.push(b'"');
    }
    list.extend_from_slice(b";proto=http");
    HeaderValue::from_bytes(&list).unwrap_or(HeaderValue::from_static("for=unknown"))
}

fn write_node(list: &mut Vec<u8>, address: Option<IpAddr>) {
    // Writing to a vector does not fail.
    let _ = match address {
        Some(IpAddr::V4(address)) => write!(list, "for={address}"),
        Some(IpAddr::V6(address)) => write!(list, "for=\"[{address}]\""),
        None => write!(list, "for=unknown"),
    };
}

/// Whether what is written behind it is not taken for a part of a string in it.
fn closes_its_quotes(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            // The next one stands for itself.
            b'\\' if quoted && bytes.next().is_none() => return false,
            _ => {}
        }
    }
    !quoted
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = "for=192.0.2.1;host=\"a.test\";proto=http";

    fn written(fields: &[(HeaderName, String)], peer: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("a.test"));
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let address: IpAddr = peer.parse().unwrap();
        let value = value(&headers, &Peer::new((address, 1).into()));
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn the_peer_stands_after_what_it_says_of_its_own_clients() {
        const GIVEN: HeaderName = header::FORWARDED;
        for (fields, before) in [
            (&[][..], ""),
            (&[(GIVEN, "")], ""),
            (
                &[(GIVEN, "for=a"), (GIVEN, " for=\"b\\\"\";by=c ")],
                "for=a, for=\"b\\\"\";by=c, ",
            ),
            // It would swallow what comes after it.
            (&[(GIVEN, "for=\"a")], ""),
            (&[(GIVEN, "for=\"a\\"), (GIVEN, "for=b")], "for=b, "),
            // It may be a stranger's, passed through.
            (
                &[(GIVEN, "for=a"), (FOR, "203.0.113.9")],
                "for=203.0.113.9, ",
            ),
            (
                &[
                    (FOR, "203.0.113.9:81, x\"y,, "),
                    (FOR, "2001:db8::1"),
                    (PROTO, "https"),
                ],
                "for=203.0.113.9;proto=https, for=unknown, for=\"[2001:db8::1]\", ",
            ),
            (&[(FOR, "203.0.113.9"), (PROTO, "a;b")], "for=203.0.113.9, "),
        ] {
            let fields = fields.iter();
            let fields: Vec<_> = fields
                .map(|(name, value)| (name.clone(), (*value).to_owned()))
                .collect();
            let wanted = format!("{before}{OWN}");
            assert_eq!(written(&fields, "192.0.2.1"), wanted, "{fields:?}");
        }
    }

    #[test]
    fn an_ipv6_peer_is_quoted() {
        assert_eq!(
            written(&[], "2001:db8::1"),
            "for=\"[2001:db8::1]\";host=\"a.test\";proto=http"
        );
    }

    /// The elements of a list, cut at the commas that are in no string.
    fn elements(list: &str) -> Vec<String> {
        let (mut elements, mut quoted, mut escaped) = (vec![String::new()], false, false);
        for letter in list.chars() {
            match letter {
                ',' if !quoted => {
                    elements.push(String::new());
                    continue;
                }
                '"' if !escaped => quoted = !quoted,
                _ => {}
            }
            escaped = quoted && letter == '\\' && !escaped;
            elements.last_mut().unwrap().push(letter);
        }
        elements
    }

    proptest! {
        #[test]
        fn a_reader_finds_the_peer_last_whatever_a_trusted_one_says(
            fields in proptest::collection::vec(
                (prop_oneof![Just(header::FORWARDED), Just(FOR), Just(PROTO)], "[a1:.=;,\"\\\\ \\[\\]]{0,12}"),
                0..4,
            ),
        ) {
            let found = elements(&written(&fields, "192.0.2.1"));
            prop_assert_eq!(found.last().unwrap().trim(), OWN);
        }

        #[test]
        fn each_address_of_a_trusted_peer_is_an_element(
            addresses in proptest::collection::vec(any::<IpAddr>(), 0..6),
            cut in 0..6_usize,
        ) {
            let text = |part: &[IpAddr]| {
                let part: Vec<_> = part.iter().map(IpAddr::to_string).collect();
                (FOR, part.join(","))
            };
            let (first, second) = addresses.split_at(cut.min(addresses.len()));
            let found = elements(&written(&[text(first), text(second)], "192.0.2.1"));
            let nodes = addresses.iter().map(|address| match address.to_canonical() {
                IpAddr::V4(address) => format!("for={address}"),
                IpAddr::V6(address) => format!("for=\"[{address}]\""),
            });
            let wanted: Vec<_> = nodes.chain([OWN.to_owned()]).collect();
            let found: Vec<_> = found.iter().map(|element| element.trim().to_owned()).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
