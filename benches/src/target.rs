//! What a contestant of ours has to reach, as a value that can be checked.

use std::fmt;

use crate::played::Played;
use crate::stats::Summary;
use crate::unit::Unit;

/// What a contestant has to reach in its case.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// At least `ratio` times as good as the contestant `versus`: `>= 2.5x governor`.
    AtLeast {
        /// How many times better; 0.95 allows to be a little worse.
        ratio: f64,
        /// The name of the other contestant.
        versus: &'static str,
    },
    /// At most `ratio` times the cost of the contestant `versus`: `<= 1.1x bare word`.
    AtMost {
        /// How many times the other's cost.
        ratio: f64,
        /// The name of the other contestant.
        versus: &'static str,
    },
    /// At most `more` units above the contestant `versus`: `<= tower + 5 ns/op`.
    AtMostPlus {
        /// The name of the other contestant.
        versus: &'static str,
        /// What may be added to the other's figure, in the unit of the case.
        more: f64,
    },
    /// A fixed figure or better: `<= 24 bytes/key`, `>= 0.84 hit/OPT`.
    Reach(f64),
    /// Exactly nothing: `0 allocations/op`.
    Zero,
}

impl Target {
    /// Whether `ours` meets the target in one run; `None` if the contestant it is held against did
    /// not take part.
    ///
    /// A tie (see [`tied`]) counts as a ratio of exactly 1, to our favour or not.
    pub(crate) fn met<'a>(
        &self,
        unit: Unit,
        ours: &Played,
        find: impl Fn(&str) -> Option<&'a Played>,
    ) -> Option<bool> {
        match *self {
            Self::AtLeast { ratio, versus } => {
                Some(times_better(unit, ours, find(versus)?) >= ratio)
            }
            // `ratio` times the cost is `1 / ratio` times as good.
            Self::AtMost { ratio, versus } => {
                Some(times_better(unit, ours, find(versus)?) * ratio >= 1.0)
            }
            Self::AtMostPlus { versus, more } => Some(ours.more_than(find(versus)?).median <= more),
            Self::Reach(figure) => Some(unit.reaches(ours.summary().median, figure)),
            Self::Zero => Some(ours.summary().high.total_cmp(&0.0).is_eq()),
        }
    }

    /// The target as it is written in a report.
    pub(crate) fn describe(&self, unit: Unit) -> String {
        Described {
            target: *self,
            unit,
        }
        .to_string()
    }
}

fn times_better(unit: Unit, ours: &Played, theirs: &Played) -> f64 {
    let ratio = ours.times_better(unit, theirs);
    if tied(&ratio) { 1.0 } else { ratio.median }
}

/// Whether a difference lies inside the spread: some rounds say better, others worse, so that 1
/// is between the low and the high of the rounds' ratios.
pub(crate) fn tied(ratio: &Summary) -> bool {
    ratio.spans(1.0)
}

