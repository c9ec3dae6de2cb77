//! What of a request decides where it goes, as it is written.

use std::error::Error;
use std::ops::Range;
use std::time::Duration;

use http::HeaderName;
use stanchion_lb::Balancer;
use stanchion_lb::policy::RoundRobin;
use toml::Spanned;

use super::{Reader, SECOND, Written};
use crate::config::keys::{Affinity, CookieAffinity, Hash, HashBy, SameSite, Secret};
use crate::config::text::{CookieDomain, CookieName, CookiePath, Text};
use crate::config::{Decimal, Endpoint, Policy};

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashTable {
    by: Option<Text<HashBy>>,
    v4_prefix: Option<Spanned<usize>>,
    v6_prefix: Option<Spanned<usize>>,
    bound: Option<Spanned<f64>>,
    table_size: Option<Spanned<usize>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AffinityTable {
    cookie: Option<Text<CookieName>>,
    header: Option<Text<HeaderName>>,
    secret: Option<Written<Secret>>,
    old_secrets: Option<Spanned<Vec<Text<Secret>>>>,
    path: Option<Written<CookiePath>>,
    domain: Option<Written<CookieDomain>>,
    max_age: Option<Written<Duration>>,
    same_site: Option<Spanned<SameSite>>,
    secure: Option<Spanned<bool>>,
}

/// Maglev's, which has a place for each of so many.
const TABLE_SIZE: usize = 65_537;
const OLD_SECRETS_MAX: usize = 8;
/// Browsers keep none for longer.
const AGE_MAX: Duration = Duration::from_secs(400 * 86_400);

impl Reader<'_> {
    /// What requests are hashed by, if the policy goes by that.
    pub(super) fn hash(
        &mut self,
        policy: Policy,
        table: Option<Spanned<HashTable>>,
    ) -> Option<Hash> {
        let span = table.as_ref().map(Spanned::span);
        let table = table.map(Spanned::into_inner);
        if !policy.is_by_hash() {
            if let Some(span) = span {
                let message = "given beside a policy that goes by no hash, expected \"ring\", \
                               \"maglev\" or \"rendezvous\"";
                self.mistake(&span, message.to_owned());
            }
            return None;
        }
        let table = table.unwrap_or_default();
        if policy != Policy::Maglev
            && let Some(size) = &table.table_size
        {
            let message = "given beside a policy without such a table, expected \"maglev\"";
            self.mistake(&size.span(), message.to_owned());
        }
        let places = table.bound.as_ref().map(Spanned::span);
        let size = table.table_size.as_ref().map(Spanned::span);
        let bound = match table.bound {
            Some(bound) => self.decimal(Some(bound), 0.0, 0.0..=1_000.0),
            None => Decimal::ZERO,
        };
        let table_size = self.number(table.table_size, TABLE_SIZE, 3..=u32::MAX as usize);
        let hash = Hash {
            by: table.by.map_or(HashBy::Address, |by| by.0),
            v4_prefix: self.percent(table.v4_prefix, 24, 1..=32),
            v6_prefix: self.percent(table.v6_prefix, 64, 1..=128),
            bound,
            table_size: u32::try_from(table_size).unwrap_or(u32::MAX),
        };
        if self.mistakes.is_empty()
            && let Err(error) = hash.policy(policy)
        {
            let of_size = Hash {
                bound: Decimal::ZERO,
                ..hash.clone()
            }
            .policy(policy)
            .is_err();
            let place = if of_size { size } else { places };
            let place = place.or(span).unwrap_or(0..0);
            self.mistake(&place, error.to_string());
        }
        Some(hash)
    }

    /// Looks whether a table can be made of these servers: a ring of heavy ones has too many points.
    pub(super) fn fits(
        &mut self,
        policy: Policy,
        hash: Option<&Hash>,
        servers: &[Endpoint],
        span: &Range<usize>,
    ) {
        let by_hash = hash.filter(|_| self.mistakes.is_empty());
        let by_hash = by_hash.and_then(|hash| hash.policy(policy).ok().flatten());
        let Some(by_hash) = by_hash else { return };
        let servers = servers.iter().map(|server| {
            stanchion_lb::Endpoint::new(&*server.url, ())
                .with_weight(server.weight)
                .with_priority(server.priority)
        });
        let tried = Balancer::new(RoundRobin::new()).update_with_policy(servers, by_hash);
        if let Err(error) = tried {
            let mut message = error.to_string();
            if let Some(cause) = error.source() {
                message = format!("{message}: {cause}");
            }
            self.mistake(span, message);
        }
    }

    pub(super) fn affinity(&mut self, table: Spanned<AffinityTable>) -> Option<Affinity> {
        let span = table.span();
        let table = table.into_inner();
        match (table.cookie, table.header) {
            (Some(Text(CookieName(name))), None) => {
                let Some(secret) = table.secret else {
                    let message = "a cookie needs a secret, such as \"file:/etc/stanchion/sessions\" \
                                   or \"env:SESSION_SECRET\"";
                    self.mistake(&span, message.to_owned());
                    return None;
                };
                Some(Affinity::Cookie(CookieAffinity {
                    name,
                    secret: secret.into_inner().0,
                    old_secrets: self.old_secrets(table.old_secrets),
                    path: match table.path {
                        Some(path) => path.into_inner().0.0,
                        None => "/".into(),
                    },
                    domain: table.domain.map(|domain| domain.into_inner().0.0),
                    max_age: table
                        .max_age
                        .map(|age| self.duration(Some(age), SECOND, SECOND..=AGE_MAX)),
                    same_site: table.same_site.map(Spanned::into_inner).unwrap_or_default(),
                    secure: table.secure.is_none_or(Spanned::into_inner),
                }))
            }
            (None, Some(Text(header))) => {
                let of_cookies: [Option<Range<usize>>; 7] = [
                    table.secret.as_ref().map(Spanned::span),
                    table.old_secrets.as_ref().map(Spanned::span),
                    table.path.as_ref().map(Spanned::span),
                    table.domain.as_ref().map(Spanned::span),
                    table.max_age.as_ref().map(Spanned::span),
                    table.same_site.as_ref().map(Spanned::span),
                    table.secure.as_ref().map(Spanned::span),
                ];
                for span in of_cookies.into_iter().flatten() {
                    self.mistake(&span, "given without a cookie".to_owned());
                }
                Some(Affinity::Header { header })
            }
            _ => {
                self.mistake(&span, "expected either a cookie or a header".to_owned());
                None
            }
        }
    }

    fn old_secrets(&mut self, given: Option<Spanned<Vec<Text<Secret>>>>) -> Vec<Secret> {
        let Some(given) = given else {
            return Vec::new();
        };
        let count = given.get_ref().len();
        if count > OLD_SECRETS_MAX {
            let message = format!("{count} given, at most {OLD_SECRETS_MAX} are allowed");
            self.mistake(&given.span(), message);
        }
        given
            .into_inner()
            .into_iter()
            .map(|secret| secret.0)
            .collect()
    }
}
