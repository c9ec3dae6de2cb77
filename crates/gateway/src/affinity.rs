//! What a request wants of the choice of its server: the owner of its key, or the server that its
//! session is bound to.

mod layer;
mod secret;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use stanchion_core::Clock;
use stanchion_hashing::key_hash;
use stanchion_lb::affinity::{Session, SessionCookie, SessionKeys};
use stanchion_lb::{EndpointId, IpKey, PickContext};

use crate::build_error::BuildError;
use crate::config::keys::{Affinity, CookieAffinity, Hash, HashBy};
use crate::config::{self, keys};
use crate::exchange::{Client, Request, Response};
pub(crate) use layer::WantsLayer;
pub(crate) use secret::InvalidSecret;

/// What requests to one upstream want; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Wants(Arc<Sources>);

#[derive(Debug)]
struct Sources {
    hash: Option<HashKey>,
    session: Option<SessionBy>,
}

/// What one request wants, if anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    hash: Option<u64>,
    session: Option<Bound>,
}

/// Where the key stands that is hashed.
#[derive(Debug)]
enum HashKey {
    Address(IpKey),
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    Path,
}

/// Where the server is named.
#[derive(Debug)]
enum SessionBy {
    Cookie(Box<SessionCookie>),
    Header(HeaderName),
}

/// A server that is named.
#[derive(Clone, Debug)]
enum Bound {
    Session(Session),
    Name(HeaderValue),
}

impl Wants {
    /// What requests to this upstream want; `None` if they never want anything.
    ///
    /// # Errors
    ///
    /// If a secret cannot be read or is too short.
    pub(crate) fn new(
        upstream: &config::Upstream,
        clock: &Clock,
    ) -> Result<Option<Self>, BuildError> {
        let hash = upstream.hash.as_ref().map(HashKey::new).transpose();
        let hash = hash.map_err(BuildError::Policy)?;
        let session = upstream.affinity.as_ref();
        let session = session.map(|affinity| SessionBy::new(affinity, clock));
        let session = session.transpose()?;
        if hash.is_none() && session.is_none() {
            return Ok(None);
        }
        Ok(Some(Self(Arc::new(Sources { hash, session }))))
    }

    /// What a request wants, as it came in.
    fn of(&self, request: &Request) -> Wanted {
        let Sources { hash, session } = &*self.0;
        let client = &request.body().origin().client;
        let hash = hash.as_ref().and_then(|key| key.hash(request, client));
        let session = session.as_ref();
        let session = session.and_then(|session| session.read(request.headers()));
        Wanted { hash, session }
    }

    /// Tells the client which server answered, if that is to be told.
    fn tell(&self, wanted: &Wanted, response: &mut Response) {
        let note = response.body().note();
        // What the gateway answers itself binds nobody.
        if let (Some(session), Some(endpoint), None) = (&self.0.session, &note.endpoint, note.cause)
        {
            let endpoint = endpoint.clone();
            session.write(wanted.session.as_ref(), &endpoint, response.headers_mut());
        }
    }
}

impl Wanted {
    /// A pick that heeds it.
    pub(crate) fn heeded<'a>(&'a self, mut context: PickContext<'a>) -> PickContext<'a> {
        if let Some(hash) = self.hash {
            context = context.with_hash(hash);
        }
        match &self.session {
            Some(Bound::Session(session)) => context.with_affinity(session.id()),
            Some(Bound::Name(name)) => match name.to_str() {
                Ok(name) => context.with_affinity(name),
                Err(_) => context,
            },
            None => context,
        }
    }
}

impl HashKey {
    fn new(hash: &Hash) -> Result<Self, stanchion_lb::policy::InvalidPolicy> {
        Ok(match &hash.by {
            HashBy::Address => Self::Address(
                IpKey::new()
                    .with_v4_prefix(hash.v4_prefix)?
                    .with_v6_prefix(hash.v6_prefix)?,
            ),
            HashBy::Header(name) => Self::Header(name.clone()),
            HashBy::Cookie(name) => Self::Cookie(name.clone()),
            HashBy::Query(name) => Self::Query(name.clone()),
            HashBy::Path => Self::Path,
        })
    }

