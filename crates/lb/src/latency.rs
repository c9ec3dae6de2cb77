//! How long calls to one endpoint take: the peak, decaying with time.
//!
//! A sample above the estimate becomes the estimate at once; a lower one pulls it down by as much
//! as time has passed. Reading decays without writing.
//!
//! ```text
//! sample:  e = exp(-elapsed / decay);  estimate = max(sample, estimate · e + sample · (1 - e))
//! read:    estimate · e
//! ```
//!
//! Source: Finagle's `PeakEwma`, and tower's, whose readings write.

use std::time::Duration;

use stanchion_core::{Instant, Outcome};

use crate::policy::InvalidPolicy;
use crate::sync::{AtomicU64, Ordering};

/// How the latency of each endpoint is measured, for policies that go by it.
///
/// | call | counts as |
/// |---|---|
/// | success | the time it took |
/// | failure, overload | at least the penalty, or what the endpoint asked to be left alone for, up to 5 minutes |
/// | cancelled | the time it took so far, if that is above the estimate: it would have taken longer |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metering {
    /// In nanoseconds, as is the penalty.
    decay: f32,
    penalty: f32,
}

/// The longest that an endpoint may ask to be left alone for, as linkerd has it.
const RETRY_AFTER_MAX: f32 = 300e9;

impl Metering {
    /// Estimates that fall to 1/e in 10 s, as in Finagle, and failures that count as 5 s, as in
    /// linkerd.
    pub const DEFAULT: Self = Self {
        decay: 10e9,
        penalty: 5e9,
    };

    /// With estimates that fall to 1/e in `decay`, from a millisecond to an hour. Default: 10 s.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn with_decay(mut self, decay: Duration) -> Result<Self, InvalidPolicy> {
        let allowed = Duration::from_millis(1)..=Duration::from_secs(3600);
        if !allowed.contains(&decay) {
            return Err(InvalidPolicy::new("decay", decay, "from 1ms to 1h"));
        }
        self.decay = decay.as_secs_f32() * 1e9;
        Ok(self)
    }

    /// With failures, and refusals for want of capacity, that count as calls of at least this time,
    /// up to 5 minutes: who fails at once must not look fast. 0 lets them count as they are.
    /// Default: 5 s.
    ///
    /// # Errors
    ///
    /// If it is longer.
    pub fn with_penalty(mut self, penalty: Duration) -> Result<Self, InvalidPolicy> {
        if penalty > Duration::from_secs(300) {
            return Err(InvalidPolicy::new("penalty", penalty, "at most 5m"));
        }
        self.penalty = penalty.as_secs_f32() * 1e9;
        Ok(self)
    }

    /// Both numbers in one, to be kept in one word.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.decay.to_bits()) << 32 | u64::from(self.penalty.to_bits())
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half in its turn")]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            decay: f32::from_bits((bits >> 32) as u32),
            penalty: f32::from_bits(bits as u32),
        }
    }

    fn remaining(self, elapsed: f32) -> f32 {
        (-elapsed / self.decay).exp()
    }
}

/// The estimate of one endpoint.
///
/// | bits | meaning |
/// |---|---|
/// | 63–32 | nanoseconds, as an `f32` |
/// | 31–0 | when they were written, in ticks of 65,536 ns; wraps |
///
/// 0 while there is no sample. What was written more than 2³¹ ticks (39 hours) ago counts as just
/// written, until a tick more than twice that: an estimate that old says nothing, so nothing is lost.
#[derive(Debug)]
pub(crate) struct Latency {
    word: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    nanos: f32,
    tick: u32,
}

const TICK_BITS: u32 = 16;

impl Latency {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// In nanoseconds at `now`; `None` while there is no sample.
    #[inline]
    pub(crate) fn at(&self, now: Instant, metering: Metering) -> Option<f32> {
        // Relaxed, here and below: the word is all there is.
        let estimate = Estimate::unpack(self.word.load(Ordering::Relaxed))?;
        Some(estimate.at(tick(now), metering))
    }

