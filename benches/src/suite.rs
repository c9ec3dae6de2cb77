//! A whole comparison: every case, three times over, and what came of it.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use crate::case::{Case, Contestant};
use crate::effort::Effort;
use crate::machine;
use crate::measure::{Batch, contended, single};
use crate::options::Options;
use crate::played::Played;
use crate::report::{self, Report};
use crate::rounds;
use crate::shuffle::Random;
use crate::stats::{HIGH_QUANTILE, LOW_QUANTILE};
use crate::table;
use crate::unit::Unit;

/// The yardsticks that stand in every report.
const FLOORS: [&str; 2] = ["floor, 1 thread", "floor, 2 threads"];
/// The order of play when no seed is given.
const SEED: u64 = 0x5354_414E_4348_494F;

/// The cases of one area.
#[derive(Debug)]
#[must_use = "nothing is measured until the suite is run"]
pub struct Suite {
    area: &'static str,
    cases: Vec<Case>,
}

impl Suite {
    /// A suite that asks only what a `fetch_add` costs, alone and with two threads on one counter,
    /// as every suite does: the yardstick by which runs on different machines may be read.
    pub fn new(area: &'static str) -> Self {
        Self {
            area,
            cases: vec![floor(), shared_floor()],
        }
    }

    /// Adds a case. Cases are played in the order in which they were added.
    pub fn with(mut self, case: Case) -> Self {
        self.cases.push(case);
        self
    }

    /// Plays the suite as `options` say, prints the table, and writes the rows if a file is named.
    ///
    /// A missed target is no failure of the program: it stands in the table.
    #[must_use]
    pub fn run(mut self, options: &Options) -> ExitCode {
        self.cases
            .retain(|case| FLOORS.contains(&case.name) || options.wants(case.name));
        let seed = options.seed.unwrap_or(SEED);
        let report = self.play(&options.effort(), seed, options.command(self.area));
        print!("{}", table::render(&report));
        match options
            .out
            .as_deref()
            .map(|path| (path, write(path, &report)))
        {
            Some((path, Err(error))) => {
                eprintln!("cannot write {}: {error}", path.display());
                ExitCode::FAILURE
            }
            Some((path, Ok(()))) => {
                eprintln!("wrote {}", path.display());
                ExitCode::SUCCESS
            }
            None => ExitCode::SUCCESS,
        }
    }

    fn play(&self, effort: &Effort, seed: u64, command: String) -> Report {
        let mut random = Random::new(seed);
        let mut runs: Vec<Vec<Vec<Played>>> = self.cases.iter().map(|_| Vec::new()).collect();
        for run in 1..=effort.runs {
            for (index, case) in self.cases.iter().enumerate() {
                let (place, cases) = (index + 1, self.cases.len());
                eprintln!(
                    "run {run}/{}, case {place}/{cases}: {}",
                    effort.runs, case.name
                );
                runs[index].push(rounds::play(case, effort, &mut random));
            }
        }
        let rows: Vec<_> = self
            .cases
            .iter()
            .zip(&runs)
            .flat_map(|(case, runs)| report::rows(case, runs))
            .collect();
        Report {
            area: self.area.into(),
            machine: machine::describe(),
            commit: machine::commit(),
            command,
            protocol: protocol(&self.cases, effort, seed),
            fetch_add_ns: rows[0].median,
            rows,
        }
    }
}

/// How was measured what is not a yardstick: cases may say otherwise than `effort`.
fn protocol(cases: &[Case], effort: &Effort, seed: u64) -> String {
    let own = cases.iter().filter(|case| !FLOORS.contains(&case.name));
    let mut efforts: Vec<Effort> = own.map(|case| case.effort(effort)).collect();
    if efforts.is_empty() {
        efforts.push(*effort);
    }
    format!(
        "{} runs of {} rounds, bursts of {} ms, order of play from seed {seed:#x}; figures of the \
         median run, low and high are its quantiles {LOW_QUANTILE} and {HIGH_QUANTILE}; ratios are \
         the median over the rounds, and a tie, counted as 1x, if 1 lies between their quantiles; \
         a target is met if every run meets it",
        effort.runs,
        span(efforts.iter().map(|effort| effort.rounds as u64)),
        span(efforts.iter().map(|effort| effort.burst_ns / 1_000_000)),
    )
}

