//! The one form of a path in which it is matched and passed on.
//!
//! A server takes a path apart in its own way: it decodes, it resolves dots, it joins slashes. Where
//! it does so and the gateway does not, it sees another path than the one that was matched, and a
//! request for `/public/%2e%2e/admin` goes by the rules of `/public`. So the gateway brings a path
//! into the form that leaves nothing to take apart, matches that, and sends that.
//!
//! - Percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded; in other encoded bytes, the
//!   hexadecimal digits become upper case.
//! - `.` and `..` segments are resolved; a path that climbs above the root is refused.
//! - Slashes in a row become one.
//! - Refused are: a broken percent-encoding, an encoded NUL, a backslash, bytes that are no ASCII, a
//!   dot segment with parameters (`..;x`, which some servers resolve) or parameters alone, and, as configured, an encoded
//!   slash or backslash.
//!
//! The query stays as it is.
//!
//! Source: RFC 3986, section 6.2.2.

use std::borrow::Cow;

use crate::config::EncodedSlash;

/// Why a path has no such form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPath {
    /// A slash or a backslash is encoded.
    EncodedSlash,
    Other,
}

/// The form of a path that begins with a slash; borrowed if it has that already.
pub(crate) fn normalised(path: &str, slashes: EncodedSlash) -> Result<Cow<'_, str>, BadPath> {
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let mut normal = String::with_capacity(path.len());
    let mut segment = String::new();
    // Whether the path ends in a slash, or in a dot segment, which stands for one.
    let mut open = true;
    let rest = path.strip_prefix('/').ok_or(BadPath::Other)?;
    for encoded in rest.split('/') {
        segment.clear();
        decode(encoded, slashes, &mut segment)?;
        open = matches!(segment.as_str(), "" | "." | "..");
        match segment.as_str() {
            "" | "." => {}
            ".." => {
                let parent = normal.rfind('/').ok_or(BadPath::Other)?;
                normal.truncate(parent);
            }
            other if hides_dots(other) || is_nameless(other) => return Err(BadPath::Other),
            other => {
                normal.push('/');
                normal.push_str(other);
            }
        }
    }
    if open {
        normal.push('/');
    }
    Ok(Cow::Owned(normal))
}

/// Whether a path needs no second look. Most do not.
fn is_plain(path: &[u8]) -> bool {
    let mut slash = false;
    for byte in path {
        match byte {
            b'/' | b'.' if slash => return false,
            b'%' | b'\\' | 0x80.. => return false,
            _ => slash = *byte == b'/',
        }
    }
    true
}

fn decode(encoded: &str, slashes: EncodedSlash, segment: &mut String) -> Result<(), BadPath> {
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if byte == b'\\' || !byte.is_ascii() {
                return Err(BadPath::Other);
            }
            segment.push(char::from(byte));
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(BadPath::Other);
        };
        match char::from_u32(high * 16 + low) {
            None | Some('\0') => return Err(BadPath::Other),
            Some('/' | '\\') if slashes == EncodedSlash::Refuse => {
                return Err(BadPath::EncodedSlash);
            }
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                segment.push(plain);
            }
            Some(_) => {
                segment.push('%');
                for digit in [high, low] {
                    let digit = char::from_digit(digit, 16).unwrap_or_default();
                    segment.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
    Ok(())
}

/// Whether a segment is nothing but parameters: without them it is empty, and drops out.
fn is_nameless(segment: &str) -> bool {
    segment.starts_with(';') || segment.starts_with("%3B")
}

/// Whether some server might find a dot segment in a decoded segment that is none for us: in front
/// of parameters, or beside an encoded slash.
fn hides_dots(segment: &str) -> bool {
    let parts = segment.split("%2F").flat_map(|part| part.split("%5C"));
    let mut names = parts.map(|part| part.split(';').next().unwrap_or_default());
    names.any(|name| {
        let name = name.split("%3B").next().unwrap_or_default();
        matches!(name, "." | "..")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refuse(path: &str) -> Result<Cow<'_, str>, BadPath> {
        normalised(path, EncodedSlash::Refuse)
    }

    #[test]
    fn paths_come_into_one_form() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b.c/", "/a/b.c/"),
            ("/a//b///", "/a/b/"),
            ("//", "/"),
            ("//a", "/a"),
            ("/./a/./b/.", "/a/b/"),
            ("/a/../b/..", "/"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/%61%7e%2d", "/a~-"),
            ("/%c3%bc/%20%2a", "/%C3%BC/%20%2A"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/%3f%23", "/%3F%23"),
        ] {
            assert_eq!(refuse(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn others_are_refused() {
        for path in [
            "/..",
            "/a/../..",
            "/%2e%2e",
            "/a/../%2e%2e/b",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%00",
            "/a\\b",
            "/ü",
            "/..;x/a",
            "/a/.;/",
            "/..%3bx",
            "/a/..;/b",
            "/a/;x/..",
            "/%3bx",
        ] {
            assert_eq!(refuse(path), Err(BadPath::Other), "{path}");
        }
        for path in ["/a%2fb", "/a%2Fb", "/a%5cb", "/%2f"] {
            assert_eq!(refuse(path), Err(BadPath::EncodedSlash), "{path}");
        }
    }

    #[test]
    fn encoded_slashes_pass_where_that_is_configured_but_hide_no_dots() {
        let pass = |path| normalised(path, EncodedSlash::Pass);
        assert_eq!(pass("/a%2fb/%5C").as_deref(), Ok("/a%2Fb/%5C"));
        for path in ["/..%2fa", "/a%2f..", "/a%2f%2e%2e%5cb", "/a%2f.;x"] {
            assert_eq!(pass(path), Err(BadPath::Other), "{path}");
        }
    }

    /// A server that does everything that servers do: decodes all, takes backslashes for slashes,
    /// drops parameters and empty segments, resolves dots.
    fn as_a_server_sees(path: &str) -> Vec<String> {
        let mut decoded = Vec::new();
        let mut bytes = path.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                decoded.push(u8::from_str_radix(digits, 16).unwrap());
            } else {
                decoded.push(byte);
            }
        }
        let mut segments: Vec<String> = Vec::new();
        for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
            let name = segment.split(|byte| *byte == b';').next().unwrap();
            match name {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                name => segments.push(String::from_utf8_lossy(name).into_owned()),
            }
        }
        segments
    }

    /// What a route's prefix is compared with: segment by segment, nothing resolved any more.
    fn as_it_is_matched(path: &str) -> Vec<String> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        segments.flat_map(as_a_server_sees).collect()
    }

    proptest! {
        #[test]
        fn no_server_sees_another_path_than_the_one_that_was_matched(
            path in "(/|\\.|a|;x|%2[eEfF5]|%5c|%3b|%61|%c3|/\\.\\.|//){0,12}",
        ) {
            let path = format!("/{path}");
            if let Ok(normal) = refuse(&path) {
                prop_assert_eq!(as_a_server_sees(&normal), as_it_is_matched(&normal));
                // And the client meant the same.
                prop_assert_eq!(as_a_server_sees(&normal), as_a_server_sees(&path));
                prop_assert_eq!(refuse(&normal), Ok(Cow::Borrowed(&*normal)));
                prop_assert!(normal.starts_with('/'));
            }
        }

        #[test]
        fn what_is_plain_is_in_that_form(path in "(/|\\.|a|\\.\\.|%2e|%41|;|b){0,12}") {
            let path = format!("/{path}");
            if is_plain(path.as_bytes()) {
                prop_assert_eq!(as_a_server_sees(&path), as_it_is_matched(&path));
            }
        }
    }
}
