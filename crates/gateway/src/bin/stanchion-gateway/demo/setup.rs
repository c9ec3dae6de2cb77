//! The addresses of the demo: the usual ones, or free ones where those are busy.

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use stanchion_gateway::{Config, Gateway, InvalidSwitch, Switch};

use super::origin::BEHAVIOURS;
use super::story;

pub(super) const CONFIG: &str = include_str!("demo.toml");

const ORIGIN_PORTS: [u16; 3] = [9001, 9002, 9003];

pub(super) struct Setup {
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    origins: Vec<TcpListener>,
    notes: Vec<String>,
}

impl Setup {
    /// Takes the origins' ports. What was asked for explicitly is taken as it is.
    pub(super) fn new(listen: Option<SocketAddr>, admin: Option<SocketAddr>) -> io::Result<Self> {
        let mut notes = Vec::new();
        let mut origins = Vec::new();
        for port in ORIGIN_PORTS {
            origins.push(bind_or_any(port, &mut notes)?);
        }
        Ok(Self {
            listen,
            admin,
            origins,
            notes,
        })
    }

    /// How each origin behaves.
    pub(super) fn switches(&self) -> Result<Vec<Switch>, InvalidSwitch> {
        let numbers = 1..=self.origins.len();
        let switches = numbers.map(|number| Switch::new(&format!("origin-{number}"), BEHAVIOURS));
        switches.collect()
    }

    /// The configuration with the addresses that are free.
    pub(super) fn config(&self) -> Result<Config, Box<dyn Error>> {
        let mut text = CONFIG.to_owned();
        for (port, origin) in ORIGIN_PORTS.iter().zip(&self.origins) {
            let taken = format!("http://{}", origin.local_addr()?);
            text = text.replace(&format!("http://127.0.0.1:{port}"), &taken);
        }
        let config = Config::from_toml(&text)?;
        let listen = match self.listen {
            Some(address) => address,
            None => free_or_any(config.listen_address())?,
        };
        let admin = match self.admin {
            Some(address) => address,
            None => free_or_any(config.admin_address())?,
        };
        Ok(config.with_listen_address(listen).with_admin_address(admin))
    }

    /// Prints the addresses, and what to try.
    pub(super) fn print(&self, gateway: &Gateway) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let (address, admin) = (gateway.address(), gateway.admin_address());
        let origins = self
            .origins
            .iter()
            .filter_map(|origin| origin.local_addr().ok());
        let origins: Vec<String> = origins.map(|origin| format!("http://{origin}")).collect();
        writeln!(
            out,
            "Watch    http://{admin}/  live, in a browser{}",
            busy(self.admin, admin, 9901)
        )?;
        writeln!(
            out,
            "Gateway  http://{address}{}",
            busy(self.listen, address, 8080)
        )?;
        writeln!(out, "Origins  {}", origins.join("  "))?;
        for note in &self.notes {
            writeln!(out, "         {note}")?;
        }
        writeln!(
            out,
            "\nThree clients use one route, where each API key may ask 10 times a second. Try it:\n\
             \x20 curl -i -H 'x-api-key: me' http://{address}/hello\n\
             \x20 curl -s -o /dev/null -w '%{{http_code}} ' -H 'x-api-key: me' 'http://{address}/hello?[1-40]'\n\
             \x20 curl -s 'http://{admin}/explain?url=/hello&header=x-api-key:me'\n\n\
             After {} s a server is killed, and comes back: see who takes over, and how it returns. On the page,\n\
             under Switches, a server can be made to fail, hang, be slow or be gone; see its breaker open.\n",
            story::WELL.as_secs()
        )
    }

    /// The listening sockets of the origins, ready for tokio.
    pub(super) fn into_origins(self) -> io::Result<Vec<tokio::net::TcpListener>> {
        let origins = self.origins.into_iter().map(|origin| {
            origin.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(origin)
        });
        origins.collect()
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn bind_or_any(port: u16, notes: &mut Vec<String>) -> io::Result<TcpListener> {
    match TcpListener::bind(loopback(port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let other = TcpListener::bind(loopback(0))?;
            let taken = other.local_addr()?.port();
            notes.push(format!("port {port} is busy, so {taken} was taken"));
            Ok(other)
        }
        result => result,
    }
}

/// The address, or the same with port 0 if someone listens there.
fn free_or_any(address: SocketAddr) -> io::Result<SocketAddr> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(loopback(0)),
        Err(error) => Err(error),
    }
}

fn busy(asked: Option<SocketAddr>, taken: SocketAddr, usual: u16) -> String {
    if asked.is_none() && taken.port() != usual {
        format!("  (port {usual} is busy)")
    } else {
        String::new()
    }
}
