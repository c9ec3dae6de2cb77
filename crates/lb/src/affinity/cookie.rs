use std::fmt::Write;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use stanchion_core::Clock;

use super::SessionKeys;
use crate::{EndpointId, InvalidConfig};

/// The longest id that a cookie names.
const ID_MAX: usize = 512;

/// A cookie that names a session's endpoint; clones are copies.
///
/// Its value holds the endpoint's id and the time, sealed with the [`SessionKeys`]: a client can neither
/// read it nor choose an endpoint. A cookie that is forged, damaged, too old or sealed with an unknown
/// key is as good as none, and never an error.
///
/// By default it is `Path=/; HttpOnly; Secure; SameSite=Lax` and lasts as long as the browser.
///
/// # Examples
///
/// ```
/// use http::HeaderMap;
/// use stanchion_lb::affinity::{SessionCookie, SessionKeys};
/// use stanchion_lb::policy::P2c;
/// use stanchion_lb::{Balancer, Endpoint, PickContext};
///
/// let keys = SessionKeys::new([7; 32])?; // from the configuration
/// let cookie = SessionCookie::new("lb", keys)?;
/// let balancer = Balancer::new(P2c::new());
/// balancer.update([Endpoint::new("web-1", 1), Endpoint::new("web-2", 2)])?;
///
/// # let (request_headers, mut response_headers) = (HeaderMap::new(), HeaderMap::new());
/// let session = cookie.read(&request_headers);
/// let context = match &session {
///     Some(session) => PickContext::new().with_affinity(session.id()),
///     None => PickContext::new(),
/// };
/// let picked = balancer.pick(&context)?;
/// // … the response came …
/// cookie.write(session.as_ref(), picked.id(), &mut response_headers);
/// # assert!(response_headers.contains_key("set-cookie"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionCookie {
    name: String,
    keys: SessionKeys,
    path: String,
    domain: Option<String>,
    max_age: Option<Duration>,
    same_site: SameSite,
    secure: bool,
    clock: Clock,
}

/// Whether a browser sends the cookie with requests that come from other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// With none.
    Strict,
    /// When the user goes there.
    Lax,
    /// With all; the cookie has to be secure.
    None,
}

/// What a good cookie says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    id: String,
    /// Whether it is to be written anew all the same.
    stale: bool,
}

