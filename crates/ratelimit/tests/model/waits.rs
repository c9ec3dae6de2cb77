//! Slots that are reserved, given back in any order, kept and refunded, against a list of all of them.

use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Instant};
use stanchion_ratelimit::{Policy, RateLimiter, Reservation};

/// One bucket, and all who were promised a slot and have not given it back; times in units of
/// 1/count ns, in which a step is the period.
struct Line {
    count: u128,
    period: u128,
    burst: u128,
    /// How long one may wait at most, in units.
    queue: u128,
    tat: u128,
    promised: Vec<Slot>,
}

/// A slot that was taken: the TAT with it, and its moment in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    end: u128,
    ready_at: u128,
    cost: u128,
}

impl Line {
    fn new(policy: Policy, leased: u64) -> Self {
        let (count, period, burst, queue) = match policy {
            Policy::LeakyBucket(bucket) => {
                let period = bucket.period().as_nanos();
                (
                    bucket.count(),
                    period,
                    1,
                    u128::from(bucket.queue()) * period,
                )
            }
            Policy::TokenBucket(quota) => {
                let burst = quota.burst() - leased;
                (quota.count(), quota.period().as_nanos(), burst, u128::MAX)
            }
            other => panic!("{other:?} is no bucket"),
        };
        Self {
            count: count.into(),
            period,
            burst: burst.into(),
            queue,
            tat: 0,
            promised: Vec::new(),
        }
    }

    fn units(&self, now: Instant) -> u128 {
        u128::from(now.as_nanos()) * self.count
    }

    fn ahead(&self, now: Instant) -> u128 {
        self.tat.saturating_sub(self.units(now))
    }

    /// The highest cost that ever fits: the burst, or one and the queue.
    fn cost_max(&self) -> u64 {
        let waiting = match self.queue {
            u128::MAX => 0,
            queue => queue / self.period,
        };
        u64::try_from(self.burst + waiting).unwrap()
    }

    fn remaining(&self, now: Instant) -> u128 {
        (self.burst * self.period).saturating_sub(self.ahead(now)) / self.period
    }

    fn force(&mut self, now: Instant, cost: u64) {
        if cost > 0 {
            self.tat = self.units(now) + self.ahead(now) + u128::from(cost) * self.period;
        }
    }

    fn reserve(&mut self, now: Instant, cost: u64, wait_max: Duration) -> Option<Slot> {
        let cost = u128::from(cost);
        let ahead = self.ahead(now) + cost * self.period;
        let wait = ahead.saturating_sub(self.burst * self.period);
        if wait > self.queue.min(wait_max.as_nanos() * self.count) {
            return None;
        }
        self.tat = self.units(now) + ahead;
        let slot = Slot {
            end: self.tat,
            ready_at: u128::from(now.as_nanos()) + wait.div_ceil(self.count),
            cost,
        };
        if wait > 0 {
            // What was served may have been refunded since.
            let is_served = |other: &Slot| other.ready_at <= now.as_nanos().into();
            let is_apart = |other: &Slot| slot.end >= other.end + cost * self.period;
            let mut promised = self.promised.iter();
            let apart = promised.all(|other| is_served(other) || is_apart(other));
            assert!(apart, "two meet in one slot");
            self.promised.push(slot);
        }
        Some(slot)
    }

    /// A slot behind which anything was taken stays used.
    fn cancel(&mut self, now: Instant, slot: Slot) -> bool {
        let is_last = self.tat == slot.end;
        if is_last {
            let ahead = self.ahead(now).saturating_sub(slot.cost * self.period);
            self.tat = self.units(now) + ahead;
            self.promised.retain(|other| *other != slot);
        }
        is_last
    }

