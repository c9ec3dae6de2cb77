use std::time::Duration;

use stanchion_core::Instant;

use crate::Draw;

use super::p2c::best;
use super::sample::Sampler;
use super::{Choice, InvalidPolicy, InvalidTable, Member, Metering, Needs, Policy, Table};

/// The power of two choices by latency: of two endpoints drawn at random, the one whose decayed peak
/// latency, times the calls it would have in flight, is less for its weight.
///
/// Turns away from a slow endpoint with its first slow answer, and comes back as its peak decays. An
/// endpoint that fails at once does not look fast: [`Metering`] says what failures and cancelled
/// calls count as. A new endpoint begins with the median
/// of the others; where all are new, one that has not answered yet counts as the best of them.
///
/// **Complexity**: as [`P2c`](super::P2c), and two exponentials; a call takes two readings of the
/// clock more, one if the pick's context brings the time.
///
/// **Source**: Finagle's `PeakEwma` (decay 10 s); linkerd's failure penalty (5 s).
#[derive(Clone, Copy, Debug)]
pub struct PeakEwma {
    metering: Metering,
    /// In nanoseconds.
    initial: f32,
}

/// Peers that are looked at for what to expect of a newcomer.
const ASKED_MAX: usize = 16;
/// No latency counts as less. Where all have been idle for long, it is the calls in flight that
/// decide.
const FLOOR: f32 = 1e5;

impl PeakEwma {
    /// Decays in 10 s; a failure counts as 5 s; without any sample an endpoint counts as 30 ms.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            metering: Metering::DEFAULT,
            initial: 30e6,
        }
    }

    /// Measures so. Default: [`Metering::DEFAULT`].
    #[must_use]
    pub const fn with_metering(mut self, metering: Metering) -> Self {
        self.metering = metering;
        self
    }

    /// What an endpoint counts as of which, and of whose peers, nothing is known: from 0.1 ms to 5
    /// minutes. Default: 30 ms.
    ///
    /// # Errors
    ///
    /// If it is shorter or longer.
    pub fn with_initial(mut self, latency: Duration) -> Result<Self, InvalidPolicy> {
        let allowed = Duration::from_micros(100)..=Duration::from_secs(300);
        if !allowed.contains(&latency) {
            return Err(InvalidPolicy::new("initial", latency, "from 100µs to 5m"));
        }
        self.initial = latency.as_secs_f32() * 1e9;
        Ok(self)
    }

    /// What one more call to `member`, one of `all`, would cost at `now`.
    #[inline]
    fn cost<A>(&self, member: &Member<A>, all: &[Member<A>], now: Instant) -> f32 {
        let latency = member.latency(now, self.metering);
        let latency = latency.unwrap_or_else(|| self.expected(all, now));
        #[expect(clippy::cast_precision_loss, reason = "an estimate anyway")]
        let (calls, weight) = (member.in_flight() as f32, member.weight() as f32);
        latency.max(FLOOR) * (calls + 1.0) / weight
    }
}

impl PeakEwma {
    /// What an endpoint counts as that has not answered yet: the best of up to [`ASKED_MAX`] peers. With
    /// more it would be left alone until they are slow; that it has calls in flight keeps it from
    /// being flooded.
    #[cold]
    fn expected<A>(&self, all: &[Member<A>], now: Instant) -> f32 {
        let known = all
            .iter()
            .filter_map(|peer| peer.latency(now, self.metering));
        known
            .take(ASKED_MAX)
            .min_by(f32::total_cmp)
            .unwrap_or(self.initial)
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Policy<A> for PeakEwma {
    fn table(
        &self,
        members: &[Member<A>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<A>>, InvalidTable> {
        Ok(Box::new(Costs {
            policy: *self,
            sampler: Sampler::new(members.iter().map(Member::weight)),
        }))
    }

    fn needs(&self) -> Needs {
        Needs::default().with_latency(self.metering)
    }
}

#[derive(Debug)]
struct Costs {
    policy: PeakEwma,
    sampler: Sampler,
}

impl<A> Table<A> for Costs {
    #[inline]
    fn choose(&self, choice: &mut Choice<'_, A>) -> Option<usize> {
        let now = choice.now();
        let all = choice.members();
        best(&self.sampler, 2, choice, |member| {
            self.policy.cost(member, all, now)
        })
    }
}