struct Described {
    target: Target,
    unit: Unit,
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.unit.label();
        match self.target {
            Target::AtLeast { ratio, versus } => write!(f, ">= {ratio}x {versus}"),
            Target::AtMost { ratio, versus } => write!(f, "<= {ratio}x {versus}"),
            Target::AtMostPlus { versus, more } => write!(f, "<= {versus} + {more} {unit}"),
            Target::Reach(figure) => {
                let sign = if self.unit.reaches(0.0, 1.0) {
                    "<="
                } else {
                    ">="
                };
                write!(f, "{sign} {figure} {unit}")
            }
            Target::Zero => write!(f, "0 {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::tests::played;

    fn met(target: Target, unit: Unit, ours: f64, theirs: f64) -> Option<bool> {
        let theirs = played(&[theirs; 3]);
        let find = |name: &str| (name == "peer").then_some(&theirs);
        target.met(unit, &played(&[ours; 3]), find)
    }

    #[test]
    fn at_least_looks_the_way_the_unit_runs() {
        let target = Target::AtLeast {
            ratio: 2.5,
            versus: "peer",
        };
        assert_eq!(met(target, Unit::NS, 10.0, 25.0), Some(true));
        assert_eq!(met(target, Unit::NS, 10.0, 24.0), Some(false));
        assert_eq!(met(target, Unit::OPS_PER_SECOND, 25.0, 10.0), Some(true));
        assert_eq!(met(target, Unit::OPS_PER_SECOND, 10.0, 25.0), Some(false));
    }

    #[test]
    fn at_most_bounds_the_cost() {
        let target = Target::AtMost {
            ratio: 1.1,
            versus: "peer",
        };
        assert_eq!(met(target, Unit::NS, 10.9, 10.0), Some(true));
        assert_eq!(met(target, Unit::NS, 11.2, 10.0), Some(false));
    }

    #[test]
    fn plus_reach_and_zero_look_at_the_figure() {
        let plus = Target::AtMostPlus {
            versus: "peer",
            more: 5.0,
        };
        assert_eq!(met(plus, Unit::NS, 33.0, 28.0), Some(true));
        assert_eq!(met(plus, Unit::NS, 33.1, 28.0), Some(false));
        let bytes = Target::Reach(24.0);
        assert_eq!(met(bytes, Unit::BYTES_PER_KEY, 24.0, 0.0), Some(true));
        assert_eq!(met(bytes, Unit::BYTES_PER_KEY, 24.1, 0.0), Some(false));
        let rate = Target::Reach(1e6);
        assert_eq!(met(rate, Unit::OPS_PER_SECOND, 2e6, 0.0), Some(true));
        assert_eq!(met(rate, Unit::OPS_PER_SECOND, 9e5, 0.0), Some(false));
        assert_eq!(met(Target::Zero, Unit::ALLOCATIONS, 0.0, 2.0), Some(true));
        assert_eq!(met(Target::Zero, Unit::ALLOCATIONS, 0.01, 2.0), Some(false));
    }

    #[test]
    fn a_tie_is_even_for_us_and_against_us() {
        let versus = "peer";
        let against = |target: Target, ours: &[f64], theirs: &[f64]| {
            let theirs = played(theirs);
            target.met(Unit::NS, &played(ours), |_| Some(&theirs))
        };
        let no_worse = Target::AtMost {
            ratio: 1.05,
            versus,
        };
        assert_eq!(
            against(no_worse, &[11.0, 11.0, 9.0], &[10.0; 3]),
            Some(true)
        );
        assert_eq!(
            against(no_worse, &[11.0, 11.0, 10.9], &[10.0; 3]),
            Some(false)
        );
        let better = Target::AtLeast { ratio: 1.2, versus };
        assert_eq!(against(better, &[8.0, 8.0, 12.0], &[10.0; 3]), Some(false));
    }

    #[test]
    fn without_its_rival_a_target_is_not_judged() {
        let target = Target::AtLeast {
            ratio: 1.0,
            versus: "absent",
        };
        assert_eq!(met(target, Unit::NS, 1.0, 1.0), None);
    }

    #[test]
    fn targets_read_as_one_would_write_them() {
        let versus = "governor";
        let text = |target: Target, unit| target.describe(unit);
        assert_eq!(
            text(Target::AtLeast { ratio: 2.5, versus }, Unit::NS),
            ">= 2.5x governor"
        );
        assert_eq!(
            text(
                Target::AtMost {
                    ratio: 1.05,
                    versus
                },
                Unit::NS
            ),
            "<= 1.05x governor"
        );
        assert_eq!(
            text(Target::AtMostPlus { versus, more: 5.0 }, Unit::NS),
            "<= governor + 5 ns/op"
        );
        assert_eq!(
            text(Target::Reach(24.0), Unit::BYTES_PER_KEY),
            "<= 24 bytes/key"
        );
        assert_eq!(
            text(Target::Reach(1e6), Unit::OPS_PER_SECOND),
            ">= 1000000 ops/s"
        );
        assert_eq!(text(Target::Zero, Unit::ALLOCATIONS), "0 allocations/op");
    }
}
