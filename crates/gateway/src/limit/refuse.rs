use std::sync::Arc;

use http::{Request, StatusCode};
use stanchion_ratelimit::http::{Respond, TooManyRequests};
use stanchion_ratelimit::{Policy, Reason, Rejected};

use crate::exchange::{Inbound, Response};
use crate::problem::Problem;

/// The answer to a request that has no key, where that is refused.
pub(crate) const NO_KEY: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "limit_key",
    "the request has no key to be limited by",
);

const TOO_MANY: Problem = Problem::new(
    StatusCode::TOO_MANY_REQUESTS,
    "limit",
    "too many requests, try again later",
);

/// Nobody could decide, and that is to be a refusal.
#[cfg(feature = "redis")]
const UNAVAILABLE: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "limit_store",
    "the request could not be counted, try again later",
);

/// Answers a refused request with a problem that names the limit.
#[derive(Clone, Debug)]
pub(super) struct Refuse {
    limit: Arc<str>,
}

impl Refuse {
    /// Answers in the terms of a policy.
    pub(super) fn answer(limit: &Arc<str>, policy: Policy) -> TooManyRequests<Self> {
        let answer = TooManyRequests::new(policy);
        // A name of the configuration is always one that the field can carry.
        let answer = answer.clone().with_name(limit).unwrap_or(answer);
        answer.with_response(Self {
            limit: limit.clone(),
        })
    }
}

impl Respond<Request<Inbound>, Response> for Refuse {
    fn respond(&self, rejected: &Rejected, request: Request<Inbound>) -> Response {
        let problem = match rejected.reason() {
            Reason::NoKey => NO_KEY,
            #[cfg(feature = "redis")]
            Reason::Unavailable => UNAVAILABLE,
            _ => TOO_MANY,
        };
        let mut response = problem.response(&request.body().origin().id);
        response.body_mut().note_mut().limit = Some(self.limit.clone());
        response
    }
}
