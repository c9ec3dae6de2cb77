//! Each feature alone: a crate that others use must compile with any choice of features, and not
//! only with those that its neighbours in this workspace happen to turn on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;

use crate::Result;
use crate::command::cargo;
use crate::workspace::{Package, Workspace};

/// Runs `cargo check` on each default member with no feature and with each one alone.
///
/// # Errors
///
/// The first choice of features that does not compile, or compiles with a warning.
pub(super) fn run() -> Result {
    let workspace = Workspace::load_members()?;
    for package in workspace.default_members() {
        for feature in choices(package) {
            let name = feature.map_or("no feature", |feature| feature);
            println!("{}: {name}", package.name);
            check(&workspace.workspace_root, package, feature)
                .map_err(|error| format!("{}, {name}: {error}", package.name))?;
        }
    }
    Ok(())
}

/// The choices to check: none, then each feature alone, leaving out those that turn on the same
/// features as one before.
fn choices(package: &Package) -> Vec<Option<&str>> {
    let mut seen = BTreeSet::from([BTreeSet::new()]);
    let mut choices = vec![None];
    // `default` comes last: it is most often another name for what stands before.
    let (default, others): (Vec<_>, Vec<_>) =
        package.features.keys().partition(|name| *name == "default");
    for feature in others.into_iter().chain(default) {
        if seen.insert(turned_on_by(feature, &package.features)) {
            choices.push(Some(feature.as_str()));
        }
    }
    choices
}

/// All that `feature` turns on, here and in dependencies, but for the name `default` itself.
fn turned_on_by<'a>(
    feature: &'a str,
    features: &'a BTreeMap<String, Vec<String>>,
) -> BTreeSet<&'a str> {
    let mut on = BTreeSet::new();
    let mut open = vec![feature];
    while let Some(name) = open.pop() {
        if on.insert(name)
            && let Some(more) = features.get(name)
        {
            open.extend(more.iter().map(String::as_str));
        }
    }
    on.remove("default");
    on
}

/// A line of cargo's report, as far as it is used here.
#[derive(Deserialize)]
struct Report {
    reason: String,
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    rendered: Option<String>,
}

/// Checks one choice. Cargo shows only our own warnings and errors, and those of them that were
/// found in an earlier run too, so a message of any kind is a failure. (Turning warnings into
/// errors by `RUSTFLAGS` would compile all dependencies anew.)
fn check(root: &Path, package: &Package, feature: Option<&str>) -> Result {
    let mut command = cargo(root);
    command.args([
        "check",
        "--quiet",
        "--message-format=json",
        "--no-default-features",
    ]);
    command.args(["--package", &package.name]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut found = 0;
    for line in BufReader::new(child.stdout.take().ok_or("cargo has no output")?).lines() {
        if let Some(text) = diagnostic(&line?)? {
            eprint!("{text}");
            found += 1;
        }
    }
    if !child.wait()?.success() {
        return Err("does not compile".into());
    }
    if found > 0 {
        return Err(format!("compiles with {found} warnings").into());
    }
    Ok(())
}

fn diagnostic(line: &str) -> Result<Option<String>> {
    let report: Report = serde_json::from_str(line)?;
    if report.reason != "compiler-message" {
        return Ok(None);
    }
    Ok(report.message.and_then(|message| message.rendered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    fn choices_of(features: &[(&str, &[&str])]) -> Vec<Option<String>> {
        let mut package = sample().packages.swap_remove(0);
        package.features = features
            .iter()
            .map(|(name, on)| ((*name).into(), on.iter().map(|on| (*on).into()).collect()))
            .collect();
        let owned = |choice: Option<&str>| choice.map(str::to_owned);
        choices(&package).into_iter().map(owned).collect()
    }

    fn alone(names: &[&str]) -> Vec<Option<String>> {
        let each = names.iter().map(|name| Some((*name).to_owned()));
        std::iter::once(None).chain(each).collect()
    }

    #[test]
    fn no_feature_and_each_alone_are_checked() {
        assert_eq!(choices_of(&[]), alone(&[]));
        let two: &[(&str, &[&str])] = &[("http", &["dep:http"]), ("tokio", &["dep:tokio"])];
        assert_eq!(choices_of(two), alone(&["http", "tokio"]));
    }

    #[test]
    fn a_default_that_adds_nothing_new_is_not_checked_twice() {
        assert_eq!(choices_of(&[("default", &[])]), alone(&[]));
        let same: &[(&str, &[&str])] = &[("default", &["tower"]), ("tower", &["dep:tower"])];
        assert_eq!(choices_of(same), alone(&["tower"]));
        let both: &[(&str, &[&str])] = &[("default", &["a", "b"]), ("a", &[]), ("b", &[])];
        assert_eq!(choices_of(both), alone(&["a", "b", "default"]));
    }

    #[test]
    fn features_that_turn_each_other_on_end() {
        let ring: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["a"])];
        assert_eq!(choices_of(ring), alone(&["a"]));
    }

    #[test]
    fn only_messages_of_the_compiler_count() {
        let message = r#"{"reason":"compiler-message","message":{"rendered":"warning: x\n"}}"#;
        assert_eq!(diagnostic(message).unwrap().unwrap(), "warning: x\n");
        let artifact = r#"{"reason":"compiler-artifact","filenames":[]}"#;
        assert_eq!(diagnostic(artifact).unwrap(), None);
    }
}
