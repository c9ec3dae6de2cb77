//! The breakers of endpoints and routes, as they run.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use stanchion_breaker::{Breaker, InvalidConfig, Rejected};
use stanchion_core::{Clock, Outcome};

use crate::config::{self, Config};
use crate::exchange::Response;
use crate::problem::Problem;

/// The answer to a request that a breaker let not through.
const OPEN: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "breaker",
    "the server is given a rest, try again later",
);

/// The breakers of one configuration, by what they stand before.
#[derive(Debug, Default)]
pub(crate) struct Breakers(HashMap<Place, Guard>);

/// What a breaker stands before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    Endpoint {
        upstream: Arc<str>,
        endpoint: Arc<str>,
    },
    Route(Arc<str>),
}

impl Place {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "endpoint",
            Self::Route(_) => "route",
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Endpoint { upstream, endpoint } => format!("{upstream}/{endpoint}"),
            Self::Route(id) => id.to_string(),
        }
    }
}

#[derive(Clone, Debug)]
struct Guard {
    config: config::Breaker,
    breaker: Breaker,
}

impl Breakers {
    /// The breakers of a configuration. Those whose place and numbers are as `before` stay as they
    /// are; those with other numbers go on in their state.
    pub(crate) fn new(
        config: &Config,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, InvalidConfig> {
        let endpoints = config.upstreams.iter().flat_map(|upstream| {
            let endpoints = upstream.endpoints.iter();
            endpoints.filter_map(|endpoint| {
                let place = Place::Endpoint {
                    upstream: upstream.name.clone(),
                    endpoint: endpoint.clone(),
                };
                Some((place, upstream.breaker.as_ref()?))
            })
        });
        let routes = config.routes.iter();
        let routes = routes
            .filter_map(|route| Some((Place::Route(route.id.clone()), route.breaker.as_ref()?)));
        let guards = endpoints.chain(routes).map(|(place, config)| {
            let kept = before.and_then(|before| before.0.get(&place));
            let breaker = match kept {
                Some(kept) if kept.config == *config => kept.breaker.clone(),
                Some(kept) => kept.breaker.reconfigured(config.config()?),
                None => Breaker::new(config.config()?).with_clock(clock.clone()),
            };
            let config = config.clone();
            Ok((place, Guard { config, breaker }))
        });
        guards.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn endpoint(&self, upstream: &Arc<str>, endpoint: &Arc<str>) -> Option<Breaker> {
        self.find(&Place::Endpoint {
            upstream: upstream.clone(),
            endpoint: endpoint.clone(),
        })
    }

    pub(crate) fn route(&self, id: &Arc<str>) -> Option<Breaker> {
        self.find(&Place::Route(id.clone()))
    }

    fn find(&self, place: &Place) -> Option<Breaker> {
        self.0.get(place).map(|guard| guard.breaker.clone())
    }

    /// All of them, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(&Place, &Breaker)> {
        let all = self.0.iter();
        let mut all: Vec<_> = all.map(|(place, guard)| (place, &guard.breaker)).collect();
        all.sort_unstable_by_key(|(place, _)| *place);
        all
    }
}

/// What a response says of the server. It is judged by its head.
pub(crate) fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Overload,
        status if status.is_server_error() => Outcome::Failure,
        _ => Outcome::Success,
    }
}

/// What a response says of all that a route leads to; what the gateway refuses because of the client
/// says nothing.
pub(crate) fn outcome_of(response: &Response) -> Outcome {
    let (status, cause) = (response.status(), response.body().note().cause);
    if cause.is_some() && status.is_client_error() {
        Outcome::Ignore
    } else {
        outcome(status)
    }
}

/// Answers the request of this id, which was not let through.
pub(crate) fn refuse(rejected: &Rejected, id: &HeaderValue) -> Response {
    let mut response = OPEN.response(id);
    if let Some(after) = rejected.retry_after() {
        // Rounded up: whoever comes back then is not too early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(failure_rate: f64) -> Config {
        let text = format!(
            "listen.address = \"127.0.0.1:0\"\n\
             [upstream.a]\nendpoints = [\"http://a.test\", \"http://b.test\"]\n\
             breaker = {{ failure_rate = {failure_rate} }}\n\
             [[route]]\nid = \"r\"\nupstream = \"a\"\nbreaker = {{ window = \"10s\" }}\n"
        );
        Config::from_toml(&text).unwrap()
    }

    #[test]
    fn a_breaker_keeps_its_state_whatever_its_numbers() {
        let clock = Clock::system();
        let first = Breakers::new(&config(0.5), &clock, None).unwrap();
        assert_eq!(first.all().len(), 3);
        for (_, breaker) in first.all() {
            breaker.force_open();
        }
        let same = Breakers::new(&config(0.5), &clock, Some(&first)).unwrap();
        let open = |breakers: &Breakers| {
            let all = breakers.all().into_iter();
            let open = all.filter(|(_, breaker)| breaker.try_acquire().is_err());
            open.count()
        };
        assert_eq!(open(&same), 3);
        let other = Breakers::new(&config(0.4), &clock, Some(&same)).unwrap();
        assert_eq!(open(&other), 3);
        // The route's is the same, the endpoints' are others in the same state.
        for breakers in [&first, &other] {
            for (_, breaker) in breakers.all() {
                breaker.close();
            }
            assert_eq!(open(breakers), 0);
            assert_eq!(open(&first), 0);
        }
    }

    #[test]
    fn a_server_is_judged_by_its_status() {
        for (status, expected) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (429, Outcome::Success),
            (500, Outcome::Failure),
            (503, Outcome::Overload),
            (504, Outcome::Failure),
        ] {
            assert_eq!(outcome(StatusCode::from_u16(status).unwrap()), expected);
        }
    }
}