    /// Begins with `nanos`, if there is no sample yet.
    pub(crate) fn begin(&self, nanos: f32, now: Instant) {
        let first = Estimate {
            nanos,
            tick: tick(now),
        };
        let _ = self
            .word
            .compare_exchange(0, first.pack(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Hears of a call that took from `since` to `now`.
    pub(crate) fn ended(
        &self,
        since: Instant,
        now: Instant,
        outcome: Outcome,
        retry_after: Duration,
        metering: Metering,
    ) {
        let took = (now - since).as_secs_f32() * 1e9;
        let (sample, peak_only) = match outcome {
            Outcome::Success => (took, false),
            Outcome::Failure | Outcome::Overload => {
                let asked = (retry_after.as_secs_f32() * 1e9).min(RETRY_AFTER_MAX);
                (took.max(metering.penalty).max(asked), false)
            }
            _ => (took, true),
        };
        let tick = tick(now);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let before = Estimate::unpack(word);
            let after = match before {
                Some(before) if peak_only && sample <= before.at(tick, metering) => return,
                Some(before) => before.sampled(sample, tick, metering),
                None => Estimate {
                    nanos: sample,
                    tick,
                },
            };
            match self.word.compare_exchange_weak(
                word,
                after.pack(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(changed) => word = changed,
            }
        }
    }
}

impl Estimate {
    fn unpack(word: u64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "each half in its turn")]
        let halves = ((word >> 32) as u32, word as u32);
        (word != 0).then(|| Self {
            nanos: f32::from_bits(halves.0),
            tick: halves.1,
        })
    }

    /// Never 0, which stands for no sample: a call takes at least a nanosecond.
    fn pack(self) -> u64 {
        u64::from(self.nanos.max(1.0).to_bits()) << 32 | u64::from(self.tick)
    }

    /// Nanoseconds since it was written; 0 if `tick` is earlier.
    fn age(self, tick: u32) -> f32 {
        let ticks = tick.wrapping_sub(self.tick);
        if ticks > u32::MAX / 2 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "an age need not be known to the tick"
        )]
        let ticks = ticks as f32;
        ticks * (1u32 << TICK_BITS) as f32
    }

    fn at(self, tick: u32, metering: Metering) -> f32 {
        self.nanos * metering.remaining(self.age(tick))
    }

    fn sampled(self, sample: f32, tick: u32, metering: Metering) -> Self {
        let age = self.age(tick);
        let old = metering.remaining(age);
        let mixed = self.nanos * old + sample * (1.0 - old);
        Self {
            nanos: sample.max(mixed),
            // A call that ends in the past of another moves no time back.
            tick: if age > 0.0 { tick } else { self.tick },
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "ticks wrap, and are compared so"
)]
fn tick(now: Instant) -> u32 {
    (now.as_nanos() >> TICK_BITS) as u32
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn millis(latency: &Latency, now: u64, metering: Metering) -> f32 {
        latency
            .at(at(now), metering)
            .map_or(f32::NAN, |nanos| nanos / 1e6)
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < b * 1e-3
    }

    #[test]
    fn a_peak_counts_at_once_and_decays_as_in_tower() {
        let second = Metering::DEFAULT
            .with_decay(Duration::from_secs(1))
            .unwrap();
        let latency = Latency::new();
        assert_eq!(latency.at(at(0), second), None);
        latency.begin(20e6, at(0));
        latency.ended(at(100), at(300), Outcome::Success, Duration::ZERO, second);
        assert!(close(millis(&latency, 300, second), 200.0));
        latency.ended(at(200), at(400), Outcome::Success, Duration::ZERO, second);
        assert!(close(millis(&latency, 400, second), 200.0));

        let ten = Metering::DEFAULT;
        let idle = Latency::new();
        idle.ended(at(0), at(30), Outcome::Success, Duration::ZERO, ten);
        assert!(close(millis(&idle, 10_030, ten), 11.036));
        // Reading wrote nothing.
        assert!(close(millis(&idle, 30, ten), 30.0));
    }

    #[test]
    fn a_lower_sample_pulls_down_by_the_time_that_passed() {
        let second = Metering::DEFAULT
            .with_decay(Duration::from_secs(1))
            .unwrap();
        let latency = Latency::new();
        latency.begin(100e6, at(0));
        latency.ended(at(990), at(1000), Outcome::Success, Duration::ZERO, second);
        let e = (-1.0f32).exp();
        assert!(close(
            millis(&latency, 1000, second),
            100.0 * e + 10.0 * (1.0 - e)
        ));
    }

    #[test]
    fn failures_cost_the_penalty_or_what_was_asked_for() {
        let ended = |outcome, retry_after| {
            let latency = Latency::new();
            latency.ended(at(0), at(1), outcome, retry_after, Metering::DEFAULT);
            millis(&latency, 1, Metering::DEFAULT)
        };
        assert!(close(ended(Outcome::Failure, Duration::ZERO), 5_000.0));
        assert!(close(
            ended(Outcome::Overload, Duration::from_secs(60)),
            60_000.0
        ));
        assert!(close(ended(Outcome::Overload, Duration::MAX), 300_000.0));
        assert!(close(ended(Outcome::Success, Duration::from_secs(60)), 1.0));
    }

    #[test]
    fn a_cancelled_call_counts_only_upwards() {
        let metering = Metering::DEFAULT;
        let latency = Latency::new();
        latency.begin(50e6, at(0));
        latency.ended(at(0), at(10), Outcome::Ignore, Duration::ZERO, metering);
        assert!(close(millis(&latency, 0, metering), 50.0));
        latency.ended(at(0), at(80), Outcome::Ignore, Duration::ZERO, metering);
        assert!(close(millis(&latency, 80, metering), 80.0));
    }

    #[test]
    fn decays_and_penalties_have_bounds() {
        let decay = Metering::DEFAULT.with_decay(Duration::ZERO).unwrap_err();
        assert_eq!(decay.to_string(), "decay is 0ns, must be from 1ms to 1h");
        let penalty = Metering::DEFAULT.with_penalty(Duration::from_secs(301));
        let penalty = penalty.unwrap_err().to_string();
        assert_eq!(penalty, "penalty is 301s, must be at most 5m");
    }

    #[test]
    fn time_that_runs_backwards_decays_nothing() {
        let metering = Metering::DEFAULT;
        let latency = Latency::new();
        latency.begin(50e6, at(10_000));
        assert!(close(millis(&latency, 0, metering), 50.0));
        latency.ended(
            at(5_000),
            at(5_001),
            Outcome::Success,
            Duration::ZERO,
            metering,
        );
        assert!(close(millis(&latency, 10_000, metering), 50.0));
        // Since the tick did not go back, the next sample decays from the later one.
        assert!(close(
            millis(&latency, 20_000, metering),
            50.0 * (-1.0f32).exp()
        ));
    }
}
