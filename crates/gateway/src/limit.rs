//! Makes the limits of a route.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use stanchion_core::{Clock, KeyExtractor};
use stanchion_ratelimit::http::{ApiKey, HeaderKey, Respond, TooManyRequests};
use stanchion_ratelimit::{
    Event, InvalidMaxKeys, Keyed, KeyedRateLimiter, RateLimitLayer, Rejected,
};

use crate::config::{self, LimitBy};
use crate::exchange::{Client, Request, Response};
use crate::metrics::Metrics;
use crate::problem::Problem;

/// The answer to a request that has no key, where that is refused.
pub(crate) const NO_KEY: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "limit_key",
    "the request has no key to be limited by",
);

/// The step of a limit; its clones, and what they make, share the buckets.
pub(crate) type LimitLayer = RateLimitLayer<Keyed<LimitKey, [u8]>, TooManyRequests<Refuse>>;

/// One limit of one route; clones share the buckets.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    config: config::Limit,
    limiter: KeyedRateLimiter<[u8]>,
    layer: LimitLayer,
}

impl Limit {
    /// A limit with buckets of its own.
    pub(crate) fn new(
        route: &str,
        config: &config::Limit,
        metrics: &Metrics,
        clock: &Clock,
    ) -> Result<Self, InvalidMaxKeys> {
        let refused = metrics.limit(route, &config.name);
        let count = move |event: &Event| {
            if matches!(event, Event::Rejected(_)) {
                refused.inc();
            }
        };
        let limiter = KeyedRateLimiter::new(config.quota, config.keys_max)?
            .with_clock(clock.clone())
            .with_observer(count);
        Ok(Self {
            config: config.clone(),
            layer: layer(limiter.clone(), config),
            limiter,
        })
    }

    /// This limit as another configuration of its route has it, with the buckets as they are; or
    /// `None` if that is another limit: of another name, by something else, or of another size.
    pub(crate) fn kept_as(&self, config: &config::Limit) -> Option<Self> {
        if self.config == *config {
            return Some(self.clone());
        }
        let same = self.config.name == config.name
            && self.config.by == config.by
            && self.config.keys_max == config.keys_max
            && self.config.quota == config.quota;
        same.then(|| Self {
            config: config.clone(),
            limiter: self.limiter.clone(),
            layer: layer(self.limiter.clone(), config),
        })
    }

    pub(crate) fn layer(&self) -> LimitLayer {
        self.layer.clone()
    }
}

fn layer(limiter: KeyedRateLimiter<[u8]>, limit: &config::Limit) -> LimitLayer {
    let key = LimitKey::new(&limit.by);
    let answer = TooManyRequests::new(limit.quota);
    // A name of the configuration is always one that the field can carry.
    let answer = answer.clone().with_name(&limit.name).unwrap_or(answer);
    RateLimitLayer::keyed::<Request>(limiter, key)
        .on_missing_key(limit.missing)
        .http_with(answer.with_response(Refuse {
            limit: limit.name.clone(),
        }))
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
