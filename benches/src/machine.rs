//! Where and on what a comparison ran.

use std::fs;
use std::process::Command;

/// Processor model, cores, kernel and compiler, in one line.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| std::env::consts::OS.into(),
        |release| format!("Linux {}", release.trim()),
    );
    let rustc = output("rustc", &["--version"]).unwrap_or_else(|| "rustc unknown".into());
    format!("{}, {cores} cores, {kernel}, {rustc}", processor())
}

/// The commit of the sources, with `-dirty` if any file but a result differs from it.
pub(crate) fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    let changed = git(&["status", "--porcelain", "--", ".", ":!benches/results"]);
    if changed.is_some_and(|files| files.is_empty()) {
        commit
    } else {
        format!("{commit}-dirty")
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model_name(&info).unwrap_or_else(|| std::env::consts::ARCH.into())
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().into())
}

fn git(arguments: &[&str]) -> Option<String> {
    // The folder above this package is the workspace, from wherever the program is started.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut all = vec!["-C", root];
    all.extend_from_slice(arguments);
    output("git", &all)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_what_stands_after_the_colon() {
        let info = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nprocessor\t: 1\n";
        assert_eq!(model_name(info).as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(model_name("Hardware: none"), None);
    }

    #[test]
    fn the_machine_is_told_with_its_cores_and_compiler() {
        let machine = describe();
        assert!(machine.contains("cores"), "{machine}");
        assert!(machine.contains("rustc"), "{machine}");
    }
}
