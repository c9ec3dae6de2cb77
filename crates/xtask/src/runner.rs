//! The test runner: nextest where it is installed, else cargo's own.

use std::collections::BTreeSet;
use std::process::Command;

use crate::command::{cargo, succeeds};
use crate::workspace::Workspace;

/// Tells the test kit that a missing server is an error and no reason to skip.
const REQUIRE_SERVERS: (&str, &str) = ("STANCHION_REQUIRE_SERVERS", "1");

/// What runs unit tests, integration tests, and the tests in examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    Nextest,
    Cargo,
}

impl Runner {
    /// The best one on this machine.
    pub(crate) fn find(workspace: &Workspace) -> Self {
        if succeeds(cargo(&workspace.workspace_root).args(["nextest", "--version"])) {
            Self::Nextest
        } else {
            Self::Cargo
        }
    }

    /// How a developer calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nextest => "cargo nextest",
            Self::Cargo => "cargo test",
        }
    }

    /// Builds every test of `packages` but doc tests.
    pub(crate) fn build(self, workspace: &Workspace, packages: &BTreeSet<&str>) -> Command {
        let mut command = self.tests(workspace, packages);
        command.arg("--no-run");
        command
    }

    /// Runs every test of `packages` but doc tests; all failures are shown, not only the first.
    ///
    /// Cargo's own runner ends each test binary with a line of counts, package by package in the
    /// order of their names. The last is xtask, which has tests and no examples, so the last line
    /// counts real tests.
    pub(crate) fn run(self, workspace: &Workspace, packages: &BTreeSet<&str>) -> Command {
        let mut command = self.tests(workspace, packages);
        command.arg("--no-fail-fast");
        command
    }

    fn tests(self, workspace: &Workspace, packages: &BTreeSet<&str>) -> Command {
        let mut command = cargo(&workspace.workspace_root);
        match self {
            Self::Nextest => command.args(["nextest", "run"]),
            Self::Cargo => command.arg("test"),
        };
        // `--tests` stands for every target that has tests, libraries and programs included.
        command
            .args(["--tests", "--examples"])
            .args(workspace.choose(packages))
            .env(REQUIRE_SERVERS.0, REQUIRE_SERVERS.1);
        command
    }
}

/// Runs the doc tests of `packages`, which only cargo's own runner can. None if they have no
/// library, which is where doc tests come from.
pub(crate) fn doc_tests(workspace: &Workspace, packages: &BTreeSet<&str>) -> Option<Command> {
    let with_library: BTreeSet<_> = workspace
        .members()
        .filter(|member| member.has_library() && packages.contains(&*member.name))
        .map(|member| &*member.name)
        .collect();
    if with_library.is_empty() {
        return None;
    }
    let mut command = cargo(&workspace.workspace_root);
    command
        .args(["test", "--doc", "--no-fail-fast"])
        .args(workspace.choose(&with_library))
        .env(REQUIRE_SERVERS.0, REQUIRE_SERVERS.1);
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    fn line(command: &Command) -> String {
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        args.join(" ")
    }

    #[test]
    fn tests_run_to_the_end_and_are_built_without_that_flag_which_nextest_refuses() {
        let workspace = sample();
        let core = BTreeSet::from(["core"]);
        let chosen = "--tests --examples --package core --features core/tokio";
        let nextest = Runner::Nextest;
        assert_eq!(
            line(&nextest.run(&workspace, &core)),
            format!("nextest run {chosen} --no-fail-fast")
        );
        assert_eq!(
            line(&nextest.build(&workspace, &core)),
            format!("nextest run {chosen} --no-run")
        );
        assert_eq!(
            line(&Runner::Cargo.run(&workspace, &core)),
            format!("test {chosen} --no-fail-fast")
        );
    }

    #[test]
    fn only_libraries_have_doc_tests() {
        let mut workspace = sample();
        workspace.packages[0].targets.clear();
        let of = |names: &[&str]| {
            let names = names.iter().copied().collect();
            doc_tests(&workspace, &names).as_ref().map(line)
        };
        assert_eq!(of(&["core"]), None);
        assert_eq!(
            of(&["core", "gateway"]).unwrap(),
            "test --doc --no-fail-fast --package gateway"
        );
    }
}
