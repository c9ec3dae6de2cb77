//! Waiting, as others promise it and as it went wrong in them; and one key of many against a limiter
//! of its own.
#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use stanchion_core::{Clock, Instant, ManualClock};
use stanchion_ratelimit::{Acquire, Inherit, KeyedRateLimiter, Policy, RateLimiter, Reason};
use testkit::drop_at_every_await_in;

const FOREVER: Duration = Duration::MAX;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

fn limiter(text: &str) -> (RateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    (RateLimiter::new(policy(text)).with_clock(clock), time)
}

fn is_ready(wait: &mut Pin<Box<Acquire>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match wait.as_mut().poll(&mut context) {
        Poll::Ready(served) => {
            served.unwrap();
            true
        }
        Poll::Pending => false,
    }
}

/// Waiters of governor sleep and ask again: of 1,000 at 500 per second one lost 471 places, and in
/// tower-resilience 948.
#[test]
fn a_thousand_who_wait_are_served_in_the_order_of_their_slots() {
    for text in ["500/s burst 1", "leaky-bucket 500/s queue 1000"] {
        let (limiter, time) = limiter(text);
        let wait = |_| Box::pin(limiter.acquire(1, Duration::from_secs(3)));
        let mut waits: Vec<_> = (0..1_000).map(wait).collect();
        // All come at once; then each is polled at each step, the last one first.
        let mut served: Vec<_> = (0..1_000).filter(|n| is_ready(&mut waits[*n])).collect();
        assert_eq!(served, [0]);
        let mut waiting: Vec<_> = (1..1_000).rev().collect();
        for _ in 1..1_000 {
            time.advance(ms(2));
            let before = served.len();
            waiting.retain(|n| {
                let ready = is_ready(&mut waits[*n]);
                served.extend(ready.then_some(*n));
                !ready
            });
            assert_eq!(served.len(), before + 1, "{text}: one in each slot");
        }
        assert!(served.is_sorted(), "{text}: nobody lost a place");
    }
}

/// A limiter of one stream, or one key of a limiter of many.
enum Stream {
    One(RateLimiter),
    Key(KeyedRateLimiter<str>),
}

impl Stream {
    fn both(text: &str) -> [(Self, ManualClock); 2] {
        let (one, time) = limiter(text);
        let (clock, time_of_key) = Clock::manual();
        let of_keys = KeyedRateLimiter::new(policy(text), 100).unwrap();
        let key = Self::Key(of_keys.with_clock(clock));
        [(Self::One(one), time), (key, time_of_key)]
    }

    fn check(&self) -> bool {
        match self {
            Self::One(limiter) => limiter.check().is_ok(),
            Self::Key(limiter) => limiter.check("anna").is_ok(),
        }
    }

    fn acquire(&self) -> Pin<Box<Acquire>> {
        Box::pin(match self {
            Self::One(limiter) => limiter.acquire(1, FOREVER),
            Self::Key(limiter) => limiter.acquire("anna", 1, FOREVER),
        })
    }

    fn remaining(&self) -> u64 {
        match self {
            Self::One(limiter) => limiter.peek().remaining(),
            Self::Key(limiter) => limiter.peek("anna").remaining(),
        }
    }
}

/// What can be waited for, and how far its slots lie apart.
const WAITED_FOR: [(&str, u64); 4] = [
    ("10/s burst 1", 100),
    ("leaky-bucket 10/s queue 5", 100),
    ("fixed-window 1/s", 1_000),
    ("sliding-window-log 1/s", 1_000),
];

/// An interrupted waiter of resilience4j never refunds.
#[test]
fn an_acquire_dropped_anywhere_gives_its_slot_back_and_once() {
    for ((text, apart), kind) in WAITED_FOR
        .into_iter()
        .flat_map(|case| [(case, 0), (case, 1)])
    {
        let mut left = Vec::new();
        let drops = drop_at_every_await_in(|| {
            let [one, key] = Stream::both(text);
            let (stream, time) = if kind == 0 { one } else { key };
            assert!(stream.check());
            let wait = stream.acquire();
            ((stream, time), wait)
        })
        .nudge(|(_, time)| time.advance(ms(1_000)))
        .check(|(stream, _)| left.push(stream.remaining()));
        assert_eq!(drops, 3, "{text}");
        // Served; never polled; dropped while it waited; dropped in its slot.
        let served_late = u64::from(apart == 100);
        assert_eq!(left, [served_late, 0, 0, 1], "{text}, {kind}");
    }
}

