use std::time::Duration;

use super::{ReloadError, Reloaded};

/// Which configuration is in force, and how the last reload went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConfigStatus {
    /// Counted from 1, that of the start.
    pub generation: u64,
    /// When it came into force, since the Unix epoch.
    pub since: Duration,
    /// Fields whose value in the file takes a restart.
    pub restart: Vec<&'static str>,
    /// The last reload, if that failed.
    pub failed: Option<FailedReload>,
}

/// A reload that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedReload {
    /// When, since the Unix epoch.
    pub time: Duration,
    /// Why.
    pub error: ReloadError,
}

impl ConfigStatus {
    pub(super) fn first(now: Duration) -> Self {
        Self {
            generation: 1,
            since: now,
            restart: Vec::new(),
            failed: None,
        }
    }

    pub(super) fn note(&mut self, now: Duration, result: &Result<Reloaded, ReloadError>) {
        match result {
            Ok(reloaded) => {
                if reloaded.changed {
                    self.since = now;
                }
                self.generation = reloaded.generation;
                self.restart.clone_from(&reloaded.restart);
                self.failed = None;
            }
            Err(error) => {
                self.failed = Some(FailedReload {
                    time: now,
                    error: error.clone(),
                });
            }
        }
    }
}
