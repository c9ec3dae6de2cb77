//! The workspace as cargo describes it: root, packages, and who depends on whom.

mod changed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Result;
use crate::command::{cargo, output};

pub(crate) use changed::{Changed, changed_paths};

/// Finds the workspace that holds this program's own source.
///
/// Cargo says at run time where that is, so a workspace may be moved after it was built.
///
/// # Errors
///
/// If this program was not started by cargo, or its workspace has lost its `Cargo.lock`.
pub(crate) fn root() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .ok_or("CARGO_MANIFEST_DIR is not set: start this program by `cargo xtask`")?;
    Path::new(&own)
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("Cargo.lock").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| format!("no folder above {} has a Cargo.lock", own.display()).into())
}

/// What `cargo metadata` says, as far as it is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    workspace_default_members: BTreeSet<String>,
    pub(crate) workspace_root: PathBuf,
    pub(crate) target_directory: PathBuf,
    resolve: Option<Resolve>,
}

/// One package, of the workspace or of a registry.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: PathBuf,
    /// The registries it may be published to; none means any, an empty list means never.
    publish: Option<Vec<String>>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or none for a normal dependency.
    kind: Option<String>,
    /// The `cfg` or platform it is limited to.
    pub(crate) target: Option<String>,
    /// The folder of a package of this workspace.
    pub(crate) path: Option<PathBuf>,
}

/// One library, program, test or example.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    pub(crate) required_features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Debug, Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Workspace {
    /// Asks cargo for the members alone, which needs no registry.
    ///
    /// # Errors
    ///
    /// If cargo cannot read a manifest.
    pub(crate) fn load_members() -> Result<Self> {
        Self::load(&["--no-deps"])
    }

    /// Asks cargo for the members and all that they depend on, whatever the features and platform.
    ///
    /// # Errors
    ///
    /// If cargo cannot read a manifest, or `Cargo.lock` is not current.
    pub(crate) fn load_with_dependencies() -> Result<Self> {
        Self::load(&["--all-features", "--locked"])
    }

    fn load(args: &[&str]) -> Result<Self> {
        let mut command = cargo(&root()?);
        command
            .args(["metadata", "--format-version", "1"])
            .args(args);
        Ok(serde_json::from_str(&output(&mut command)?)?)
    }

    /// All packages of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.among(&self.workspace_members)
    }

    /// The packages that cargo takes when none is named: all but the benches.
    pub(crate) fn default_members(&self) -> impl Iterator<Item = &Package> {
        self.among(&self.workspace_default_members)
    }

    fn among<'a>(&'a self, ids: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Package> {
        self.packages
            .iter()
            .filter(|package| ids.contains(&package.id))
    }

    /// The arguments that choose `packages` with all their features; but the benches with none,
    /// since theirs bring in the competitors.
    pub(crate) fn choose(&self, packages: &BTreeSet<&str>) -> Vec<String> {
        let chosen = |member: &&Package| packages.contains(&*member.name);
        let mut args = Vec::new();
        for member in self.members().filter(chosen) {
            args.extend(["--package".to_owned(), member.name.clone()]);
        }
        for member in self.default_members().filter(chosen) {
            for feature in member.features.keys().filter(|name| *name != "default") {
                args.extend([
                    "--features".to_owned(),
                    format!("{}/{feature}", member.name),
                ]);
            }
        }
        args
    }

    /// The names of all packages of this workspace.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.members().map(|member| &*member.name).collect()
    }

    /// Who depends on `names`, directly or not, in whatever way, with `names` themselves.
    pub(crate) fn with_dependents<'a>(&'a self, names: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let mut found = names.clone();
        loop {
            let more: Vec<_> = self
                .members()
                .filter(|member| !found.contains(&*member.name))
                .filter(|member| {
                    let mut own = member.dependencies.iter().filter(|to| to.path.is_some());
                    own.any(|to| found.contains(&*to.name))
                })
                .map(|member| &*member.name)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Every package that ends up in a program built with `start`, other than workspace members:
    /// normal and build dependencies, with all features, for every platform.
    pub(crate) fn shipped_with(&self, start: &[&Package]) -> Vec<&Package> {
        let edges: BTreeMap<&str, &Node> = self
            .resolve
            .iter()
            .flat_map(|resolve| &resolve.nodes)
            .map(|node| (&*node.id, node))
            .collect();
        let mut open: Vec<&str> = start.iter().map(|package| &*package.id).collect();
        let mut seen: BTreeSet<&str> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            for dependency in edges.get(id).into_iter().flat_map(|node| &node.deps) {
                let shipped = dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind.as_deref() != Some("dev"));
                if shipped && seen.insert(&dependency.pkg) {
                    open.push(&dependency.pkg);
                }
            }
        }
        self.packages
            .iter()
            .filter(|package| seen.contains(&*package.id))
            .filter(|package| !self.workspace_members.contains(&package.id))
            .collect()
    }
}

