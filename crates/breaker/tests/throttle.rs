//! Client-side throttling against a list of all calls, under load, and through the layer.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stanchion_breaker::{Ratio, Throttle, ThrottleConfig, ThrottleEvent};
use stanchion_core::{Clock, ManualClock, Outcome};

const WINDOW: u64 = 1_000;
const SLICE: u64 = WINDOW / 10;

fn throttle(config: ThrottleConfig, random: u64) -> (Throttle, ManualClock) {
    let (clock, time) = Clock::manual();
    let config = config.with_window(Duration::from_nanos(WINDOW)).unwrap();
    let throttle = Throttle::new(config).with_random(move || random);
    (throttle.with_clock(clock), time)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(Outcome),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Call(Outcome::Success)),
        3 => Just(Step::Call(Outcome::Failure)),
        3 => Just(Step::Call(Outcome::Overload)),
        1 => Just(Step::Call(Outcome::Ignore)),
        3 => (0_u64..150).prop_map(Step::Wait),
        1 => (0_u64..1500).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..150)
}

/// Every call with the slice in which it ended, and whether it was accepted.
#[derive(Default)]
struct Naive {
    calls: Vec<(u64, bool)>,
    /// As it was when a call last ended.
    known: f64,
}

impl Naive {
    fn inside(&self, now: u64) -> (u64, u64) {
        let inside = self
            .calls
            .iter()
            .filter(|(slice, _)| slice + 10 > now / SLICE);
        inside.fold((0, 0), |(all, good), (_, accepted)| {
            (all + 1, good + u64::from(*accepted))
        })
    }

    /// By the book, with K = 1.5.
    fn probability(&self, now: u64) -> f64 {
        let (requests, accepts) = self.inside(now);
        let (requests, accepts) = (requests as f64, accepts as f64);
        ((requests - 1.5 * accepts) / (requests + 1.0)).max(0.0)
    }

    fn record(&mut self, now: u64, accepted: bool) {
        self.calls.push((now / SLICE, accepted));
        self.known = self.probability(now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_formula_says_of_all_calls(
        steps in steps(), draw in 0.0_f64..1.0,
    ) {
        #[expect(
            clippy::cast_possible_truncation, clippy::cast_sign_loss,
            reason = "a share of 2⁵³"
        )]
        let bits = ((draw * 9_007_199_254_740_992.0) as u64) << 11;
        let config = ThrottleConfig::default().with_multiplier(1.5).unwrap();
        let (throttle, time) = throttle(config, bits);
        let (mut naive, mut now, mut rejected) = (Naive::default(), 0, 0);
        for step in steps {
            match step {
                Step::Wait(nanos) => {
                    now += nanos;
                    time.advance(Duration::from_nanos(nanos));
                }
                Step::Call(outcome) => {
                    let probability = if naive.known > 0.0 { naive.probability(now) } else { 0.0 };
                    naive.known = probability;
                    // Where the two are as near as rounding, either is right.
                    prop_assume!((probability - draw).abs() > 1e-12);
                    match throttle.try_acquire() {
                        Err(throttled) => {
                            prop_assert!(draw < probability);
                            prop_assert!((throttled.probability() - probability).abs() < 1e-9);
                            naive.record(now, false);
                            rejected += 1;
                        }
                        Ok(permit) => {
                            prop_assert!(draw >= probability, "{draw} {probability}");
                            permit.record(outcome);
                            if outcome != Outcome::Ignore {
                                naive.record(now, outcome == Outcome::Success);
                            }
                        }
                    }
                }
            }
            let snapshot = throttle.snapshot();
            prop_assert_eq!((snapshot.requests, snapshot.accepts), naive.inside(now));
            prop_assert_eq!(snapshot.rejected_total, rejected);
        }
    }
}

