//! Names each step of a command as it starts, and says how long it took.

#![expect(
    clippy::disallowed_methods,
    reason = "a developer waits in real time for these steps"
)]

use std::time::{Duration, Instant};

use crate::Result;

/// The steps of one command, so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs `work` as the step `name` and says on standard error how long it took.
    ///
    /// # Errors
    ///
    /// The error of `work`, after the name of the step.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("== {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let verdict = if result.is_ok() { "" } else { ", failed" };
        eprintln!("== {name}: {:.1} s{verdict}", took.as_secs_f64());
        self.done.push((name.to_owned(), took));
        result.map_err(|error| format!("{name}: {error}").into())
    }

    /// One line with the seconds of all steps that ended.
    pub(crate) fn summary(&self) -> String {
        let steps: Vec<_> = self
            .done
            .iter()
            .map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64()))
            .collect();
        steps.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_bears_the_name_of_its_step() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("first", || Ok(7)).unwrap(), 7);
        let failed = steps.run("second", || Err::<(), _>("no disk".into()));
        assert_eq!(failed.unwrap_err().to_string(), "second: no disk");
        let summary = steps.summary();
        assert!(
            summary.starts_with("first 0.0 s, second 0.0 s"),
            "{summary}"
        );
    }
}
