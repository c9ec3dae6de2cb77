//! The checks behind the scripts in `ci/` that need more than a few lines.

mod dependencies;
mod features;
mod licences;
mod loom;
mod spdx;

use crate::Result;

/// What `cargo xtask ci` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, clap::Subcommand)]
enum Check {
    /// Every direct dependency of the published crates has its row in docs/DEPENDENCIES.md
    Dependencies,
    /// Each feature of each package compiles alone, and so does each package with none
    Features,
    /// Everything that is shipped has a licence from the list
    Licences,
    /// The loom models hold
    Loom,
}

/// Runs one check.
///
/// # Errors
///
/// If it finds something, naming it.
pub(crate) fn run(args: &Args) -> Result {
    match args.check {
        Check::Dependencies => dependencies::run(),
        Check::Features => features::run(),
        Check::Licences => licences::run(),
        Check::Loom => loom::run(),
    }
}
