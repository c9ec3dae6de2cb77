//! The rows of a comparison, in the form in which they are written down.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::case::{Case, Contestant};
use crate::played::Played;
use crate::stats::index_of_median;
use crate::target::tied;

/// One area's comparison, as it is written to `benches/results/AREA.json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) area: String,
    /// Processor, cores, kernel, compiler.
    pub(crate) machine: String,
    pub(crate) commit: String,
    /// The command that repeats it.
    pub(crate) command: String,
    /// How many runs, how many rounds each, and what low and high mean.
    pub(crate) protocol: String,
    /// The cost of an uncontended `fetch_add` in the same run: a yardstick between machines.
    pub(crate) fetch_add_ns: f64,
    pub(crate) rows: Vec<Row>,
}

/// One contestant in one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) contestant: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How many times better than each other contestant, for rows of ours: the median of the
    /// rounds' ratios. Above 1 is better, whatever the unit. What cannot be told as a number (nothing against something) is left out.
    pub(crate) versus: BTreeMap<&'static str, f64>,
    /// Those of `versus` whose difference lies inside the spread: for a target they count as 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ties: Vec<&'static str>,
    pub(crate) target: Option<String>,
    /// Whether every run met every target; nothing where there is none, or its rival was away.
    pub(crate) met: Option<bool>,
    #[serde(skip)]
    pub(crate) ours: bool,
    #[serde(skip)]
    pub(crate) noise: Noise,
}

/// What the machine did to a row, all runs together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noise {
    pub(crate) repeated: u32,
    pub(crate) noisy: usize,
    pub(crate) rounds: usize,
    /// In some run most rounds were noisy, so that the figures include them.
    pub(crate) kept: bool,
}

/// The rows of `case` from all its runs.
///
/// All figures of a case are those of one run, the one in which our first contestant (or else the
/// first of all) had its middle result; `met` looks at every run.
pub(crate) fn rows(case: &Case, runs: &[Vec<Played>]) -> Vec<Row> {
    let subject = case
        .contestants
        .iter()
        .position(|each| each.ours)
        .unwrap_or(0);
    let results: Vec<f64> = runs
        .iter()
        .map(|run| run[subject].summary().median)
        .collect();
    let middle = index_of_median(&results);
    let row = |(index, contestant)| row(case, runs, middle, index, contestant);
    case.contestants.iter().enumerate().map(row).collect()
}

fn row(
    case: &Case,
    runs: &[Vec<Played>],
    middle: usize,
    index: usize,
    contestant: &Contestant,
) -> Row {
    let own = &runs[middle][index];
    let summary = own.summary();
    let others = || {
        let all = case.contestants.iter().zip(&runs[middle]);
        let others = all.filter(|(other, _)| contestant.ours && other.name != contestant.name);
        others.map(|(other, played)| (other.name, own.times_better(case.unit, played)))
    };
    let targets: Vec<String> = contestant
        .targets
        .iter()
        .map(|target| target.describe(case.unit))
        .collect();
    Row {
        case: case.name,
        contestant: contestant.name,
        unit: case.unit.label(),
        median: rounded(summary.median),
        low: rounded(summary.low),
        high: rounded(summary.high),
        versus: others()
            .filter(|(_, ratio)| ratio.median.is_finite())
            .map(|(name, ratio)| (name, rounded(ratio.median)))
            .collect(),
        ties: others()
            .filter(|(_, ratio)| tied(ratio))
            .map(|(name, _)| name)
            .collect(),
        target: (!targets.is_empty()).then(|| targets.join("; ")),
        met: met(case, runs, index, contestant),
        ours: contestant.ours,
        noise: noise(runs, index),
    }
}

/// Whether all targets of a contestant are met in all runs; one that is missed outweighs one that
/// could not be judged.
fn met(case: &Case, runs: &[Vec<Played>], index: usize, contestant: &Contestant) -> Option<bool> {
    let verdicts: Vec<Option<bool>> = runs
        .iter()
        .flat_map(|run| {
            let find = |name: &str| {
                let place = case
                    .contestants
                    .iter()
                    .position(|other| other.name == name)?;
                Some(&run[place])
            };
            let own = &run[index];
            contestant
                .targets
                .iter()
                .map(move |target| target.met(case.unit, own, find))
        })
        .collect();
    if verdicts.contains(&Some(false)) {
        Some(false)
    } else if verdicts.is_empty() || verdicts.contains(&None) {
        None
    } else {
        Some(true)
    }
}

