//! `wrk`, and what it says.

use std::net::SocketAddr;
use std::process::Command;

/// Connections that are kept and used by turns.
const CONNECTIONS: u32 = 64;

/// What one burst of load met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Loads `address` for some seconds, from the second core.
///
/// # Panics
/// If `wrk` is missing, or anything but a good answer came back: a proxy that refuses looks fast.
pub(crate) fn burst(address: SocketAddr, seconds: u32) -> Load {
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "--threads", "1", "--latency"])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg(format!("http://{address}/"))
        .output()
        .unwrap_or_else(|error| panic!("taskset and wrk cannot be started: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "wrk failed: {said}");
    let bad = ["Non-2xx", "Socket errors"]
        .iter()
        .any(|words| said.contains(words));
    assert!(!bad, "{address} did not answer all: {said}");
    read(&said).unwrap_or_else(|| panic!("wrk said what is not understood: {said}"))
}

fn read(said: &str) -> Option<Load> {
    let words = |line: &'static str| {
        let found = said
            .lines()
            .map(str::trim)
            .find(|said| said.contains(line))?;
        Some(found.split_whitespace())
    };
    Some(Load {
        requests: words("requests in")?.next()?.parse().ok()?,
        per_second: words("Requests/sec:")?.nth(1)?.parse().ok()?,
        p50_us: micros(words("50%")?.nth(1)?)?,
        p99_us: micros(words("99%")?.nth(1)?)?,
    })
}

/// `1.42ms` and the like.
fn micros(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}
