//! `nsd`, a DNS server.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Server;
use super::spec::{Place, ServerSpec};

/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// `nsd`, which knows all about the zone `test.`, and refuses to speak of others.
///
/// Answers that do not fit into 1,232 bytes are cut short over UDP.
#[derive(Clone, Debug)]
pub struct Nsd {
    records: String,
}

/// A running `nsd`.
pub type NsdServer = Server<Nsd>;

impl Nsd {
    /// A server of these records, as lines of a zone file: `web 60 A 10.0.0.1`.
    #[must_use]
    pub fn new(records: &str) -> Self {
        Self {
            records: records.to_owned(),
        }
    }
}

fn zone_file(place: &Place) -> PathBuf {
    place.data().join("test.zone")
}

/// What is no answer is good for a second, too.
fn zone(records: &str) -> String {
    format!("$ORIGIN test.\n$TTL 1\n@ SOA ns.test. a.test. 1 60 60 600 1\n@ NS ns\n{records}\n")
}

impl ServerSpec for Nsd {
    fn program(&self) -> &str {
        "nsd"
    }

    fn package(&self) -> &str {
        "nsd"
    }

    fn folders(&self) -> &[&str] {
        &["/usr/sbin"]
    }

    fn command(&self, place: &Place) -> Command {
        let data = place.data().display();
        let config = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  database: \"\"\n  \
             zonelistfile: \"{data}/zone.list\"\n  xfrdfile: \"{data}/xfrd.state\"\n  \
             xfrdir: \"{data}\"\n  pidfile: \"{data}/nsd.pid\"\n  zonesdir: \"{data}\"\n  \
             server-count: 1\n  do-ip6: no\n  ipv4-edns-size: 1232\n\
             remote-control:\n  control-enable: no\n\
             zone:\n  name: \"test.\"\n  zonefile: \"{zone}\"\n",
            port = place.addr().port(),
            zone = zone_file(place).display(),
        );
        let file = place.data().join("nsd.conf");
        // What cannot be written is missed by the server, which says so.
        let written = fs::write(&file, config).and_then(|()| match zone_file(place).exists() {
            true => Ok(()),
            false => fs::write(zone_file(place), zone(&self.records)),
        });
        drop(written);
        let mut command = Command::new(place.program());
        command.arg("-d").arg("-c").arg(file);
        command
    }

    fn answers(&self, place: &Place, pid: u32) -> bool {
        let written = fs::read_to_string(place.data().join("nsd.pid")).unwrap_or_default();
        written.trim() == pid.to_string() && knows_its_zone(place.addr()).unwrap_or(false)
    }
}

impl Server<Nsd> {
    /// Has it know these records, and no others, from soon on.
    ///
    /// # Panics
    /// When it does not run, or the file cannot be written.
    #[track_caller]
    pub fn set_records(&self, records: &str) {
        let (file, new) = (zone_file(&self.place), self.data().join("new.zone"));
        let written = fs::write(&new, zone(records)).and_then(|()| fs::rename(new, file));
        written.unwrap_or_else(|error| panic!("the zone was not written: {error}"));
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw);
        let pid = pid.unwrap_or_else(|| panic!("nsd does not run: it was killed"));
        kill_process(pid, Signal::HUP)
            .unwrap_or_else(|error| panic!("nsd was not told of its zone: {error}"));
    }
}

/// Asks for the start of authority of `test.`; whether that is known.
fn knows_its_zone(addr: SocketAddr) -> io::Result<bool> {
    const QUESTION: &[u8] =
        b"\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x06\x00\x01";
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.send_to(QUESTION, addr)?;
    let mut answer = [0; 512];
    let (length, from) = socket.recv_from(&mut answer)?;
    // The code is in the low bits of the fourth byte; bytes 6 and 7 count the answers.
    let good = answer[3] & 15 == 0 && answer[6..8] == [0, 1];
    Ok(from == addr && length > 12 && good)
}