impl Session {
    /// The id of its endpoint, which may be gone.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl SessionCookie {
    /// A cookie of this name.
    ///
    /// # Errors
    ///
    /// If the name is not one or more of the characters that RFC 6265 allows there.
    pub fn new(name: impl Into<String>, keys: SessionKeys) -> Result<Self, InvalidConfig> {
        let name = name.into();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
            let allowed = "1 to 128 letters, digits and characters of !#$%&'*+-.^_`|~";
            return Err(InvalidConfig::new("name", format!("{name:?}"), allowed));
        }
        Ok(Self {
            name,
            keys,
            path: "/".into(),
            domain: None,
            max_age: None,
            same_site: SameSite::Lax,
            secure: true,
            clock: Clock::system(),
        })
    }

    /// For which paths it is sent. Default: `/`, all.
    ///
    /// # Errors
    ///
    /// If it does not begin with a slash, or has characters that a cookie's attribute must not have.
    pub fn with_path(mut self, path: impl Into<String>) -> Result<Self, InvalidConfig> {
        self.path = path.into();
        if !self.path.starts_with('/') || !is_attribute(&self.path) {
            let allowed = "a path from / on, of visible characters but the semicolon";
            return Err(InvalidConfig::new(
                "path",
                format!("{:?}", self.path),
                allowed,
            ));
        }
        Ok(self)
    }

    /// For which domain, with all below it, it is sent. Default: only the host that wrote it.
    ///
    /// # Errors
    ///
    /// If it is empty, or has characters that a cookie's attribute must not have.
    pub fn with_domain(mut self, domain: impl Into<String>) -> Result<Self, InvalidConfig> {
        let domain = domain.into();
        if domain.is_empty() || !is_attribute(&domain) {
            let allowed = "a name of visible characters but the semicolon";
            return Err(InvalidConfig::new("domain", format!("{domain:?}"), allowed));
        }
        self.domain = Some(domain);
        Ok(self)
    }

    /// How long it lasts, for the browser and for us; it is written anew when half of that has passed.
    /// Default: as long as the browser runs.
    ///
    /// # Errors
    ///
    /// If it is less than a second or more than 400 days, which browsers do not keep.
    pub fn with_max_age(mut self, max_age: Duration) -> Result<Self, InvalidConfig> {
        const DAY: u64 = 86_400;
        if !(1..=400 * DAY).contains(&max_age.as_secs()) {
            let allowed = "from a second to 400 days";
            return Err(InvalidConfig::new(
                "max_age",
                format!("{max_age:?}"),
                allowed,
            ));
        }
        self.max_age = Some(max_age);
        Ok(self)
    }

    /// With which requests of other sites it is sent. Default: [`SameSite::Lax`].
    #[must_use]
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Sends it without encryption too. Default: only over HTTPS.
    #[must_use]
    pub fn without_secure(mut self) -> Self {
        self.secure = false;
        self
    }

    /// The clock whose wall time it goes by. Default: [`Clock::system`].
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The session that a request belongs to; `None` where it brings no good cookie.
    #[must_use]
    pub fn read(&self, headers: &HeaderMap) -> Option<Session> {
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let values = pairs.filter(|(name, _)| *name == self.name);
        // As browsers send them: no more than a few have the same name.
        values.take(4).find_map(|(_, value)| self.session(value))
    }

    fn session(&self, value: &str) -> Option<Session> {
        let (plain, by_first) = self.keys.open(&self.name, value)?;
        let (since, id) = plain.split_first_chunk::<8>()?;
        let id = str::from_utf8(id).ok()?.to_owned();
        let age = self.now().saturating_sub(u64::from_be_bytes(*since));
        let mut stale = !by_first;
        if let Some(max_age) = self.max_age {
            let max_age = max_age.as_secs();
            if age > max_age {
                return None;
            }
            stale |= age >= max_age.div_ceil(2);
        }
        Some(Session { id, stale })
    }

    /// Has the response bind the session to the endpoint that answered, unless it is bound to that
    /// already by a cookie that will do. Tells whether a cookie was written.
    ///
    /// An id of more than 512 bytes is not written.
    pub fn write(
        &self,
        session: Option<&Session>,
        id: &EndpointId,
        headers: &mut HeaderMap,
    ) -> bool {
        let is_bound = |session: &Session| session.id == id.as_str() && !session.stale;
        if session.is_some_and(is_bound) || id.as_str().len() > ID_MAX {
            return false;
        }
        match HeaderValue::try_from(self.line(id)) {
            Ok(line) => headers.try_append(SET_COOKIE, line).is_ok(),
            Err(_) => false,
        }
    }

    fn line(&self, id: &EndpointId) -> String {
        let mut plain = self.now().to_be_bytes().to_vec();
        plain.extend_from_slice(id.as_str().as_bytes());
        let mut line = format!(
            "{}={}; Path={}",
            self.name,
            self.keys.seal(&self.name, &plain),
            self.path
        );
        let mut add = |text: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = line.write_fmt(text);
        };
        if let Some(domain) = &self.domain {
            add(format_args!("; Domain={domain}"));
        }
        if let Some(max_age) = self.max_age {
            add(format_args!("; Max-Age={}", max_age.as_secs()));
        }
        add(format_args!("; HttpOnly"));
        if self.secure {
            add(format_args!("; Secure"));
        }
        let same_site = self.same_site;
        add(format_args!("; SameSite={same_site:?}"));
        line
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        self.clock.unix_time().as_secs()
    }
}

fn is_attribute(text: &str) -> bool {
    text.len() <= 1024
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b';')
}
