//! One server process and its group.

use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};

use super::user::User;

/// Tells the watchdog its process id, which is its group's too, and becomes the server.
const LAUNCH: &str = r#"echo $$; exec "$@" 1>&2"#;

/// Hears the group of the server, then nothing until the test's process has died.
const WATCH: &str = r#"read -r group
while read -r _; do :; done
[ -z "$group" ] || kill -s KILL -- "-$group"
rm -rf -- "$1""#;

/// A process that leads a group of its own; dropping it kills the group and reaps the leader.
///
/// A watchdog process does the same, and removes the folder, when this process dies without
/// dropping. It waits for the end of a pipe that only this process and, until it has told its
/// group, the server hold open; so there is no moment at which a server has no watchdog. The
/// signal of a parent's death would not do: it reaches the leader alone, and comes when the
/// *thread* that forked ends.
#[derive(Debug)]
pub(super) struct Process {
    /// Reaped only by `drop`: until then its number stands for this group and no other.
    child: Child,
    pid: Pid,
    watchdog: Child,
    _alive: PipeWriter,
}

impl Process {
    /// Runs `command`, of which program, arguments and environment are taken, in `data`, with its
    /// output to `log`.
    pub(super) fn spawn(
        command: &Command,
        user: Option<&User>,
        data: &Path,
        folder: &Path,
        log: impl Into<Stdio>,
    ) -> io::Result<Self> {
        let (watched, alive) = io::pipe()?;
        let mut launch = Command::new("sh");
        launch
            .args(["-c", LAUNCH, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            // The fixture reads messages of the C library in the log.
            .env("LC_ALL", "C")
            .current_dir(data)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(alive.try_clone()?)
            .stderr(log);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => launch.env(name, value),
                None => launch.env_remove(name),
            };
        }
        if let Some(user) = user {
            user.run(&mut launch);
        }
        // In a group of its own too: it outlives what kills the test's group.
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .arg(folder)
            .process_group(0)
            .stdin(watched)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let child = launch.spawn().inspect_err(|_| end(&mut watchdog))?;
        Ok(Self {
            pid: Pid::from_child(&child),
            child,
            watchdog,
            _alive: alive,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the leader ended; `None` while it runs.
    pub(super) fn ended(&self) -> Option<WaitIdStatus> {
        self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Stops the group and waits until the leader stands still, or has ended.
    pub(super) fn freeze(&self) {
        self.signal(Signal::STOP);
        self.wait(WaitIdOptions::STOPPED | WaitIdOptions::EXITED);
    }

    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn wait(&self, options: WaitIdOptions) -> Option<WaitIdStatus> {
        loop {
            match waitid(WaitId::Pid(self.pid), options | WaitIdOptions::NOWAIT) {
                Ok(status) => return status,
                Err(Errno::INTR) => {}
                Err(error) => panic!("process {} cannot be waited for: {error}", self.pid()),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process_group(self.pid, signal).unwrap_or_else(|error| {
            panic!("process group {} takes no {signal:?}: {error}", self.pid())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The leader is reaped last: until then nobody else can get its number, which the watchdog
        // kills by. Nothing fails here for a leader not reaped, and a failing test must not panic
        // twice.
        let _ = kill_process_group(self.pid, Signal::KILL);
        end(&mut self.watchdog);
        let _ = self.child.wait();
    }
}

/// Kills and reaps `child`.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
