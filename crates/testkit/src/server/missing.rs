//! What happens when a server is not installed.

use std::env;
use std::io::{self, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::thread;

use super::spec::ServerSpec;

const REQUIRE: &str = "STANCHION_REQUIRE_SERVERS";

/// The program of `spec`; when it is missing, says so and returns `None`, or panics when servers
/// are required.
#[track_caller]
pub(super) fn find(spec: &impl ServerSpec) -> Option<PathBuf> {
    let program = in_folders(spec.program(), spec.folders());
    if program.is_none() {
        missing(spec, Location::caller());
    }
    program
}

#[track_caller]
fn missing(spec: &impl ServerSpec, caller: &Location<'_>) {
    let (program, package) = (spec.program(), spec.package());
    let what = format!("{program} is not installed (Debian package `{package}`)");
    assert!(
        env::var_os(REQUIRE).is_none_or(|value| value != "1"),
        "{what}, and {REQUIRE}=1 requires it"
    );
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Written past the capture of the test harness, which would hide it when the test passes.
    let _ = writeln!(io::stderr(), "left out: {test} at {caller}: {what}");
}

fn in_folders(program: &str, more: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(more.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|program| Path::is_file(program))
}
