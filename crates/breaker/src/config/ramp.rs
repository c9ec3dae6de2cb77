use std::time::Duration;

use super::InvalidConfig;
use crate::Ratio;

/// How traffic comes back after successful trials: the share that is admitted grows evenly from
/// one share to all.
///
/// Meanwhile the breaker is closed and trips as such. Which calls are admitted is no matter of
/// chance: of any hundred, so many as the share says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    pub(crate) time: Duration,
    pub(crate) from: Ratio,
}

impl Ramp {
    /// From `from` to all traffic, over `time`.
    ///
    /// # Errors
    ///
    /// `time` must be positive and at most 1 day.
    pub fn new(from: Ratio, time: Duration) -> Result<Self, InvalidConfig> {
        if time.is_zero() || time > Duration::from_secs(86_400) {
            let allowed = "positive and at most 1 day";
            return Err(InvalidConfig::new("ramp.time", time, allowed));
        }
        Ok(Self { time, from })
    }

    /// The share after `elapsed`, in units of 2⁻³²; `None` once it is all.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of at most 1 times 2³², which a u64 holds"
    )]
    pub(crate) fn share(&self, elapsed: Duration) -> Option<u64> {
        if elapsed >= self.time {
            return None;
        }
        let done = elapsed.as_secs_f64() / self.time.as_secs_f64();
        let share = self.from.get() + (1.0 - self.from.get()) * done;
        Some((share * 4_294_967_296.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_evenly_from_the_first_to_all() {
        let ramp = Ramp::new(Ratio::new(0.2).unwrap(), Duration::from_secs(4)).unwrap();
        let thousandths = |seconds| {
            let share = ramp.share(Duration::from_secs(seconds))?;
            Some((share * 1000).div_ceil(1 << 32))
        };
        assert_eq!(thousandths(0), Some(200));
        assert_eq!(thousandths(1), Some(400));
        assert_eq!(thousandths(2), Some(600));
        assert_eq!(thousandths(4), None);
        assert!(Ramp::new(Ratio::HALF, Duration::ZERO).is_err());
    }
}
