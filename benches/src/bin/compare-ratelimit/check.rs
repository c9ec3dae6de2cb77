//! One check of one limiter: admitted every time, and refused every time.
//!
//! Admitted: a thousand million per second, so that no contestant ever refuses. Refused: one per
//! hour, taken before the clock starts. Every batch asserts that all its checks went that way.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::QuantaClock;
use stanchion_benches::{Batch, Case, Contestant, Target, Unit, contended, single};
use stanchion_ratelimit::{
    FixedWindow, InvalidQuota, Policy, Quota, SlidingWindowCounter, SlidingWindowLog, StrictWindow,
};

use crate::bare_word::BareWord;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const GIGA: u32 = 1_000_000_000;

/// The share of checks that pass.
#[derive(Clone, Copy)]
enum Passing {
    All,
    None,
}

/// A check that says whether it admitted, shared by as many threads as like.
type Check = Arc<dyn Fn(u64) -> u64 + Send + Sync>;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        alone("check, allow, 1 thread", Passing::All),
        alone("check, deny, 1 thread", Passing::None),
        together("check, allow, 2 threads", Passing::All),
        together("check, deny, 2 threads", Passing::None),
        leased("check, allow, 2 threads, leases of 64"),
        algorithms("algorithms, allow, 1 thread"),
    ]
}

fn alone(name: &'static str, passing: Passing) -> Case {
    let batch = move |build: fn(Passing) -> Check| single(move || batch(build(passing), passing));
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", batch(stanchion))
                .must(Target::AtMost {
                    ratio: 1.1,
                    versus: "bare word",
                })
                .must(Target::AtMost {
                    ratio: 1.05,
                    versus: "governor",
                }),
        )
        .with(Contestant::peer("bare word", batch(bare_word)))
        .with(Contestant::peer("governor", batch(governor)))
        .with(Contestant::peer("ratelimit", batch(ratelimit)))
        .with(Contestant::peer(
            "leaky-bucket",
            batch(|passing| leaky_bucket(passing, true)),
        ))
        .with(Contestant::peer(
            "leaky-bucket, unfair",
            batch(|passing| leaky_bucket(passing, false)),
        ))
}

fn together(name: &'static str, passing: Passing) -> Case {
    let threads = move |build: fn(Passing) -> Check| {
        contended(2, move || {
            let check = build(passing);
            (0..2).map(|_| batch(check.clone(), passing)).collect()
        })
    };
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", threads(stanchion)).must(Target::AtLeast {
                ratio: 0.95,
                versus: "governor",
            }),
        )
        .with(Contestant::peer("bare word", threads(bare_word)))
        .with(Contestant::peer("governor", threads(governor)))
        .with(Contestant::peer("ratelimit", threads(ratelimit)))
        .with(Contestant::peer(
            "leaky-bucket",
            threads(|passing| leaky_bucket(passing, true)),
        ))
}

/// Ours hands 64 permits at a time to a thread; nobody else does, so governor checks as ever.
fn leased(name: &'static str) -> Case {
    let threads = move |build: fn(Passing) -> Check| {
        contended(2, move || {
            let check = build(Passing::All);
            (0..2).map(|_| batch(check.clone(), Passing::All)).collect()
        })
    };
    Case::new(name, Unit::NS)
        .with(
            Contestant::ours("stanchion", threads(stanchion_leased)).must(Target::AtLeast {
                ratio: 4.0,
                versus: "governor",
            }),
        )
        .with(Contestant::peer("stanchion, no leases", threads(stanchion)))
        .with(Contestant::peer("governor", threads(governor)))
}

