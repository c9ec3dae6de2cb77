//! How fast a server works, over time.

use super::{Nanos, SECOND};
use crate::Random;

/// Steps of constant speed; 1 does a nanosecond of work in a nanosecond.
#[derive(Debug)]
pub(super) struct Speed {
    /// From when on, and how fast; the first from 0.
    steps: Vec<(Nanos, f64)>,
}

/// How long an antagonist rests in the mean, and works; and what it leaves to the server.
const REST: f64 = 4.5;
const WORK: f64 = 0.5;
const LEFT: f64 = 0.3;

impl Speed {
    pub(super) fn steady(base: f64) -> Self {
        Self {
            steps: vec![(0, base)],
        }
    }

    /// Slowed now and then until `end`, for stretches of random (exponential) length.
    pub(super) fn with_antagonist(base: f64, end: Nanos, random: &mut Random) -> Self {
        let mut steps = vec![(0, base)];
        // As long after the beginning of a rest as after any other moment of it: it has no memory.
        let mut at = stretch(REST, random);
        while at < end {
            steps.push((at, base * LEFT));
            at += stretch(WORK, random);
            steps.push((at, base));
            at += stretch(REST, random);
        }
        Self { steps }
    }

    /// The mean share of its base that an antagonist leaves to a server.
    pub(super) fn share_under_antagonist() -> f64 {
        (REST + WORK * LEFT) / (REST + WORK)
    }

    /// `factor` times as fast from `from` until `until`.
    pub(super) fn scale(&mut self, from: Nanos, until: Nanos, factor: f64) {
        for at in [from, until] {
            let next = self.steps.partition_point(|(since, _)| *since <= at);
            let (since, speed) = self.steps[next - 1];
            if since < at {
                self.steps.insert(next, (at, speed));
            }
        }
        for (since, speed) in &mut self.steps {
            if (from..until).contains(since) {
                *speed *= factor;
            }
        }
    }

    /// When `work` nanoseconds of work are done that begin at `start`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "virtual time, far below 2^53"
    )]
    pub(super) fn finish(&self, start: Nanos, work: f64) -> Nanos {
        let mut place = self.steps.partition_point(|(since, _)| *since <= start) - 1;
        let (mut at, mut left) = (start, work);
        loop {
            let speed = self.steps[place].1;
            let takes = left / speed;
            match self.steps.get(place + 1) {
                Some((until, _)) if (until - at) as f64 <= takes => {
                    left -= (until - at) as f64 * speed;
                    at = *until;
                    place += 1;
                }
                _ => return at + takes as Nanos,
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of virtual time"
)]
fn stretch(mean: f64, random: &mut Random) -> Nanos {
    (-mean * random.unit().ln() * SECOND as f64) as Nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_at_the_speed_of_each_moment() {
        let mut speed = Speed::steady(1.0);
        speed.scale(100, 200, 0.5);
        assert_eq!(speed.finish(0, 50.0), 50);
        assert_eq!(speed.finish(50, 75.0), 150);
        assert_eq!(speed.finish(50, 100.0), 200);
        assert_eq!(speed.finish(50, 130.0), 230);
        assert_eq!(speed.finish(300, 7.0), 307);
    }

    #[test]
    fn an_antagonist_leaves_the_mean_that_is_said() {
        let mut random = Random::new(1);
        let end = 20_000 * SECOND;
        let speed = Speed::with_antagonist(1.0, end, &mut random);
        let work = end as f64 * Speed::share_under_antagonist();
        let took = speed.finish(0, work) as f64;
        assert!((took / end as f64 - 1.0).abs() < 0.01, "{took}");
    }
}
