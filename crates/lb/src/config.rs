mod invalid;

pub use invalid::InvalidConfig;

use crate::Outliers;
use crate::outlier::Heed;

/// What is done with endpoints before a policy chooses; a value that cannot be wrong.
///
/// # Examples
///
/// ```
/// use stanchion_lb::Config;
///
/// let config = Config::default().with_panic_threshold(30)?;
/// assert!(Config::default().with_panic_threshold(101).is_err());
/// # let _ = config;
/// # Ok::<(), stanchion_lb::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub(crate) panic_threshold: u8,
    pub(crate) overprovisioning: u16,
    pub(crate) outliers: Option<Outliers>,
}

impl Default for Config {
    /// A panic threshold of 50 % and an overprovisioning factor of 140 %, as in Envoy; no outlier
    /// detection.
    fn default() -> Self {
        Self {
            panic_threshold: 50,
            overprovisioning: 140,
            outliers: None,
        }
    }
}

impl Config {
    /// With less than this share of a level's endpoints fit, in percent, its health is believed no
    /// more, and the level is used whole: better a few failures than all calls on the few that
    /// seem to be left. Only where the other levels cannot take the traffic either. 0 turns it off:
    /// then a pick fails when none is fit. Default: 50.
    ///
    /// Envoy's `healthy_panic_threshold`.
    ///
    /// # Errors
    ///
    /// If `percent` is more than 100.
    pub fn with_panic_threshold(mut self, percent: u8) -> Result<Self, InvalidConfig> {
        if percent > 100 {
            return Err(InvalidConfig::new(
                "panic_threshold",
                percent,
                "from 0 to 100 percent",
            ));
        }
        self.panic_threshold = percent;
        Ok(self)
    }

    /// How much more than its share an endpoint can take, in percent of it: a level keeps all of
    /// its traffic until less than 100 / 140 of its endpoints are fit, and then gives the rest to the
    /// next level. Default: 140.
    ///
    /// Envoy's `overprovisioning_factor`.
    ///
    /// # Errors
    ///
    /// If `percent` is less than 100 or more than 10,000.
    pub fn with_overprovisioning(mut self, percent: u16) -> Result<Self, InvalidConfig> {
        if !(100..=10_000).contains(&percent) {
            return Err(InvalidConfig::new(
                "overprovisioning",
                percent,
                "from 100 to 10000 percent",
            ));
        }
        self.overprovisioning = percent;
        Ok(self)
    }

    /// Takes endpoints out for how their calls end. Default: not; [`Outliers::default`] is Envoy's.
    #[must_use]
    pub fn with_outliers(mut self, outliers: Outliers) -> Self {
        self.outliers = Some(outliers);
        self
    }

    /// What is heeded of each outcome.
    pub(crate) fn heed(&self) -> Heed {
        self.outliers.as_ref().map_or(Heed::NOTHING, Outliers::heed)
    }
}