/// The least and the most, as one number where they are the same.
fn span(numbers: impl Iterator<Item = u64> + Clone) -> String {
    let (least, most) = (numbers.clone().min(), numbers.max());
    match (least, most) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (Some(same), _) => same.to_string(),
        (None, _) => String::new(),
    }
}

/// One thread adds to one counter that no other thread looks at.
fn floor() -> Case {
    let fetch_add = single(|| {
        let counter = AtomicU64::new(0);
        move |iterations| {
            // Hidden once: a store in the loop would be waited for by each locked instruction.
            let counter = black_box(&counter);
            for _ in 0..iterations {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    Case::new(FLOORS[0], Unit::NS).with(Contestant::peer("fetch_add", fetch_add))
}

/// Two threads add to one counter: how far apart the processors are just now.
fn shared_floor() -> Case {
    let fetch_add = contended(2, || {
        let counter = Arc::new(AtomicU64::new(0));
        let runner = |_| -> Batch {
            let counter = counter.clone();
            Box::new(move |iterations| {
                for _ in 0..iterations {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        (0..2).map(runner).collect()
    });
    Case::new(FLOORS[1], Unit::NS).with(Contestant::peer("fetch_add", fetch_add))
}

fn write(path: &Path, report: &Report) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::figure;
    use crate::target::Target;

    fn suite() -> Suite {
        let must = Target::Reach(24.0);
        Suite::new("sample").with(
            Case::new("memory", Unit::BYTES_PER_KEY)
                .with(Contestant::ours("ours", figure(|| 18.0)).must(must))
                .with(Contestant::peer("theirs", figure(|| 36.0))),
        )
    }

    #[test]
    fn every_case_is_played_in_every_run_and_the_floor_is_always_there() {
        let effort = Effort {
            runs: 3,
            rounds: 2,
            burst_ns: 100_000,
            warm_up_ns: 100_000,
        };
        let report = suite().play(&effort, 1, "command".into());
        assert!(report.fetch_add_ns > 0.0);
        assert_eq!(report.rows.len(), 4);
        let ours = &report.rows[2];
        assert_eq!((ours.noise.rounds, ours.met), (6, Some(true)));
        assert!((ours.versus["theirs"] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_protocol_tells_the_efforts_of_the_cases() {
        let protocol = |suite: Suite| protocol(&suite.cases, &Effort::FULL, 1);
        let second = std::time::Duration::from_secs(1);
        let long = || Case::new("long", Unit::NS).rounds(9).burst(second);
        let text = protocol(Suite::new("sample").with(long()));
        assert!(text.contains(" of 9 rounds, bursts of 1000 ms,"), "{text}");
        let both = Suite::new("sample")
            .with(long())
            .with(Case::new("short", Unit::NS));
        let text = protocol(both);
        assert!(
            text.contains(" of 9 to 15 rounds, bursts of 5 to 1000 ms,"),
            "{text}"
        );
        let default = protocol(Suite::new("sample"));
        assert!(
            default.contains(" of 15 rounds, bursts of 5 ms,"),
            "{default}"
        );
    }

    #[test]
    fn the_file_can_be_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("results/sample.json");
        let options = Options {
            quick: true,
            out: Some(out.clone()),
            ..Options::default()
        };
        let _ = suite().run(&options);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
        assert_eq!(json["area"], "sample");
        assert_eq!(json["command"], "cargo xtask compare sample --quick");
        assert_eq!(json["rows"][2]["versus"]["theirs"], 2.0);
    }
}
