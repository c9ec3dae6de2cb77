//! `cargo xtask fuzz`: looks for inputs that break a promise, by libFuzzer on stable Rust.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::command::{cargo, find_program, output, run as run_command};
use crate::workspace::Workspace;

const PACKAGE: &str = "stanchion-fuzz";

/// Lets LLVM count which edges are taken and tell what is compared, as libFuzzer wants it. (The
/// address sanitizer would take a nightly compiler; our own code has next to nothing for it to see.)
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What `cargo xtask fuzz` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder of fuzz/corpus, such as `limiter`; a name that is none lists them all
    target: String,
    /// How long to look
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Passed to libFuzzer as they are
    #[arg(last = true, value_name = "LIBFUZZER ARGUMENTS")]
    libfuzzer: Vec<String>,
}

/// Builds the fuzzer and runs it on one target.
///
/// What it learns is kept in `target/fuzz/corpus/TARGET`, so that the next run goes on from there.
///
/// # Errors
///
/// If there is no such target, no C++ compiler, or an input breaks a promise.
pub(crate) fn run(args: &Args) -> Result {
    let workspace = Workspace::load_members()?;
    let corpus = workspace.workspace_root.join("fuzz/corpus");
    let targets = folders(&corpus)?;
    if !targets.contains(&args.target) {
        let known: Vec<_> = targets.into_iter().collect();
        return Err(format!(
            "no target {:?}; there are {}",
            args.target,
            known.join(", ")
        )
        .into());
    }
    // As its build script looks for it.
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if find_program(&compiler).is_none() {
        let missing = format!(
            "libFuzzer is C++, and there is no compiler {compiler}: \
             install one (on Debian: the package g++)"
        );
        return Err(missing.into());
    }

    let folder = workspace.target_directory.join("fuzz");
    let host = host()?;
    run_command(&mut build(&workspace.workspace_root, &folder, &host))?;
    let learnt = folder.join("corpus").join(&args.target);
    let found = folder.join("found").join(&args.target);
    for folder in [&learnt, &found] {
        fs::create_dir_all(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let mut fuzzer = Command::new(folder.join(host).join("fuzz/fuzz"));
    fuzzer
        .env("STANCHION_FUZZ_TARGET", &args.target)
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(&args.libfuzzer)
        // The first folder is the one that libFuzzer writes to.
        .args([learnt, corpus.join(&args.target)]);
    run_command(&mut fuzzer).map_err(|error| {
        format!(
            "{error}\n  the input is in {}; with its mistake mended it belongs into \
             fuzz/corpus/{}, where the tests run it",
            found.display(),
            args.target
        )
        .into()
    })
}

fn folders(corpus: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// With a target named, cargo keeps the flags away from build scripts and macros, which could not be
/// linked with them.
fn build(root: &Path, folder: &Path, host: &str) -> Command {
    let mut command = cargo(root);
    command
        .args(["build", "--profile", "fuzz", "--package", PACKAGE])
        .args(["--bin", "fuzz", "--features", "libfuzzer"])
        .args(["--target", host, "--target-dir"])
        .arg(folder)
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    command
}

/// The platform of this compiler, as it calls it.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    host_of(&output(Command::new(rustc).arg("-vV"))?)
}

fn host_of(version: &str) -> Result<String> {
    let mut lines = version.lines();
    lines
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "`rustc -vV` does not say its host".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_tells_its_host() {
        let version = "rustc 1.88.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nLLVM: 20\n";
        assert_eq!(host_of(version).unwrap(), "x86_64-unknown-linux-gnu");
        assert!(host_of("rustc 1.88.0").is_err());
        assert!(!host().unwrap().is_empty());
    }

    #[test]
    fn a_target_that_is_none_is_answered_by_those_there_are() {
        let args = Args {
            target: "nothing".to_owned(),
            seconds: 1,
            libfuzzer: Vec::new(),
        };
        let error = run(&args).unwrap_err().to_string();
        assert!(
            error.starts_with("no target \"nothing\"; there are "),
            "{error}"
        );
        assert!(error.contains("limiter, quota"), "{error}");
    }

    #[test]
    fn the_build_names_its_target_and_its_flags() {
        let command = build(Path::new("/w"), Path::new("/t"), "host");
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        assert!(args.join(" ").ends_with("--target host --target-dir /t"));
        let flags = command
            .get_envs()
            .find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS");
        let flags = flags.unwrap().1.unwrap().to_string_lossy();
        assert_eq!(flags.split('\u{1f}').count(), COVERAGE.len());
    }
}
