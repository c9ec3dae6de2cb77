//! `redis-server`.

mod cluster;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

pub use self::cluster::RedisCluster;
use super::Server;
use super::spec::{Place, ServerSpec};

/// How long one command may take.
const COMMAND_MAX: Duration = Duration::from_secs(1);

/// `redis-server`, which keeps each write that it has answered: also over a `kill -9`.
///
/// It takes no snapshots and appends to a log, synced by nobody.
#[derive(Clone, Debug, Default)]
pub struct Redis {
    options: Vec<(String, String)>,
}

/// A running `redis-server`.
pub type RedisServer = Server<Redis>;

impl Redis {
    /// Redis with its default configuration, but for persistence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one line of configuration, such as `maxmemory` and `1mb`; the last of a name counts.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl ServerSpec for Redis {
    fn program(&self) -> &str {
        "redis-server"
    }

    fn package(&self) -> &str {
        "redis-server"
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(place.program());
        let addr = place.addr();
        command
            .args(["--bind", &addr.ip().to_string()])
            .args(["--port", &addr.port().to_string()])
            .args(["--save", ""])
            .args(["--appendonly", "yes"])
            // The write to the log precedes the answer; what was written outlives the process.
            .args(["--appendfsync", "no"])
            .args(["--auto-aof-rewrite-percentage", "0"]);
        for (name, value) in &self.options {
            command.arg(format!("--{name}")).arg(value);
        }
        command
    }

    fn answers(&self, place: &Place, pid: u32) -> bool {
        let it_is_us = format!("process_id:{pid}\r\n");
        ask(place.addr(), "PING").is_ok_and(|answer| answer == "PONG")
            && ask(place.addr(), "INFO server").is_ok_and(|answer| answer.contains(&it_is_us))
    }
}

impl Server<Redis> {
    /// Where clients connect: `redis://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Sends one command on a connection of its own, words apart by spaces, and returns the
    /// answer: a status, number or string as text, and no value as `(nil)`.
    ///
    /// # Errors
    /// When there is no answer within a second, when the answer is an error (its text is the
    /// error's), or a list.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        ask(self.addr(), command)
    }
}

fn ask(addr: SocketAddr, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, COMMAND_MAX)?;
    stream.set_read_timeout(Some(COMMAND_MAX))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    stream.read_line(&mut head)?;
    let (kind, rest) = head.trim_end().split_at_checked(1).unwrap_or_default();
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "-" => Err(io::Error::other(rest.to_owned())),
        "$" if rest == "-1" => Ok("(nil)".to_owned()),
        "$" => {
            let mut value = vec![0; rest.parse().map_err(io::Error::other)?];
            stream.read_exact(&mut value)?;
            String::from_utf8(value).map_err(io::Error::other)
        }
        _ => Err(io::Error::other(format!(
            "an answer not understood: {head:?}"
        ))),
    }
}
