//! What of a request decides which server it goes to.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use serde::{Serialize, Serializer};
use stanchion_lb::InvalidConfig;
use stanchion_lb::affinity::{self, SessionCookie, SessionKeys};
use stanchion_lb::policy::{ConsistentHash, InvalidPolicy};

use super::{Decimal, Policy, show};

/// Requests of one key meet at one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hash {
    pub(crate) by: HashBy,
    /// The bits of an address that count.
    pub(crate) v4_prefix: u8,
    pub(crate) v6_prefix: u8,
    /// No server has more than so many times its share of the requests; 0 for no bound.
    pub(crate) bound: Decimal,
    /// Of Maglev's table.
    pub(crate) table_size: u32,
}

/// Where the key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HashBy {
    /// The client's, behind trusted proxies.
    Address,
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    /// Without the query.
    Path,
}

/// Who has been at a server goes there again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Affinity {
    Cookie(CookieAffinity),
    /// The client says the server's name, which each response tells.
    Header {
        #[serde(serialize_with = "show::text")]
        header: HeaderName,
    },
}

/// A cookie that names the server, sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CookieAffinity {
    #[serde(rename = "cookie")]
    pub(crate) name: Box<str>,
    pub(crate) secret: Secret,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) old_secrets: Vec<Secret>,
    pub(crate) path: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<Box<str>>,
    /// Default: until the browser ends.
    #[serde(serialize_with = "show::maybe_duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<Duration>,
    pub(crate) same_site: SameSite,
    pub(crate) secure: bool,
}

/// Where a secret is read from, when the affinity is new or another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    File(PathBuf),
    /// A variable of the environment.
    Env(Box<str>),
}

/// Whether browsers send the cookie with requests that come from other sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SameSite {
    Strict,
    #[default]
    Lax,
    None,
}

impl Policy {
    /// Whether it goes by the hash of a key.
    pub(crate) const fn is_by_hash(self) -> bool {
        matches!(self, Self::Ring | Self::Maglev | Self::Rendezvous)
    }
}

impl Hash {
    /// The policy that goes by it; `None` if `policy` does not.
    ///
    /// # Errors
    ///
    /// When a number is out of its range.
    pub(crate) fn policy(&self, policy: Policy) -> Result<Option<ConsistentHash>, InvalidPolicy> {
        let hash = match policy {
            Policy::Ring => ConsistentHash::ring(),
            Policy::Maglev => ConsistentHash::maglev_of_size(self.table_size)?,
            Policy::Rendezvous => ConsistentHash::rendezvous(),
            _ => return Ok(None),
        };
        Ok(Some(match self.bound {
            Decimal::ZERO => hash,
            bound => hash.with_bound(bound.get())?,
        }))
    }
}

impl CookieAffinity {
    /// In the terms of the balancer.
    ///
    /// # Errors
    ///
    /// When something is not allowed.
    pub(crate) fn cookie(&self, keys: SessionKeys) -> Result<SessionCookie, InvalidConfig> {
        let mut cookie = SessionCookie::new(&*self.name, keys)?
            .with_path(&*self.path)?
            .with_same_site(match self.same_site {
                SameSite::Strict => affinity::SameSite::Strict,
                SameSite::Lax => affinity::SameSite::Lax,
                SameSite::None => affinity::SameSite::None,
            });
        if let Some(domain) = &self.domain {
            cookie = cookie.with_domain(&**domain)?;
        }
        if let Some(age) = self.max_age {
            cookie = cookie.with_max_age(age)?;
        }
        Ok(match self.secure {
            true => cookie,
            false => cookie.without_secure(),
        })
    }
}

impl Serialize for HashBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Address => serializer.serialize_str("address"),
            Self::Header(name) => serializer.collect_str(&format_args!("header:{name}")),
            Self::Cookie(name) => serializer.collect_str(&format_args!("cookie:{name}")),
            Self::Query(name) => serializer.collect_str(&format_args!("query:{name}")),
            Self::Path => serializer.serialize_str("path"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => serializer.collect_str(&format_args!("file:{}", path.display())),
            Self::Env(name) => serializer.collect_str(&format_args!("env:{name}")),
        }
    }
}
