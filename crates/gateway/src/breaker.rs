//! The breakers and throttles of endpoints and routes, as they run.

mod guards;
mod layer;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use stanchion_breaker::{Breaker, InvalidConfig, Throttle};
use stanchion_core::Clock;

use crate::config::{self, Config};
use crate::exchange::Response;
use crate::problem::Problem;
use guards::Gate;
pub(crate) use guards::{Admitted, Guards, Refusal};
pub(crate) use layer::GuardsLayer;
pub(crate) use verdict::{Pending, judge};

/// The answer to a request that a breaker let not through.
const OPEN: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "breaker",
    "the server is given a rest, try again later",
);

/// The answer to a request that a throttle did not let through.
const THROTTLED: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "throttle",
    "the server takes only a part of the requests now, try again later",
);

/// The breakers and throttles of one configuration, by what they stand before.
#[derive(Debug, Default)]
pub(crate) struct Breakers(HashMap<Place, Standing>);

/// What a breaker or a throttle stands before.
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

/// What stands in one place, with what it was made of.
#[derive(Clone, Debug, Default)]
struct Standing {
    breaker: Option<(config::Breaker, Breaker)>,
    throttle: Option<(config::Throttle, Throttle)>,
    guards: Guards,
}

/// A trial's body may take this part of the time in which trials must be over, until it is taken for
/// good: so the next sign of life comes early enough.
const PATIENCE_PART: u32 = 4;

impl Breakers {
    /// The breakers and throttles of a configuration. Those whose place and numbers are as `before`
    /// stay as they are; breakers with other numbers go on in their state.
    pub(crate) fn new(
        config: &Config,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, InvalidConfig> {
        let endpoints = config.upstreams.iter().flat_map(|upstream| {
            let endpoints = upstream.endpoints.iter();
            endpoints.map(|endpoint| {
                let place = Place::Endpoint {
                    upstream: upstream.name.clone(),
                    endpoint: endpoint.url.clone(),
                };
                (place, &upstream.breaker, &upstream.throttle)
            })
        });
        let routes = config.routes.iter();
        let routes = routes.map(|route| {
            (
                Place::Route(route.id.clone()),
                &route.breaker,
                &route.throttle,
            )
        });
        let guarded = endpoints
            .chain(routes)
            .filter(|(_, breaker, throttle)| breaker.is_some() || throttle.is_some());
        let standing = guarded.map(|(place, breaker, throttle)| {
            let kept = before.and_then(|before| before.0.get(&place));
            let standing = Standing::new(breaker.as_ref(), throttle.as_ref(), clock, kept)?;
            Ok((place, standing))
        });
        standing.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn endpoint(&self, upstream: &Arc<str>, endpoint: &Arc<str>) -> Guards {
        self.find(&Place::Endpoint {
            upstream: upstream.clone(),
            endpoint: endpoint.clone(),
        })
    }

    pub(crate) fn route(&self, id: &Arc<str>) -> Guards {
        self.find(&Place::Route(id.clone()))
    }

    fn find(&self, place: &Place) -> Guards {
        let standing = self.0.get(place);
        standing.map_or_else(Guards::default, |standing| standing.guards.clone())
    }

    /// All breakers, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(&Place, &Breaker)> {
        sorted(self.0.iter().filter_map(|(place, standing)| {
            let (_, breaker) = standing.breaker.as_ref()?;
            Some((place, breaker))
        }))
    }

    /// All throttles, in the order of their names.
    pub(crate) fn throttles(&self) -> Vec<(&Place, &Throttle)> {
        sorted(self.0.iter().filter_map(|(place, standing)| {
            let (_, throttle) = standing.throttle.as_ref()?;
            Some((place, throttle))
        }))
    }
}

fn sorted<'a, T>(all: impl Iterator<Item = (&'a Place, T)>) -> Vec<(&'a Place, T)> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by_key(|(place, _)| *place);
    all
}

impl Standing {
    fn new(
        breaker: Option<&config::Breaker>,
        throttle: Option<&config::Throttle>,
        clock: &Clock,
        kept: Option<&Self>,
    ) -> Result<Self, InvalidConfig> {
        let kept_breaker = kept.and_then(|kept| kept.breaker.as_ref());
        let breaker = breaker.map(|config| {
            let breaker = match kept_breaker {
                Some((old, kept)) if old == config => kept.clone(),
                Some((_, kept)) => kept.reconfigured(config.config()?),
                None => Breaker::new(config.config()?).with_clock(clock.clone()),
            };
            Ok((config.clone(), breaker))
        });
        let kept_throttle = kept.and_then(|kept| kept.throttle.as_ref());
        let throttle = throttle.map(|config| {
            let throttle = match kept_throttle {
                Some((old, kept)) if old == config => kept.clone(),
                _ => Throttle::new(config.config()?).with_clock(clock.clone()),
            };
            Ok((config.clone(), throttle))
        });
        let (breaker, throttle) = (breaker.transpose()?, throttle.transpose()?);
        let guards = Guards {
            breaker: breaker.as_ref().map(|(config, breaker)| Gate {
                breaker: breaker.clone(),
                clock: clock.clone(),
                patience: config.trials_max_time / PATIENCE_PART,
            }),
            throttle: throttle.as_ref().map(|(_, throttle)| throttle.clone()),
        };
        Ok(Self {
            breaker,
            throttle,
            guards,
        })
    }
}

/// Answers the request of this id, which was not let through.
pub(crate) fn refuse(refusal: &Refusal, id: &HeaderValue) -> Response {
    let problem = match refusal {
        Refusal::Open(_) => OPEN,
        Refusal::Throttled => THROTTLED,
    };
    let mut response = problem.response(id);
    if let Some(after) = refusal.retry_after() {
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
}