/// Who leaves while another stands behind him has used his slot: or two would meet in one.
#[test]
fn an_acquire_dropped_anywhere_leaves_who_stands_behind_his_slot() {
    // A log of one has room for one who waits, and so for nobody behind him.
    let cases = WAITED_FOR.into_iter().take(3);
    for ((text, apart), kind) in cases.flat_map(|case| [(case, 0), (case, 1)]) {
        let mut slots = Vec::new();
        drop_at_every_await_in(|| {
            let [one, key] = Stream::both(text);
            let (stream, time) = if kind == 0 { one } else { key };
            assert!(stream.check());
            let first = stream.acquire();
            ((stream, time, RefCell::new(None)), first)
        })
        .nudge(|(stream, time, behind)| {
            let mut wait = stream.acquire();
            assert!(!is_ready(&mut wait));
            behind.replace(Some(wait));
            time.advance(ms(apart));
        })
        .check(|(stream, _, behind)| {
            let mut next = stream.acquire();
            assert!(!is_ready(&mut next));
            let at = |wait: &Pin<Box<Acquire>>| wait.ready_at().unwrap() - Instant::ZERO;
            slots.push((behind.borrow().as_ref().map(at), at(&next)));
        });
        let at = |slot: u64| ms(apart) * u32::try_from(slot).unwrap();
        // Served; never polled; dropped alone, so the next has its slot; dropped with one behind.
        let expected = [
            (Some(at(2)), at(3)),
            (None, at(1)),
            (None, at(1)),
            (Some(at(2)), at(3)),
        ];
        assert_eq!(slots, expected, "{text}, {kind}");
    }
}

#[test]
fn resilience4j_one_per_cycle_waits_for_the_next_and_refuses_the_one_after() {
    let (limiter, time) = limiter("fixed-window 1/250ms");
    time.advance(ms(250));
    limiter.check().unwrap();
    assert_eq!(limiter.peek().remaining(), 0);
    assert_eq!(limiter.peek().available_after(1), Some(ms(250)));
    let slot = limiter.reserve(1, ms(250)).unwrap();
    assert_eq!(slot.ready_in(), ms(250));
    // One is owed now, so the next is free two cycles on.
    assert_eq!(limiter.peek().available_after(1), Some(ms(500)));
    let refused = limiter.reserve(1, ms(250)).unwrap_err();
    assert_eq!(refused.retry_after(), Some(ms(500)));
    assert_eq!(limiter.peek().available_after(1), Some(ms(500)));
    slot.commit();
    time.advance(ms(6 * 250) + ns(10));
    assert_eq!(limiter.peek().remaining(), 1);
    assert_eq!(limiter.peek().available_after(1), Some(Duration::ZERO));
}

#[test]
fn resilience4j_nine_reserve_three_in_each_cycle_of_those_within_reach() {
    let (limiter, time) = limiter("fixed-window 3/10ms");
    time.advance(ms(10));
    let mut waits = Vec::new();
    for _ in 1..=9 {
        time.advance(ns(1));
        let slot = limiter.reserve(1, ms(12));
        waits.push(slot.ok().map(|slot| {
            let wait = slot.ready_in();
            slot.commit();
            wait
        }));
    }
    let later = |behind| Some(ms(10) - ns(behind));
    let now = Some(Duration::ZERO);
    let all = [
        now,
        now,
        now,
        later(4),
        later(5),
        later(6),
        None,
        None,
        None,
    ];
    assert_eq!(waits, all);
}

#[test]
fn resilience4j_one_nanosecond_before_the_cycle_ends_the_wait_is_that() {
    let (limiter, time) = limiter("fixed-window 1/250ms");
    limiter.check().unwrap();
    time.advance(ms(250) - ns(1));
    assert_eq!(limiter.peek().available_after(1), Some(ns(1)));
}

#[test]
fn resilience4j_a_raised_limit_owes_what_it_owed() {
    let (limiter, time) = limiter("fixed-window 1/250ms");
    limiter.check().unwrap();
    limiter.reserve(1, FOREVER).unwrap().commit();
    let raised = policy("fixed-window 2/250ms");
    limiter.set_quota(raised, Inherit::Keep).unwrap();
    assert_eq!(limiter.peek().remaining(), 0);
    assert_eq!(limiter.peek().available_after(1), Some(ms(250)));
    time.advance(ms(250));
    assert_eq!(limiter.peek().remaining(), 1);
}

