//! The addresses that proxies wrote down, nearest proxy first.
//!
//! Lists are split from the right: what a trusted proxy appended stands after the last comma,
//! whatever a client wrote before it (an open quote, say).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

/// `X-Forwarded-For`; an entry that is no address is `None`.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    entries(headers, NAME).map(node)
}

/// The `for` parameters of `Forwarded` (RFC 7239); one that is no address is `None`.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    entries(headers, header::FORWARDED).map(|element| {
        let mut pairs = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let value = pairs.find_map(|pair| {
            let (name, value) = pair.split_at_checked("for=".len())?;
            name.eq_ignore_ascii_case(b"for=").then_some(value)
        })?;
        let unquoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        node(unquoted.unwrap_or(value))
    })
}

fn entries(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).into_iter().rev();
    let entries = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    entries
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let alone = bare.unwrap_or(text).parse().ok();
    alone.or_else(|| {
        text.parse()
            .ok()
            .map(|with_port: SocketAddr| with_port.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let pairs = values
            .iter()
            .map(|value| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    fn addresses(found: impl Iterator<Item = Option<IpAddr>>) -> Vec<String> {
        found
            .map(|ip| ip.map_or("-".to_owned(), |ip| ip.to_string()))
            .collect()
    }

    #[test]
    fn entries_come_nearest_first_over_all_fields() {
        let headers = headers(
            "x-forwarded-for",
            &["1.1.1.1, 2.2.2.2:80", "[2001:db8::1]:4,x,::2"],
        );
        let found = addresses(x_forwarded_for(&headers));
        assert_eq!(found, ["::2", "-", "2001:db8::1", "2.2.2.2", "1.1.1.1"]);
    }

    #[test]
    fn the_for_parameter_of_each_element_is_read() {
        let headers = headers(
            "forwarded",
            &["for=1.1.1.1;by=_x, by=_y;For=\"[2001:db8::1]:47\", for=unknown, proto=http"],
        );
        assert_eq!(
            addresses(forwarded(&headers)),
            ["-", "-", "2001:db8::1", "1.1.1.1"]
        );
    }

    #[test]
    fn what_a_client_left_open_does_not_swallow_what_a_proxy_appended() {
        let headers = headers("forwarded", &["for=\"9.9.9.9, for=1.1.1.1"]);
        assert_eq!(addresses(forwarded(&headers)), ["1.1.1.1", "-"]);
    }
}
