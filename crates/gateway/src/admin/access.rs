//! Who may ask the admin listener for what.
//!
//! The listener is reached by browsers too, and a page from anywhere can have its reader's browser
//! send requests to 127.0.0.1. Two checks keep such pages out. A page whose name was made to point
//! here (DNS rebinding) sends its own name in `Host`; a page of another site that posts here is
//! named by the browser in `Origin` and `Sec-Fetch-Site`.

use std::net::{IpAddr, SocketAddr};

use http::uri::{Authority, Uri};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::token::{Token, TokenError};
use crate::config::Admin;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The rules of one admin listener.
#[derive(Debug)]
pub(crate) struct Access {
    hosts: Vec<Box<str>>,
    token: Option<Token>,
    loopback: bool,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Not exactly one `Host`, or one that is no host.
    NoHost,
    /// The name in `Host` is not one of ours.
    Host(String),
    /// It comes from a page of another site.
    Origin,
    /// Changes are off here.
    ReadOnly,
    TokenMissing,
    TokenWrong,
    TokenUnreadable,
}

impl Access {
    /// # Errors
    ///
    /// When there is a token file that holds no token.
    pub(crate) fn new(admin: &Admin) -> Result<Self, TokenError> {
        let token = admin.token_file.as_deref().map(Token::new).transpose()?;
        Ok(Self {
            hosts: admin.hosts.clone(),
            token,
            loopback: admin.address.ip().to_canonical().is_loopback(),
        })
    }

    /// Whether a request for `uri` that came in at `local` is ours to answer.
    pub(super) fn check(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        local: SocketAddr,
    ) -> Result<(), Denied> {
        let host = single_host(headers)?;
        for authority in [Some(&host), uri.authority()].into_iter().flatten() {
            if !self.answers_to(authority.host(), local.ip().to_canonical()) {
                return Err(Denied::Host(authority.host().to_owned()));
            }
        }
        if headers.get(header::ORIGIN).is_some() && !is_same_origin(headers, &host) {
            return Err(Denied::Origin);
        }
        if is_from_elsewhere(headers) {
            return Err(Denied::Origin);
        }
        Ok(())
    }

    /// Whether a request that passed [`check`](Self::check) may change anything.
    pub(super) fn check_change(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(token) = &self.token else {
            return if self.loopback {
                Ok(())
            } else {
                Err(Denied::ReadOnly)
            };
        };
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| bearer(value.as_bytes()));
        match token.is(given.ok_or(Denied::TokenMissing)?) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied::TokenWrong),
            Err(_) => Err(Denied::TokenUnreadable),
        }
    }

    /// What a change takes here, in one word.
    pub(super) fn changes(&self) -> &'static str {
        match (&self.token, self.loopback) {
            (Some(_), _) => "token",
            (None, true) => "open",
            (None, false) => "off",
        }
    }

    /// The port does not matter: a name that is ours is ours behind a forwarded port too.
    fn answers_to(&self, host: &str, local: IpAddr) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = address.parse::<IpAddr>() {
            let address = address.to_canonical();
            if address == local || address.is_loopback() {
                return true;
            }
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let mut ours = self.hosts.iter().map(|name| &**name).chain(["localhost"]);
        ours.any(|ours| ours.eq_ignore_ascii_case(name))
    }
}

fn single_host(headers: &HeaderMap) -> Result<Authority, Denied> {
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Denied::NoHost);
    };
    let host = Authority::try_from(host.as_bytes()).map_err(|_| Denied::NoHost)?;
    if host.as_str().contains('@') {
        return Err(Denied::NoHost);
    }
    Ok(host)
}

/// Whether the only `Origin` is the host that was asked, by either scheme: TLS may end before us.
fn is_same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    let origin = origin.to_str().unwrap_or("");
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
}

/// Whether a browser says that another site's page asks. Following a link from there is no harm:
/// the page that opens belongs to us, and cannot be framed.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
    let link = headers.get(FETCH_MODE).map(|mode| mode.as_bytes()) == Some(b"navigate");
    !matches!(site, None | Some(b"same-origin" | b"none")) && !link
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

