//! Values that are written as text in the file.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderName, StatusCode};
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::router;

use super::keys::{HashBy, Secret};
use super::{EncodedSlash, HostPattern, LimitBy, LogTarget, Outage};

/// A value that is written as a string.
pub(super) struct Text<T>(pub(super) T);

/// Reads a value from its text.
pub(super) trait FromText: Sized {
    /// What the text must be, with an example: it ends the sentence "…, expected …".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;
}

impl<T: FromText> Text<T> {
    pub(super) fn read<E: Error>(text: &str) -> Result<Self, E> {
        T::from_text(text)
            .map(Self)
            .ok_or_else(|| E::custom(format_args!("{text:?} given, expected {}", T::EXPECTED)))
    }
}

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        Text::read(text)
    }
}

impl FromText for Duration {
    const EXPECTED: &'static str =
        "a duration of a whole number and ms, s, m or h, such as \"250ms\" or \"10s\"";

    fn from_text(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        Some(Self::from_millis(number.checked_mul(millis)?))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// From the largest; the last one has no other below it.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromText for Size {
    const EXPECTED: &'static str =
        "a size of a whole number and B, KiB, MiB or GiB, such as \"512B\" or \"8KiB\"";

    fn from_text(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit);
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let number: u64 = number.parse().ok()?;
        Some(Self(number.checked_mul(*bytes)?))
    }
}

/// As it is written, in the largest unit of which it is a multiple.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*bytes);
        let (name, bytes) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / bytes)
    }
}

impl FromText for EncodedSlash {
    const EXPECTED: &'static str = "\"refuse\" or \"pass\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self::Refuse),
            "pass" => Some(Self::Pass),
            _ => None,
        }
    }
}

impl FromText for SocketAddr {
    const EXPECTED: &'static str = "an address with a port, such as \"127.0.0.1:8080\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for IpNet {
    const EXPECTED: &'static str =
        "an address or a block of addresses, such as \"10.0.0.1\" or \"10.0.0.0/8\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse()
            .or_else(|_| text.parse().map(|ip: IpAddr| ip.into()))
            .ok()
    }
}

impl FromText for LogTarget {
    const EXPECTED: &'static str = "\"stdout\", \"off\" or \"file:\" and a path";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "stdout" => Some(Self::Stdout),
            "off" => Some(Self::Off),
            _ => match text.strip_prefix("file:") {
                Some(path) if !path.is_empty() => Some(Self::File(path.into())),
                _ => None,
            },
        }
    }
}

/// The host and port of an endpoint.
pub(super) struct Endpoint(pub(super) Arc<str>);

impl FromText for Endpoint {
    const EXPECTED: &'static str = "the URL of a server without a path, such as \
                                    \"http://10.0.0.1:9001\" (https is not there yet)";

    fn from_text(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let bare = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().filter(|_| bare)?;
        let host = authority.host();
        // User information would stand before the host. `Authority::port` is silent about a port
        // that is out of range.
        let port = authority.as_str().strip_prefix(host)?;
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None => 80_u16,
        };
        if host.is_empty() {
            return None;
        }
        Some(Self(format!("{host}:{port}").into()))
    }
}

/// Where servers stand together.
pub(super) struct Zone(pub(super) Arc<str>);

impl FromText for Zone {
    const EXPECTED: &'static str = "a name of 1 to 64 printable characters, such as \"eu-1a\"";

    fn from_text(text: &str) -> Option<Self> {
        let allowed = text.bytes().all(|byte| byte.is_ascii_graphic());
        (allowed && (1..=64).contains(&text.len())).then(|| Self(text.into()))
    }
}

/// What is asked for in a check.
pub(super) struct CheckPath(pub(super) PathAndQuery);

impl FromText for CheckPath {
    const EXPECTED: &'static str = "a path that begins with /, such as \"/healthz\"";

    fn from_text(text: &str) -> Option<Self> {
        let path: PathAndQuery = text.parse().ok().filter(|_| text.starts_with('/'))?;
        Some(Self(path))
    }
}

