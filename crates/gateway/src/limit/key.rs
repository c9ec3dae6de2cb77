//! What the requests of one client have in common.

use std::borrow::Cow;
use std::net::IpAddr;

use stanchion_core::KeyExtractor;
use stanchion_ratelimit::http::{ApiKey, HeaderKey};

use crate::config::LimitBy;
use crate::exchange::Client;

/// Whose requests are counted together. Finding the key allocates nothing.
#[derive(Clone, Debug)]
pub(crate) enum LimitKey {
    Address,
    ApiKey(ApiKey),
    Header(HeaderKey),
}

impl LimitKey {
    pub(crate) fn new(by: &LimitBy) -> Self {
        match by {
            LimitBy::Address => Self::Address,
            LimitBy::ApiKey => Self::ApiKey(ApiKey::new()),
            LimitBy::Header(name) => Self::Header(HeaderKey::new(name.clone())),
        }
    }

    /// The key of a request by this client.
    pub(crate) fn find<'a, B>(
        &'a self,
        request: &'a http::Request<B>,
        client: &'a Client,
    ) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Address => Some(Cow::Borrowed(&client.key)),
            Self::ApiKey(key) => key.extract(request),
            Self::Header(key) => key.extract(request),
        }
    }
}

/// The key that operators write as `text`; `None` where that is none.
pub(super) fn from_text(by: &LimitBy, text: &str) -> Option<Vec<u8>> {
    match by {
        LimitBy::Address => {
            let address: IpAddr = text.parse().ok()?;
            Some(Client::new(address).key.to_vec())
        }
        LimitBy::ApiKey | LimitBy::Header(_) if text.is_empty() => None,
        LimitBy::ApiKey | LimitBy::Header(_) => Some(text.as_bytes().to_vec()),
    }
}
