//! What is told of limits in the fields of an answer.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::fields;
use crate::jitter::Jitter;
use crate::{Policy, Rejected, Status};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The limits of a layer, and how they are told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(super) limits: Vec<Named>,
    /// `RateLimit-Policy`, of all limits.
    pub(super) field: Option<HeaderValue>,
    pub(super) legacy: bool,
    pub(super) jitter: Option<Arc<Jitter>>,
}

/// One limit, and its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) policy: Policy,
}

/// Where one limit stands, and the moment that is told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) name: &'a str,
    pub(super) status: Status,
    pub(super) after: Duration,
}

impl<'a> Standing<'a> {
    pub(super) fn admitted(name: &'a str, status: Status) -> Self {
        Self {
            name,
            status,
            after: status.reset_after(),
        }
    }

    /// On a refusal, `t` tells when the request would pass: `Retry-After` must not be earlier.
    pub(super) fn refused(name: &'a str, rejected: &Rejected) -> Option<Self> {
        let status = rejected.status()?;
        let after = rejected.retry_after();
        Some(Self {
            name,
            status,
            after: after.unwrap_or_else(|| status.reset_after()),
        })
    }
}

impl Told {
    pub(super) fn new(limits: Vec<Named>) -> Self {
        let field = fields::policies(&limits);
        // The first clone of a value moves it into a shared allocation: here, and not in an answer.
        drop(field.clone());
        Self {
            limits,
            field,
            legacy: false,
            jitter: None,
        }
    }

    /// The name of the limit at `place`.
    pub(super) fn name(&self, place: usize) -> &str {
        self.limits
            .get(place)
            .map_or("default", |limit| &limit.name)
    }

    /// Tells where limits stand, and the policies of all, or that of the client's own.
    pub(super) fn tell<'a>(
        &self,
        own: Option<Policy>,
        standings: impl Iterator<Item = Standing<'a>> + Clone,
        headers: &mut HeaderMap,
    ) {
        self.tell_policy(own, headers);
        if let Some(field) = fields::remaining(standings.clone()) {
            headers.append(RATELIMIT, field);
        }
        if self.legacy {
            tell_legacy(standings, headers);
        }
    }

    /// Tells the policies of all, or that of the client's own.
    pub(super) fn tell_policy(&self, own: Option<Policy>, headers: &mut HeaderMap) {
        let policy = match (own, self.limits.first()) {
            (Some(policy), Some(Named { name, .. })) => fields::policies(&[Named {
                name: name.clone(),
                policy,
            }]),
            _ => self.field.clone(),
        };
        if let Some(field) = policy {
            headers.append(RATELIMIT_POLICY, field);
        }
    }

    /// Tells when to come again, or a little later: never earlier than `t` of the other field.
    pub(super) fn tell_retry(&self, rejected: &Rejected, headers: &mut HeaderMap) {
        let spread = self.jitter.as_ref().map_or(Duration::ZERO, |by| by.draw());
        let after = rejected.retry_after();
        let after = after.map(|after| after.saturating_add(spread));
        if let Some(field) = after.and_then(fields::retry_after) {
            headers.insert(header::RETRY_AFTER, field);
        }
    }
}

/// Tells of the limit with the least left. These fields hold one number each, so of several layers the
/// one is told that has least left.
fn tell_legacy<'a>(standings: impl Iterator<Item = Standing<'a>>, headers: &mut HeaderMap) {
    let Some(tightest) = standings.min_by_key(|standing| standing.status.remaining()) else {
        return;
    };
    let remaining = tightest.status.remaining();
    let told = headers.get(LEGACY_REMAINING);
    let told = told.and_then(|told| told.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told < remaining) {
        return;
    }
    let reset = fields::ceil_seconds(tightest.after);
    headers.insert(LEGACY_LIMIT, tightest.status.limit().into());
    headers.insert(LEGACY_REMAINING, remaining.into());
    headers.insert(LEGACY_RESET, reset.into());
}
