//! docs/DEPENDENCIES.md has a row for each direct dependency of the published crates, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::Result;
use crate::workspace::Workspace;

/// Where each dependency is given its reason.
const FILE: &str = "docs/DEPENDENCIES.md";

/// Compares the rows of the table with the manifests.
///
/// # Errors
///
/// Each dependency without a row, with the crates that use it, and each row without a user.
pub(super) fn run() -> Result {
    let workspace = Workspace::load_members()?;
    let text = fs::read_to_string(workspace.workspace_root.join(FILE))
        .map_err(|error| format!("{FILE}: {error}"))?;
    let wrong = differences(&used(&workspace), &named(&text));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{FILE}:\n  {}", wrong.join("\n  ")).into())
}

/// Each dependency from outside, with the published crates that name it, but not for tests.
fn used(workspace: &Workspace) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut used = BTreeMap::<_, BTreeSet<_>>::new();
    for member in workspace.members().filter(|member| member.is_published()) {
        for on in &member.dependencies {
            if !on.is_dev() && on.path.is_none() {
                used.entry(&*on.name).or_default().insert(&*member.name);
            }
        }
    }
    used
}

/// The names in the first column of the tables: `` | `name` | … `` or `` | `name`, `other` | … ``.
fn named(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('|'))
        // Between the backquotes stand a name, what separates it from the next, a name …
        .flat_map(|(names, _)| names.split('`').step_by(2))
        .filter(|name| !name.trim().is_empty())
        .collect()
}

fn differences(used: &BTreeMap<&str, BTreeSet<&str>>, named: &BTreeSet<&str>) -> Vec<String> {
    let missing = used.iter().filter(|(name, _)| !named.contains(*name));
    let missing = missing.map(|(name, users)| {
        let users: Vec<_> = users.iter().copied().collect();
        format!("no row says why {} needs `{name}`", users.join(", "))
    });
    let stale = named.iter().filter(|name| !used.contains_key(**name));
    let stale = stale.map(|name| format!("`{name}` has a row, but no published crate names it"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    #[test]
    fn rows_and_manifests_must_agree_both_ways() {
        let workspace = sample();
        let used = used(&workspace);
        let text = "| name | why |\n|---|---|\n| `normal` | `not-this` |\n\
                    | `gone`, `lost` | x |\n`built`";
        assert_eq!(
            differences(&used, &named(text)),
            [
                "no row says why ratelimit needs `built`",
                "no row says why core needs `loom`",
                "`gone` has a row, but no published crate names it",
                "`lost` has a row, but no published crate names it",
            ]
        );
        assert!(differences(&used, &BTreeSet::from(["built", "loom", "normal"])).is_empty());
    }
}
