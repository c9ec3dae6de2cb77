//! What the workers and the admin listener share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use stanchion_core::{Clock, Instant, Observe};
use tokio::sync::{Notify, watch};

use crate::balance::Hearing;
use crate::build_error::BuildError;
use crate::config::Config;
use crate::discovery::FirstLooks;
use crate::event::{Event, Observer};
#[cfg(feature = "redis")]
use crate::limit::StoreThread;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::reload::Reloading;
use crate::snapshot::{Making, Snapshot};
use crate::switch::Switch;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// One for each client connection that may be open.
    pub(crate) places: Arc<Places>,
    /// What `/readyz` says.
    pub(crate) ready: AtomicBool,
    /// Told once the gateway is to take its leave.
    pub(crate) leave: Notify,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) reloading: Reloading,
    pub(crate) switches: Box<[Switch]>,
    hearing: Hearing,
    pub(crate) looks: FirstLooks,
    snapshot: ArcSwap<Snapshot>,
    #[cfg(feature = "redis")]
    stores: StoreThread,
    /// How many workers run.
    workers: AtomicUsize,
}

/// How long a start waits for servers to be found.
const LOOK_MAX: Duration = Duration::from_secs(2);

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
    /// `observer` hears of reloads, and of what becomes of servers.
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        observer: impl Observe<Event> + Send + Sync + 'static,
        switches: Box<[Switch]>,
    ) -> Result<Self, BuildError> {
        let metrics = Metrics::new();
        let observer: Observer = Arc::new(observer);
        let hearing = Hearing::new(metrics.clone(), observer.clone());
        let places = Places::new(config.listen.connections_max);
        #[cfg(feature = "redis")]
        let stores = StoreThread::default();
        let making = Making {
            metrics: &metrics,
            clock: &clock,
            hearing: &hearing,
            #[cfg(feature = "redis")]
            stores: &stores,
        };
        let snapshot = Snapshot::first(config, making)?;
        Ok(Self {
            places: Arc::new(places),
            reloading: Reloading::new(&snapshot.config, &metrics, &clock, observer),
            switches,
            hearing,
            looks: FirstLooks::default(),
            snapshot: ArcSwap::from_pointee(snapshot),
            #[cfg(feature = "redis")]
            stores,
            metrics,
            clock,
            ready: AtomicBool::new(true),
            leave: Notify::new(),
            phase: watch::Sender::new(Phase::Serving),
            workers: AtomicUsize::new(0),
        })
    }

    /// Blocks until the servers of each upstream that does not list them were looked for, but for at
    /// most [`LOOK_MAX`].
    pub(crate) fn wait_for_servers(&self) {
        let snapshot = self.snapshot();
        let upstreams = snapshot.config.upstreams.iter();
        let discovered = upstreams.filter(|upstream| upstream.discovery.is_some());
        let names: Vec<_> = discovered.map(|upstream| upstream.name.clone()).collect();
        self.looks.wait(&names, LOOK_MAX);
    }

    /// What further snapshots are made with.
    pub(crate) fn making(&self) -> Making<'_> {
        Making {
            metrics: &self.metrics,
            clock: &self.clock,
            hearing: &self.hearing,
            #[cfg(feature = "redis")]
            stores: &self.stores,
        }
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts another snapshot in force, for what is no part of a request.
    pub(crate) fn put_in_force(&self, snapshot: Arc<Snapshot>) {
        self.places.set_max(snapshot.config.listen.connections_max);
        self.snapshot.store(snapshot);
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
