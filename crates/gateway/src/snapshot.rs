//! What follows from one configuration: made whole, and swapped whole.

use std::collections::HashMap;

use stanchion_core::Clock;

use crate::balance::{Balancers, Hearing};
use crate::breaker::Breakers;
use crate::build_error::BuildError;
use crate::client::Clients;
use crate::config::Config;
use crate::limit::{Limit, Maker, Tiers};
#[cfg(feature = "redis")]
use crate::limit::{StoreThread, Stores};
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
    /// Counts the snapshots, also those that discovery made of the same configuration.
    pub(crate) revision: u64,
    pub(crate) config: Config,
    pub(crate) clients: Clients,
    pub(crate) breakers: Breakers,
    pub(crate) balancers: Balancers,
    /// Of each route, in the order of the configuration.
    limits: Vec<Vec<Limit>>,
    #[cfg(feature = "redis")]
    pub(crate) stores: Stores,
}

/// What snapshots are made with, besides a configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Making<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) clock: &'a Clock,
    pub(crate) hearing: &'a Hearing,
    #[cfg(feature = "redis")]
    pub(crate) stores: &'a StoreThread,
}

impl Snapshot {
    pub(crate) fn first(config: Config, making: Making<'_>) -> Result<Self, BuildError> {
        Self::new(config, making, None)
    }

    /// The snapshot of another configuration, in which the limits that stay keep their buckets.
    pub(crate) fn next(&self, config: Config, making: Making<'_>) -> Result<Self, BuildError> {
        let mut next = Self::new(config, making, Some(self))?;
        next.generation += 1;
        Ok(next)
    }

    /// The snapshot of the same configuration with other servers.
    pub(crate) fn with_found(
        &self,
        config: Config,
        making: Making<'_>,
    ) -> Result<Self, BuildError> {
        Self::new(config, making, Some(self))
    }

    fn new(config: Config, making: Making<'_>, before: Option<&Self>) -> Result<Self, BuildError> {
        #[cfg(feature = "redis")]
        let stores = Stores::new(
            &config.redis,
            making.stores,
            before.map(|before| &before.stores),
        )?;
        let tiers = Tiers::new(&config.tiers);
        let maker = Maker {
            metrics: making.metrics,
            clock: making.clock,
            tiers: &tiers,
            #[cfg(feature = "redis")]
            stores: &stores,
        };
        let known: HashMap<&str, &[Limit]> = before.map_or_else(HashMap::new, |before| {
            let ids = before.config.routes.iter().map(|route| &*route.id);
            ids.zip(before.limits()).collect()
        });
        let breakers = Breakers::new(&config, making.clock, before.map(|before| &before.breakers));
        let limits = config.routes.iter().map(|route| {
            let known = known.get(&*route.id).copied().unwrap_or_default();
            Limit::of_route(route, maker, known)
        });
        let balancers = Balancers::new(
            &config,
            making.clock,
            making.hearing,
            before.map(|before| &before.balancers),
        );
        let snapshot = Self {
            generation: before.map_or(1, |before| before.generation),
            revision: before.map_or(1, |before| before.revision + 1),
            clients: Clients::new(config.listen.trusted.clone()),
            limits: limits.collect::<Result<_, _>>()?,
            breakers: breakers.map_err(BuildError::Breaker)?,
            balancers: balancers?,
            #[cfg(feature = "redis")]
            stores,
            config,
        };
        // Last, as the balancers that go on are in use.
        snapshot.balancers.put_in_force()?;
        Ok(snapshot)
    }

    /// The limits of each route, in the order of the configuration.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &[Limit]> {
        self.limits.iter().map(Vec::as_slice)
    }
}