/// It waits for several cycles there. Here a cost is served whole in one window, so one that no
/// window holds is refused for good, and told apart.
#[test]
fn resilience4j_a_cost_of_three_limits_is_refused_and_not_spread() {
    let (limiter, _time) = limiter("fixed-window 1/250ms");
    let never = limiter.reserve(3, FOREVER).unwrap_err();
    assert_eq!(never.reason(), Reason::CostAboveBurst);
}

#[test]
fn bucket4j_blocking_sleeps_exactly_as_long_as_it_may_or_not_at_all() {
    let drained_to_one = || {
        let (limiter, time) = limiter("10/100ns");
        limiter.check_n(9).unwrap();
        (limiter, time)
    };
    let (limiter, _time) = drained_to_one();
    assert_eq!(limiter.reserve(5, ns(40)).unwrap().ready_in(), ns(40));
    let (limiter, _time) = drained_to_one();
    let refused = limiter.reserve(5, ns(39)).unwrap_err();
    assert_eq!(refused.retry_after(), Some(ns(40)));
    assert_eq!(limiter.peek().remaining(), 1, "without taking any");
    // 1,000 of 10 would wait 9,990 ns there; here they never fit, unless they are forced.
    let never = limiter.reserve(1_000, FOREVER).unwrap_err();
    assert_eq!(never.reason(), Reason::CostAboveBurst);
    limiter.force(1_000);
    assert_eq!(limiter.peek().available_after(1), Some(ns(9_990 + 10)));
}

#[test]
fn bucket4j_ignoring_limits_goes_into_debt() {
    let (limiter, time) = limiter("100/100ns");
    limiter.check_n(100).unwrap();
    time.advance(ns(50));
    // 50 are there, and two are owed for 2 ns.
    limiter.force(52);
    assert_eq!(limiter.peek().available_after(1), Some(ns(2 + 1)));
    time.advance(ns(201));
    // Full again: 300 of 400 are owed.
    limiter.force(400);
    assert_eq!(limiter.peek().available_after(1), Some(ns(300 + 1)));
}

#[test]
fn bucket4j_interval_refills_at_once_and_not_before() {
    let (limiter, time) = limiter("fixed-window 9/10ns");
    limiter.check_n(9).unwrap();
    for (at, left) in [(4, 0), (10, 9), (11, 9)] {
        time.set(Instant::ZERO + ns(at));
        assert_eq!(limiter.peek().remaining(), left, "at {at} ns");
    }
    let (limiter, time) = self::limiter("fixed-window 10/m");
    limiter.check_n(10).unwrap();
    let after = |cost| limiter.peek().available_after(cost);
    assert_eq!(after(1), Some(ms(60_000)));
    time.advance(ms(15_000));
    assert_eq!(after(10), Some(ms(45_000)));
    assert_eq!(after(15), None);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Check(u64),
    Reserve(u64, u64),
    /// Ends the slot at this place of those held: used, or given back.
    End(usize, bool),
    Refund(u64),
    Force(u64),
    Advance(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_u64..5).prop_map(Act::Check),
        4 => (0_u64..5, 0_u64..1_000).prop_map(|(cost, wait)| Act::Reserve(cost, wait)),
        3 => (0_usize..4, any::<bool>()).prop_map(|(place, used)| Act::End(place, used)),
        1 => (0_u64..5).prop_map(Act::Refund),
        1 => (0_u64..8).prop_map(Act::Force),
        4 => (0_u64..700).prop_map(Act::Advance),
    ];
    proptest::collection::vec(act, 1..60)
}

const POLICIES: [&str; 6] = [
    "10/s burst 4",
    "3/s burst 4",
    "leaky-bucket 10/s queue 5",
    "fixed-window 4/s",
    "sliding-window-log 4/s",
    "by key",
];

