//! What every request must be before a route is looked for.

use std::borrow::Cow;

use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};

use super::path::{self, BadPath};
use crate::config::EncodedSlash;
use crate::exchange::Refused;
use crate::fields::{self, Found};
use crate::problem::Problem;

/// The methods that are passed on without a question; others are, too.
pub(crate) const ALLOWED: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

const METHOD: Problem = Problem::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "method",
    "TRACE and CONNECT are not passed on",
);
const HOST: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "host",
    "a request needs exactly one Host, a name or address with or without a port",
);

const PATH: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "path",
    "the path climbs above its root, or is not soundly percent-encoded",
);
const ENCODED_SLASH: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "encoded_slash",
    "a slash or backslash in a path is not percent-encoded here",
);

/// Refuses what is not passed on, leaves one `Host`, that of the target if it has one, and brings the
/// path into one form.
///
/// Source: RFC 9112, section 3.2.
pub(super) fn take_in<B>(
    request: &mut Request<B>,
    encoded_slash: EncodedSlash,
) -> Result<(), Problem> {
    if let Some(Refused(problem)) = request.extensions().get() {
        return Err(*problem);
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Err(METHOD);
    }
    let Found::One(host) = fields::find(request.headers(), &header::HOST) else {
        return Err(HOST);
    };
    if !is_host(host.as_bytes()) {
        return Err(HOST);
    }
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(without_user(authority)).map_err(|_| HOST)?;
        if !is_host(host.as_bytes()) {
            return Err(HOST);
        }
        request.headers_mut().insert(header::HOST, host);
    }
    normalise_path(request, encoded_slash)
}

/// Brings the path into the form in which it is matched and passed on.
fn normalise_path<B>(request: &mut Request<B>, encoded_slash: EncodedSlash) -> Result<(), Problem> {
    let uri = request.uri();
    if uri.path() == "*" {
        return Ok(());
    }
    let normal = match path::normalised(uri.path(), encoded_slash) {
        Ok(Cow::Borrowed(_)) => return Ok(()),
        Ok(Cow::Owned(normal)) if normal == uri.path() => return Ok(()),
        Ok(Cow::Owned(normal)) => normal,
        Err(BadPath::EncodedSlash) => return Err(ENCODED_SLASH),
        Err(BadPath::Other) => return Err(PATH),
    };
    let target = match uri.query() {
        Some(query) => format!("{normal}?{query}"),
        None => normal,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().map_err(|_| PATH)?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| PATH)?;
    Ok(())
}

/// The host of a request that was taken in, without its port.
pub(crate) fn host<B>(request: &Request<B>) -> &str {
    let host = request.headers().get(header::HOST);
    let (name, _) = divided(host.map_or(b"", HeaderValue::as_bytes));
    // It is ASCII, or it would not have been taken in.
    std::str::from_utf8(name).unwrap_or_default()
}

/// A name or an address, and what stands behind the colon.
fn divided(host: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b':', host) {
        // A colon within brackets belongs to an IPv6 address.
        Some(colon) if !host[colon..].contains(&b']') => (&host[..colon], &host[colon + 1..]),
        _ => (host, b""),
    }
}

fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rfind('@').map_or(text, |at| &text[at + 1..])
}

/// What a name may be made of.
const IN_NAME: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x80 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let (marks, mut next) = (b"-._~%!$&'()*+,;=", 0);
    while next < marks.len() {
        allowed[marks[next] as usize] = true;
        next += 1;
    }
    allowed
};

/// A name or an address, and perhaps a port.
fn is_host(host: &[u8]) -> bool {
    let (name, port) = divided(host);
    let in_name = |byte: &u8| IN_NAME[usize::from(*byte)];
    let in_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let named = match name {
        [b'[', address @ .., b']'] => !address.is_empty() && address.iter().all(in_address),
        name => !name.is_empty() && name.iter().all(in_name),
    };
    named && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in [
            "a.test",
            "a.test:80",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "a_b",
            "a:",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a/b@c", "a b", "a:b", "[]", "[x]", "a,b:1:2", "::1", "a:123456",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
