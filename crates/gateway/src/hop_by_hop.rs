//! Fields that end at the next hop.
//!
//! Source: RFC 9110, section 7.6.1.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;

/// Drops the hop-by-hop fields, those that `Connection` names among them; `TE` stays as far as it
/// asks for trailers, which the gateway passes on.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most messages have one such field or none, and looking each up by name would cost more than
    // all else that is done to a message.
    let mut ending = headers.iter().filter(|(name, _)| ends_here(name));
    let (Some((first, value)), second) = (ending.next(), ending.next()) else {
        return;
    };
    if second.is_none() && *first == header::CONNECTION && names_none(value) {
        headers.remove(header::CONNECTION);
        return;
    }
    let first = first.clone();
    let trailers = lists(headers, &header::TE, "trailers");
    strip_named(headers);
    headers.remove(first);
    while let Some(name) = headers.keys().find(|name| ends_here(name)).cloned() {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether `Connection` says no more than whether the connection is kept.
fn names_none(connection: &HeaderValue) -> bool {
    let value = connection.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// Whether a field ends at the next hop whatever `Connection` names.
pub(crate) fn ends_here(name: &HeaderName) -> bool {
    let name = name.as_str();
    // By the first letter, which most names do not have in common with any of them.
    match name.as_bytes().first() {
        Some(b'c') => name == "connection",
        Some(b'k') => name == "keep-alive",
        Some(b'p') => matches!(
            name,
            "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-authentication-info"
        ),
        Some(b't') => matches!(name, "te" | "transfer-encoding"),
        Some(b'u') => name == "upgrade",
        // Belongs to an upgrade that is not passed on.
        Some(b'h') => name == "http2-settings",
        _ => false,
    }
}

/// Drops from trailers what ends here, and what has no business in them: a server might read them
/// together with the head.
///
/// Source: RFC 9110, section 6.5.1.
pub(crate) fn strip_trailers(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        strip(trailers);
        for name in [header::HOST, header::CONTENT_LENGTH, header::TE] {
            trailers.remove(name);
        }
    }
    frame
}

/// Drops the fields that `Connection` names. `Host` stays: a request is nothing without it, and a
/// client could name it.
fn strip_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = elements(headers, &header::CONNECTION)
        .filter(|name| !name.eq_ignore_ascii_case("close"))
        .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
        .filter_map(|name| name.parse().ok())
        .filter(|name| name != header::HOST)
        .collect();
    for name in named {
        headers.remove(name);
    }
}

fn lists(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    elements(headers, name).any(|found| found.eq_ignore_ascii_case(element))
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stripped(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        strip(&mut headers);
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let left = stripped(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("x-kept", "3"),
        ]);
        assert_eq!(left, [("x-kept".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn a_connection_that_names_nothing_goes_alone() {
        for says in ["keep-alive", "Close", "Keep-Alive"] {
            let left = stripped(&[("connection", says), ("keep", "1"), ("close", "2")]);
            assert_eq!(left.len(), 2, "{says}");
        }
        assert!(stripped(&[("connection", "close, x"), ("x", "1")]).is_empty());
        assert!(stripped(&[("connection", "close"), ("connection", "x"), ("x", "1")]).is_empty());
        assert!(stripped(&[("connection", "close"), ("upgrade", "h2c")]).is_empty());
    }

    #[test]
    fn host_cannot_be_named_away() {
        assert_eq!(
            stripped(&[("connection", "host"), ("host", "a.test")]).len(),
            1
        );
    }

    #[test]
    fn te_keeps_its_wish_for_trailers_only() {
        let left = stripped(&[("te", "gzip, Trailers"), ("connection", "te")]);
        assert_eq!(left, [("te".to_owned(), "trailers".to_owned())]);
        assert!(stripped(&[("te", "gzip")]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_else_is_lost_and_nothing_named_stays(
            named in proptest::collection::vec("x-[a-d]{1,2}", 0..4),
            present in proptest::collection::vec("x-[a-d]{1,2}", 0..6),
        ) {
            let list = named.join(" , ").to_uppercase();
            let mut fields = vec![("connection", list.as_str()), ("upgrade", "h2c")];
            fields.extend(present.iter().map(|name| (name.as_str(), "1")));
            let left: Vec<String> = stripped(&fields).into_iter().map(|(name, _)| name).collect();
            let mut wanted: Vec<String> = present.clone();
            wanted.retain(|name| !named.contains(name));
            let sorted = |mut names: Vec<String>| { names.sort(); names };
            prop_assert_eq!(sorted(left), sorted(wanted));
        }
    }
}
