//! Whether memory stays what it was.

use stanchion_benches::{Case, Contestant, Options, Target, Unit, figure};

use crate::load;
use crate::process::resident_bytes;
use crate::proxy::{Kind, Proxy, Route};

/// What a million requests may add: less than a byte for each.
const MAX_KIB: f64 = 512.0;

/// How much a gateway with all of the full route grows from its first thousands of requests to its
/// last.
pub(crate) fn case(options: &Options) -> Case {
    let (name, requests) = if options.quick {
        ("growth over 50,000 requests", 5e4)
    } else {
        ("growth over 1,000,000 requests", 1e6)
    };
    Case::new(name, Unit::lower("KiB"))
        .rounds(1)
        .with(
            Contestant::ours(
                "stanchion",
                figure(move || growth(Kind::Stanchion, requests)),
            )
            .must(Target::Reach(MAX_KIB)),
        )
        .with(Contestant::peer(
            "nginx",
            figure(move || growth(Kind::Nginx, requests)),
        ))
}

fn growth(kind: Kind, requests: f64) -> f64 {
    let proxy = Proxy::start(kind, Route::Full);
    load::burst(proxy.server.addr(), 2);
    let before = resident_bytes(proxy.pid());
    let mut done = 0.0;
    while done < requests {
        done += load::burst(proxy.server.addr(), 2).requests;
        proxy.empty_log();
    }
    (resident_bytes(proxy.pid()) - before) / 1024.0
}
