//! `cargo xtask compare`: Stanchion and its named peers, measured in one run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::command::{cargo, run as run_command};
use crate::debian::{self, Program};
use crate::workspace::{Package, Target, Workspace};

/// The programs that the comparison of an area starts; an area that is not here needs none.
const PROGRAMS: &[(&str, &[Program])] = &[
    (
        "gateway",
        &[
            Program {
                name: "nginx",
                package: "nginx",
            },
            Program {
                name: "wrk",
                package: "wrk",
            },
        ],
    ),
    (
        "lb",
        // With it pingora builds its zlib.
        &[Program {
            name: "cmake",
            package: "cmake",
        }],
    ),
    (
        "ratelimit",
        &[Program {
            name: "redis-server",
            package: "redis-server",
        }],
    ),
];

/// Our own programs that the comparison of an area starts, which stand beside it when built alike.
const OWN_PROGRAMS: &[(&str, &str)] = &[("gateway", "stanchion-gateway")];

/// What `cargo xtask compare` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to compare, such as `ratelimit`; a name that is none lists them all
    area: String,
    /// Fewer and shorter rounds: for a look, not for a figure to publish
    #[arg(long)]
    quick: bool,
    /// Only the cases whose name contains this text
    #[arg(long, value_name = "CASE")]
    only: Option<String>,
    /// Where recorded workloads are, for the areas that replay some
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
}

/// Installs what the area needs, builds its comparison with its peers, and runs it.
///
/// # Errors
///
/// If there is no such area, something is missing, or the comparison fails.
pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load_members()?;
    let root = &*workspace.workspace_root;
    let (package, program) = find(&workspace, &args.area)?;
    // The comparison runs at the root; the folder was named from where the developer stands.
    let traces = args.traces.as_deref().map(existing_folder).transpose()?;
    let (_, needed) = PROGRAMS
        .iter()
        .find(|(area, _)| *area == args.area)
        .unwrap_or(&("", &[]));
    debian::make_sure_of(needed)?;

    for (_, own) in OWN_PROGRAMS.iter().filter(|(area, _)| *area == args.area) {
        run_command(cargo(root).args(["build", "--release", "--package", own]))?;
    }

    let out = result_file(args, &workspace.target_directory);
    if let Some(folder) = root.join(&out).parent() {
        fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let mut command = cargo(root);
    command.args(["run", "--release", "--package", &package.name]);
    command.args(["--bin", &program.name]);
    if !program.required_features.is_empty() {
        command.args(["--features", &program.required_features.join(",")]);
    }
    command.arg("--");
    if args.quick {
        command.arg("--quick");
    }
    if let Some(only) = &args.only {
        command.arg("--only").arg(only);
    }
    if let Some(traces) = traces {
        command.arg("--traces").arg(traces);
    }
    run_command(command.arg("--out").arg(&out))
}

/// The committed result, or with `--quick` or `--only`, which measure too little to be committed, one
/// beside what is built.
fn result_file(args: &Args, target_directory: &Path) -> PathBuf {
    let name = format!("{}.json", args.area);
    if args.quick || args.only.is_some() {
        target_directory.join("compare").join(name)
    } else {
        Path::new("benches/results").join(name)
    }
}

fn existing_folder(path: &Path) -> Result<PathBuf> {
    let found = path.canonicalize().ok().filter(|found| found.is_dir());
    found.ok_or_else(|| format!("--traces {}: no such folder", path.display()).into())
}

fn find<'a>(workspace: &'a Workspace, area: &str) -> Result<(&'a Package, &'a Target)> {
    let found = areas(workspace).find(|(name, ..)| *name == area);
    if let Some((_, package, program)) = found {
        return Ok((package, program));
    }
    let mut names: Vec<_> = areas(workspace).map(|(name, ..)| name).collect();
    names.sort_unstable();
    Err(match names.as_slice() {
        [] => format!("no area {area:?}: no program is named compare-…"),
        names => format!("no area {area:?}; there are: {}", names.join(", ")),
    }
    .into())
}

/// Each area with the program that compares it, called `compare-AREA`.
fn areas(workspace: &Workspace) -> impl Iterator<Item = (&str, &Package, &Target)> {
    workspace.members().flat_map(|package| {
        let programs = package.targets.iter().filter(|target| target.is("bin"));
        programs.filter_map(move |program| {
            let area = program.name.strip_prefix("compare-")?;
            Some((area, package, program))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::sample;

    #[test]
    fn an_area_is_a_program_with_the_features_it_requires() {
        let workspace = sample();
        let (package, program) = find(&workspace, "ratelimit").unwrap();
        assert_eq!(package.name, "stanchion-benches");
        assert_eq!(program.name, "compare-ratelimit");
        assert_eq!(program.required_features, ["ratelimit"]);
    }

    #[test]
    fn an_unknown_area_lists_the_known_ones() {
        let error = find(&sample(), "rate").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"no area "rate"; there are: lb, ratelimit"#
        );
    }

    #[test]
    fn a_part_of_a_run_leaves_the_committed_result_alone() {
        let at = |quick, only: Option<&str>| {
            let args = Args {
                area: "lb".into(),
                quick,
                only: only.map(str::to_owned),
                traces: None,
            };
            result_file(&args, Path::new("/w/target"))
        };
        assert_eq!(at(false, None), Path::new("benches/results/lb.json"));
        let beside = Path::new("/w/target/compare/lb.json");
        assert_eq!(at(true, None), beside);
        assert_eq!(at(false, Some("pick")), beside);
    }
}
