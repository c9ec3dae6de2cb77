//! The first line of a request.
//!
//! Source: RFC 9112, section 3; RFC 3986 for the target, with the characters that browsers send
//! as they are.

use std::net::Ipv6Addr;

use super::field::is_token;
use super::{Limits, Refusal};

/// No method in use is longer.
pub(super) const METHOD_BYTES_MAX: usize = 32;

/// Checks the line, and tells whether it says HTTP/1.0.
pub(super) fn check(line: &[u8], limits: &Limits) -> Result<Version, Refusal> {
    let method = line.iter().position(|byte| !is_token(*byte));
    let method_len = match method {
        Some(len) if len > 0 && line[len] == b' ' => len,
        _ => return Err(Refusal::REQUEST_LINE),
    };
    let (method, rest) = (&line[..method_len], &line[method_len + 1..]);
    if method_len > METHOD_BYTES_MAX {
        return Err(Refusal::METHOD);
    }
    let Some(space) = memchr::memrchr(b' ', rest) else {
        return Err(Refusal::REQUEST_LINE);
    };
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::VERSION);
        }
        _ => return Err(Refusal::REQUEST_LINE),
    };
    if target.len() > limits.uri_bytes_max {
        return Err(Refusal::TARGET_LENGTH);
    }
    if method == b"CONNECT" {
        return Err(Refusal::CONNECT);
    }
    let sound = match target {
        [b'/', ..] => is_path_and_query(target),
        b"*" => method == b"OPTIONS",
        _ => is_url(target),
    };
    if sound {
        Ok(version)
    } else {
        Err(Refusal::TARGET)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

fn is_path_and_query(target: &[u8]) -> bool {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], &target[mark..]),
        None => (target, &b""[..]),
    };
    // Without an early exit, as the compiler then takes many bytes at a time.
    let path_sound = path.iter().fold(true, |sound, byte| sound & in_path(*byte));
    let query_sound = query
        .iter()
        .fold(true, |sound, byte| sound & in_query(*byte));
    path_sound && query_sound
}

/// A backslash is not among them: some servers take it for a slash.
fn in_path(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'#' | b'<' | b'>' | b'?' | b'\\' | b'`' | b'{' | b'}'
        )
}

fn in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}

/// A whole URL, as clients send it to a proxy. User information is no part of one (RFC 9110,
/// section 4.2.4).
fn is_url(target: &[u8]) -> bool {
    let after = |scheme: &[u8]| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let Some(rest) = after(b"http://").or_else(|| after(b"https://")) else {
        return false;
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    is_authority(authority) && is_path_and_query(path)
}

fn is_authority(authority: &[u8]) -> bool {
    let (host, port) = match memchr::memrchr(b':', authority) {
        Some(colon) if !authority[colon..].contains(&b']') => {
            (&authority[..colon], &authority[colon + 1..])
        }
        _ => (authority, &b""[..]),
    };
    let named = match host {
        [b'[', address @ .., b']'] => {
            let address = std::str::from_utf8(address);
            address.is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        name => !name.is_empty() && name.iter().copied().all(in_name),
    };
    named && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head_bytes_max: 1_000,
        fields_max: 10,
        uri_bytes_max: 60,
    };

    fn judge(line: &str) -> Result<Version, &'static str> {
        check(line.as_bytes(), &LIMITS).map_err(|refusal| refusal.cause)
    }

    #[test]
    fn sound_lines_pass() {
        for target in [
            "/",
            "//",
            "/a/../b;c=1/%2e%zz/[x]|y^z",
            "/?",
            "/a?b?c/d\\{}`^|=%zz",
            "http://a.test",
            "HTTP://a.test:80/x",
            "https://[::1]:8080?x",
            "http://a.test:/",
        ] {
            let line = format!("GET {target} HTTP/1.1");
            assert_eq!(judge(&line), Ok(Version::Http11), "{target}");
        }
        assert_eq!(judge("M-SEARCH /x HTTP/1.0"), Ok(Version::Http10));
        assert_eq!(judge("OPTIONS * HTTP/1.1"), Ok(Version::Http11));
    }

    #[test]
    fn others_are_refused_with_their_reason() {
        for (line, cause) in [
            ("", "request_line"),
            ("GET /", "request_line"),
            ("GET", "request_line"),
            (" GET / HTTP/1.1", "request_line"),
            ("G(T / HTTP/1.1", "request_line"),
            ("GET\t/ HTTP/1.1", "request_line"),
            ("GET / HTTP/1.1 ", "request_line"),
            ("GET / http/1.1", "request_line"),
            ("GET / HTTP/1.10", "request_line"),
            ("GET / HTTPS/1.1", "request_line"),
            ("GET  HTTP/1.1", "target"),
            ("GET  / HTTP/1.1", "target"),
            ("GET /a b HTTP/1.1", "target"),
            ("GET /a#b HTTP/1.1", "target"),
            ("GET /?a#b HTTP/1.1", "target"),
            ("GET /a\\b HTTP/1.1", "target"),
            ("GET /ü HTTP/1.1", "target"),
            ("GET /a\0 HTTP/1.1", "target"),
            ("GET /a\r HTTP/1.1", "target"),
            ("GET a HTTP/1.1", "target"),
            ("GET a.test:80 HTTP/1.1", "target"),
            ("GET * HTTP/1.1", "target"),
            ("GET ftp://a.test/ HTTP/1.1", "target"),
            ("GET http:///x HTTP/1.1", "target"),
            ("GET http://u@a.test/ HTTP/1.1", "target"),
            ("GET http://a%2e.test/ HTTP/1.1", "target"),
            ("GET http://[::1/ HTTP/1.1", "target"),
            ("GET http://[v1.x]/ HTTP/1.1", "target"),
            ("GET http://a.test:123456/ HTTP/1.1", "target"),
            ("GET http://a:b:1/ HTTP/1.1", "target"),
            ("CONNECT a.test:443 HTTP/1.1", "method"),
            ("PRI * HTTP/2.0", "version"),
            ("GET / HTTP/1.2", "version"),
        ] {
            assert_eq!(judge(line), Err(cause), "{line}");
        }
        let long = format!("GET /{} HTTP/1.1", "a".repeat(60));
        assert_eq!(judge(&long), Err("target_length"));
        let long = format!("{} / HTTP/1.1", "M".repeat(33));
        assert_eq!(judge(&long), Err("method_length"));
    }
}