/// A dependency that accepts a fixed number of calls in each stretch of time gets about K times as
/// many, and all callers pass again soon after it has recovered.
#[test]
fn an_overloaded_dependency_gets_about_k_times_what_it_accepts() {
    let (clock, time) = Clock::manual();
    let config = ThrottleConfig::default();
    let config = config.with_window(Duration::from_secs(10)).unwrap();
    let seed = AtomicU64::new(1);
    let random = move || {
        let bits = seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (bits ^ bits >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let throttle = Throttle::new(config).with_random(random).with_clock(clock);
    let second = |capacity: u32| {
        let (mut sent, mut refused) = (0, 0);
        for _ in 0..1_000 {
            match throttle.try_acquire() {
                Ok(permit) => {
                    sent += 1;
                    let good = sent <= capacity;
                    permit.record(if good {
                        Outcome::Success
                    } else {
                        Outcome::Overload
                    });
                }
                Err(_) => refused += 1,
            }
            time.advance(Duration::from_millis(1));
        }
        (sent, refused)
    };
    let settled: Vec<u32> = (0..40).map(|_| second(100).0).skip(20).collect();
    let average = settled.iter().sum::<u32>() / 20;
    assert!((150..=250).contains(&average), "{settled:?}");
    let recovered: Vec<u32> = (0..40).map(|_| second(1_000).1).collect();
    assert_eq!(recovered.last(), Some(&0), "{recovered:?}");
}

#[test]
fn dropped_and_ignored_calls_count_as_nothing() {
    let (throttle, _time) = throttle(ThrottleConfig::default(), 0);
    drop(throttle.try_acquire().unwrap());
    throttle.try_acquire().unwrap().record(Outcome::Ignore);
    assert_eq!(throttle.snapshot().requests, 0);
}

#[test]
fn some_calls_pass_however_bad_it_is_where_the_most_is_bounded() {
    let most = Ratio::new(0.8).unwrap();
    let config = ThrottleConfig::default().with_max_rejection(most);
    let (unlucky, _time) = throttle(config, u64::MAX / 10 * 7);
    let (lucky, _other) = throttle(config, u64::MAX / 10 * 9);
    for _ in 0..100 {
        for throttle in [&unlucky, &lucky] {
            if let Ok(permit) = throttle.try_acquire() {
                permit.record(Outcome::Failure);
            }
        }
    }
    assert!(unlucky.try_acquire().is_err());
    assert!(lucky.try_acquire().is_ok());
}

#[test]
fn refusals_are_told_and_counted() {
    let told = Arc::new(AtomicU64::new(0));
    let (throttle, _time) = throttle(ThrottleConfig::default(), 0);
    let throttle = throttle.with_observer({
        let told = told.clone();
        move |event: &ThrottleEvent| {
            let ThrottleEvent::Rejected(throttled) = event else {
                return;
            };
            assert!(throttled.probability() > 0.0);
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    throttle.try_acquire().unwrap().record(Outcome::Failure);
    for _ in 0..5 {
        let throttled = throttle.try_acquire().unwrap_err();
        assert!(
            throttled
                .to_string()
                .starts_with("throttled: too few calls")
        );
    }
    assert_eq!(told.load(Ordering::Relaxed), 5);
    assert_eq!(throttle.snapshot().rejected_total, 5);
}

#[test]
fn no_call_is_lost_between_threads() {
    let throttle = Throttle::new(ThrottleConfig::default()).with_clock(Clock::manual().0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for call in 0..10_000 {
                    let good = call % 4 != 0;
                    let outcome = if good {
                        Outcome::Success
                    } else {
                        Outcome::Overload
                    };
                    if let Ok(permit) = throttle.try_acquire() {
                        permit.record(outcome);
                    }
                }
            });
        }
    });
    assert_eq!(throttle.snapshot().requests, 40_000);
}

#[cfg(feature = "tower")]
mod layer {
    use stanchion_breaker::{BoxError, BreakerLayer, Throttled};
    use testkit::{Gate, Probe, Strict, drop_at_every_await_in};
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn it_stands_in_a_layer_as_a_breaker_does() {
        let (throttle, _time) = throttle(ThrottleConfig::default(), 0);
        let failing = service_fn(|_: u32| async { Err::<u32, BoxError>("down".into()) });
        let service = BreakerLayer::new(throttle.clone()).layer(failing);
        assert!(
            !service
                .clone()
                .oneshot(1)
                .await
                .unwrap_err()
                .is::<Throttled>()
        );
        assert!(service.oneshot(1).await.unwrap_err().is::<Throttled>());

        let respond = |throttled: &Throttled, _: u32| {
            assert!(throttled.probability() > 0.5);
            7
        };
        let layer = BreakerLayer::new(throttle).respond_with(respond);
        assert_eq!(layer.layer(failing).oneshot(1).await.unwrap(), 7);
    }

    #[test]
    fn a_call_dropped_anywhere_counts_as_nothing_or_is_recorded() {
        drop_at_every_await_in(|| {
            let (throttle, _time) = throttle(ThrottleConfig::default(), 0);
            let gate = Gate::new();
            let probe = Probe::answering(|_: u32| Err::<u32, BoxError>("down".into()));
            let inner = Strict::new(gate.before(probe));
            let strict = inner.handle();
            let service = BreakerLayer::new(throttle.clone()).layer(inner);
            ((gate, strict, throttle), async move {
                let _ = service.oneshot(1).await;
            })
        })
        .nudge(|(gate, ..)| {
            gate.open_one();
        })
        .check(|(_, strict, throttle)| {
            strict.assert_idle();
            assert!(throttle.snapshot().requests <= 1);
        });
    }
}
