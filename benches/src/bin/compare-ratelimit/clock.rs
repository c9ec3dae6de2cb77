//! The clock under every check: what a reading costs, and how well it keeps pace.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use stanchion_benches::{Case, Contestant, Target, Unit, figure, single};
use stanchion_core::Clock;

pub(crate) fn cases() -> Vec<Case> {
    vec![reading(), drift()]
}

fn reading() -> Case {
    Case::new("clock, one reading", Unit::NS)
        .with(Contestant::ours(
            "stanchion",
            single(|| {
                let clock = Clock::system();
                repeated(move || clock.now().as_nanos())
            }),
        ))
        .with(Contestant::peer(
            "std Instant",
            single(|| repeated(std_now)),
        ))
        .with(Contestant::peer(
            "quanta",
            single(|| {
                let clock = quanta::Clock::new();
                repeated(move || clock.now())
            }),
        ))
        .with(Contestant::peer(
            "quanta, raw counter",
            single(|| {
                let clock = quanta::Clock::new();
                repeated(move || clock.raw())
            }),
        ))
}

#[expect(clippy::disallowed_methods, reason = "the clock that is compared with")]
fn std_now() -> std::time::Instant {
    std::time::Instant::now()
}

fn repeated<T>(read: impl Fn() -> T) -> impl FnMut(u64) {
    move |iterations| {
        for _ in 0..iterations {
            black_box(read());
        }
    }
}

/// How far a second of the clock is from a second of CLOCK_MONOTONIC, at worst, over three seconds
/// of steady reading that begin with the clock's first use in a run.
fn drift() -> Case {
    let ours = figure(|| {
        let clock = Clock::system();
        worst_drift(|| clock.now().as_nanos())
    });
    let quanta = figure(|| {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        worst_drift(|| clock.delta_as_nanos(start, clock.raw()))
    });
    Case::new("clock, drift against CLOCK_MONOTONIC", Unit::lower("ppm"))
        .rounds(1)
        .with(Contestant::ours("stanchion", ours).must(Target::Reach(50.0)))
        .with(Contestant::peer("quanta", quanta))
}

const WINDOW_NS: u64 = 1_000_000_000;

fn worst_drift(read: impl Fn() -> u64) -> f64 {
    let mut worst = 0.0_f64;
    let mut start = pair(&read);
    for _ in 0..3 {
        while monotonic() < start.monotonic + WINDOW_NS {
            black_box(read());
        }
        let end = pair(&read);
        let clock = end.clock.saturating_sub(start.clock) as f64;
        let truth = (end.monotonic - start.monotonic) as f64;
        worst = worst.max((clock / truth - 1.0).abs() * 1e6);
        start = end;
    }
    worst
}

/// Both clocks at one moment.
struct Pair {
    clock: u64,
    monotonic: u64,
}

/// The tightest of many tries, since the thread may be interrupted between two readings.
fn pair(read: &impl Fn() -> u64) -> Pair {
    let tries = (0..200).map(|_| {
        let before = read();
        let monotonic = monotonic();
        let after = read();
        let width = after.saturating_sub(before);
        (
            width,
            Pair {
                clock: before + width / 2,
                monotonic,
            },
        )
    });
    tries
        .min_by_key(|(width, _)| *width)
        .map(|(_, pair)| pair)
        .expect("200 tries")
}

fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
