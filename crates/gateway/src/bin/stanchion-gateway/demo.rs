//! `stanchion-gateway demo`: the gateway, three servers behind it and clients before it, all in one
//! process and over real HTTP.

mod display;
mod origin;
mod setup;
mod story;
mod tally;
mod traffic;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stanchion_core::{Clock, Instant};
use stanchion_gateway::Gateway;
use tokio::task::JoinSet;

use crate::duration;
use crate::signals::Signals;
use setup::Setup;
use tally::{Counts, Tally};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Ends after this time, such as 10s, and not only at Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    run_for: Option<Duration>,
    /// Requests per second that all clients send together, from 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Listens for clients here [default: 127.0.0.1:8080, or a free port if that is busy].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Serves the live page and metrics here [default: 127.0.0.1:9901, or a free port if that is busy].
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Prints the configuration that the demo runs, and ends.
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.print_config {
        print!("{}", setup::CONFIG);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(watch(arguments))
}

async fn watch(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::hear()?;
    let setup = Setup::new(arguments.listen, arguments.admin)?;
    let switches = setup.switches()?;
    let gateway = Gateway::start_with(setup.config()?, display::event, switches.clone())?;
    match setup.print(&gateway) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result?,
    }

    let clock = Clock::system();
    let tally = Arc::new(Tally::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(story::tell(switches[story::ORIGIN].clone(), clock.clone()));
    let origins = setup.into_origins()?.into_iter().zip(switches);
    for (number, (listener, switch)) in origins.enumerate() {
        tasks.spawn(origin::serve(number, listener, switch, clock.clone()));
    }
    for client in traffic::CLIENTS {
        let (tally, clock) = (tally.clone(), clock.clone());
        tasks.spawn(traffic::send(
            client,
            gateway.address(),
            arguments.rate,
            tally,
            clock,
        ));
    }

    let start = clock.now();
    let end = arguments
        .run_for
        .map_or(Instant::MAX, |run_for| start + run_for);
    let shown = tokio::select! {
        () = signals.end() => Ok(()),
        shown = show(&tally, &clock, start, end) => shown,
    };
    let ran_for = clock.now() - start;
    // Ends the clients before the gateway, so that it has nothing to wait for.
    tasks.shutdown().await;
    let report = tokio::task::spawn_blocking(move || gateway.shutdown()).await?;
    let total = tally.total();
    match shown.and_then(|()| display::summary(&total, ran_for, report)) {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result?,
    }
    if total.served() == 0 {
        return Err("no request was served".into());
    }
    Ok(())
}

/// Prints a line each second until the end.
async fn show(tally: &Tally, clock: &Clock, start: Instant, end: Instant) -> io::Result<()> {
    let mut before = Counts::default();
    for second in 1_u64.. {
        let next = start + Duration::from_secs(second);
        if next > end {
            break;
        }
        clock.sleep_until(next).await;
        let total = tally.total();
        display::second(second, &total.since(&before))?;
        before = total;
    }
    clock.sleep_until(end).await;
    Ok(())
}
