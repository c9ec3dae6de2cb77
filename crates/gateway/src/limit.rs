//! Makes the limits of a route.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use stanchion_core::{Clock, KeyExtractor};
use stanchion_ratelimit::http::{ApiKey, HeaderKey, Respond, TooManyRequests};
use stanchion_ratelimit::{
    Event, InvalidMaxKeys, Keyed, KeyedRateLimiter, RateLimitLayer, Rejected,
};

use crate::config::{Limit, LimitBy};
use crate::exchange::{Client, Request, Response};
use crate::problem::Problem;

/// The answer to a request that has no key, where that is refused.
pub(crate) const NO_KEY: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "limit_key",
    "the request has no key to be limited by",
);

/// One limit; its clones, and what they make, share the buckets.
pub(crate) type LimitLayer = RateLimitLayer<Keyed<LimitKey, [u8]>, TooManyRequests<Refuse>>;

/// A limit with buckets of its own. Refusals are counted in `refused`.
pub(crate) fn layer(
    limit: &Limit,
    refused: Counter,
    clock: &Clock,
) -> Result<LimitLayer, InvalidMaxKeys> {
    let count = move |event: &Event| {
        if matches!(event, Event::Rejected(_)) {
            refused.inc();
        }
    };
    let limiter = KeyedRateLimiter::new(limit.quota, limit.keys_max)?
        .with_clock(clock.clone())
        .with_observer(count);
    let key = LimitKey::new(&limit.by);
    let answer = TooManyRequests::new(limit.quota);
    // A name of the configuration is always one that the field can carry.
    let answer = answer.clone().with_name(&limit.name).unwrap_or(answer);
    Ok(RateLimitLayer::keyed::<Request>(limiter, key)
        .on_missing_key(limit.missing)
        .http_with(answer.with_response(Refuse {
            limit: limit.name.clone(),
        })))
}

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

impl KeyExtractor<Request> for LimitKey {
    type Key = [u8];

    fn extract<'a>(&'a self, request: &'a Request) -> Option<Cow<'a, [u8]>> {
        self.find(request, &request.body().origin().client)
    }
}

/// Answers a refused request with a problem that names the limit.
#[derive(Clone, Debug)]
pub(crate) struct Refuse {
    limit: Arc<str>,
}

impl Respond<Request, Response> for Refuse {
    fn respond(&self, rejected: &Rejected, request: Request) -> Response {
        let status = TooManyRequests::status(rejected);
        let problem = if status == StatusCode::TOO_MANY_REQUESTS {
            Problem::new(status, "limit", "too many requests, try again later")
        } else {
            Problem { status, ..NO_KEY }
        };
        let mut response = problem.response(&request.body().origin().id);
        response.body_mut().note_mut().limit = Some(self.limit.clone());
        response
    }
}
