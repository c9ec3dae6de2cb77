use std::time::Duration;

use stanchion_core::Instant;

use super::Outliers;
use crate::draw::scale;

/// The ejections of one endpoint: how many of late, and whether it is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ejection {
    /// As of `since`; the next one lasts one base longer than that many.
    recent: u32,
    /// When it came in, if it is not out.
    since: Instant,
    until: Option<Instant>,
}

impl Ejection {
    /// Takes it out at `now`; tells for how long.
    pub(crate) fn eject(&mut self, now: Instant, outliers: &Outliers, random: u64) -> Duration {
        let recent = self.recent_at(now, outliers.interval).saturating_add(1);
        let max = outliers.ejection_max.max(outliers.ejection_base);
        let time = outliers.ejection_base.saturating_mul(recent).min(max);
        let time = time + share(outliers.ejection_jitter, random);
        *self = Self {
            // More would not lengthen it, but would take longer to be forgotten: as in Envoy.
            recent,
            since: now,
            until: Some(now + time),
        };
        time
    }

    /// Lets it in at `now`; tells whether it was out.
    pub(crate) fn readmit(&mut self, now: Instant) -> bool {
        let was_out = self.until.take().is_some();
        if was_out {
            self.since = now;
        }
        was_out
    }

    /// Until when it is out.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How many ejections are not forgotten at `now`: each interval that it is in forgets one.
    pub(crate) fn recent_at(&self, now: Instant, interval: Duration) -> u32 {
        if self.until.is_some() {
            return self.recent;
        }
        let intervals = (now - self.since).as_nanos() / interval.as_nanos().max(1);
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.recent.saturating_sub(intervals)
    }
}

/// A part of `time`, as `random` is one of 2⁶⁴.
fn share(time: Duration, random: u64) -> Duration {
    let nanos = usize::try_from(time.as_nanos()).unwrap_or(usize::MAX);
    Duration::from_nanos(scale(random, nanos) as u64)
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_ejection_lasts_longer_until_the_most() {
        let outliers = Outliers::default();
        let mut ejection = Ejection::default();
        let mut now = at(1_000_000);
        for n in 1..=15 {
            let time = ejection.eject(now, &outliers, 0);
            assert_eq!(time, seconds((30 * n).min(300)));
            now += time;
            assert_eq!(ejection.until(), Some(now));
            assert!(ejection.readmit(now));
            assert!(!ejection.readmit(now));
        }
    }

    #[test]
    fn each_interval_inside_forgets_one_and_outside_none() {
        let outliers = Outliers::default();
        let mut ejection = Ejection::default();
        for _ in 0..3 {
            ejection.eject(at(0), &outliers, 0);
            ejection.readmit(at(0));
        }
        let recent = [0, 9, 10, 29, 30, 1_000]
            .map(|second| ejection.recent_at(at(second), outliers.interval));
        assert_eq!(recent, [3, 3, 2, 1, 0, 0]);
        assert_eq!(ejection.eject(at(20), &outliers, 0), seconds(60));
        assert_eq!(ejection.recent_at(at(5_000), outliers.interval), 2);
    }

    #[test]
    fn a_base_above_the_most_is_kept_and_jitter_comes_on_top() {
        let outliers = Outliers::default()
            .with_ejection_max(seconds(10))
            .and_then(|outliers| outliers.with_ejection_jitter(seconds(8)))
            .unwrap();
        let time = |random| Ejection::default().eject(at(0), &outliers, random);
        assert_eq!(time(0), seconds(30));
        assert_eq!(time(u64::MAX / 2 + 1), seconds(34));
        assert!(time(u64::MAX) < seconds(38));
    }
}
