//! Looking at processes, and running one test again in a process that can be killed.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

const ROLE: &str = "TESTKIT_RUN_AGAIN";

/// Whether process `pid` is there and not just waiting to be reaped.
pub(crate) fn runs(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which is in parentheses and may contain any character.
    let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
    state.is_some_and(|state| state != "Z")
}

/// Whether this process was made by [`run_again`].
pub(crate) fn is_run_again() -> bool {
    env::var_os(ROLE).is_some()
}

/// The command that runs `test`, by its full name, alone in another process.
pub(crate) fn run_again(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(ROLE, "1")
        .env_remove("RUST_TEST_THREADS");
    command
}

/// Tells the test that ran this one again a process id, and waits until it kills this process.
pub(crate) fn tell_and_wait(pid: u32) {
    eprintln!("server {pid}");
    let mut held_by_the_other = Vec::new();
    io::stdin().read_to_end(&mut held_by_the_other).unwrap();
}

/// A test run again, killed on drop.
pub(crate) struct Other {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Other {
    pub(crate) fn start(test: &str) -> Self {
        let mut child = run_again(test)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// The process id that it tells.
    pub(crate) fn told(&mut self) -> u32 {
        let mut said = String::new();
        while self.stderr.read_line(&mut said).unwrap() > 0 {
            if let Some(pid) = said.lines().find_map(|line| line.strip_prefix("server ")) {
                return pid.parse().unwrap();
            }
        }
        panic!("the other test process ended: {said}");
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
