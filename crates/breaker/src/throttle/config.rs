use std::time::Duration;

use crate::{InvalidConfig, Ratio};

/// When a [`Throttle`](crate::Throttle) refuses calls, and how many; copies.
///
/// The default is that of the SRE book: twice as many calls as are accepted, over two minutes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_breaker::{Ratio, ThrottleConfig};
///
/// // As Envoy's admission control has it by default, but for its threshold of 0.95.
/// let config = ThrottleConfig::default()
///     .with_success_threshold(Ratio::new(0.9)?)
///     .with_window(Duration::from_secs(30))?
///     .with_max_rejection(Ratio::new(0.8)?);
/// # Ok::<(), stanchion_breaker::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThrottleConfig {
    pub(crate) multiplier: f64,
    pub(crate) window: Duration,
    pub(crate) aggression: f64,
    pub(crate) min_rate: f64,
    pub(crate) max_rejection: Ratio,
}

impl ThrottleConfig {
    /// How many calls are made for each that is accepted, before any is refused (*K*): nearer to 1
    /// is stricter. Default: 2.
    ///
    /// # Errors
    ///
    /// `multiplier` must be a number from 1 to 1000.
    pub fn with_multiplier(mut self, multiplier: f64) -> Result<Self, InvalidConfig> {
        self.multiplier = within("multiplier", multiplier, 1.0, 1000.0, "1 to 1000")?;
        Ok(self)
    }

    /// The same as a share: refuses when less than this share of the calls is accepted. Default:
    /// half.
    #[must_use]
    pub fn with_success_threshold(mut self, threshold: Ratio) -> Self {
        self.multiplier = 1.0 / threshold.get();
        self
    }

    /// Over what time calls are counted, in ten slices. Default: 2 minutes.
    ///
    /// # Errors
    ///
    /// `window` must be 10 ns to 1 day.
    pub fn with_window(mut self, window: Duration) -> Result<Self, InvalidConfig> {
        let max = Duration::from_secs(86_400);
        if window < Duration::from_nanos(10) || window > max {
            return Err(InvalidConfig::new("window", window, "10 ns to 1 day"));
        }
        self.window = window;
        Ok(self)
    }

    /// How steeply refusals set in: the share that is too many is raised to the power of 1 by this
    /// number. Default: 1.
    ///
    /// # Errors
    ///
    /// `aggression` must be a number from 1 to 100.
    pub fn with_aggression(mut self, aggression: f64) -> Result<Self, InvalidConfig> {
        self.aggression = within("aggression", aggression, 1.0, 100.0, "1 to 100")?;
        Ok(self)
    }

    /// So many calls in a second must there be, on average over the window, before any is refused.
    /// Default: 0.
    ///
    /// # Errors
    ///
    /// `calls_per_second` must be a number from 0 to 10⁹.
    pub fn with_min_rate(mut self, calls_per_second: f64) -> Result<Self, InvalidConfig> {
        self.min_rate = within("min_rate", calls_per_second, 0.0, 1e9, "0 to 1000000000")?;
        Ok(self)
    }

    /// No larger share of the calls is refused. Default: all, where none is accepted; even then, a
    /// few pass, since the formula stays below 1.
    #[must_use]
    pub fn with_max_rejection(mut self, share: Ratio) -> Self {
        self.max_rejection = share;
        self
    }
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            multiplier: 2.0,
            window: Duration::from_secs(120),
            aggression: 1.0,
            min_rate: 0.0,
            max_rejection: Ratio::ALL,
        }
    }
}

fn within(
    field: &'static str,
    value: f64,
    least: f64,
    most: f64,
    allowed: &str,
) -> Result<f64, InvalidConfig> {
    // What is not a number is in no range.
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidConfig::new(field, value, allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let config = ThrottleConfig::default();
        let message =
            |config: Result<ThrottleConfig, InvalidConfig>| config.unwrap_err().to_string();
        for wrong in [0.9, f64::NAN, f64::INFINITY, 1000.1] {
            let wanted = format!("multiplier is {wrong:?}, must be 1 to 1000");
            assert_eq!(message(config.with_multiplier(wrong)), wanted);
        }
        let wanted = "aggression is 0.5, must be 1 to 100";
        assert_eq!(message(config.with_aggression(0.5)), wanted);
        let wanted = "min_rate is -1.0, must be 0 to 1000000000";
        assert_eq!(message(config.with_min_rate(-1.0)), wanted);
        let wanted = "window is 0ns, must be 10 ns to 1 day";
        assert_eq!(message(config.with_window(Duration::ZERO)), wanted);
    }
}
