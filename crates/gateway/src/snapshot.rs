//! What follows from one configuration: made whole, and swapped whole.

use std::collections::HashMap;

use stanchion_core::Clock;
use stanchion_ratelimit::InvalidMaxKeys;

use crate::client::Clients;
use crate::config::{self, Config, Route};
use crate::limit::Limit;
use crate::metrics::Metrics;

/// One configuration, and what the workers share of what is made of it. It never changes.
///
/// Each worker adds its own part, a stack and connections to the upstreams. A request is served by
/// one snapshot from its beginning to its end; it takes along the services of its route, and holds
/// nothing of other routes.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Counted from 1, that of the start.
    pub(crate) generation: u64,
    pub(crate) config: Config,
    pub(crate) clients: Clients,
    /// Of each route, in the order of the configuration.
    limits: Vec<Vec<Limit>>,
}

impl Snapshot {
    pub(crate) fn first(
        config: Config,
        metrics: &Metrics,
        clock: &Clock,
    ) -> Result<Self, InvalidMaxKeys> {
        Self::new(1, config, |route, limit| {
            Limit::new(&route.id, limit, metrics, clock)
        })
    }

    /// The snapshot of another configuration, in which the limits that stay keep their buckets.
    pub(crate) fn next(
        &self,
        config: Config,
        metrics: &Metrics,
        clock: &Clock,
    ) -> Result<Self, InvalidMaxKeys> {
        let ids = self.config.routes.iter().map(|route| &*route.id);
        let known: HashMap<&str, &Vec<Limit>> = ids.zip(&self.limits).collect();
        Self::new(self.generation + 1, config, |route, limit| {
            let known = known.get(&*route.id).copied();
            let kept = known.and_then(|known| known.iter().find_map(|old| old.kept_as(limit)));
            kept.map_or_else(|| Limit::new(&route.id, limit, metrics, clock), Ok)
        })
    }

    fn new(
        generation: u64,
        config: Config,
        make: impl Fn(&Route, &config::Limit) -> Result<Limit, InvalidMaxKeys>,
    ) -> Result<Self, InvalidMaxKeys> {
        let limits = config.routes.iter().map(|route| {
            let limits = route.limits.iter().map(|limit| make(route, limit));
            limits.collect::<Result<_, _>>()
        });
        Ok(Self {
            generation,
            clients: Clients::new(config.listen.trusted.clone()),
            limits: limits.collect::<Result<_, _>>()?,
            config,
        })
    }

    /// The limits of each route, in the order of the configuration.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &[Limit]> {
        self.limits.iter().map(Vec::as_slice)
    }
}
