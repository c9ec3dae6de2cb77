//! Limits of a route that one Redis decides on in one step.

use stanchion_ratelimit::{Event, RedisRateLimiter};

use super::bucket::OnRedis;
use super::{Limit, Maker};
use crate::build_error::BuildError;
use crate::config;

/// What a limit shares with others of its route.
#[derive(Clone, Debug)]
pub(super) struct Together {
    /// The place in the route of the limit that asks for all.
    pub(super) leader: usize,
    pub(super) counted: OnRedis,
}

/// For each limit of a route, what it shares with others; where `before` were the same, with their
/// limiter.
pub(super) fn of_route(
    route: &str,
    limits: &[config::Limit],
    maker: Maker<'_>,
    before: &[Limit],
) -> Result<Vec<Option<Together>>, BuildError> {
    let mut together = vec![None; limits.len()];
    for group in groups(limits) {
        let members: Vec<&config::Limit> = group.iter().map(|place| &limits[*place]).collect();
        let Some(config) = config::Limit::together_on_redis(route, &members) else {
            continue;
        };
        let stores = members.first().and_then(|first| first.redis.as_ref());
        let Some(store) = stores.and_then(|redis| maker.stores.find(&redis.store)) else {
            continue;
        };
        let mut known = before.iter().filter_map(|limit| limit.0.together.as_ref());
        let same = known.find(|known| {
            let known = &known.counted.limiter;
            *known.config() == config && known.store().is_same(store)
        });
        let limiter = match same {
            Some(same) => same.counted.limiter.clone(),
            None => {
                let metrics = members
                    .iter()
                    .map(|limit| maker.metrics.limit(route, &limit.name));
                let metrics: Vec<_> = metrics.collect();
                let count = move |event: &Event| {
                    if matches!(event, Event::FellBack) {
                        metrics
                            .iter()
                            .for_each(crate::metrics::LimitMetrics::fell_back);
                    }
                };
                let limiter = RedisRateLimiter::new(store, config).map_err(BuildError::Redis)?;
                limiter.with_observer(count)
            }
        };
        for (place, member) in group.iter().enumerate() {
            together[*member] = Some(Together {
                leader: group[0],
                counted: OnRedis {
                    limiter: limiter.clone(),
                    place,
                },
            });
        }
    }
    Ok(together)
}

/// The places of limits that go together, in groups of two at least.
fn groups(limits: &[config::Limit]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, limit) in limits.iter().enumerate() {
        let goes = |group: &&mut Vec<usize>| {
            let mut members = group.iter();
            members.all(|member| limits[*member].goes_with(limit))
        };
        match groups.iter_mut().find(goes) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}
