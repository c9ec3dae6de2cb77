//! Real server processes for tests.

mod chromium;
mod missing;
mod nsd;
mod port;
mod process;
mod redis;
mod spec;
mod user;

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

pub use self::chromium::{Chromium, ChromiumServer, Tab};
pub use self::nsd::{Nsd, NsdServer};
use self::process::Process;
pub use self::redis::{Redis, RedisCluster, RedisServer};
pub use self::spec::{Place, ServerSpec};
use self::user::User;
use crate::eventually::holds_within;

/// How long a server may take to answer, and a preparing command to end.
const START_MAX: Duration = Duration::from_secs(30);
/// Ports tried before a start fails.
const PORTS_MAX: usize = 5;
/// What the C library calls a port that somebody else has.
const PORT_TAKEN: &str = "Address already in use";

/// A real server process on a loopback port of its own, with its data in a temporary folder.
///
/// It leads its own process group. Dropping the fixture kills the group and removes the folder;
/// when the test's process dies, however it dies, the same is done by a process beside it.
pub struct Server<S> {
    spec: S,
    place: Place,
    user: Option<User>,
    // Dropped before the folder that it writes to.
    process: Option<Process>,
    folder: TempDir,
}

impl<S: ServerSpec> Server<S> {
    /// Starts the server and waits until it answers.
    ///
    /// `None` when it is not installed; stderr then says which test was left out, and which
    /// Debian package brings it.
    ///
    /// # Panics
    /// When it is not installed and the environment has `STANCHION_REQUIRE_SERVERS=1`. When it
    /// does not answer within 30 seconds or finds no free port in 5 tries; the message has the end
    /// of its log. When this machine lacks the user that the spec names.
    #[track_caller]
    pub fn start(spec: S) -> Option<Self> {
        let program = missing::find(&spec)?;
        let mut server = Self::lay_out(spec, program)
            .unwrap_or_else(|error| panic!("no folder for a server: {error}"));
        server.prepare();
        for _ in 0..PORTS_MAX {
            server.place.port = port::free();
            match server.launch() {
                Ok(()) => return Some(server),
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(why)) => server.fail(&why),
            }
        }
        server.fail(&format!("{PORTS_MAX} ports in turn were taken"))
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.place.addr()
    }

    /// Its process id; `None` while it is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The folder of its data.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.place.data()
    }

    /// The last 64 KiB of what it wrote to its output, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(64 * 1024)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Kills it with all its children, as `kill -9` does, and waits until the process itself is
    /// gone.
    ///
    /// Nothing happens when it was killed already.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it where it is, with all its children, and waits until it stands still: connections
    /// stay open, new ones are accepted by the kernel, and nothing is answered.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn freeze(&self) {
        self.running().freeze();
    }

    /// Lets it run on after [`freeze`](Self::freeze).
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn thaw(&self) {
        self.running().thaw();
    }

    /// Kills it when it runs, and starts it again on the same port with the data it left.
    ///
    /// # Panics
    /// When it does not answer within 30 seconds.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        let mut failure = None;
        // The port may have gone to another process for a moment.
        let answers = holds_within(START_MAX, || match self.launch() {
            Ok(()) => true,
            Err(Failure::PortTaken) => false,
            Err(Failure::Other(why)) => {
                failure = Some(why);
                true
            }
        });
        match failure {
            Some(why) => self.fail(&why),
            None if !answers => self.fail("its port was taken by another process"),
            None => {}
        }
    }

    /// Kills it when it runs, and starts it again on the same port with no data.
    ///
    /// # Panics
    /// When it does not answer within 30 seconds.
    #[track_caller]
    pub fn restart_empty(&mut self) {
        self.kill();
        let wiped = fs::remove_dir_all(self.place.data()).and_then(|()| self.make_data());
        if let Err(error) = wiped {
            self.fail(&format!("its data could not be removed: {error}"));
        }
        self.prepare();
        self.restart();
    }

    fn lay_out(spec: S, program: PathBuf) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("stanchion-").tempdir()?;
        let server = Self {
            user: User::to_become(&spec),
            place: Place {
                program,
                data: folder.path().join("data"),
                port: 0,
            },
            process: None,
            folder,
            spec,
        };
        if server.user.is_some() {
            // Another user has to come through to the data.
            fs::set_permissions(server.folder.path(), Permissions::from_mode(0o711))?;
        }
        server.make_data()?;
        Ok(server)
    }

    fn make_data(&self) -> io::Result<()> {
        fs::create_dir(self.place.data())?;
        fs::set_permissions(self.place.data(), Permissions::from_mode(0o700))?;
        match &self.user {
            Some(user) => user.own(self.place.data()),
            None => Ok(()),
        }
    }

    /// Runs what the spec wants to have run before the first start on empty data.
    #[track_caller]
    fn prepare(&self) {
        for command in self.spec.prepare(&self.place) {
            let process = self
                .spawn(&command)
                .unwrap_or_else(|error| self.fail(&format!("{command:?}: {error}")));
            let mut ended = None;
            holds_within(START_MAX, || {
                ended = process.ended();
                ended.is_some()
            });
            match ended {
                Some(status) if status.exit_status() == Some(0) => {}
                Some(status) => self.fail(&format!("{command:?} failed: {status:?}")),
                None => self.fail(&format!("{command:?} took more than {START_MAX:?}")),
            }
        }
    }

    /// Starts the process and waits until it answers.
    fn launch(&mut self) -> Result<(), Failure> {
        let log_start = fs::metadata(self.log_path()).map_or(0, |metadata| metadata.len());
        let command = self.spec.command(&self.place);
        let process = self
            .spawn(&command)
            .map_err(|error| Failure::Other(format!("{command:?}: {error}")))?;
        let mut ended = None;
        let decided = holds_within(START_MAX, || {
            ended = process.ended();
            ended.is_some() || self.spec.answers(&self.place, process.pid())
        });
        if let Some(status) = ended {
            return Err(if self.log_since(log_start).contains(PORT_TAKEN) {
                Failure::PortTaken
            } else {
                Failure::Other(format!("it ended: {status:?}"))
            });
        }
        if !decided {
            return Err(Failure::Other(format!("no answer within {START_MAX:?}")));
        }
        self.process = Some(process);
        Ok(())
    }

    fn spawn(&self, command: &Command) -> io::Result<Process> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        Process::spawn(
            command,
            self.user.as_ref(),
            self.place.data(),
            self.folder.path(),
            log,
        )
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_since(&self, start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[start..]).into_owned()
    }

    #[track_caller]
    fn running(&self) -> &Process {
        self.process
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run: it was killed", self.spec.program()))
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        let log = self.log();
        let lines = log.lines().count();
        let tail: Vec<&str> = log.lines().skip(lines.saturating_sub(40)).collect();
        panic!(
            "{} did not start at {}: {why}; its log ends:\n{}",
            self.spec.program(),
            self.addr(),
            tail.join("\n")
        );
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("place", &self.place)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

/// Why a start failed.
enum Failure {
    PortTaken,
    Other(String),
}
