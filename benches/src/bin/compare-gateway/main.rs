//! The gateway beside nginx, both as programs, over real connections on loopback.
//!
//! The proxy has the first core to itself; `wrk` (one thread, 64 kept connections) and the origin,
//! an nginx that answers 13 bytes, share the second. A burst of load gives four figures at once:
//! the processor time of the proxy for a request, requests a second, and the latencies that `wrk`
//! saw. (`wrk` sends the next request when it has the answer, so its 99th percentile is no promise
//! for arrivals that do not wait.)
//!
//! | case | the gateway | nginx |
//! |---|---|---|
//! | bare route | no log; an id, counters and the forwarded fields it always has | a plain `proxy_pass` with kept connections |
//! | full route | besides, a JSON log to a file and a limit by address | `$request_id`, forwarded fields, a buffered JSON log to a file, `limit_req` by address |
//!
//! Both have one worker. No request is refused: the limits are far above the load.

mod floor;
mod load;
mod memory;
mod process;
mod proxy;
mod race;

use std::process::ExitCode;

use stanchion_benches::{Options, Suite};

use proxy::Route;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let Some((listen, origin)) = floor::asked_for(&arguments) {
        floor::run(listen, origin);
        return ExitCode::SUCCESS;
    }
    let options = Options::from_args();
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("compare-gateway takes two cores: one for the proxy, one for load and origin");
        return ExitCode::FAILURE;
    }
    let mut suite = Suite::new("gateway");
    for case in race::cases("bare route", Route::Bare, 1.05, &options) {
        suite = suite.with(case);
    }
    for case in race::cases("full route", Route::Full, 1.15, &options) {
        suite = suite.with(case);
    }
    suite.with(memory::case(&options)).run(&options)
}
