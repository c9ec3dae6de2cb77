//! `cargo xtask test`: every test that CI runs.

use crate::Result;
use crate::command::run as run_command;
use crate::debian;
use crate::runner::{Runner, doc_tests};
use crate::steps::Steps;
use crate::workspace::Workspace;

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Passed to the test runner as they are
    #[arg(last = true, value_name = "RUNNER ARGUMENTS")]
    runner: Vec<String>,
}

/// Makes sure of the servers, then runs doc tests, then all others.
///
/// The runner's own closing lines are the last that is written when all goes well, so everything
/// that takes long is timed before they begin: doc tests and building.
///
/// # Errors
///
/// If a server is missing and cannot be installed, or a test fails.
pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load_members()?;
    let all = workspace.names();
    let mut steps = Steps::default();
    steps.run("servers", || debian::make_sure_of(debian::FOR_TESTS))?;
    if let Some(mut doc_tests) = doc_tests(&workspace, &all) {
        steps.run("doc tests", || run_command(&mut doc_tests))?;
    }

    let runner = Runner::find(&workspace);
    if args.runner.is_empty() {
        steps.run("build of the tests", || {
            run_command(&mut runner.build(&workspace, &all))
        })?;
    }
    eprintln!("== took so far: {}", steps.summary());
    eprintln!("== tests, by {}", runner.name());
    run_command(runner.run(&workspace, &all).args(&args.runner))
}
