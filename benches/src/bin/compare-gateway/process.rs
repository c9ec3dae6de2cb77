//! What a program and its children used, from `/proc`.

use std::fs;

/// Nanoseconds on a processor, of all threads.
pub(crate) fn cpu_ns(leader: u32) -> f64 {
    let of_thread = |folder: fs::DirEntry| {
        let text = fs::read_to_string(folder.path().join("schedstat")).unwrap_or_default();
        first_number(&text)
    };
    let of_process = |pid: u32| -> f64 {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        threads.flatten().map(of_thread).sum()
    };
    family(leader).into_iter().map(of_process).sum()
}

/// Bytes in memory: anonymous ones, since files that are mapped are everybody's.
pub(crate) fn resident_bytes(leader: u32) -> f64 {
    let of_process = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        first_number(line.unwrap_or_default()) * 1024.0
    };
    family(leader).into_iter().map(of_process).sum()
}

/// A process and its children: nginx works in one.
fn family(leader: u32) -> Vec<u32> {
    let path = format!("/proc/{leader}/task/{leader}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    std::iter::once(leader).chain(children).collect()
}

fn first_number(text: &str) -> f64 {
    let first = text.split_whitespace().next();
    first.and_then(|number| number.parse().ok()).unwrap_or(0.0)
}