proptest! {
    /// Whatever is done to one key, it stands where a limiter of its own would, and other keys are
    /// not touched.
    #[test]
    fn a_key_is_a_limiter_of_its_own(place in 0..POLICIES.len(), acts in acts()) {
        let (clock, time) = Clock::manual();
        let (keyed, policy) = match POLICIES[place] {
            "by key" => {
                let quota_of = |key: &u64| (*key == 7).then(|| "3/s burst 4".parse().unwrap());
                let common = "1/d".parse().unwrap();
                (KeyedRateLimiter::per_key(common, quota_of, 100), policy("3/s burst 4"))
            }
            text => (KeyedRateLimiter::<u64>::new(policy(text), 100), policy(text)),
        };
        let keyed = keyed.unwrap().with_clock(clock.clone());
        let alone = RateLimiter::new(policy).with_clock(clock);
        let is_bucket = matches!(policy, Policy::TokenBucket(_) | Policy::LeakyBucket(_));
        let mut held = Vec::new();
        for act in acts {
            match act {
                Act::Check(cost) => {
                    let (one, other) = (keyed.check_n(&7, cost), alone.check_n(cost));
                    prop_assert_eq!(one.is_ok(), other.is_ok());
                    let retry = |result: Result<_, stanchion_ratelimit::Rejected>| {
                        result.err().map(|rejected| (rejected.reason(), rejected.retry_after()))
                    };
                    prop_assert_eq!(retry(one), retry(other));
                }
                Act::Reserve(cost, wait) => {
                    let one = keyed.reserve(&7, cost, ms(wait));
                    let other = alone.reserve(cost, ms(wait));
                    match (one, other) {
                        (Ok(one), Ok(other)) => {
                            prop_assert_eq!(one.ready_at(), other.ready_at());
                            held.push((one, other));
                        }
                        (Err(one), Err(other)) => prop_assert_eq!(one.reason(), other.reason()),
                        (one, other) => prop_assert!(false, "{one:?} and {other:?}"),
                    }
                }
                Act::End(place, used) if place < held.len() => {
                    let (one, other) = held.swap_remove(place);
                    if used {
                        one.commit();
                        other.commit();
                    } else {
                        // A bucket that is full again has nothing to give back.
                        let full = keyed.peek(&7).reset_after().is_zero();
                        let (one, other) = (one.cancel(), other.cancel());
                        // A word that has come back to where a slot ended tells nothing of what came
                        // between; a key with a state of its own knows better.
                        prop_assert!(full || one == other || is_bucket && other);
                        if one != other {
                            return Ok(());
                        }
                    }
                }
                // One key has no room to note what was promised, so a bucket in debt keeps it all.
                Act::Refund(_) if is_bucket && keyed.peek(&7).remaining() == 0 => {}
                Act::Refund(cost) => {
                    prop_assert_eq!(keyed.refund(&7, cost), alone.refund(cost));
                }
                Act::Force(cost) => {
                    let (one, other) = (keyed.force(&7, cost), alone.force(cost));
                    prop_assert_eq!(one.remaining(), other.remaining());
                }
                Act::Advance(millis) => time.advance(ms(millis)),
                Act::End(..) => {}
            }
            prop_assert_eq!(keyed.peek(&7).remaining(), alone.peek().remaining());
            prop_assert_eq!(keyed.peek(&7).reset_after(), alone.peek().reset_after());
            prop_assert_eq!(keyed.peek(&8).remaining(), keyed.peek(&8).limit());
        }
        held.into_iter().for_each(|(one, other)| {
            one.commit();
            other.commit();
        });
    }
}

/// What is reserved, given back, forced and refunded by several threads adds up.
#[test]
fn sums_hold_over_threads_that_reserve_give_back_force_and_refund() {
    const THREADS: i64 = 4;
    const ROUNDS: i64 = 500;
    for text in [
        "100000/d burst 100000",
        "fixed-window 100000/d",
        "sliding-window-log 100000/d",
    ] {
        let (clock, _time) = Clock::manual();
        let keyed = KeyedRateLimiter::<u64>::new(policy(text), 100);
        let keyed = keyed.unwrap().with_clock(clock);
        let barrier = Barrier::new(4);
        let work = |seed: i64| {
            barrier.wait();
            let mut taken = 0_i64;
            for round in 0..ROUNDS {
                match (seed + round) % 4 {
                    0 => {
                        keyed.reserve(&7, 2, FOREVER).unwrap().commit();
                        taken += 2;
                    }
                    1 => taken += i64::from(!keyed.reserve(&7, 1, FOREVER).unwrap().cancel()),
                    2 => {
                        keyed.force(&7, 3);
                        taken += 3;
                    }
                    _ => taken -= i64::try_from(keyed.refund(&7, 1)).unwrap(),
                }
            }
            taken
        };
        let taken = std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..THREADS)
                .map(|seed| scope.spawn(move || work(seed)))
                .collect();
            let taken = threads.into_iter().map(|thread| thread.join().unwrap());
            taken.sum::<i64>()
        });
        let left = i64::try_from(keyed.peek(&7).remaining()).unwrap();
        assert_eq!(left, 100_000 - taken, "{text}");
    }
}
