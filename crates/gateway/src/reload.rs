//! Takes over another configuration while requests run.
//!
//! What stays the same keeps its state: see [`Snapshot::next`] for limits and
//! [`Upstream`](crate::upstream::Upstream) for connections. A configuration that is refused changes
//! nothing.

mod error;
mod status;
mod watch;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use stanchion_core::Clock;

use crate::config::{Config, Discovery, ENDPOINTS_MAX, Endpoint, Source};
use crate::event::{Event, Observer};
use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

pub use error::ReloadError;
pub use status::{ConfigStatus, FailedReload};
pub(crate) use watch::watch;

/// A reload that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Of the configuration in force, counted from 1, that of the start.
    pub generation: u64,
    /// Whether another configuration is in force now; not where the file's text is what it was.
    pub changed: bool,
    /// Fields whose new value takes a restart, by their path in the file, such as
    /// `listen.address`. Until then the old value stays in force.
    pub restart: Vec<&'static str>,
}

/// A part of the gateway that makes its own of each snapshot.
pub(crate) type Follower = Box<dyn Fn(&Arc<Snapshot>) -> Followed + Send + Sync>;

/// What a follower did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    Swapped,
    /// It is no more.
    Ended,
}

/// Who is told of a new snapshot, and how the last reload went.
pub(crate) struct Reloading {
    /// Locked for the whole of a reload, so that there is one after the other.
    followers: Mutex<Vec<Follower>>,
    status: Mutex<ConfigStatus>,
    /// What the file said when it was last taken over, or refused; `None` if it could not be read.
    read: Mutex<Option<Arc<str>>>,
    observer: Observer,
}

impl Reloading {
    /// `first` is the configuration of the start.
    pub(crate) fn new(
        first: &Config,
        metrics: &Metrics,
        clock: &Clock,
        observer: Observer,
    ) -> Self {
        metrics.reload.succeeded(1);
        Self {
            followers: Mutex::default(),
            status: Mutex::new(ConfigStatus::first(clock.unix_time())),
            read: Mutex::new(first.source.as_ref().map(|source| source.text.clone())),
            observer,
        }
    }

    pub(crate) fn status(&self) -> ConfigStatus {
        self.status.lock().clone()
    }

    /// Whether the file said this when it was last looked at for a reload, so that there is nothing
    /// to tell.
    fn has_read(&self, text: Option<&Arc<str>>) -> bool {
        self.read.lock().as_ref() == text
    }
}

impl Shared {
    /// Makes something of the snapshot in force, and has it follow the next ones.
    pub(crate) fn follow<T>(&self, make: impl FnOnce(&Arc<Snapshot>) -> (T, Follower)) -> T {
        let mut followers = self.reloading.followers.lock();
        let (made, follower) = make(&self.snapshot());
        followers.push(follower);
        made
    }

    /// Reads the configuration's file again, and takes it over if its text is another one.
    ///
    /// It blocks while it reads and builds: some milliseconds. When it returns, every request whose
    /// head is read from then on is served by the new configuration.
    pub(crate) fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.report(|followers| {
            let running = self.snapshot();
            let source = running.config.source.as_ref();
            let source = source.ok_or_else(ReloadError::no_file)?;
            let text = Source::text(&source.path);
            *self.reloading.read.lock() = text.as_ref().ok().cloned();
            let text = text.map_err(ReloadError::read)?;
            if *text == *source.text {
                return Ok(self.unchanged(&running));
            }
            let config = Config::from_source(&source.path, text).map_err(ReloadError::read)?;
            self.take(config, &running, followers)
        })
    }

    /// Takes over another configuration.
    pub(crate) fn apply(&self, config: Config) -> Result<Reloaded, ReloadError> {
        self.report(|followers| self.take(config, &self.snapshot(), followers))
    }

    /// Has an upstream go on with the servers that its discovery found, unless it is discovered in
    /// another way by now.
    pub(crate) fn found(&self, upstream: &str, by: &Discovery, servers: Vec<Endpoint>) {
        let mut followers = self.reloading.followers.lock();
        let running = self.snapshot();
        let mut config = running.config.clone();
        let mut upstreams = config.upstreams.iter_mut();
        let Some(found) = upstreams.find(|known| *known.name == *upstream) else {
            return;
        };
        if found.discovery.as_ref() != Some(by) || found.endpoints == servers {
            return;
        }
        let count = servers.len();
        if count > ENDPOINTS_MAX {
            drop(followers);
            let why = format!("{count} were found, at most {ENDPOINTS_MAX} are allowed");
            return self.found_nothing(upstream, why.into());
        }
        let (name, before) = (found.name.clone(), found.endpoints.len());
        found.endpoints = servers;
        let next = match running.with_found(config, self.making()) {
            Ok(next) => Arc::new(next),
            Err(error) => {
                drop(followers);
                return self.found_nothing(upstream, error.to_string().into());
            }
        };
        self.put_in_force(next.clone());
        followers.retain(|follower| follower(&next) == Followed::Swapped);
        drop(followers);
        self.reloading.observer.observe(&Event::Discovered {
            upstream: name,
            endpoints: count,
            before,
        });
    }

    /// Tells that the servers of an upstream could not be found, so that the last ones stay.
    pub(crate) fn found_nothing(&self, upstream: &str, why: Arc<str>) {
        self.reloading.observer.observe(&Event::DiscoveryFailed {
            upstream: upstream.into(),
            why,
        });
    }

    fn unchanged(&self, running: &Snapshot) -> Reloaded {
        Reloaded {
            generation: running.generation,
            changed: false,
            restart: self.reloading.status.lock().restart.clone(),
        }
    }

    fn take(
        &self,
        config: Config,
        running: &Snapshot,
        followers: &mut Vec<Follower>,
    ) -> Result<Reloaded, ReloadError> {
        let (config, restart) = config.for_running(&running.config);
        let next = running.next(config, self.making());
        let next = Arc::new(next.map_err(ReloadError::build)?);
        // Nothing can fail from here on.
        self.put_in_force(next.clone());
        followers.retain(|follower| follower(&next) == Followed::Swapped);
        Ok(Reloaded {
            generation: next.generation,
            changed: true,
            restart,
        })
    }

    /// Does a reload in its turn, and tells everyone how it went.
    fn report(
        &self,
        reload: impl FnOnce(&mut Vec<Follower>) -> Result<Reloaded, ReloadError>,
    ) -> Result<Reloaded, ReloadError> {
        let mut followers = self.reloading.followers.lock();
        let result = reload(&mut followers);
        let now = self.clock.unix_time();
        self.reloading.status.lock().note(now, &result);
        match &result {
            Ok(reloaded) => self.metrics.reload.succeeded(reloaded.generation),
            Err(_) => self.metrics.reload.failed(),
        }
        drop(followers);
        self.reloading.observer.observe(&match &result {
            Ok(reloaded) => Event::Reloaded(reloaded.clone()),
            Err(error) => Event::ReloadFailed(error.clone()),
        });
        result
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.generation;
        if self.changed {
            write!(f, "configuration {generation} is in force")?;
        } else {
            write!(
                f,
                "the file is unchanged, configuration {generation} stays in force"
            )?;
        }
        if self.restart.is_empty() {
            return Ok(());
        }
        let fields = self.restart.join(", ");
        write!(f, "; until a restart, the old value of: {fields}")
    }
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
