//! The developers' commands: `cargo xtask test`, `check`, `compare` and `fuzz`, from any folder of
//! the project; and under `cargo xtask ci` what the scripts in `ci/` need more than a few lines for.

mod check;
mod ci;
mod command;
mod compare;
mod debian;
mod fuzz;
mod runner;
mod steps;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command answers; the error is a sentence for the developer.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The developers' commands of Stanchion
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every test that CI runs: doc tests, then unit and integration tests and examples
    ///
    /// The servers that the tests start (redis-server) are Debian packages. Missing ones are
    /// installed where that is possible without a password, else named. The runner is nextest if it
    /// is there, else `cargo test`.
    Test(test::Args),
    /// Checks in minutes what changed since `main`: format, clippy, tests of the changed crates
    Check,
    /// Compares Stanchion with its named peers in one area
    ///
    /// Installs what the area needs, builds its peers, prints the table, and writes
    /// benches/results/AREA.json, or with --quick target/compare/AREA.json.
    Compare(compare::Args),
    /// Looks for inputs that break a promise, with libFuzzer
    ///
    /// Takes a C++ compiler. What broke something is kept in target/fuzz/found/TARGET.
    Fuzz(fuzz::Args),
    /// Runs one of the checks behind the scripts in `ci/`
    #[command(hide = true)]
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Check => check::run(),
        Command::Compare(args) => compare::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Ci(args) => ci::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