/// Whom a check asks for.
pub(super) struct CheckHost(pub(super) Box<str>);

impl FromText for CheckHost {
    const EXPECTED: &'static str = "a host, perhaps with a port, such as \"users.internal\"";

    fn from_text(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        let bare = !host.is_empty() && authority.as_str().starts_with(host);
        bare.then(|| Self(text.into()))
    }
}

/// The statuses of good answers.
pub(super) struct Statuses(pub(super) RangeInclusive<StatusCode>);

impl FromText for Statuses {
    const EXPECTED: &'static str =
        "a status from 100 to 599, or two with a dash, such as \"200\" or \"200-299\"";

    fn from_text(text: &str) -> Option<Self> {
        let status = |text: &str| {
            let number: u16 = text.parse().ok().filter(|_| text.len() == 3)?;
            (100..=599)
                .contains(&number)
                .then(|| StatusCode::from_u16(number).ok())?
        };
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let range = status(from)?..=status(to)?;
        (!range.is_empty()).then_some(Self(range))
    }
}

impl FromText for HeaderName {
    const EXPECTED: &'static str = "the name of a field, such as \"x-degraded\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl FromText for HashBy {
    const EXPECTED: &'static str = "\"address\", \"path\", or \"header:\", \"cookie:\" or \"query:\" \
                                    and a name, such as \"header:x-tenant\"";

    fn from_text(text: &str) -> Option<Self> {
        match (text, text.split_once(':')) {
            ("address", _) => Some(Self::Address),
            ("path", _) => Some(Self::Path),
            (_, Some(("header", name))) => name.parse().ok().map(Self::Header),
            (_, Some(("cookie", name))) => {
                let CookieName(name) = CookieName::from_text(name)?;
                Some(Self::Cookie(name))
            }
            (_, Some(("query", name))) if !name.is_empty() => Some(Self::Query(name.into())),
            _ => None,
        }
    }
}

/// As RFC 6265 has it.
pub(super) struct CookieName(pub(super) Box<str>);

impl FromText for CookieName {
    const EXPECTED: &'static str =
        "1 to 128 letters, digits and characters of !#$%&'*+-.^_`|~, such as \"lb\"";

    fn from_text(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }
}

/// For which paths a browser sends a cookie.
pub(super) struct CookiePath(pub(super) Box<str>);

impl FromText for CookiePath {
    const EXPECTED: &'static str =
        "a path that begins with / and has no semicolon, such as \"/shop\"";

    fn from_text(text: &str) -> Option<Self> {
        let fits = text.starts_with('/') && is_attribute(text);
        fits.then(|| Self(text.into()))
    }
}

/// For which hosts a browser sends a cookie.
pub(super) struct CookieDomain(pub(super) Box<str>);

impl FromText for CookieDomain {
    const EXPECTED: &'static str = "a domain, such as \"example.com\"";

    fn from_text(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && is_attribute(text);
        fits.then(|| Self(text.into()))
    }
}

fn is_attribute(text: &str) -> bool {
    let allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b';';
    text.len() <= 1_024 && text.bytes().all(allowed)
}

impl FromText for Secret {
    const EXPECTED: &'static str = "\"file:\" and a path, or \"env:\" and the name of a variable";

    fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            (_, "") => None,
            ("file", path) => Some(Self::File(path.into())),
            ("env", name) => Some(Self::Env(name.into())),
            _ => None,
        }
    }
}

impl FromText for HostPattern {
    const EXPECTED: &'static str =
        "a host name without a port, such as \"api.example.com\" or \"*.example.com\"";

    fn from_text(text: &str) -> Option<Self> {
        let (name, under) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let authority: Authority = name.parse().ok()?;
        // What is not the whole authority is a port, user information or a wildcard elsewhere.
        if authority.host() != name || name.contains('*') || name.len() > 253 {
            return None;
        }
        Some(if under {
            Self::Under(name)
        } else {
            Self::Exact(name)
        })
    }
}

/// A name by which operators reach the admin listener.
pub(super) struct AdminHost(pub(super) Box<str>);

