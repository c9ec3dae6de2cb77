//! The programs: an origin, and the two proxies before it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use testkit::{Place, Server, ServerSpec};

use crate::floor;

/// What a proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// As little as it can.
    Bare,
    /// An id, a JSON log to a file, a limit by address.
    Full,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stanchion,
    Nginx,
    /// Does nothing else than to pass requests on.
    Floor,
}

/// The proxy's core; all others work on the second.
const PROXY_CORE: &str = "0";
const ORIGIN_CORE: &str = "1";

/// A proxy with its own origin.
pub(crate) struct Proxy {
    pub(crate) server: Server<Program>,
    admin: Option<SocketAddr>,
    _origin: Server<Program>,
}

impl Proxy {
    /// # Panics
    /// If a program is missing or does not start.
    pub(crate) fn start(kind: Kind, route: Route) -> Self {
        let started = |program| Server::start(program).expect("its program is installed");
        let origin = started(Program::Origin);
        let to = origin.addr();
        let admin = (kind == Kind::Stanchion).then(free_port);
        Self {
            admin,
            server: started(match kind {
                Kind::Stanchion => Program::Stanchion {
                    route,
                    to,
                    admin: admin.expect("it was just found"),
                },
                Kind::Nginx => Program::Nginx { route, to },
                Kind::Floor => Program::Floor { to },
            }),
            _origin: origin,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid().expect("it runs")
    }

    /// Where the gateway is changed and asked how it is.
    ///
    /// # Panics
    /// If it is another's proxy, which has no such port.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("only the gateway has an admin port")
    }

    /// The file by which the proxy was started.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.server.data().join(CONFIGURATION)
    }

    /// Empties the access log, which would else fill the disk.
    pub(crate) fn empty_log(&self) {
        let log = self.server.data().join(LOG);
        if log.exists() {
            let log = fs::File::options().write(true).open(log);
            log.and_then(|log| log.set_len(0))
                .expect("the log can be emptied");
        }
    }
}

const LOG: &str = "access.json";
const CONFIGURATION: &str = "configuration";

pub(crate) enum Program {
    Origin,
    Nginx {
        route: Route,
        to: SocketAddr,
    },
    Stanchion {
        route: Route,
        to: SocketAddr,
        admin: SocketAddr,
    },
    Floor {
        to: SocketAddr,
    },
}

impl ServerSpec for Program {
    fn program(&self) -> &str {
        "taskset"
    }

    fn package(&self) -> &str {
        "util-linux"
    }

    /// Taskset becomes the program on one core.
    fn command(&self, place: &Place) -> Command {
        let (core, text) = match self {
            Self::Origin => (ORIGIN_CORE, nginx(place, &origin(place))),
            Self::Nginx { route, to } => (PROXY_CORE, nginx(place, &proxy(*route, place, *to))),
            Self::Stanchion { route, to, admin } => {
                (PROXY_CORE, gateway(*route, place, *to, *admin))
            }
            Self::Floor { .. } => (PROXY_CORE, String::new()),
        };
        let file = place.data().join(CONFIGURATION);
        fs::write(&file, text).expect("the configuration can be written");
        let mut command = Command::new(place.program());
        command.args(["-c", core]);
        match self {
            Self::Stanchion { .. } => {
                // The memory case reloads by itself, and at its own time.
                command
                    .arg(gateway_program())
                    .args(["run", "--no-watch"])
                    .arg(file)
            }
            Self::Floor { to } => {
                let own = env::current_exe().expect("this program has a path");
                command.arg(own).arg(floor::ARGUMENT);
                command.args([place.addr(), *to].map(|address| address.to_string()))
            }
            _ => command.arg(nginx_program()).arg("-c").arg(file),
        };
        command
    }

    fn answers(&self, place: &Place, _pid: u32) -> bool {
        answer(place.addr(), "GET /").is_some_and(|answer| answer.ends_with(BODY))
    }
}

const BODY: &str = "hello, world\n";

/// The answer to `GET /` or the like, on a connection of its own.
pub(crate) fn answer(address: SocketAddr, method_and_path: &str) -> Option<String> {
    let second = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, second).ok()?;
    stream.set_read_timeout(Some(second)).ok()?;
    let head =
        format!("{method_and_path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A port that was free just now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.expect("loopback has a free port")
}

/// Beside this program, where cargo puts all programs of one profile.
fn gateway_program() -> PathBuf {
    let own = env::current_exe().expect("this program has a path");
    let program = own.with_file_name("stanchion-gateway");
    let how = "run `cargo build --release -p stanchion-gateway` first";
    assert!(program.is_file(), "{} is missing: {how}", program.display());
    program
}

fn nginx_program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    let mut programs = folders.map(|folder| folder.join("nginx"));
    programs
        .find(|program| program.is_file())
        .expect("nginx is installed")
}

/// What origin and proxy share: one worker, kept connections without end, no log of its own.
fn nginx(place: &Place, http: &str) -> String {
    let data = place.data().display();
    format!(
        "daemon off;
worker_processes 1;
pid {data}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {data}/body; proxy_temp_path {data}/proxy; fastcgi_temp_path {data}/f;
    uwsgi_temp_path {data}/u; scgi_temp_path {data}/s;
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    {http}
}}
"
    )
}

fn origin(place: &Place) -> String {
    format!(
        "server {{ listen {}; location / {{ return 200 \"hello, world\\n\"; }} }}",
        place.addr()
    )
}

/// Responses are not buffered to disk, connections to the origin are kept, and nothing is logged
/// but what the case asks for.
fn proxy(route: Route, place: &Place, to: SocketAddr) -> String {
    let (around, within) = match route {
        Route::Bare => (String::new(), ""),
        Route::Full => {
            let log = place.data().join(LOG);
            let around = format!(
                r#"limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
    log_format json escape=json '{{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr",'
        '"method":"$request_method","host":"$host","path":"$uri","status":$status,'
        '"bytes":$body_bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr"}}';
    access_log {} json buffer=64k flush=1s;"#,
                log.display()
            );
            let within = "limit_req zone=clients burst=1000000 nodelay;
            proxy_set_header Host $host;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            add_header X-Request-Id $request_id;";
            (around, within)
        }
    };
    format!(
        r#"{around}
    upstream origin {{ server {to}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen {} backlog=1024;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {within}
        }}
    }}"#,
        place.addr()
    )
}

fn gateway(route: Route, place: &Place, to: SocketAddr, admin: SocketAddr) -> String {
    let (log, limit) = match route {
        Route::Bare => ("off".to_owned(), ""),
        Route::Full => (
            format!("file:{}", place.data().join(LOG).display()),
            "[[route.limit]]\nby = \"address\"\nrate = \"1000000/s\"\n",
        ),
    };
    format!(
        "workers = 1
access_log = \"{log}\"
[listen]
address = \"{}\"
[admin]
address = \"{admin}\"
[upstream.origin]
endpoints = [\"http://{to}\"]
[[route]]
id = \"all\"
upstream = \"origin\"
{limit}",
        place.addr()
    )
}
