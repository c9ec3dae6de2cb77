use std::fmt;
use std::sync::Arc;

use stanchion_core::Observe;
use stanchion_lb::{Event, Mark};

use crate::event::{self, Observer};
use crate::metrics::Metrics;

/// Hears what balancers tell: counts it, and tells it on. Clones share.
#[derive(Clone)]
pub(crate) struct Hearing {
    metrics: Metrics,
    observer: Observer,
}

impl Hearing {
    pub(crate) fn new(metrics: Metrics, observer: Observer) -> Self {
        Self { metrics, observer }
    }

    /// The ear of one upstream.
    pub(super) fn of(&self, upstream: &Arc<str>) -> impl Observe<Event> + Send + Sync + 'static {
        let (hearing, upstream) = (self.clone(), upstream.clone());
        move |event: &Event| hearing.hear(&upstream, event)
    }

    /// On the thread whose request, check or change it came of; seldom, so what is counted is looked
    /// up.
    fn hear(&self, upstream: &Arc<str>, event: &Event) {
        match event {
            Event::Ejected { id, .. } => {
                self.metrics.endpoint(upstream, id.as_str()).ejected.inc();
            }
            // As often as requests fail, while as many servers as may be are out.
            Event::EjectionSkipped { id, .. } => {
                let endpoint = self.metrics.endpoint(upstream, id.as_str());
                endpoint.ejections_skipped.inc();
                return;
            }
            // The ejection, or its end, was told.
            Event::HealthChanged {
                mark: Mark::Eject | Mark::Readmit,
                ..
            } => return,
            _ => {}
        }
        self.observer.observe(&event::Event::Balance {
            upstream: upstream.clone(),
            event: event.clone(),
        });
    }
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearing").finish_non_exhaustive()
    }
}