impl FromText for AdminHost {
    const EXPECTED: &'static str =
        "a host name or address without a port, such as \"gateway.internal\"";

    fn from_text(text: &str) -> Option<Self> {
        match HostPattern::from_text(text)? {
            HostPattern::Exact(name) => Some(Self(name.into())),
            HostPattern::Any | HostPattern::Under(_) => None,
        }
    }
}

/// The path of a file that lists servers.
pub(super) struct ListFile(pub(super) PathBuf);

impl FromText for ListFile {
    const EXPECTED: &'static str =
        "the path of a list in TOML or JSON, such as \"/etc/stanchion/users.toml\"";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }
}

/// The path of the file that holds the admin listener's token.
pub(super) struct TokenFile(pub(super) PathBuf);

impl FromText for TokenFile {
    const EXPECTED: &'static str = "the path of a file, such as \"/etc/stanchion/token\"";

    fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }
}

/// A path that a route begins with.
pub(super) struct PathPrefix(pub(super) String);

impl FromText for PathPrefix {
    const EXPECTED: &'static str = "a path that begins with / and has no query, no empty, . or .. \
                                    segment and nothing to decode, such as \"/api\"";

    fn from_text(text: &str) -> Option<Self> {
        let path = text.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let whole = format!("/{path}");
        let uri: Uri = whole.parse().ok()?;
        let normal = router::normalised(text, EncodedSlash::Pass).ok()?;
        (normal == text && uri.path() == whole).then_some(Self(whole))
    }
}

/// How much of a route's path prefix the server is not sent.
pub(super) enum StripPrefix {
    /// All of it, or nothing.
    All(bool),
    Path(String),
}

impl<'de> Deserialize<'de> for StripPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StripPrefixVisitor;

        impl Visitor<'_> for StripPrefixVisitor {
            type Value = StripPrefix;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a path that path_prefix begins with")
            }

            fn visit_bool<E: Error>(self, all: bool) -> Result<StripPrefix, E> {
                Ok(StripPrefix::All(all))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StripPrefix, E> {
                let path = TextVisitor::<PathPrefix>(PhantomData).visit_str(text)?;
                Ok(StripPrefix::Path(path.0.0))
            }
        }

        deserializer.deserialize_any(StripPrefixVisitor)
    }
}

/// The name of a route, an upstream or a limit: a metric's label and part of a header field.
pub(super) struct Name(pub(super) Arc<str>);

impl FromText for Name {
    const EXPECTED: &'static str =
        "a name of 1 to 64 letters, digits, -, _ and ., such as \"users-v2\"";

    fn from_text(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }
}

impl FromText for LimitBy {
    const EXPECTED: &'static str =
        "\"address\", \"api-key\" or \"header:\" and a field's name, such as \"header:x-tenant\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "address" => Some(Self::Address),
            "api-key" => Some(Self::ApiKey),
            _ => {
                let name: HeaderName = text.strip_prefix("header:")?.parse().ok()?;
                Some(Self::Header(name))
            }
        }
    }
}

/// The algorithm of a limit, by its name.
#[derive(Clone, Copy)]
pub(super) struct Algorithm(pub(super) &'static str);

const ALGORITHMS: [&str; 6] = [
    "token-bucket",
    "leaky-bucket",
    "fixed-window",
    "sliding-window-counter",
    "sliding-window-log",
    "strict-window",
];

impl Default for Text<Algorithm> {
    fn default() -> Self {
        Self(Algorithm(ALGORITHMS[0]))
    }
}

impl FromText for Algorithm {
    const EXPECTED: &'static str = "\"token-bucket\", \"leaky-bucket\", \"fixed-window\", \
                                    \"sliding-window-counter\", \"sliding-window-log\" or \
                                    \"strict-window\"";

    fn from_text(text: &str) -> Option<Self> {
        let known = ALGORITHMS.into_iter().find(|known| *known == text);
        known.map(Self)
    }
}

impl FromText for Outage {
    const EXPECTED: &'static str = "\"open\", \"closed\" or \"local\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "closed" => Some(Self::Closed),
            "local" => Some(Self::Local),
            _ => None,
        }
    }
}