    /// `None` where a request has no such key: it goes anywhere.
    fn hash<B>(&self, request: &http::Request<B>, client: &Client) -> Option<u64> {
        match self {
            Self::Address(key) => Some(key.hash(client.address)),
            Self::Header(name) => {
                let value = request.headers().get(name)?;
                Some(key_hash(value.as_bytes()))
            }
            Self::Cookie(name) => Some(key_hash(cookie(request.headers(), name)?)),
            Self::Query(name) => {
                let value = parameter(request.uri().query()?, name)?;
                Some(key_hash(value.as_bytes()))
            }
            Self::Path => Some(key_hash(request.uri().path().as_bytes())),
        }
    }
}

/// The value of the first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let (found, value) = pair.trim_ascii().split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        (found == name.as_bytes()).then_some(value)
    })
}

/// The value of the first parameter of this name, decoded.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    let found = parameters.find(|(found, _)| found == name);
    found.map(|(_, value)| value)
}

impl SessionBy {
    fn new(affinity: &Affinity, clock: &Clock) -> Result<Self, BuildError> {
        Ok(match affinity {
            Affinity::Cookie(config) => Self::Cookie(Box::new(session_cookie(config, clock)?)),
            Affinity::Header { header } => Self::Header(header.clone()),
        })
    }

    fn read(&self, headers: &HeaderMap) -> Option<Bound> {
        match self {
            Self::Cookie(cookie) => cookie.read(headers).map(Bound::Session),
            Self::Header(name) => headers.get(name).cloned().map(Bound::Name),
        }
    }

    fn write(&self, bound: Option<&Bound>, endpoint: &str, headers: &mut HeaderMap) {
        match self {
            Self::Cookie(cookie) => {
                let session = match bound {
                    Some(Bound::Session(session)) => Some(session),
                    _ => None,
                };
                cookie.write(session, &EndpointId::from(endpoint), headers);
            }
            Self::Header(name) => {
                if let Ok(value) = HeaderValue::from_str(endpoint) {
                    headers.insert(name.clone(), value);
                }
            }
        }
    }
}

fn session_cookie(config: &CookieAffinity, clock: &Clock) -> Result<SessionCookie, BuildError> {
    let read = |secret: &keys::Secret| secret::read(secret).map_err(BuildError::Secret);
    let mut keys = SessionKeys::new(read(&config.secret)?).map_err(BuildError::Balancing)?;
    for old in &config.old_secrets {
        keys = keys.with_old(read(old)?).map_err(BuildError::Balancing)?;
    }
    let cookie = config.cookie(keys).map_err(BuildError::Balancing)?;
    Ok(cookie.with_clock(clock.clone()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn hash(key: &HashKey, uri: &str, fields: &[(HeaderName, &str)]) -> Option<u64> {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        let client = Client::new("192.0.2.7".parse().unwrap());
        key.hash(&request.body(()).unwrap(), &client)
    }

    #[test]
    fn a_key_is_found_where_it_stands_or_there_is_none() {
        let text = |text: &str| Some(key_hash(text.as_bytes()));
        let cookie = HashKey::Cookie("id".into());
        for (line, found) in [
            ("id=7", text("7")),
            ("a=1; id=7; id=8", text("7")),
            ("idx=9;id=", text("")),
            ("xid=7", None),
            ("id", None),
            ("", None),
        ] {
            assert_eq!(
                hash(&cookie, "/", &[(header::COOKIE, line)]),
                found,
                "{line}"
            );
        }
        let lines = [(header::COOKIE, "a=1"), (header::COOKIE, "id=7")];
        assert_eq!(hash(&cookie, "/", &lines), text("7"));
        let query = HashKey::Query("user".into());
        for (uri, found) in [
            ("/?user=a%20b&user=c", text("a b")),
            ("/?x=1&user=", text("")),
            ("/?users=a", None),
            ("/", None),
        ] {
            assert_eq!(hash(&query, uri, &[]), found, "{uri}");
        }
        let tenant = HashKey::Header(HeaderName::from_static("x-tenant"));
        let fields = [(HeaderName::from_static("x-tenant"), "a")];
        assert_eq!(hash(&tenant, "/", &fields), text("a"));
        assert_eq!(hash(&tenant, "/", &[]), None);
        assert_eq!(hash(&HashKey::Path, "/a/b?c", &[]), text("/a/b"));
        let address = HashKey::Address(IpKey::new());
        let network = IpKey::new().hash("192.0.2.200".parse().unwrap());
        assert_eq!(hash(&address, "/", &[]), Some(network));
    }
}
