//! Which packages a change touches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Workspace;
use crate::Result;
use crate::command::{output, succeeds};

/// Files at the root that bear on every package.
const FOR_ALL: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "clippy.toml",
    "rustfmt.toml",
    ".cargo/config.toml",
    "rust-toolchain.toml",
];

/// The package whose doc tests run the examples of the README at the root.
const README_TESTS: &str = "stanchion-examples";

/// What a change touches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed<'a> {
    /// Packages that have a changed file.
    pub(crate) packages: BTreeSet<&'a str>,
    /// Whether a file changed that bears on every package.
    pub(crate) all: bool,
}

impl<'a> Changed<'a> {
    /// The packages that `paths`, relative to the root, belong to. A file outside every package
    /// (prose, scripts) touches none, but the README its tests.
    pub(crate) fn of(workspace: &'a Workspace, paths: &[PathBuf]) -> Self {
        let mut changed = Self::default();
        for path in paths {
            changed.all |= FOR_ALL.iter().any(|shared| path == Path::new(shared));
            let file = workspace.workspace_root.join(path);
            let owner = workspace
                .members()
                .filter(|member| file.starts_with(member.folder()))
                .max_by_key(|member| member.folder().components().count());
            changed.packages.extend(owner.map(|member| &*member.name));
            if path == Path::new("README.md") {
                let names = workspace.members().map(|member| &*member.name);
                let tests = names.filter(|name| *name == README_TESTS);
                changed.packages.extend(tests);
            }
        }
        changed
    }
}

/// The files that differ from where this branch left `main`, committed or not, relative to `root`.
///
/// Without a `main`, the remote's; without that, what is not committed.
///
/// # Errors
///
/// If git is not there or `root` is not in a repository.
pub(crate) fn changed_paths(root: &Path) -> Result<Vec<PathBuf>> {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(root).args(args);
        git
    };
    let base = ["main", "origin/main"]
        .into_iter()
        .find(|name| succeeds(&mut git(&["merge-base", "HEAD", name])));
    let base = match base {
        Some(name) => output(&mut git(&["merge-base", "HEAD", name]))?,
        None => "HEAD".to_owned(),
    };
    let differing = output(&mut git(&[
        "diff",
        "--name-only",
        "--no-renames",
        "--relative",
        "-z",
        base.trim(),
    ]))?;
    let untracked = output(&mut git(&[
        "ls-files",
        "--others",
        "--exclude-standard",
        "-z",
    ]))?;
    let mut paths: Vec<_> = differing
        .split('\0')
        .chain(untracked.split('\0'))
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    #[test]
    fn the_examples_of_the_readme_are_tested_with_it() {
        let workspace = Workspace::load_members().unwrap();
        let changed = Changed::of(&workspace, &[PathBuf::from("README.md")]);
        assert_eq!(changed.packages, BTreeSet::from([README_TESTS]));
    }

    #[test]
    fn each_file_belongs_to_the_package_it_lies_in() {
        let cases: [(&[&str], &[&str], bool); 6] = [
            (&[], &[], false),
            (
                &["README.md", "docs/ARCHITECTURE.md", "ci/fmt.sh"],
                &[],
                false,
            ),
            (&["crates/core/src/lib.rs"], &["core"], false),
            (&["crates/core-extra/src/lib.rs"], &[], false),
            (
                &[
                    "crates/core/README.md",
                    "benches/src/lib.rs",
                    "crates/core/src/key.rs",
                ],
                &["core", "stanchion-benches"],
                false,
            ),
            (
                &["Cargo.lock", "crates/gateway/Cargo.toml"],
                &["gateway"],
                true,
            ),
        ];
        let workspace = sample();
        for (paths, packages, all) in cases {
            let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
            let wanted = Changed {
                packages: packages.iter().copied().collect(),
                all,
            };
            assert_eq!(Changed::of(&workspace, &paths), wanted, "{paths:?}");
        }
    }
}
