use std::fmt;

use crate::InvalidConfig;

/// A share of calls: more than 0, at most 1.
///
/// # Examples
///
/// ```
/// use stanchion_breaker::Ratio;
///
/// assert_eq!(Ratio::new(0.5)?, Ratio::HALF);
/// assert!(Ratio::new(0.0).is_err());
/// assert!(Ratio::new(f64::NAN).is_err());
/// # Ok::<(), stanchion_breaker::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// One of two.
    pub const HALF: Self = Self(0.5);
    /// Every one.
    pub const ALL: Self = Self(1.0);

    /// The share `ratio`.
    ///
    /// # Errors
    ///
    /// `ratio` must be more than 0 and at most 1.
    pub fn new(ratio: f64) -> Result<Self, InvalidConfig> {
        // What is not a number is not more than 0.
        if ratio > 0.0 && ratio <= 1.0 {
            Ok(Self(ratio))
        } else {
            Err(InvalidConfig::new(
                "ratio",
                ratio,
                "more than 0 and at most 1",
            ))
        }
    }

    /// The share as a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether `part` of `whole` is this share or more. `whole` is not 0.
    ///
    /// The quotient is rounded as the decimal that this was made of, so 3 of 5 reach 0.6.
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2⁵³")]
    pub(crate) fn is_reached(self, part: u64, whole: u64) -> bool {
        part as f64 / whole as f64 >= self.0
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_share_is_refused_by_name() {
        for wrong in [0.0, -0.1, 1.000_1, f64::NAN, f64::INFINITY] {
            let error = Ratio::new(wrong).unwrap_err();
            let wanted = format!("ratio is {wrong:?}, must be more than 0 and at most 1");
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn a_share_is_reached_by_exactly_so_many() {
        for (ratio, whole, least) in [(0.6, 5, 3), (0.07, 100, 7), (0.29, 100, 29), (1.0, 7, 7)] {
            let ratio = Ratio::new(ratio).unwrap();
            assert!(ratio.is_reached(least, whole), "{ratio:?}");
            assert!(!ratio.is_reached(least - 1, whole), "{ratio:?}");
        }
    }
}
