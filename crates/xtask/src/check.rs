//! `cargo xtask check`: what a developer runs before each commit.

use std::collections::BTreeSet;

use crate::Result;
use crate::ci::{clippy, loom, rustdoc};
use crate::command::{cargo, run as run_command};
use crate::debian;
use crate::runner::{Runner, doc_tests};
use crate::steps::Steps;
use crate::workspace::{Changed, Workspace, changed_paths};

/// Checks the format of all, lints and documents the changed packages and who depends on them,
/// compiles the loom models of the changed ones, and runs their tests.
///
/// With nothing changed it checks format, lints and documentation of all, and runs no tests.
///
/// # Errors
///
/// The first step that fails, by its name.
pub(crate) fn run() -> Result {
    let workspace = Workspace::load_members()?;
    let root = &*workspace.workspace_root;
    let changed = Changed::of(&workspace, &changed_paths(root)?);
    let plan = Plan::new(&workspace, &changed);
    eprintln!("{}", plan.reason);

    let mut steps = Steps::default();
    steps.run("fmt", || {
        run_command(cargo(root).args(["fmt", "--all", "--check"]))
    })?;
    steps.run("clippy", || clippy(&workspace, &plan.lint))?;
    steps.run("rustdoc", || rustdoc(&workspace, &plan.lint))?;
    if !loom::with_models(&workspace, &plan.test).is_empty() {
        steps.run("loom models compile", || {
            loom::check(&workspace, &plan.test)
        })?;
    }
    if !plan.test.is_empty() {
        steps.run("servers", || debian::make_sure_of(debian::FOR_TESTS))?;
        test(&workspace, &plan.test, &mut steps)?;
    }
    eprintln!("== took: {}", steps.summary());
    Ok(())
}

/// What to check, and why.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    reason: String,
    lint: BTreeSet<&'a str>,
    test: BTreeSet<&'a str>,
}

impl<'a> Plan<'a> {
    fn new(workspace: &'a Workspace, changed: &Changed<'a>) -> Self {
        let names: Vec<_> = changed.packages.iter().copied().collect();
        let names = names.join(", ");
        let reason = match (changed.all, names.is_empty()) {
            (false, false) => format!("changed: {names}"),
            (false, true) => "no package changed: checking format and lints of all".to_owned(),
            (true, false) => format!("changed: {names}, and files that bear on every package"),
            (true, true) => "changed: files that bear on every package, whose tests are left to \
                             `cargo xtask test`"
                .to_owned(),
        };
        let lint = if changed.all || changed.packages.is_empty() {
            workspace.names()
        } else {
            workspace.with_dependents(&changed.packages)
        };
        Self {
            reason,
            lint,
            test: changed.packages.clone(),
        }
    }
}

fn test(workspace: &Workspace, packages: &BTreeSet<&str>, steps: &mut Steps) -> Result {
    if let Some(mut doc_tests) = doc_tests(workspace, packages) {
        steps.run("doc tests", || run_command(&mut doc_tests))?;
    }
    let runner = Runner::find(workspace);
    let mut tests = runner.run(workspace, packages);
    if runner == Runner::Nextest {
        // A package that is only just begun may have none.
        tests.arg("--no-tests=pass");
    }
    steps.run("tests", || run_command(&mut tests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    fn plan<'a>(workspace: &'a Workspace, packages: &[&'a str], all: bool) -> Plan<'a> {
        let packages = packages.iter().copied().collect();
        Plan::new(workspace, &Changed { packages, all })
    }

    #[test]
    fn dependents_are_linted_and_only_the_changed_are_tested() {
        let workspace = sample();
        let plan = plan(&workspace, &["ratelimit"], false);
        let up = BTreeSet::from(["gateway", "ratelimit", "stanchion-benches"]);
        assert_eq!(plan.lint, up);
        assert_eq!(plan.test, BTreeSet::from(["ratelimit"]));
    }

    #[test]
    fn with_nothing_changed_all_are_linted_and_none_tested() {
        let workspace = sample();
        let plan = plan(&workspace, &[], false);
        assert_eq!(plan.lint, workspace.names());
        assert!(plan.test.is_empty());
        assert!(plan.reason.starts_with("no package changed"));
    }

    #[test]
    fn a_file_for_all_lints_all_and_tests_what_else_changed() {
        let workspace = sample();
        let plan = plan(&workspace, &["core"], true);
        assert_eq!(plan.lint, workspace.names());
        assert_eq!(plan.test, BTreeSet::from(["core"]));
    }
}
