//! The command line of every comparison program.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::effort::Effort;

/// Compares this project's crate with its peers, in one process.
#[derive(Clone, Debug, Default, Parser)]
#[non_exhaustive]
pub struct Options {
    /// One run of few rounds: a look while working, not a result.
    #[arg(long)]
    pub quick: bool,
    /// Writes the rows to this file too, as JSON.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// The folder of recorded traces, for the areas that replay them.
    #[arg(long, value_name = "DIR")]
    pub traces: Option<PathBuf>,
    /// Only the cases whose name contains this text.
    #[arg(long, value_name = "CASE")]
    pub only: Option<String>,
    /// Repeats the order of play of an earlier comparison.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

impl Options {
    /// Reads the program's arguments; prints the usage and ends the process if they are wrong.
    #[must_use]
    pub fn from_args() -> Self {
        Self::parse()
    }

    pub(crate) const fn effort(&self) -> Effort {
        if self.quick {
            Effort::QUICK
        } else {
            Effort::FULL
        }
    }

    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|part| case.contains(part))
    }

    /// The command with which a developer repeats the comparison of `area`.
    pub(crate) fn command(&self, area: &str) -> String {
        let mut command = format!("cargo xtask compare {area}");
        if self.quick {
            command.push_str(" --quick");
        }
        if let Some(only) = &self.only {
            command.push_str(&format!(" --only {only:?}"));
        }
        if let Some(traces) = &self.traces {
            // Its name only: where it lies is a matter of the machine.
            let name = traces
                .file_name()
                .map_or_else(|| traces.as_path(), Path::new);
            command.push_str(&format!(" --traces {}", name.display()));
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_and_the_command_says_them_again() {
        let options = Options::parse_from([
            "compare",
            "--quick",
            "--out",
            "a.json",
            "--traces",
            "/some/traces",
            "--only",
            "allow",
        ]);
        assert!(options.wants("check allow") && !options.wants("check deny"));
        assert_eq!(
            options.command("ratelimit"),
            "cargo xtask compare ratelimit --quick --only \"allow\" --traces traces"
        );
        assert_eq!(Options::default().command("lb"), "cargo xtask compare lb");
    }
}
