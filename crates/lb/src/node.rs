//! What is known of one server while calls to it go on.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant, Outcome};

use crate::balancer::Shared;
use crate::health::HealthWord;
use crate::latency::{Latency, Metering};
use crate::outlier::{Ejection, Heed, Samples};
#[cfg(feature = "tokio")]
use crate::signal::Listener;
use crate::signal::Signal;
use crate::slow_start::Started;
use crate::sync::{AtomicU32, Ordering};
use crate::{Attributes, EjectionCause, Endpoint, EndpointId};

/// One server, shared by each plan that lists it and by each call that goes there.
///
/// It outlives its removal for as long as calls are in flight, and stays the same through each
/// update that names it again.
#[repr(C)]
pub(crate) struct Node<A> {
    /// Right behind the count of references, and so mostly on its cache line: a pick writes both.
    ///
    /// | bits | meaning |
    /// |---|---|
    /// | 31 | somebody waits until no call is in flight |
    /// | 30–0 | calls in flight |
    in_flight: AtomicU32,
    pub(crate) health: HealthWord,
    pub(crate) samples: Samples,
    pub(crate) latency: Latency,
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

const WAITED_FOR: u32 = 1 << 31;

/// When a call began and how its latency is taken, where a policy goes by that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) since: Instant,
    pub(crate) metering: Metering,
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
            in_flight: AtomicU32::new(0),
            health: HealthWord::new(),
            samples: Samples::new(heed),
            latency: Latency::new(),
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

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        // Acquire pairs with the release of `end`: who sees that a call is over sees what it did.
        self.in_flight.load(Ordering::Acquire) & !WAITED_FOR
    }

    /// Counts one more call, unless there are `max`.
    #[inline]
    pub(crate) fn begin(&self, max: u32) -> bool {
        if max == u32::MAX {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count & !WAITED_FOR < max).then_some(count + 1)
            })
            .is_ok()
    }

    /// Counts one call less, and what it taught; tells whether too many failed in a row.
    #[inline]
    pub(crate) fn end(
        &self,
        outcome: Outcome,
        retry_after: Duration,
        timing: Option<Timing>,
    ) -> bool {
        if let Some(timing) = timing {
            self.timed(outcome, retry_after, timing);
        }
        let suspect = self.samples.heard(outcome);
        if self.count_down() {
            self.tell_idle();
        }
        suspect
    }

    /// Counts one call less; tells whether it was the last that somebody waits for.
    #[inline]
    fn count_down(&self) -> bool {
        let before = self.in_flight.fetch_sub(1, Ordering::Release);
        debug_assert!(before & !WAITED_FOR > 0, "a call ended twice");
        before == WAITED_FOR | 1
    }

    /// Wakes who waits until no call is in flight, to look again.
    #[cold]
    pub(crate) fn tell_idle(&self) {
        // Who still waits then says so again.
        self.in_flight.fetch_and(!WAITED_FOR, Ordering::Relaxed);
        if let Some(idle) = self.idle.get() {
            idle.change();
        }
    }

    /// Hears when the last call may be over.
    #[cfg(feature = "tokio")]
    pub(crate) fn listen_idle(&self) -> Listener {
        self.idle.get_or_init(Arc::default).listen()
    }

    /// Whether no call is in flight. Else, who listens is woken once the last one is over.
    #[cfg(any(feature = "tokio", stanchion_loom))]
    pub(crate) fn is_idle_or_tells(&self) -> bool {
        // The flag and the count are one word: of the last call and this one, the later sees the
        // other. Acquire pairs with the release of `count_down`.
        self.in_flight.fetch_or(WAITED_FOR, Ordering::Acquire) & !WAITED_FOR == 0
    }

    /// Tells the balancer, if there still is one, that too many calls failed in a row.
    #[cold]
    pub(crate) fn suspect(self: &Arc<Self>) {
        if let Some(shared) = self.home.upgrade() {
            shared.suspect(self, EjectionCause::Consecutive);
        }
    }

    fn timed(&self, outcome: Outcome, retry_after: Duration, timing: Timing) {
        let now = self.clock.now();
        self.latency
            .ended(timing.since, now, outcome, retry_after, timing.metering);
    }
}

impl<A> fmt::Debug for Node<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
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

    fn end(node: &Node<()>) {
        node.end(Outcome::Ignore, Duration::ZERO, None);
    }

    #[test]
    fn two_that_want_the_last_place_do_not_both_get_it() {
        ::loom::model(|| {
            let node = node();
            let there = thread::spawn({
                let node = node.clone();
                move || node.begin(1)
            });
            let here = node.begin(1);
            let there = there.join().unwrap();
            assert!(here != there, "{here} {there}");
            end(&node);
            assert_eq!(node.in_flight(), 0);
        });
    }

    #[test]
    fn a_place_that_is_given_back_can_be_had() {
        ::loom::model(|| {
            let node = node();
            assert!(node.begin(1));
            let there = thread::spawn({
                let node = node.clone();
                move || end(&node)
            });
            if node.begin(1) {
                end(&node);
            }
            there.join().unwrap();
            assert_eq!(node.in_flight(), 0);
        });
    }

    #[test]
    fn the_last_call_and_who_waits_for_it_do_not_miss_each_other() {
        ::loom::model(|| {
            let node = node();
            assert!(node.begin(u32::MAX) && node.begin(2));
            let ends = || {
                let node = node.clone();
                thread::spawn(move || node.count_down())
            };
            let there = ends();
            let idle = node.is_idle_or_tells();
            let told = node.count_down();
            assert!(!idle, "this call was not over");
            // Whichever was the last tells, since the flag was set before this one ended.
            assert!(told != there.join().unwrap());
            assert_eq!(node.in_flight(), 0);
        });
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