impl Package {
    /// Whether it is meant for others to depend on.
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|allowed| !allowed.is_empty())
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    /// Whether it has a library, which is what doc tests come from.
    pub(crate) fn has_library(&self) -> bool {
        self.targets.iter().any(|target| target.is("lib"))
    }
}

impl Dependency {
    /// Whether only tests, examples and benches use it.
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Target {
    /// Whether it is of `kind`: `lib`, `bin`, `test`, `example` …
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|own| own == kind)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A workspace at `/w` of `core`, `ratelimit` on it, `gateway` on that, with `testkit` used by
    /// the tests of `ratelimit`; and `benches`, no default member.
    pub(crate) fn sample() -> Workspace {
        serde_json::from_str(include_str!("workspace/sample.json")).unwrap()
    }

    #[test]
    fn dependents_are_followed_to_the_top_through_tests_too() {
        let workspace = sample();
        let of = |name| workspace.with_dependents(&BTreeSet::from([name]));
        assert_eq!(of("gateway"), BTreeSet::from(["gateway"]));
        let up = BTreeSet::from(["ratelimit", "gateway", "stanchion-benches"]);
        assert!(of("core").is_superset(&up) && of("testkit").is_superset(&up));
        assert!(!of("core").contains("testkit"));
    }

    #[test]
    fn only_what_is_built_into_a_program_is_shipped() {
        let workspace = sample();
        let core: Vec<_> = workspace
            .members()
            .filter(|member| member.name == "ratelimit")
            .collect();
        let shipped: Vec<_> = workspace
            .shipped_with(&core)
            .iter()
            .map(|package| &*package.name)
            .collect();
        // `normal` comes through core, `built` is a build dependency; `tested` only tests use.
        assert_eq!(shipped, ["normal", "built"]);
    }

    #[test]
    fn a_package_that_may_not_be_published_says_so() {
        let workspace = sample();
        let published: Vec<_> = workspace
            .members()
            .filter(|member| member.is_published())
            .map(|member| &*member.name)
            .collect();
        assert_eq!(published, ["core", "ratelimit", "gateway"]);
        assert_eq!(workspace.default_members().count(), 4);
    }

    #[test]
    fn packages_are_chosen_with_all_features_but_those_of_competitors() {
        let workspace = sample();
        let of = |names: &[&'static str]| {
            let names = names.iter().copied().collect();
            workspace.choose(&names).join(" ")
        };
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["stanchion-benches"]), "--package stanchion-benches");
        assert_eq!(
            of(&["core", "gateway", "stanchion-benches"]),
            "--package core --package gateway --package stanchion-benches --features core/tokio"
        );
    }

    #[test]
    fn the_root_is_found_from_this_very_package() {
        let root = root().unwrap();
        assert!(root.join("crates/xtask/src/workspace.rs").is_file());
    }
}