    fn refund(&mut self, now: Instant, cost: u64) -> u128 {
        let later = |slot: &Slot| slot.ready_at.checked_sub(now.as_nanos().into());
        let waits = self.promised.iter().filter_map(later);
        let floor = match waits.max().unwrap_or(0) {
            0 => 0,
            wait => wait * self.count + self.burst * self.period,
        };
        let ahead = self.ahead(now);
        let next = ahead.saturating_sub(u128::from(cost) * self.period);
        let next = next.max(floor.min(ahead));
        self.tat = self.units(now) + next;
        (ahead - next) / self.period
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Check(u64),
    Reserve(u64, u64),
    /// Ends the slot at this place of those held: kept, or given back.
    End(prop::sample::Index, bool),
    Refund(u64),
    Force(u64),
    Advance(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => (0_u64..4).prop_map(Act::Check),
        5 => (1_u64..4, 0_u64..1_500).prop_map(|(cost, wait)| Act::Reserve(cost, wait)),
        5 => (any::<prop::sample::Index>(), prop::bool::weighted(0.2))
            .prop_map(|(place, kept)| Act::End(place, kept)),
        3 => (0_u64..6).prop_map(Act::Refund),
        1 => (0_u64..8).prop_map(Act::Force),
        2 => (0_u64..300).prop_map(Act::Advance),
    ];
    prop::collection::vec(act, 1..80)
}

/// With how many permits are leased at a time, if any.
const BUCKETS: [(&str, Option<u64>); 5] = [
    ("10/s burst 4", None),
    ("3/s burst 4", None),
    ("7/s burst 1", None),
    ("leaky-bucket 10/s queue 9", None),
    ("10/s burst 12", Some(2)),
];

proptest! {
    /// What is given back and what a refund may take is what the list says, whatever the order in
    /// which who waits gives up.
    #[test]
    fn slots_are_given_back_in_any_order_as_far_as_nobody_stands_behind(
        bucket in prop::sample::select(&BUCKETS[..]), acts in acts(),
    ) {
        let (text, lease) = bucket;
        let (clock, time) = Clock::manual();
        let limiter = RateLimiter::new(text.parse::<Policy>().unwrap()).with_clock(clock);
        let limiter = match lease {
            Some(permits) => limiter.with_lease(permits).unwrap(),
            None => limiter,
        };
        let mut line = Line::new(limiter.policy(), limiter.snapshot().leased);
        let mut held: Vec<(Reservation, Slot)> = Vec::new();
        for act in acts {
            let now = time.now();
            match act {
                // From a stripe it is paid without a look at the bucket.
                Act::Check(_) if lease.is_some() => {}
                Act::Check(cost) => {
                    let fits = u128::from(cost) <= line.remaining(now);
                    prop_assert_eq!(limiter.check_n(cost).is_ok(), fits);
                    line.force(now, if fits { cost } else { 0 });
                }
                Act::Reserve(cost, wait) => {
                    let cost = cost.min(line.cost_max());
                    let wait = Duration::from_millis(wait);
                    match (limiter.reserve(cost, wait), line.reserve(now, cost, wait)) {
                        (Ok(reserved), Some(slot)) => {
                            let ready_at = u128::from(reserved.ready_at().as_nanos());
                            prop_assert_eq!(ready_at, slot.ready_at);
                            held.push((reserved, slot));
                        }
                        (Err(_), None) => {}
                        (one, other) => prop_assert!(false, "{one:?} and {other:?}"),
                    }
                }
                Act::End(place, kept) if !held.is_empty() => {
                    let (reserved, slot) = held.swap_remove(place.index(held.len()));
                    if kept {
                        reserved.commit();
                    } else {
                        prop_assert_eq!(reserved.cancel(), line.cancel(now, slot));
                    }
                }
                Act::Refund(cost) => {
                    prop_assert_eq!(u128::from(limiter.refund(cost)), line.refund(now, cost));
                }
                Act::Force(cost) => {
                    limiter.force(cost);
                    line.force(now, cost);
                }
                Act::Advance(millis) => time.advance(Duration::from_millis(millis)),
                Act::End(..) => {}
            }
            let now = time.now();
            prop_assert_eq!(u128::from(limiter.peek().remaining()), line.remaining(now));
            let reset = line.ahead(now).div_ceil(line.count);
            prop_assert_eq!(limiter.peek().reset_after().as_nanos(), reset);
        }
        held.into_iter().for_each(|(reserved, _)| reserved.commit());
    }
}

/// What was promised and given back kept refunds away until its moment came.
#[test]
fn what_is_given_back_is_promised_to_nobody() {
    for lease in [None, Some(2)] {
        let (clock, _time) = Clock::manual();
        let limiter = RateLimiter::new("10/s burst 12".parse::<Policy>().unwrap());
        let limiter = match lease {
            Some(permits) => limiter.with_lease(permits).unwrap(),
            None => limiter,
        };
        let limiter = limiter.with_clock(clock);
        let burst = 12 - limiter.snapshot().leased;
        limiter.force(burst + 3);
        let [one, two, three] = [(); 3].map(|()| limiter.reserve(1, Duration::MAX).unwrap());
        assert_eq!(limiter.refund(20), 0, "all wait");
        drop(three);
        assert_eq!(limiter.refund(20), 0, "two wait");
        drop(two);
        drop(one);
        assert_eq!(limiter.refund(20), burst + 3, "nobody waits");
    }
}