/// The other algorithms beside the token bucket: a thousand in ten microseconds, which is more than
/// anybody checks, so all are admitted, and the log has its thousand notes.
fn algorithms(name: &'static str) -> Case {
    let measure = |policy: Policy| single(move || batch(admitting(policy), Passing::All));
    let window = Duration::from_micros(10);
    let policies: [(&'static str, Policy); 4] = [
        (
            "fixed window",
            valid(FixedWindow::new(1_000, window)).into(),
        ),
        (
            "sliding window counter",
            valid(SlidingWindowCounter::new(1_000, window)).into(),
        ),
        (
            "sliding window log",
            valid(SlidingWindowLog::new(1_000, window)).into(),
        ),
        (
            "strict window",
            valid(StrictWindow::new(1_000, window)).into(),
        ),
    ];
    let quota = valid(Quota::new(1_000, window));
    let case =
        Case::new(name, Unit::NS).with(Contestant::ours("token bucket", measure(quota.into())));
    policies.into_iter().fold(case, |case, (name, policy)| {
        let contestant = Contestant::ours(name, measure(policy));
        case.with(contestant.must(Target::AtMost {
            ratio: 2.0,
            versus: "token bucket",
        }))
    })
}

fn admitting(policy: Policy) -> Check {
    let limiter = stanchion_ratelimit::RateLimiter::new(policy);
    counted(move || limiter.check().is_ok())
}

fn valid<T>(policy: Result<T, InvalidQuota>) -> T {
    policy.expect("a valid policy")
}

fn batch(check: Check, passing: Passing) -> Batch {
    Box::new(move |iterations| {
        let admitted = check(iterations);
        let expected = match passing {
            Passing::All => iterations,
            Passing::None => 0,
        };
        assert_eq!(admitted, expected, "admitted of {iterations} checks");
    })
}

/// Makes a batch of `check`: the loop is compiled together with each contestant's own code.
fn counted(check: impl Fn() -> bool + Send + Sync + 'static) -> Check {
    Arc::new(move |iterations| {
        let mut admitted = 0;
        for _ in 0..iterations {
            admitted += u64::from(check());
        }
        admitted
    })
}

fn stanchion(passing: Passing) -> Check {
    let quota = match passing {
        Passing::All => Quota::new(u64::from(GIGA), SECOND),
        Passing::None => Quota::new(1, HOUR),
    };
    let limiter = stanchion_ratelimit::RateLimiter::new(quota.expect("a valid quota"));
    spend(passing, || limiter.check().is_ok());
    counted(move || limiter.check().is_ok())
}

/// Half of the checks that a billion per second brings may lie in leases.
fn stanchion_leased(_passing: Passing) -> Check {
    let quota = Quota::new(u64::from(GIGA), SECOND).expect("a valid quota");
    let limiter = stanchion_ratelimit::RateLimiter::new(quota);
    let limiter = limiter.with_lease(64).expect("a valid lease");
    counted(move || limiter.check().is_ok())
}

fn bare_word(passing: Passing) -> Check {
    let word = match passing {
        Passing::All => BareWord::new(1, u64::from(GIGA)),
        Passing::None => BareWord::new(3_600 * u64::from(GIGA), 1),
    };
    spend(passing, || word.check());
    counted(move || word.check())
}

fn governor(passing: Passing) -> Check {
    let giga = NonZeroU32::new(GIGA).expect("not 0");
    let quota = match passing {
        Passing::All => governor::Quota::per_second(giga),
        Passing::None => governor::Quota::with_period(HOUR).expect("not 0"),
    };
    let limiter = governor::RateLimiter::direct_with_clock(quota, QuantaClock::default());
    spend(passing, || limiter.check().is_ok());
    counted(move || limiter.check().is_ok())
}

fn ratelimit(passing: Passing) -> Check {
    let clock = QuantaElapsed::new();
    let builder = match passing {
        Passing::All => {
            ratelimit::Builder::with_clock(u64::from(GIGA), clock).max_tokens(u64::from(GIGA))
        }
        Passing::None => ratelimit::Builder::with_clock(1, clock)
            .period(HOUR)
            .max_tokens(1),
    };
    let initial = match passing {
        Passing::All => u64::from(GIGA),
        Passing::None => 1,
    };
    let limiter = builder
        .initial_available(initial)
        .build()
        .expect("valid settings");
    spend(passing, || limiter.try_wait().is_ok());
    counted(move || limiter.try_wait().is_ok())
}

fn leaky_bucket(passing: Passing, fair: bool) -> Check {
    let mut builder = leaky_bucket::RateLimiter::builder();
    let builder = match passing {
        // Its tokens come by the interval; a thousandth of a second is the finest it can do well.
        Passing::All => builder
            .max(GIGA as usize)
            .initial(GIGA as usize)
            .refill(GIGA as usize / 1_000)
            .interval(SECOND / 1_000),
        Passing::None => builder.max(1).initial(1).refill(1).interval(HOUR),
    };
    let limiter = builder.fair(fair).build();
    spend(passing, || limiter.try_acquire(1));
    counted(move || limiter.try_acquire(1))
}

/// Takes the only permit, where none is to pass.
fn spend(passing: Passing, check: impl Fn() -> bool) {
    if let Passing::None = passing {
        assert!(check(), "the first check is admitted");
    }
}

/// The `ratelimit` crate's clock, from quanta: half the cost of the one that it brings.
struct QuantaElapsed {
    clock: quanta::Clock,
    start: u64,
}

impl QuantaElapsed {
    fn new() -> Self {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        Self { clock, start }
    }
}

impl ratelimit::Clock for QuantaElapsed {
    #[inline]
    fn elapsed(&self) -> Duration {
        self.clock.delta(self.start, self.clock.raw())
    }
}
