//! Lints of whole packages, tests and examples included.

use std::collections::BTreeSet;

use crate::Result;
use crate::command::{cargo, run};
use crate::workspace::Workspace;

/// Runs clippy on every target of `packages`, warnings being errors.
///
/// # Errors
///
/// If there is anything to say about one.
pub(crate) fn clippy(workspace: &Workspace, packages: &BTreeSet<&str>) -> Result {
    let mut command = cargo(&workspace.workspace_root);
    command.args(["clippy", "--all-targets"]);
    command.args(workspace.choose(packages));
    run(command.args(["--", "-D", "warnings"]))
}
