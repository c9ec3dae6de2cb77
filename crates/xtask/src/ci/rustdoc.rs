//! The documentation of whole packages.

use std::collections::BTreeSet;

use crate::Result;
use crate::command::{cargo, run};
use crate::workspace::Workspace;

/// Runs rustdoc on each of `packages` that has a page, warnings being errors.
///
/// The benches have none: they are no default member, and their features bring in the competitors.
///
/// # Errors
///
/// If a link leads nowhere, an example block is bad, or whatever else rustdoc has to say.
pub(crate) fn rustdoc(workspace: &Workspace, packages: &BTreeSet<&str>) -> Result {
    let with_pages: BTreeSet<_> = workspace
        .default_members()
        .map(|member| &*member.name)
        .filter(|name| packages.contains(name))
        .collect();
    if with_pages.is_empty() {
        return Ok(());
    }
    let mut command = cargo(&workspace.workspace_root);
    let flags = std::env::var("RUSTDOCFLAGS").unwrap_or_default();
    command.env("RUSTDOCFLAGS", format!("{flags} -D warnings"));
    command.args(["doc", "--no-deps"]);
    run(command.args(workspace.choose(&with_pages)))
}
