use std::time::Duration;

use crate::InvalidConfig;

/// How calls wait for an endpoint whose service is not ready; a value that cannot be wrong.
///
/// A call waits at most `ready_within` × `picks_max`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use stanchion_lb::Patience;
///
/// let patience = Patience::default().with_ready_within(Duration::from_millis(100))?;
/// assert!(patience.with_picks_max(0).is_err());
/// # Ok::<(), stanchion_lb::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub(super) ready_within: Duration,
    pub(super) picks_max: u8,
    pub(super) max_pending: usize,
}

impl Default for Patience {
    /// 300 ms for each of at most 3 endpoints, and at most 1,024 calls that wait.
    fn default() -> Self {
        Self {
            ready_within: Duration::from_millis(300),
            picks_max: 3,
            max_pending: 1024,
        }
    }
}

impl Patience {
    /// How long one endpoint is waited for before another is picked. Default: 300 ms.
    ///
    /// # Errors
    ///
    /// If it is zero or more than an hour.
    pub fn with_ready_within(mut self, ready_within: Duration) -> Result<Self, InvalidConfig> {
        const MAX: Duration = Duration::from_secs(3600);
        if ready_within.is_zero() || ready_within > MAX {
            let value = format!("{ready_within:?}");
            let allowed = "more than zero and at most an hour";
            return Err(InvalidConfig::new("ready_within", value, allowed));
        }
        self.ready_within = ready_within;
        Ok(self)
    }

    /// How many endpoints are tried for one call before it is sent to any, from 1 to 16. Default: 3.
    ///
    /// # Errors
    ///
    /// If it is out of that range.
    pub fn with_picks_max(mut self, picks_max: u8) -> Result<Self, InvalidConfig> {
        if !(1..=16).contains(&picks_max) {
            let allowed = "from 1 to 16";
            return Err(InvalidConfig::new("picks_max", picks_max, allowed));
        }
        self.picks_max = picks_max;
        Ok(self)
    }

    /// How many calls may wait at once, of all clones together; one more is refused. With 0, a call
    /// whose endpoint is not ready is refused at once. Default: 1,024.
    #[must_use]
    pub fn with_max_pending(mut self, max_pending: usize) -> Self {
        self.max_pending = max_pending;
        self
    }
}
