//! Whether memory stays what it was.

use std::fs;
use std::time::Duration;

use stanchion_benches::{Case, Contestant, Options, Target, Unit, figure};

use crate::load;
use crate::process::resident_bytes;
use crate::proxy::{Kind, Proxy, Route, answer};

/// What the last third may add: a byte for each of its requests, and half a KiB for each reload. The
/// allocator alone goes up and down by 200 KiB.
const MAX_KIB: f64 = 490.0;

/// How much a gateway with all of the full route grows over the last third of many requests and
/// reloads.
///
/// The first two thirds fill what is bounded but grows by and by: buffers of the log, pools, the
/// past that the live page shows, what the allocator keeps. A leak does not end with them.
pub(crate) fn case(options: &Options) -> Case {
    let (name, work) = if options.quick {
        let work = Work {
            requests: 150_000.0,
            reloads: 150,
        };
        ("growth, last of 150,000 requests and 150 reloads", work)
    } else {
        let work = Work {
            requests: 1e6,
            reloads: 1_000,
        };
        (
            "growth, last third of 1,000,000 requests and 1,000 reloads",
            work,
        )
    };
    Case::new(name, Unit::lower("KiB"))
        .rounds(1)
        .burst(Duration::from_secs(BURST_SECONDS.into()))
        .with(
            Contestant::ours("stanchion", figure(move || growth(work)))
                .must(Target::Reach(MAX_KIB)),
        )
}

#[derive(Clone, Copy)]
struct Work {
    requests: f64,
    reloads: u32,
}

/// How long requests come in between two series of reloads.
const BURST_SECONDS: u32 = 2;

fn growth(work: Work) -> f64 {
    let proxy = Proxy::start(Kind::Stanchion, Route::Full);
    let text = fs::read_to_string(proxy.configuration()).expect("it was written");
    let mut reloads = 0;
    let thirds = [1, 2, 3].map(|third| {
        let mut done = 0.0;
        while done < work.requests / 3.0 {
            done += load::burst(proxy.server.addr(), BURST_SECONDS).requests;
            proxy.empty_log();
        }
        while reloads < work.reloads * third / 3 {
            reloads += 1;
            reload(&proxy, &variant(&text, reloads));
        }
        // The snapshots that went are gone once a request passed.
        load::burst(proxy.server.addr(), 1);
        resident_bytes(proxy.pid()) / 1024.0
    });
    last_growth(thirds)
}

/// What was added after the second third; less than nothing counts as nothing.
fn last_growth([_, second, last]: [f64; 3]) -> f64 {
    (last - second).max(0.0)
}

/// The configuration with another name and another rate for all that has one, so that a reload
/// makes all of it anew.
fn variant(text: &str, number: u32) -> String {
    let text = text.replace("id = \"all\"", &format!("id = \"all-{number}\""));
    text.replace("1000000/s", &format!("{}/s", 1_000_000 + number))
}

fn reload(proxy: &Proxy, text: &str) {
    fs::write(proxy.configuration(), text).expect("the file can be written");
    let said = answer(proxy.admin(), "POST /reload").unwrap_or_default();
    assert!(said.starts_with("HTTP/1.1 200"), "not reloaded: {said:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_third_counts() {
        assert!((last_growth([1.0, 900.0, 950.0]) - 50.0).abs() < 1e-9);
        assert!(last_growth([1.0, 900.0, 850.0]) < 1e-9);
    }

    #[test]
    fn every_variant_is_another_configuration() {
        let text = "id = \"all\"\nrate = \"1000000/s\"\n";
        assert_eq!(variant(text, 7), "id = \"all-7\"\nrate = \"1000007/s\"\n");
    }
}
