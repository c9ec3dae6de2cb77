//! What is known of one server while calls to it go on.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant, Outcome};

use crate::balancer::Shared;
use crate::counted::{Call, Waited};
use crate::health::HealthWord;
use crate::latency::{Latency, Metering};
use crate::outlier::{Ejection, Heed, Samples};
#[cfg(feature = "tokio")]
use crate::signal::Listener;
use crate::signal::Signal;
use crate::slow_start::Started;
use crate::sync::{AtomicU64, Ordering};
use crate::{Attributes, EjectionCause, Endpoint, EndpointId};

/// One server, kept by each plan that lists it and by each call that goes there.
///
/// It outlives its removal for as long as calls are in flight, and stays the same through each
/// update that names it again.
#[repr(C)]
pub(crate) struct Node<A> {
    /// Right behind the count of calls, and so on its cache line: the end of a call looks at both.
    pub(crate) samples: Samples,
    pub(crate) health: HealthWord,
    pub(crate) latency: Latency,
    /// A [`Metering`], as it was planned with last.
    metering: AtomicU64,
    pub(crate) started: Started,
    /// Changed under the balancer's lock only, together with its bit of `health`.
    pub(crate) ejection: Mutex<Ejection>,
    /// The balancer that has it, which is told when it is to be ejected.
    home: Weak<Shared<A>>,
    pub(crate) id: EndpointId,
    incarnation: u64,
    pub(crate) address: A,
    pub(crate) attributes: ArcSwap<Attributes>,
    clock: Clock,
    /// Changes when the last call is over while somebody waits for that.
    idle: OnceLock<Arc<Signal>>,
}

impl<A> Node<A> {
    pub(crate) fn new(
        endpoint: Endpoint<A>,
        clock: &Clock,
        home: Weak<Shared<A>>,
        heed: Heed,
    ) -> Self {
        let (id, incarnation, address, attributes) = endpoint.into_parts();
        Self {
            samples: Samples::new(heed),
            health: HealthWord::new(),
            latency: Latency::new(),
            metering: AtomicU64::new(Metering::DEFAULT.to_bits()),
            started: Started::default(),
            ejection: Mutex::default(),
            home,
            id,
            incarnation,
            address,
            attributes: ArcSwap::from_pointee(attributes),
            clock: clock.clone(),
            idle: OnceLock::new(),
        }
    }

    /// Whether `endpoint` describes this server, if perhaps with other attributes.
    pub(crate) fn is(&self, endpoint: &Endpoint<A>) -> bool
    where
        A: PartialEq,
    {
        self.id == *endpoint.id()
            && self.incarnation == endpoint.incarnation()
            && self.address == *endpoint.address()
    }

    /// Hears when the last call may be over.
    #[cfg(feature = "tokio")]
    pub(crate) fn listen_idle(&self) -> Listener {
        self.idle.get_or_init(Arc::default).listen()
    }

    /// Tells the balancer, if there still is one, that too many calls failed in a row.
    #[cold]
    pub(crate) fn suspect(call: &Call<Self>) {
        if let Some(shared) = call.home.upgrade() {
            shared.suspect(&call.keep(), EjectionCause::Consecutive);
        }
    }

    /// Hears how long a call took that began at `since`.
    #[inline(never)]
    pub(crate) fn timed(&self, outcome: Outcome, retry_after: Duration, since: Instant) {
        let now = self.clock.now();
        // Relaxed, here and below: the word is all there is.
        let metering = Metering::from_bits(self.metering.load(Ordering::Relaxed));
        self.latency
            .ended(since, now, outcome, retry_after, metering);
    }

    /// Measures latencies so from now on.
    pub(crate) fn set_metering(&self, metering: Metering) {
        self.metering.store(metering.to_bits(), Ordering::Relaxed);
    }
}

impl<A> Waited for Node<A> {
    /// Wakes who waits until no call is in flight, to look again.
    #[cold]
    fn tell_idle(&self) {
        if let Some(idle) = self.idle.get() {
            idle.change();
        }
    }
}

impl<A> fmt::Debug for Node<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("health", &self.health.read())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, stanchion_loom))]
mod loom {
    use ::loom::sync::Arc;
    use ::loom::thread;

    use super::*;
    use crate::{Health, Mark};

    fn node() -> Arc<Node<()>> {
        let (clock, home) = (Clock::system(), std::sync::Weak::new());
        let endpoint = Endpoint::new("a", ());
        Arc::new(Node::new(endpoint, &clock, home, Heed::NOTHING))
    }

    #[test]
    fn no_mark_is_lost_to_another_party() {
        ::loom::model(|| {
            let node = node();
            let there = thread::spawn({
                let node = node.clone();
                move || node.health.mark(Mark::Eject)
            });
            node.health.mark(Mark::Unhealthy);
            there.join().unwrap();
            assert_eq!(node.health.read().health(), Health::Ejected);
            node.health.mark(Mark::Readmit);
            assert_eq!(node.health.read().health(), Health::Unhealthy);
        });
    }

    #[test]
    fn of_two_first_samples_the_peak_stays() {
        ::loom::model(|| {
            let node = node();
            let metering = Metering::DEFAULT;
            let ended = move |node: &Node<()>, millis: u64| {
                let now = Instant::from_nanos(millis * 1_000_000);
                let zero = (Instant::ZERO, Duration::ZERO);
                node.latency
                    .ended(zero.0, now, Outcome::Success, zero.1, metering);
            };
            let there = thread::spawn({
                let node = node.clone();
                move || ended(&node, 20)
            });
            ended(&node, 40);
            there.join().unwrap();
            let now = Instant::from_nanos(40_000_000);
            assert_eq!(node.latency.at(now, metering), Some(40e6));
        });
    }
}
