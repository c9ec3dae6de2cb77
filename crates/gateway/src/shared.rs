//! What the workers and the admin listener share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    /// How many workers run.
    workers: AtomicUsize,
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
            workers: AtomicUsize::new(0),
        })
    }

    pub(crate) fn worker_begins(&self) {
        self.workers.fetch_add(1, Ordering::SeqCst);
    }

    /// The last one to end ends the admin listener.
    pub(crate) fn worker_ends(&self) {
        if self.workers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.phase.send_replace(Phase::Stopped);
        }
    }

    /// Has the workers drain until a deadline, if there are any.
    pub(crate) fn drain(&self, until: Instant) {
        let phase = match self.workers.load(Ordering::SeqCst) {
            0 => Phase::Stopped,
            _ => Phase::Draining { until },
        };
        self.phase.send_replace(phase);
    }
}
