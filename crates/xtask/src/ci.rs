//! The checks behind the scripts in `ci/` that need more than a few lines.

mod clippy;
mod dependencies;
mod features;
mod licences;
pub(crate) mod loom;
mod rustdoc;
mod spdx;

use crate::Result;
use crate::workspace::Workspace;

pub(crate) use clippy::clippy;
pub(crate) use rustdoc::rustdoc;

/// What `cargo xtask ci` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, clap::Subcommand)]
enum Check {
    /// Neither the compiler nor clippy has anything to say
    Clippy,
    /// Every direct dependency of the published crates has its row in docs/DEPENDENCIES.md
    Dependencies,
    /// Each feature of each package compiles alone, and so does each package with none
    Features,
    /// Everything that is shipped has a licence from the list
    Licences,
    /// The loom models hold
    Loom,
    /// Rustdoc has nothing to say
    Rustdoc,
}

/// Runs one check.
///
/// # Errors
///
/// If it finds something, naming it.
pub(crate) fn run(args: &Args) -> Result {
    match args.check {
        Check::Clippy => {
            let workspace = Workspace::load_members()?;
            clippy(&workspace, &workspace.names())
        }
        Check::Dependencies => dependencies::run(),
        Check::Features => features::run(),
        Check::Licences => licences::run(),
        Check::Loom => loom::run(),
        Check::Rustdoc => {
            let workspace = Workspace::load_members()?;
            rustdoc(&workspace, &workspace.names())
        }
    }
}
