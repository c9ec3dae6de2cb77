mod invalid;

pub use invalid::InvalidConfig;

use std::num::NonZeroU32;
use std::sync::Arc;

use stanchion_core::Instant;

use crate::slow_start::{Started, WARM};
use crate::{Outliers, SlowStart};

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
    pub(crate) slow_start: Option<SlowStart>,
    pub(crate) local_zone: Option<Arc<str>>,
    pub(crate) zone_endpoints_min: u32,
    pub(crate) subset: Option<Subset>,
}

/// The few of many endpoints that one client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subset {
    pub(crate) client: u64,
    pub(crate) size: NonZeroU32,
}

impl Default for Config {
    /// A panic threshold of 50 % and an overprovisioning factor of 140 %, as in Envoy; no outlier
    /// detection, no slow start, no zone, no subset.
    fn default() -> Self {
        Self {
            panic_threshold: 50,
            overprovisioning: 140,
            outliers: None,
            slow_start: None,
            local_zone: None,
            zone_endpoints_min: 6,
            subset: None,
        }
    }
}

impl Config {
    /// The zone that this client stands in, by the name in [`Locality::zone`](crate::Locality): calls
    /// stay there while its endpoints can take their part of all traffic; of a zone with too few, the
    /// rest goes to zones that can take more. Clients are taken to be spread evenly over the zones that
    /// have endpoints. Not in panic, and not with policies that go by a hash, since keys would move
    /// twice. Default: zones do not matter.
    ///
    /// Envoy's zone aware routing, which knows where the clients are.
    #[must_use]
    pub fn with_local_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.local_zone = Some(zone.into());
        self
    }

    /// With fewer endpoints to choose among than this, zones do not matter. Default: 6.
    ///
    /// Envoy's `min_cluster_size`.
    #[must_use]
    pub fn with_zone_endpoints_min(mut self, endpoints: u32) -> Self {
        self.zone_endpoints_min = endpoints;
        self
    }

    /// Of all endpoints that may be used, only so many are: those that rank first for this client, by a
    /// hash of its number and their ids. When an endpoint comes or goes, or its health changes, each
    /// client replaces at most one. Clients need different numbers, and each its own again after a
    /// restart. For many clients of many endpoints, which would otherwise all be connected. Not with
    /// policies that go by a hash. Default: all are used.
    ///
    /// gRPC's random subsetting (A68).
    #[must_use]
    pub fn with_subset(mut self, client: u64, size: NonZeroU32) -> Self {
        self.subset = Some(Subset { client, size });
        self
    }

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

    /// Sends an endpoint that is new, or back, less at first. Default: its share at once.
    #[must_use]
    pub fn with_slow_start(mut self, slow_start: SlowStart) -> Self {
        self.slow_start = Some(slow_start);
        self
    }

    /// The share of an endpoint that started, in percent.
    pub(crate) fn share(&self, started: &Started, now: Instant) -> u32 {
        let share = |slow: SlowStart| Some(slow.share(started.get()?, now));
        self.slow_start.and_then(share).unwrap_or(WARM)
    }
}
