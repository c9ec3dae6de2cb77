//! A real server process, to be killed and started again.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Place, Server, ServerSpec};

/// `nginx` as an origin. What it saw stands in its log, which it writes request by request.
pub(crate) struct Nginx;

/// The length of `/large`, which takes minutes.
pub(crate) const LARGE: usize = 1 << 20;

/// The length of `/page`.
pub(crate) const PAGE: usize = 6 << 10;

/// How an origin answers requests for `/page`.
pub(crate) enum Way {
    /// Within about a second.
    Slowly,
    /// With 503.
    Busily,
}

impl ServerSpec for Nginx {
    fn program(&self) -> &str {
        "nginx"
    }

    fn package(&self) -> &str {
        "nginx"
    }

    fn folders(&self) -> &[&str] {
        &["/usr/sbin"]
    }

    fn command(&self, place: &Place) -> Command {
        let (data, address) = (place.data().display(), place.addr());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {data}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {data}/pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n{temporary}\
             access_log {data}/seen;\nroot {data};\n\
             server {{\nlisten {address};\n\
             location = /pid {{ access_log off; return 200 $pid; }}\n\
             location = /large {{ limit_rate 4k; }}\n\
             location = /page {{\n\
             if (-f {data}/busy) {{ return 503; }}\n\
             if (-f {data}/slow) {{ set $limit_rate 4k; }}\n\
             }}\n\
             location / {{ if (-f {data}/failing) {{ return 500; }} return 200 hello; }}\n\
             }}\n}}\n"
        );
        let file = place.data().join("nginx.conf");
        fs::write(&file, config).unwrap();
        fs::write(place.data().join("large"), vec![b'x'; LARGE]).unwrap();
        fs::write(place.data().join("page"), vec![b'x'; PAGE]).unwrap();
        let mut command = Command::new(place.program());
        command.arg("-p").arg(place.data()).arg("-c").arg(file);
        command
    }

    fn answers(&self, place: &Place, pid: u32) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(place.addr())?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /pid HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.ends_with(&format!("\r\n\r\n{pid}")))
    }
}

/// Makes an origin answer 500, or well again.
pub(crate) fn set_failing(origin: &Server<Nginx>, failing: bool) {
    let flag = origin.data().join("failing");
    if failing {
        fs::write(flag, "").unwrap();
    } else {
        fs::remove_file(flag).unwrap();
    }
}

/// Has an origin answer in this way from now on.
pub(crate) fn go(origin: &Server<Nginx>, way: Way) {
    let flag = match way {
        Way::Slowly => "slow",
        Way::Busily => "busy",
    };
    fs::write(origin.data().join(flag), "").unwrap();
}

/// How many requests the origin itself has answered to their end.
pub(crate) fn seen(origin: &Server<Nginx>) -> usize {
    let lines = |log: &Path| fs::read_to_string(log).map_or(0, |text| text.lines().count());
    lines(&origin.data().join("seen"))
}
