//! The test runner: nextest where it is installed, else cargo's own.

use std::path::Path;
use std::process::Command;

use crate::command::{cargo, succeeds};

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
    pub(crate) fn find(root: &Path) -> Self {
        if succeeds(cargo(root).args(["nextest", "--version"])) {
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

    /// Builds every test but doc tests.
    pub(crate) fn build(self, root: &Path) -> Command {
        let mut command = self.tests(root);
        command.arg("--no-run");
        command
    }

    /// Runs every test but doc tests; all failures are shown, not only the first.
    ///
    /// Cargo's own runner ends each test binary with a line of counts, package by package in the
    /// order of their names. The last is xtask, which has tests and no examples, so the last line
    /// counts real tests.
    pub(crate) fn run(self, root: &Path) -> Command {
        let mut command = self.tests(root);
        command.arg("--no-fail-fast");
        command
    }

    fn tests(self, root: &Path) -> Command {
        let mut command = cargo(root);
        match self {
            Self::Nextest => command.args(["nextest", "run"]),
            Self::Cargo => command.arg("test"),
        };
        // `--tests` stands for every target that has tests, libraries and programs included.
        command
            .args(["--all-features", "--tests", "--examples"])
            .env(REQUIRE_SERVERS.0, REQUIRE_SERVERS.1);
        command
    }
}

/// Runs doc tests, which only cargo's own runner can.
pub(crate) fn doc_tests(root: &Path) -> Command {
    let mut command = cargo(root);
    command
        .args(["test", "--doc", "--all-features", "--no-fail-fast"])
        .env(REQUIRE_SERVERS.0, REQUIRE_SERVERS.1);
    command
}
