use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a fixture must know of one kind of server.
pub trait ServerSpec {
    /// The program's name.
    fn program(&self) -> &str;

    /// The Debian package that brings the program.
    fn package(&self) -> &str;

    /// Folders to look for the program in, after those of `PATH`; none by default.
    fn folders(&self) -> &[&str] {
        &[]
    }

    /// The user to run as when the test runs as root, for servers that refuse root; by default
    /// the test's own user.
    fn user(&self) -> Option<&str> {
        None
    }

    /// Commands to run, one after the other, on the empty data folder before the first start, as
    /// the server's user; none by default.
    fn prepare(&self, place: &Place) -> Vec<Command> {
        let _ = place;
        Vec::new()
    }

    /// The command that runs the server in the foreground, logging to its output. Program,
    /// arguments and environment are taken from it.
    fn command(&self, place: &Place) -> Command;

    /// Whether the server answers and is process `pid`: on a port that was lost to somebody else,
    /// another server may answer. Returns within a second or so.
    fn answers(&self, place: &Place, pid: u32) -> bool;
}

/// Where one server is: its program, its port, its data.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) program: PathBuf,
    pub(super) data: PathBuf,
    pub(super) port: u16,
}

impl Place {
    /// The program, with its folder.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The folder for the server's data, owned by the server's user; its working folder too.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where the server is to listen; the port is 0 while it is prepared.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
