//! Clients that are known by their API keys.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use stanchion_core::KeyExtractor;
use stanchion_ratelimit::http::ApiKey;

use crate::config::Tier;

/// The tiers of a configuration; clones share.
///
/// Keys are looked up by their hash, so neither the file nor the memory holds one.
#[derive(Clone, Debug)]
pub(crate) struct Tiers(Arc<Known>);

#[derive(Debug)]
struct Known {
    names: Vec<Arc<str>>,
    tiers: HashMap<[u8; 32], TierId>,
    api_key: ApiKey,
}

/// A tier by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TierId(pub(super) usize);

impl Tiers {
    pub(crate) fn new(config: &[Tier]) -> Self {
        let keys = config.iter().enumerate().flat_map(|(place, tier)| {
            let keys = tier.keys.iter();
            keys.map(move |hash| (*hash, TierId(place)))
        });
        Self(Arc::new(Known {
            tiers: keys.collect(),
            names: config.iter().map(|tier| tier.name.clone()).collect(),
            api_key: ApiKey::new(),
        }))
    }

    /// The tier of whoever sends a request with this API key in its head.
    pub(crate) fn of<B>(&self, request: &http::Request<B>) -> Option<TierId> {
        if self.0.tiers.is_empty() {
            return None;
        }
        let key = self.0.api_key.extract(request)?;
        let hash: [u8; 32] = Sha256::digest(&*key).into();
        self.0.tiers.get(&hash).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(|name| &**name)
    }

    pub(crate) fn name(&self, tier: TierId) -> &str {
        &self.0.names[tier.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash() {
        let tier = |name: &str, keys: &[&str]| Tier {
            name: name.into(),
            keys: keys.iter().map(|key| Sha256::digest(key).into()).collect(),
        };
        let tiers = Tiers::new(&[tier("gold", &["k1", "k2"]), tier("silver", &["k3"])]);
        let of = |name: &str, value: &str| {
            let request = http::Request::builder().header(name, value).body(());
            let tier = tiers.of(&request.unwrap())?;
            Some(tiers.name(tier).to_owned())
        };
        assert_eq!(of("x-api-key", "k2").as_deref(), Some("gold"));
        assert_eq!(of("authorization", "Bearer k3").as_deref(), Some("silver"));
        assert_eq!(of("x-api-key", "k4"), None);
        assert_eq!(of("x-other", "k1"), None);
    }
}