/// The SHA-256 of an API key.
pub(super) struct KeyHash(pub(super) [u8; 32]);

impl FromText for KeyHash {
    const EXPECTED: &'static str = "\"sha256:\" and the 64 hexadecimal digits of the key's SHA-256, \
                                    as `printf %s KEY | sha256sum` tells them";

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            let value = digit(pair[0])? * 16 + digit(pair[1])?;
            *byte = u8::try_from(value).ok()?;
        }
        Some(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Option<String> {
        Some(Endpoint::from_text(text)?.0.to_string())
    }

    fn prefix(text: &str) -> Option<String> {
        Some(PathPrefix::from_text(text)?.0)
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [("250ms", 250), ("10s", 10_000), ("2m", 120_000), ("0s", 0)] {
            let expected = Some(Duration::from_millis(millis));
            assert_eq!(Duration::from_text(text), expected);
        }
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 s",
            "99999999999999999999s",
        ] {
            assert_eq!(Duration::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("8KiB", 8_192), ("3GiB", 3 << 30)] {
            assert_eq!(Size::from_text(text), Some(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
        for text in [
            "",
            "1",
            "B",
            "1kB",
            "1 KiB",
            "-1B",
            "1.5MiB",
            "99999999999GiB",
        ] {
            assert_eq!(Size::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn endpoints_are_plain_http_without_a_path() {
        assert_eq!(endpoint("http://a.test").unwrap(), "a.test:80");
        assert_eq!(endpoint("http://[::1]:9001/").unwrap(), "[::1]:9001");
        for text in [
            "a.test:80",
            "https://a.test",
            "http://a.test/x",
            "http://u@a.test",
            "http://a.test:0",
            "http://a.test:70000",
        ] {
            assert_eq!(endpoint(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_are_names_or_what_lies_under_one() {
        let exact = |name: &str| Some(HostPattern::Exact(name.to_owned()));
        let given = "API.Example.com.";
        assert_eq!(HostPattern::from_text(given), exact("api.example.com"));
        assert_eq!(HostPattern::from_text("[::1]"), exact("[::1]"));
        assert_eq!(
            HostPattern::from_text("*.example.com"),
            Some(HostPattern::Under("example.com".to_owned()))
        );
        for text in ["", "*", "*.", "a.*.com", "a.test:80", "u@a.test", "a/b"] {
            assert_eq!(HostPattern::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn good_answers_are_one_status_or_some() {
        let range = |text: &str| {
            let Statuses(range) = Statuses::from_text(text)?;
            Some((range.start().as_u16(), range.end().as_u16()))
        };
        assert_eq!(range("200"), Some((200, 200)));
        assert_eq!(range("200-399"), Some((200, 399)));
        for text in [
            "",
            "20",
            "2000",
            "299-200",
            "200-",
            "-200",
            "200-299-300",
            "600",
            "+20",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn whom_a_check_asks_for_is_a_host() {
        for text in ["a.test", "a.test:80", "[::1]:80"] {
            assert!(CheckHost::from_text(text).is_some(), "{text}");
        }
        for text in ["", "u@a.test", "a.test/x", "a b", ":80"] {
            assert!(CheckHost::from_text(text).is_none(), "{text}");
        }
        assert!(CheckPath::from_text("/up?deep=1").is_some());
        for text in ["", "up", "http://a.test/up", "/a b", "*"] {
            assert!(CheckPath::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn path_prefixes_lose_their_final_slash_only() {
        assert_eq!(prefix("/").unwrap(), "/");
        assert_eq!(prefix("/api/v1/").unwrap(), "/api/v1");
        for text in [
            "", "api", "//", "/a//b", "/a/../b", "/a?b", "/a#b", "/a b", "/%61", "/a%2f", "/a\\b",
        ] {
            assert_eq!(prefix(text), None, "{text}");
        }
    }
}
