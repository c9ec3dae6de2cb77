//! The loom models, of the packages that have some.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::command::{cargo, output, run as run_command};
use crate::workspace::{Package, Workspace};

/// The `cfg` under which a crate's atomics are loom's; `--cfg loom` would break tokio and hyper in
/// the same build.
const CFG: &str = "cfg(stanchion_loom)";

/// Runs the models of each default member that depends on loom: `tests/loom.rs`, and the unit
/// tests with `loom` in their path, such as those of a module `loom_tests`.
///
/// Other unit tests are left out, since loom's atomics panic outside of a model.
///
/// # Errors
///
/// If a model fails, or a package that depends on loom has none: a check that runs nothing must not
/// look like one that passed.
pub(super) fn run() -> Result {
    let workspace = Workspace::load_members()?;
    for package in workspace
        .default_members()
        .filter(|member| uses_loom(member))
    {
        let mut found = 0;
        for target in targets(package) {
            let build = |list: bool| {
                let mut test = test(&workspace, package, target);
                // An integration test holds nothing but models.
                test.args((target == "--lib").then_some("loom"));
                test.args(list.then_some("--list"));
                test
            };
            let models = output(&mut build(true))?;
            let count = models
                .lines()
                .filter(|line| line.ends_with(": test"))
                .count();
            println!("{} {target}: models: {count}", package.name);
            if count > 0 {
                run_command(&mut build(false))?;
            }
            found += count;
        }
        if found == 0 {
            return Err(format!("{} depends on loom but has no model", package.name).into());
        }
    }
    Ok(())
}

/// Sees to it that the models of these packages compile, without running one: seconds in place of
/// minutes.
///
/// # Errors
///
/// If they do not.
pub(crate) fn check(workspace: &Workspace, packages: &BTreeSet<&str>) -> Result {
    for package in with_models(workspace, packages) {
        let mut command = cargo(&workspace.workspace_root);
        command.args(["check", "--quiet", "--all-features", "--tests"]);
        command.args(["--package", package, "--target-dir"]);
        run_command(with_loom(workspace, &mut command))?;
    }
    Ok(())
}

/// Those of these packages that have models.
pub(crate) fn with_models<'a>(
    workspace: &'a Workspace,
    packages: &BTreeSet<&str>,
) -> BTreeSet<&'a str> {
    let members = workspace.default_members();
    members
        .filter(|member| uses_loom(member) && packages.contains(&*member.name))
        .map(|member| &*member.name)
        .collect()
}

fn uses_loom(package: &Package) -> bool {
    package
        .dependencies
        .iter()
        .any(|on| on.name == "loom" && on.target.as_deref() == Some(CFG))
}

fn targets(package: &Package) -> Vec<&'static str> {
    let integration =
        |target: &crate::workspace::Target| target.is("test") && target.name == "loom";
    let mut targets = Vec::new();
    targets.extend(package.has_library().then_some("--lib"));
    targets.extend(
        package
            .targets
            .iter()
            .any(integration)
            .then_some("--test=loom"),
    );
    targets
}

/// A test run with loom's atomics, up to what is passed to the test itself. It is optimised, since a
/// model runs thousands of times, but quick to build, and has a target folder of its own, since its
/// flags concern every crate.
fn test(workspace: &Workspace, package: &Package, target: &str) -> Command {
    let mut command = cargo(&workspace.workspace_root);
    command
        .args(["test", "--quiet", "--release", "--all-features"])
        .args(["--package", &package.name, target, "--target-dir"]);
    with_loom(workspace, &mut command)
        .arg("--")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    // A model that says nothing else lets a thread be pre-empted twice, where nearly all bugs are.
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        command.env("LOOM_MAX_PREEMPTIONS", "2");
    }
    command
}

/// Completes a command that ends with `--target-dir`, so that it builds with loom's atomics.
fn with_loom<'a>(workspace: &Workspace, command: &'a mut Command) -> &'a mut Command {
    let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    flags.push_str(" --cfg stanchion_loom");
    let folder = Path::new(&workspace.target_directory).join("loom");
    command.arg(folder).env("RUSTFLAGS", flags.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    #[test]
    fn packages_with_loom_under_its_cfg_are_taken_and_no_others() {
        let workspace = sample();
        let taken: Vec<_> = workspace
            .default_members()
            .filter(|member| uses_loom(member))
            .map(|member| (&*member.name, targets(member)))
            .collect();
        assert_eq!(taken, [("core", vec!["--lib", "--test=loom"])]);
        let asked = BTreeSet::from(["core", "gateway"]);
        assert_eq!(with_models(&workspace, &asked), BTreeSet::from(["core"]));
    }
}
