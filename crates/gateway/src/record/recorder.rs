use std::fmt;
use std::sync::Arc;

use stanchion_core::Clock;

use super::Facts;
use crate::access_log::{Line, LogBuffer};
use crate::exchange::Ending;
use crate::metrics::RouteMetrics;

/// Where the records of one route go, in one worker.
pub(crate) struct Recorder {
    route: Arc<str>,
    metrics: Arc<RouteMetrics>,
    log: Option<Arc<LogBuffer>>,
    clock: Clock,
}

impl Recorder {
    pub(crate) fn new(
        route: Arc<str>,
        metrics: Arc<RouteMetrics>,
        log: Option<Arc<LogBuffer>>,
        clock: Clock,
    ) -> Self {
        Self {
            route,
            metrics,
            log,
            clock,
        }
    }

    pub(super) fn logs(&self) -> bool {
        self.log.is_some()
    }

    pub(super) fn begins(&self) {
        self.metrics.in_flight.inc();
    }

    pub(super) fn close(&self, record: &Facts) {
        let took = self.clock.now() - record.started;
        self.metrics.in_flight.dec();
        self.metrics.latency.observe(took);
        if let Some(status) = record.status {
            self.metrics.count(&record.method, status);
        }
        match record.ending {
            Ending::Complete => {}
            Ending::CutByUpstream => {
                self.metrics.cut_by_upstream.inc();
            }
            Ending::CutByClient => {
                self.metrics.cut_by_client.inc();
            }
        }
        if let (Some(log), Some(entry)) = (&self.log, &record.entry) {
            log.write(&Line {
                time: self.clock.unix_time(),
                route: &self.route,
                method: &record.method,
                status: record.status,
                bytes: record.bytes,
                took,
                ending: record.ending,
                note: &record.note,
                entry,
            });
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
