use std::time::Duration;

use super::InvalidConfig;

/// The calls that the rates are taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Calls(u32),
    Time { span: Duration, buckets: u32 },
}

const CALLS_MAX: u32 = 1 << 20;
const BUCKETS_MAX: u32 = 1000;
const BUCKETS: u32 = 10;

impl Window {
    /// The last `calls` calls. Takes 4 bytes for each.
    ///
    /// # Errors
    ///
    /// `calls` must be 1 to 1,048,576.
    pub fn calls(calls: u32) -> Result<Self, InvalidConfig> {
        if (1..=CALLS_MAX).contains(&calls) {
            Ok(Self(Kind::Calls(calls)))
        } else {
            let allowed = format!("1 to {CALLS_MAX}");
            Err(InvalidConfig::new("window.calls", calls, allowed))
        }
    }

    /// The calls of the last `span`, in 10 buckets of time: between nine and ten tenths of `span`
    /// at any moment. Takes 240 bytes for each of up to 8 processors, whatever the traffic.
    ///
    /// # Errors
    ///
    /// `span` must be 10 ns to 1 day.
    pub fn time(span: Duration) -> Result<Self, InvalidConfig> {
        let max = Duration::from_secs(86_400);
        if span >= Duration::from_nanos(u64::from(BUCKETS)) && span <= max {
            let buckets = BUCKETS;
            Ok(Self(Kind::Time { span, buckets }))
        } else {
            Err(InvalidConfig::new("window.time", span, "10 ns to 1 day"))
        }
    }

    /// In how many buckets of time the window slides. Default: 10.
    ///
    /// # Errors
    ///
    /// `buckets` must be 1 to 1000, and the window one of time that has a nanosecond for each.
    pub fn with_buckets(self, buckets: u32) -> Result<Self, InvalidConfig> {
        let Kind::Time { span, .. } = self.0 else {
            let allowed = "left out where the window counts calls";
            return Err(InvalidConfig::new("window.buckets", buckets, allowed));
        };
        let fits = span.as_nanos() >= u128::from(buckets);
        if (1..=BUCKETS_MAX).contains(&buckets) && fits {
            Ok(Self(Kind::Time { span, buckets }))
        } else {
            let allowed = format!("1 to {BUCKETS_MAX}, and no more than nanoseconds in the window");
            Err(InvalidConfig::new("window.buckets", buckets, allowed))
        }
    }

    /// How many calls it holds at most, if that is bounded.
    pub(crate) fn calls_max(&self) -> Option<u32> {
        match self.0 {
            Kind::Calls(calls) => Some(calls),
            Kind::Time { .. } => None,
        }
    }
}

/// The last 100 calls.
impl Default for Window {
    fn default() -> Self {
        Self(Kind::Calls(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_nothing_or_too_much_are_refused_by_name() {
        let message = |window: Result<Window, InvalidConfig>| window.unwrap_err().to_string();
        for calls in [0, CALLS_MAX + 1] {
            let wanted = format!("window.calls is {calls}, must be 1 to 1048576");
            assert_eq!(message(Window::calls(calls)), wanted);
        }
        let wanted = "window.time is 0ns, must be 10 ns to 1 day";
        assert_eq!(message(Window::time(Duration::ZERO)), wanted);
        assert!(Window::time(Duration::from_secs(86_401)).is_err());
        assert!(Window::default().with_buckets(4).is_err());
        for buckets in [0, 1001, 11] {
            let window = Window::time(Duration::from_nanos(10)).unwrap();
            assert!(window.with_buckets(buckets).is_err(), "{buckets}");
        }
    }
}
