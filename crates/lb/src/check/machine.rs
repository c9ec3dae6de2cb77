use super::{Checked, Checks};
use crate::Mark;

/// What the checks of one endpoint have said, until something follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// `None` before the first result.
    up: Option<bool>,
    /// Results in a row that say the opposite.
    streak: u32,
}

impl Machine {
    /// Goes on from what checks said before.
    pub(super) fn resumed(said: Mark) -> Self {
        let up = match said {
            Mark::Healthy | Mark::Degraded => Some(true),
            Mark::Unhealthy => Some(false),
            _ => None,
        };
        Self { up, streak: 0 }
    }

    /// Hears of one check; answers what the endpoint is to be marked as, if that is settled. A pass of
    /// one that is up is told each time: it may be ejected.
    pub(super) fn heard(&mut self, checked: Checked, checks: &Checks) -> Option<Mark> {
        let passes = checked != Checked::Failed;
        let needed = match self.up {
            None => 1,
            Some(up) if up == passes => 0,
            Some(true) => checks.fall.get(),
            Some(false) => checks.rise.get(),
        };
        self.streak = if needed == 0 { 0 } else { self.streak + 1 };
        if self.streak < needed {
            return None;
        }
        *self = Self {
            up: Some(passes),
            streak: 0,
        };
        Some(match checked {
            Checked::Passed => Mark::Healthy,
            Checked::Degraded => Mark::Degraded,
            Checked::Failed => Mark::Unhealthy,
        })
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// `p`assed, `d`egraded and `f`ailed checks; then what is marked, by its first letter, `.` for
    /// nothing.
    const TABLE: &[(u32, u32, &str, &str)] = &[
        // The first result decides.
        (2, 3, "p", "H"),
        (2, 3, "d", "D"),
        (2, 3, "f", "U"),
        // Three in a row down, two in a row up.
        (2, 3, "pfff", "H..U"),
        (2, 3, "pffpfff", "H..H..U"),
        (2, 3, "fpp", "U.H"),
        (2, 3, "fpfpp", "U.U.H"),
        (2, 3, "fpd", "U.D"),
        (2, 3, "fdp", "U.H"),
        // Degraded is up, at once both ways.
        (2, 3, "pdpd", "HDHD"),
        (2, 3, "dffd", "D..D"),
        (2, 3, "dfff", "D..U"),
        // Without hysteresis each result decides.
        (1, 1, "pfpf", "HUHU"),
        (3, 1, "pfpppf", "HU..HU"),
        (1, 2, "pffpff", "H.UH.U"),
    ];

    fn checks(rise: u32, fall: u32) -> Checks {
        let count = |count| NonZeroU32::new(count).expect("not 0");
        Checks::default()
            .with_rise(count(rise))
            .with_fall(count(fall))
    }

    fn run(mut machine: Machine, checks: &Checks, results: &str) -> String {
        let result = |letter| match letter {
            'p' => Checked::Passed,
            'd' => Checked::Degraded,
            _ => Checked::Failed,
        };
        let marked = |mark| match mark {
            Some(Mark::Healthy) => 'H',
            Some(Mark::Degraded) => 'D',
            Some(Mark::Unhealthy) => 'U',
            None => '.',
            other => panic!("checks do not say {other:?}"),
        };
        let results = results.chars().map(result);
        results
            .map(|checked| marked(machine.heard(checked, checks)))
            .collect()
    }

    #[test]
    fn marks_are_those_of_the_table() {
        for &(rise, fall, results, marks) in TABLE {
            let machine = Machine::resumed(Mark::Unknown);
            let marked = run(machine, &checks(rise, fall), results);
            assert_eq!(marked, marks, "rise {rise}, fall {fall}, {results}");
        }
    }

    #[test]
    fn who_goes_on_from_an_earlier_check_keeps_to_the_hysteresis() {
        let two_three = checks(2, 3);
        let from = |mark, results| run(Machine::resumed(mark), &two_three, results);
        assert_eq!(from(Mark::Healthy, "fff"), "..U");
        assert_eq!(from(Mark::Degraded, "fp"), ".H");
        assert_eq!(from(Mark::Unhealthy, "pp"), ".H");
    }
}
