//! How much work a call is, in nanoseconds of a core at speed 1.

use super::Demand;
use super::MILLISECOND;
use crate::Random;

/// The mean of all demands.
pub(super) const MEAN: f64 = 10.0 * MILLISECOND as f64;
const SIGMA: f64 = 0.8;
const LONG: f64 = 50.0;

impl Demand {
    pub(super) fn draw(self, random: &mut Random) -> f64 {
        MEAN * match self {
            // The mean of e^(σN) is e^(σ²/2).
            Self::Lognormal => (SIGMA * normal(random) - SIGMA * SIGMA / 2.0).exp(),
            Self::Exponential => -random.unit().ln(),
            Self::Bimodal => {
                let short = 1.0 / (0.9 + 0.1 * LONG);
                if random.below(10) == 0 {
                    short * LONG
                } else {
                    short
                }
            }
            Self::Fixed => 1.0,
        }
    }
}

/// Normally distributed (Box and Muller 1958).
fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * random.unit().ln()).sqrt();
    radius * (std::f64::consts::TAU * random.unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_demand_has_the_same_mean() {
        for demand in [
            Demand::Lognormal,
            Demand::Exponential,
            Demand::Bimodal,
            Demand::Fixed,
        ] {
            let mut random = Random::new(3);
            let count = 200_000;
            let sum: f64 = (0..count).map(|_| demand.draw(&mut random)).sum();
            let mean = sum / f64::from(count) / MEAN;
            assert!((mean - 1.0).abs() < 0.02, "{demand:?}: {mean}");
        }
    }
}
