use std::error::Error;
use std::io;

use http::StatusCode;
use stanchion_core::Outcome;

use crate::body_limit;
use crate::exchange::{Stalled, TooLarge};
use crate::problem::Problem;

/// Why an endpoint gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// All connections stayed in use.
    Exhausted,
    ConnectRefused,
    ConnectTimeout,
    /// The connection was closed before anything was sent.
    Stale,
    /// The connection broke before a response.
    Broken,
    /// What came back is no HTTP.
    Invalid,
    ResponseTimeout,
    /// The client stopped sending the body: not the endpoint's fault.
    ClientStalled,
    /// Nor is that the body was too large.
    ClientTooLarge,
}

impl Failure {
    /// Tells what a request that was sent, in whole or in part, failed of.
    pub(super) fn of(error: &hyper::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(failure) = Self::of_client(error) {
                return failure;
            }
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
                return Self::ResponseTimeout;
            }
            cause = error.source();
        }
        if error.is_parse() {
            Self::Invalid
        } else {
            Self::Broken
        }
    }

    /// Tells what the client did wrong with the body of its request.
    pub(super) fn of_client(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<TooLarge>() {
            return Some(Self::ClientTooLarge);
        }
        error.is::<Stalled>().then_some(Self::ClientStalled)
    }

    /// One word for metrics and the log.
    pub(super) fn cause(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::ConnectRefused => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Stale => "stale",
            Self::Broken => "broken",
            Self::Invalid => "invalid",
            Self::ResponseTimeout => "response_timeout",
            Self::ClientStalled => "client_stalled",
            Self::ClientTooLarge => "client_too_large",
        }
    }

    /// What it says of the endpoint.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Exhausted => Outcome::Overload,
            Self::ClientStalled | Self::ClientTooLarge => Outcome::Ignore,
            _ => Outcome::Failure,
        }
    }

    pub(super) fn problem(self) -> Problem {
        let (status, detail) = match self {
            Self::ClientTooLarge => return body_limit::TOO_LARGE,
            Self::Exhausted => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the server has no capacity left",
            ),
            Self::ConnectRefused | Self::Stale | Self::Broken | Self::Invalid => {
                (StatusCode::BAD_GATEWAY, "the server gave no valid response")
            }
            Self::ConnectTimeout | Self::ResponseTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "the server did not respond in time",
            ),
            Self::ClientStalled => (
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request stopped coming in",
            ),
        };
        Problem::new(status, self.cause(), detail)
    }
}
