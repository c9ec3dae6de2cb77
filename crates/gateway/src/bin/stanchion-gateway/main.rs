//! The gateway as a program.
#![forbid(unsafe_code)]

mod demo;
mod duration;
mod signals;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stanchion_gateway::{Config, Event, Gateway};

use signals::{Asked, Signals};

/// A request takes about ten allocations, two of them too large for what the system's allocator keeps
/// at hand for a thread.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An HTTP gateway: routes by host and path, and limits by client.
#[derive(Parser)]
#[command(name = "stanchion-gateway", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway before three servers of its own, with traffic to watch, until Ctrl-C.
    Demo(demo::Arguments),
    /// Runs the gateway as a file says, until SIGTERM or Ctrl-C; a second one ends it at once.
    /// SIGHUP reads the file again.
    Run {
        /// The configuration, in TOML.
        file: PathBuf,
        /// Takes over changes of the file only on SIGHUP, and not by itself.
        #[arg(long)]
        no_watch: bool,
    },
    /// Reads a configuration, and reports every mistake with its line and field.
    Check {
        /// The configuration, in TOML.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Run { file, no_watch } => run(file, *no_watch),
        Command::Check { file } => check(file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::read(file)?;
    println!("{}: sound: {config}", file.display());
    Ok(())
}

fn run(file: &Path, no_watch: bool) -> Result<(), Box<dyn Error>> {
    let mut config = Config::read(file)?;
    if !no_watch {
        config = config.watched();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    // Heard from here on, so that a signal during the start is not lost.
    let mut signals = runtime.block_on(async { Signals::hear() })?;
    let size = config.to_string();
    let gateway = Gateway::start_observed(config, |event: &Event| eprintln!("{event}"))?;
    // Standard output belongs to the access log.
    eprintln!(
        "listening on http://{}, admin on http://{}; {size}",
        gateway.address(),
        gateway.admin_address()
    );
    runtime.block_on(async {
        while signals.next().await == Asked::Reload {
            // The observer says how it went.
            let _ = gateway.reload();
        }
        eprintln!("shutting down; a second signal ends at once");
        let ended = tokio::task::spawn_blocking(move || gateway.shutdown());
        tokio::select! {
            report = ended => match report?.connections_cut {
                0 => eprintln!("shut down, nothing was lost"),
                cut => eprintln!("shut down at the deadline, {cut} connections were cut"),
            },
            () = signals.end() => {
                eprintln!("ended at once");
                std::process::exit(130);
            }
        }
        Ok(())
    })
}

/// An error and what caused it, in one line each level.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
