//! The definition, too simple to be wrong: what the model test and the fuzzer hold the limiter to.

use stanchion_core::Instant;
use stanchion_ratelimit::Quota;

/// One bucket in whole numbers of any size: times in units of 1/count ns, in which the interval
/// between two admissions is the period.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) count: u128,
    period: u128,
    burst: u128,
    tat: u128,
}

impl Reference {
    pub(crate) fn new(quota: Quota) -> Self {
        Self {
            count: quota.count().into(),
            period: quota.period().as_nanos(),
            burst: quota.burst().into(),
            tat: 0,
        }
    }

    /// Units until `cost` fits; `None` if never.
    pub(crate) fn wait(&self, now: Instant, cost: u64) -> Option<u128> {
        let now = u128::from(now.as_nanos()) * self.count;
        let tat = self.tat.max(now) + u128::from(cost) * self.period;
        let allowed = now + self.burst * self.period;
        (u128::from(cost) <= self.burst).then(|| tat.saturating_sub(allowed))
    }

    pub(crate) fn check(&mut self, now: Instant, cost: u64) -> bool {
        let admitted = cost == 0 || self.wait(now, cost) == Some(0);
        if admitted && cost > 0 {
            let now = u128::from(now.as_nanos()) * self.count;
            self.tat = self.tat.max(now) + u128::from(cost) * self.period;
        }
        admitted
    }

    pub(crate) fn remaining(&self, now: Instant) -> u128 {
        let now = u128::from(now.as_nanos()) * self.count;
        let free = (now + self.burst * self.period).saturating_sub(self.tat.max(now));
        free / self.period
    }
}

/// Whether no stretch of time admitted more than the burst and what the rate brings; the error
/// tells one that did.
pub(crate) fn never_over(quota: Quota, admitted: &[(Instant, u64)]) -> Result<(), String> {
    for from in 0..admitted.len() {
        let start = admitted[from].0;
        let mut stretch: Vec<_> = admitted.iter().filter(|(at, _)| *at >= start).collect();
        stretch.sort();
        let mut sum = 0_u128;
        for (at, cost) in stretch {
            sum += u128::from(*cost);
            let period = quota.period().as_nanos();
            let brought = (*at - start).as_nanos() * u128::from(quota.count());
            if sum * period > u128::from(quota.burst()) * period + brought {
                return Err(format!(
                    "{sum} admitted from {start:?} to {at:?} by {quota:?}"
                ));
            }
        }
    }
    Ok(())
}
