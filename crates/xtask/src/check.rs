//! `cargo xtask check`: what a developer runs before each commit.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Result;
use crate::command::{cargo, run as run_command};
use crate::debian;
use crate::runner::{Runner, doc_tests};
use crate::steps::Steps;
use crate::workspace::{Changed, Workspace, changed_paths};

/// The benches: their features bring in the competitors, so they are checked with none.
const BENCHES: &str = "stanchion-benches";

/// Checks the format of all, lints the changed packages and who depends on them, and runs the
/// tests of the changed ones.
///
/// With nothing changed it checks format and lints of the default members, and runs no tests.
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
    if !plan.lint.is_empty() {
        steps.run("clippy", || {
            lint(root, &plan.lint, &["--all-targets", "--all-features"])
        })?;
    }
    if plan.lint_benches {
        steps.run("clippy of the benches", || {
            lint(root, &BTreeSet::from([BENCHES]), &["--all-targets"])
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
    lint_benches: bool,
    test: BTreeSet<&'a str>,
}

impl<'a> Plan<'a> {
    fn new(workspace: &'a Workspace, changed: &Changed<'a>) -> Self {
        let default: BTreeSet<_> = workspace
            .default_members()
            .map(|member| &*member.name)
            .collect();
        let touched = workspace.with_dependents(&changed.packages);
        let names: Vec<_> = changed.packages.iter().copied().collect();
        let names = names.join(", ");
        let (reason, lint) = match (changed.all, names.is_empty()) {
            (true, true) => (
                "changed: files that bear on every package; their tests are for `cargo xtask test`"
                    .to_owned(),
                default.clone(),
            ),
            (true, false) => (
                format!("changed: {names}, and files that bear on every package"),
                default.clone(),
            ),
            (false, true) => (
                "no package changed: checking format and lints of all".to_owned(),
                default.clone(),
            ),
            (false, false) => (
                format!("changed: {names}"),
                touched.intersection(&default).copied().collect(),
            ),
        };
        Self {
            reason,
            lint,
            lint_benches: touched.contains(BENCHES) || changed.all,
            test: changed.packages.intersection(&default).copied().collect(),
        }
    }
}

fn lint(root: &Path, packages: &BTreeSet<&str>, targets: &[&str]) -> Result {
    let mut clippy = cargo(root);
    clippy.arg("clippy").args(targets);
    for package in packages {
        clippy.args(["--package", package]);
    }
    run_command(clippy.args(["--", "-D", "warnings"]))
}

fn test(workspace: &Workspace, packages: &BTreeSet<&str>, steps: &mut Steps) -> Result {
    let root = &*workspace.workspace_root;
    let with_library: Vec<_> = workspace
        .members()
        .filter(|member| packages.contains(&*member.name) && member.has_library())
        .collect();
    if !with_library.is_empty() {
        let mut doc_tests = doc_tests(root);
        for package in with_library {
            doc_tests.args(["--package", &package.name]);
        }
        steps.run("doc tests", || run_command(&mut doc_tests))?;
    }

    let runner = Runner::find(root);
    let mut tests = runner.run(root);
    for package in packages {
        tests.args(["--package", package]);
    }
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

    fn set(names: &[&'static str]) -> BTreeSet<&'static str> {
        names.iter().copied().collect()
    }

    #[test]
    fn dependents_are_linted_and_only_the_changed_are_tested() {
        let workspace = sample();
        let changed = Changed {
            packages: set(&["ratelimit"]),
            all: false,
        };
        let plan = Plan::new(&workspace, &changed);
        assert_eq!(plan.lint, set(&["gateway", "ratelimit"]));
        assert_eq!(plan.test, set(&["ratelimit"]));
        assert!(plan.lint_benches);
    }

    #[test]
    fn the_benches_are_linted_alone_and_never_tested() {
        let workspace = sample();
        let changed = Changed {
            packages: set(&[BENCHES]),
            all: false,
        };
        let plan = Plan::new(&workspace, &changed);
        assert_eq!((plan.lint, plan.test), (set(&[]), set(&[])));
        assert!(plan.lint_benches);
    }

    #[test]
    fn with_nothing_changed_all_are_linted_and_none_tested() {
        let workspace = sample();
        let plan = Plan::new(&workspace, &Changed::default());
        assert_eq!(plan.lint, set(&["core", "gateway", "ratelimit", "testkit"]));
        assert_eq!(plan.test, set(&[]));
        assert!(plan.reason.starts_with("no package changed"));
    }

    #[test]
    fn a_file_for_all_lints_all_and_tests_what_else_changed() {
        let workspace = sample();
        let changed = Changed {
            packages: set(&["core"]),
            all: true,
        };
        let plan = Plan::new(&workspace, &changed);
        assert_eq!(plan.lint, set(&["core", "gateway", "ratelimit", "testkit"]));
        assert_eq!(plan.test, set(&["core"]));
    }
}