fn noise(runs: &[Vec<Played>], index: usize) -> Noise {
    runs.iter()
        .map(|run| &run[index])
        .fold(Noise::default(), |sum, played| Noise {
            repeated: sum.repeated + played.repeated(),
            noisy: sum.noisy + played.noisy(),
            rounds: sum.rounds + played.rounds(),
            kept: sum.kept || played.is_noisy(),
        })
}

/// `value` with the digits that a measurement can have: four that count, or whole units.
pub(crate) fn rounded(value: f64) -> f64 {
    if value.abs() >= 1e3 || value.total_cmp(&0.0).is_eq() || !value.is_finite() {
        return value.round();
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the number of digits of a finite float"
    )]
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::figure;
    use crate::played::tests::played;
    use crate::target::Target;
    use crate::unit::Unit;

    fn case(unit: Unit) -> Case {
        Case::new("allow", unit)
            .with(
                Contestant::ours("stanchion", figure(|| 0.0)).must(Target::AtLeast {
                    ratio: 2.0,
                    versus: "governor",
                }),
            )
            .with(Contestant::peer("governor", figure(|| 0.0)))
    }

    fn run(figures: &[f64]) -> Vec<Played> {
        let rounds = |figure: &f64| played(&[figure * 0.98, *figure, figure * 1.02]);
        figures.iter().map(rounds).collect()
    }

    #[test]
    fn a_row_is_that_of_the_median_run_and_met_is_that_of_all() {
        let runs = [run(&[10.0, 24.0]), run(&[12.0, 23.0]), run(&[11.0, 25.0])];
        let rows = rows(&case(Unit::NS), &runs);
        assert!((rows[0].median - 11.0).abs() < 1e-9);
        assert!((rows[1].median - 25.0).abs() < 1e-9);
        assert!((rows[0].versus["governor"] - 2.273).abs() < 1e-9);
        // The second run reached only 1.92 times.
        assert_eq!(rows[0].met, Some(false));
        assert!(rows[1].versus.is_empty() && rows[1].met.is_none());
        assert_eq!((rows[0].noise.repeated, rows[0].noise.rounds), (18, 9));
    }

    #[test]
    fn three_good_runs_meet_the_target() {
        let runs = [run(&[10.0, 24.0]), run(&[12.0, 25.0]), run(&[11.0, 25.0])];
        assert_eq!(rows(&case(Unit::NS), &runs)[0].met, Some(true));
        let turned = [run(&[24.0, 10.0]), run(&[25.0, 12.0]), run(&[25.0, 11.0])];
        assert_eq!(rows(&case(Unit::NS), &turned)[0].met, Some(false));
        assert_eq!(
            rows(&case(Unit::OPS_PER_SECOND), &turned)[0].met,
            Some(true)
        );
    }

    #[test]
    fn a_tie_is_named() {
        let faster_and_slower = vec![played(&[10.0, 9.0, 11.0]), played(&[10.1, 10.0, 10.2])];
        let rows = rows(&case(Unit::NS), &[faster_and_slower]);
        assert_eq!(rows[0].ties, ["governor"]);
        assert_eq!(rows[0].met, Some(false));
    }

    #[test]
    fn the_file_has_the_agreed_fields() {
        let report = Report {
            area: "ratelimit".into(),
            machine: "m".into(),
            commit: "c".into(),
            command: "cargo xtask compare ratelimit".into(),
            protocol: "p".into(),
            fetch_add_ns: 2.2,
            rows: rows(&case(Unit::NS), &[run(&[10.0, 24.04])]),
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "area": "ratelimit",
                "machine": "m",
                "commit": "c",
                "command": "cargo xtask compare ratelimit",
                "protocol": "p",
                "fetch_add_ns": 2.2,
                "rows": [
                    {
                        "case": "allow", "contestant": "stanchion", "unit": "ns/op",
                        "median": 10.0, "low": 9.84, "high": 10.16,
                        "versus": {"governor": 2.404},
                        "target": ">= 2x governor", "met": true,
                    },
                    {
                        "case": "allow", "contestant": "governor", "unit": "ns/op",
                        "median": 24.04, "low": 23.66, "high": 24.42,
                        "versus": {}, "target": null, "met": null,
                    },
                ],
            })
        );
    }

    #[test]
    fn figures_keep_four_digits_or_whole_units() {
        let near = |value, expected: f64| (rounded(value) - expected).abs() < 1e-12;
        assert!(near(10.123_456, 10.12));
        assert!(near(0.123_456, 0.1235));
        assert!(near(0.0, 0.0));
        assert!(near(123_456.7, 123_457.0));
    }
}
