//! Several limits at once: all or nothing, against as many checks one after the other.
//!
//! Everybody admits. *Separate checks* is what people write without a composite: each limit is asked
//! in turn, and what the first ones took stays taken when a later one refuses. So it promises less, and
//! reads the clock once for each limit.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::QuantaClock;
use stanchion_benches::{Case, Contestant, Measure, Target, Unit, single};
use stanchion_ratelimit::{CompositeLimit, CompositeRateLimiter, Quota, RateLimiter};

const SECOND: Duration = Duration::from_secs(1);
const GIGA: u32 = 1_000_000_000;
const NAMES: [&str; 4] = ["second", "minute", "hour", "day"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case::<2>("composite of 2 limits"),
        case::<4>("composite of 4 limits"),
    ]
}

fn case<const LIMITS: usize>(name: &'static str) -> Case {
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", single(composite::<LIMITS>)).must(Target::AtMost {
                ratio: 3.0,
                versus: "separate checks",
            }),
        )
        .with(Contestant::peer("separate checks", separate::<LIMITS>()))
        .with(Contestant::peer(
            "governor, separate checks",
            single(governor::<LIMITS>),
        ))
}

fn quota() -> Quota {
    Quota::new(u64::from(GIGA), SECOND).expect("a valid quota")
}

fn composite<const LIMITS: usize>() -> impl FnMut(u64) {
    let limits = NAMES[..LIMITS].iter();
    let limits = limits.map(|name| CompositeLimit::shared(*name, quota()));
    let limits = CompositeRateLimiter::<u64>::new(limits).expect("a valid set");
    counted(move |request| limits.check(&request).is_ok())
}

fn separate<const LIMITS: usize>() -> Measure {
    single(|| {
        let limiters: [RateLimiter; LIMITS] = std::array::from_fn(|_| RateLimiter::new(quota()));
        counted(move |_| limiters.iter().all(|limiter| limiter.check().is_ok()))
    })
}

fn governor<const LIMITS: usize>() -> impl FnMut(u64) {
    let quota = governor::Quota::per_second(NonZeroU32::new(GIGA).expect("not 0"));
    let limiter = |_| governor::RateLimiter::direct_with_clock(quota, QuantaClock::default());
    let limiters: [_; LIMITS] = std::array::from_fn(limiter);
    counted(move |_| limiters.iter().all(|limiter| limiter.check().is_ok()))
}

fn counted(check: impl Fn(u64) -> bool) -> impl FnMut(u64) {
    move |iterations| {
        let admitted = (0..iterations).filter(|request| check(*request)).count();
        assert_eq!(admitted as u64, iterations, "all are admitted");
    }
}
