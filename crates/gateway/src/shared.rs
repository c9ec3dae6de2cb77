//! What the workers and the admin listener share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stanchion_core::{Clock, Instant};
use stanchion_ratelimit::InvalidMaxKeys;
use tokio::sync::{Notify, Semaphore, watch};

use crate::client::Clients;
use crate::config::Config;
use crate::limit::{self, LimitLayer};
use crate::metrics::Metrics;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) clients: Clients,
    pub(crate) metrics: Metrics,
    /// Of each route, in the order of the configuration.
    pub(crate) limits: Vec<Vec<LimitLayer>>,
    /// One for each client connection that may be open.
    pub(crate) permits: Arc<Semaphore>,
    /// What `/readyz` says.
    pub(crate) ready: AtomicBool,
    /// Told once the gateway is to take its leave.
    pub(crate) leave: Notify,
    pub(crate) phase: watch::Sender<Phase>,
}

/// How far the gateway is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Nothing new comes in; what is left at `until` is cut.
    Draining {
        until: Instant,
    },
    /// The workers are gone.
    Stopped,
}

impl Shared {
    pub(crate) fn new(config: Config, clock: Clock) -> Result<Self, InvalidMaxKeys> {
        let metrics = Metrics::new();
        let mut limits = Vec::with_capacity(config.routes.len());
        for route in &config.routes {
            let layers = route.limits.iter().map(|config| {
                let refused = metrics.limit(&route.id, &config.name);
                limit::layer(config, refused, &clock)
            });
            limits.push(layers.collect::<Result<_, _>>()?);
        }
        Ok(Self {
            clients: Clients::new(config.listen.trusted.clone()),
            permits: Arc::new(Semaphore::new(config.listen.connections_max)),
            limits,
            metrics,
            config,
            clock,
            ready: AtomicBool::new(true),
            leave: Notify::new(),
            phase: watch::Sender::new(Phase::Serving),
        })
    }
}