impl Denied {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoHost => StatusCode::BAD_REQUEST,
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::TokenUnreadable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn detail(&self) -> String {
        let words = match self {
            Self::NoHost => "a request needs exactly one Host",
            Self::Host(host) => {
                return format!(
                    "this listener does not answer to the host {host:?}: it answers to its \
                     address, to localhost and to the names in admin.hosts"
                );
            }
            Self::Origin => "requests of other sites' pages are refused",
            Self::ReadOnly => {
                "changes are off: this listener is reached from other machines, and \
                 admin.token_file is not set"
            }
            Self::TokenMissing => {
                "changes need the token in admin.token_file, as Authorization: Bearer"
            }
            Self::TokenWrong => "this is not the token in admin.token_file",
            Self::TokenUnreadable => "the file in admin.token_file holds no token any more",
        };
        words.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(address: &str, token: Option<&std::path::Path>) -> Access {
        let admin = Admin {
            address: address.parse().unwrap(),
            token_file: token.map(Into::into),
            hosts: vec!["gateway.internal".into()],
        };
        Access::new(&admin).unwrap()
    }

    fn check(local: &str, fields: &[(&'static str, &'static str)]) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let access = access(local, None);
        access.check(&Uri::from_static("/"), &headers, local.parse().unwrap())
    }

    #[test]
    fn a_host_is_the_bound_address_a_loopback_address_or_a_known_name() {
        for host in [
            "192.0.2.1:9901",
            "192.0.2.1",
            "127.0.0.1:8000",
            "[::1]:9901",
            "localhost",
            "LocalHost.:9901",
            "gateway.internal:9901",
        ] {
            assert_eq!(check("192.0.2.1:9901", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.test:9901",
            "localhost.evil.test",
            "gateway.internal.evil.test",
            "192.0.2.2",
            "127.0.0.1.evil.test",
        ] {
            let denied = check("192.0.2.1:9901", &[("host", host)]).unwrap_err();
            assert_eq!(denied.status(), 421, "{host}");
        }
        for host in ["", "a@localhost", "local host"] {
            let denied = check("127.0.0.1:9901", &[("host", host)]);
            assert_eq!(denied, Err(Denied::NoHost), "{host}");
        }
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(check("127.0.0.1:9901", &twice), Err(Denied::NoHost));
        assert_eq!(check("127.0.0.1:9901", &[]), Err(Denied::NoHost));
    }

    #[test]
    fn the_host_of_the_target_counts_too() {
        let access = access("127.0.0.1:9901", None);
        let mut headers = HeaderMap::new();
        headers.insert("host", "localhost".parse().unwrap());
        let uri = Uri::from_static("http://evil.test/healthz");
        let local = "127.0.0.1:9901".parse().unwrap();
        let denied = access.check(&uri, &headers, local);
        assert_eq!(denied, Err(Denied::Host("evil.test".to_owned())));
    }

    #[test]
    fn pages_of_other_sites_are_kept_out() {
        let host = ("host", "localhost:9901");
        for field in [
            ("origin", "http://localhost:9901"),
            ("origin", "https://localhost:9901"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(check("127.0.0.1:9901", &[host, field]), Ok(()), "{field:?}");
        }
        for field in [
            ("origin", "http://evil.test"),
            ("origin", "null"),
            ("origin", ""),
            ("origin", "http://localhost:9902"),
            ("origin", "localhost:9901"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let denied = check("127.0.0.1:9901", &[host, field]);
            assert_eq!(denied, Err(Denied::Origin), "{field:?}");
        }
        let link = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(check("127.0.0.1:9901", &link), Ok(()));
    }

    #[test]
    fn changes_are_free_on_loopback_and_off_elsewhere_without_a_token() {
        let headers = HeaderMap::new();
        for loopback in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(access(loopback, None).check_change(&headers), Ok(()));
        }
        for elsewhere in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let access = access(elsewhere, None);
            assert_eq!(access.check_change(&headers), Err(Denied::ReadOnly));
            assert_eq!(access.changes(), "off");
        }
    }

    #[test]
    fn where_there_is_a_token_changes_need_it_and_a_new_one_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let access = access("127.0.0.1:1", Some(&file));
        let with = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("authorization", value.parse().unwrap());
            }
            access.check_change(&headers)
        };
        assert_eq!(with(None), Err(Denied::TokenMissing));
        assert_eq!(
            with(Some("Basic 0123456789abcdef")),
            Err(Denied::TokenMissing)
        );
        assert_eq!(
            with(Some("Bearer 0123456789abcde")),
            Err(Denied::TokenWrong)
        );
        assert_eq!(with(Some("Bearer 0123456789abcdef")), Ok(()));
        assert_eq!(with(Some("bearer  0123456789abcdef")), Ok(()));

        std::fs::write(&file, "fedcba9876543210").unwrap();
        assert_eq!(
            with(Some("Bearer 0123456789abcdef")),
            Err(Denied::TokenWrong)
        );
        assert_eq!(with(Some("Bearer fedcba9876543210")), Ok(()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            with(Some("Bearer fedcba9876543210")),
            Err(Denied::TokenUnreadable)
        );
    }
}
