//! What a figure is counted in, and which way is better.

/// A unit of measure that knows which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    label: &'static str,
    better: Better,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Lower,
    Higher,
}

impl Unit {
    /// Nanoseconds for one operation.
    pub const NS: Self = Self::lower("ns/op");
    /// Heap allocations for one operation.
    pub const ALLOCATIONS: Self = Self::lower("allocations/op");
    /// Bytes of heap for one key.
    pub const BYTES_PER_KEY: Self = Self::lower("bytes/key");
    /// Operations in one second.
    pub const OPS_PER_SECOND: Self = Self::higher("ops/s");

    /// A unit of which less is better.
    #[must_use]
    pub const fn lower(label: &'static str) -> Self {
        Self {
            label,
            better: Better::Lower,
        }
    }

    /// A unit of which more is better.
    #[must_use]
    pub const fn higher(label: &'static str) -> Self {
        Self {
            label,
            better: Better::Higher,
        }
    }

    /// The unit as it is written in a report.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.label
    }

    /// How many times better `ours` is than `theirs`: above 1 means better, whatever the unit.
    ///
    /// Two equal figures, zeros among them, give 1; a zero cost against a cost is infinite.
    #[must_use]
    pub fn times_better(self, ours: f64, theirs: f64) -> f64 {
        if ours.total_cmp(&theirs).is_eq() {
            return 1.0;
        }
        match self.better {
            Better::Lower => theirs / ours,
            Better::Higher => ours / theirs,
        }
    }

    /// Whether `figure` is as good as `bound`, or better.
    #[must_use]
    pub fn reaches(self, figure: f64, bound: f64) -> bool {
        match self.better {
            Better::Lower => figure <= bound,
            Better::Higher => figure >= bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_one_is_better_whichever_way_the_unit_runs() {
        let ratio = |unit: Unit, ours, theirs| unit.times_better(ours, theirs);
        assert!((ratio(Unit::NS, 10.0, 25.0) - 2.5).abs() < 1e-9);
        assert!((ratio(Unit::NS, 25.0, 10.0) - 0.4).abs() < 1e-9);
        assert!((ratio(Unit::OPS_PER_SECOND, 25.0, 10.0) - 2.5).abs() < 1e-9);
        assert!((ratio(Unit::BYTES_PER_KEY, 20.0, 35.0) - 1.75).abs() < 1e-9);
    }

    #[test]
    fn nothing_against_nothing_is_even_and_against_something_without_bound() {
        assert!((Unit::ALLOCATIONS.times_better(0.0, 0.0) - 1.0).abs() < 1e-9);
        assert!(Unit::ALLOCATIONS.times_better(0.0, 2.0).is_infinite());
    }
}
