use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use stanchion_core::{Clock, Observe};

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::event::Event;
use crate::reload::{ConfigStatus, ReloadError, Reloaded};
use crate::shared::Shared;
use crate::switch::Switch;
use crate::{admin, listener, worker};

/// A running gateway, on threads of its own.
///
/// [`shutdown`](Self::shutdown) ends it and waits; dropping the handle ends it in the same way
/// without waiting.
///
/// # Examples
///
/// ```
/// use stanchion_gateway::{Config, Gateway};
///
/// let config = Config::from_toml(r#"
///     access_log = "off"
///     listen.address = "127.0.0.1:0"
///     admin.address = "127.0.0.1:0"
///     upstream.users.endpoints = ["http://127.0.0.1:9001"]
///     route = [{ id = "users", upstream = "users" }]
/// "#)?;
/// let gateway = Gateway::start(config)?;
/// println!("listening on http://{}", gateway.address());
/// let report = gateway.shutdown();
/// assert_eq!(report.connections_cut, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    admin_address: SocketAddr,
    workers: Vec<JoinHandle<usize>>,
    admin: Option<JoinHandle<()>>,
    log: Option<AccessLog>,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Client connections that were still open at the deadline, and were closed then.
    pub connections_cut: usize,
}

impl Gateway {
    /// Starts the gateway; when this returns, it accepts connections. Servers that have to be found are
    /// looked for first, for at most two seconds.
    ///
    /// It runs one thread for each worker, one for the admin listener and, unless the access log
    /// is off, one to write that.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, the access log's file cannot be opened, or a thread
    /// or its runtime cannot be made. Nothing is left running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_observed(config, ())
    }

    /// Starts the gateway as [`start`](Self::start) does, and tells `observer` of each
    /// reload and of what becomes of servers.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_observed(
        config: Config,
        observer: impl Observe<Event> + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        Self::start_with(config, observer, [])
    }

    /// Starts the gateway as [`start_observed`](Self::start_observed) does, and lets operators set
    /// these [switches](Switch).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(
        config: Config,
        observer: impl Observe<Event> + Send + Sync + 'static,
        switches: impl IntoIterator<Item = Switch>,
    ) -> Result<Self, StartError> {
        let clock = Clock::system();
        let (listen, operators) = (config.listen.address, config.admin.address);
        let workers = config.workers;
        let listeners = listener::bind(listen, workers.get())
            .map_err(|error| StartError::new(format!("cannot listen on {listen}"), error))?;
        let admin_listener = listener::bind(operators, 1)
            .map_err(|error| StartError::new(format!("cannot listen on {operators}"), error))?
            .remove(0);
        let local = |listener: &std::net::TcpListener, configured| {
            listener.local_addr().unwrap_or(configured)
        };
        let (address, admin_address) = (
            local(&listeners[0], listen),
            local(&admin_listener, operators),
        );
        let target = config.access_log.clone();
        let access = admin::Access::new(&config.admin).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, error);
            StartError::new("cannot take changes".to_owned(), error)
        })?;
        let switches = switches.into_iter().collect();
        let shared = Shared::new(config, clock, observer, switches).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, error);
            StartError::new("cannot serve by the configuration".to_owned(), error)
        })?;
        let log = AccessLog::open(&target, &shared.metrics.log_lines_dropped)
            .map_err(|error| StartError::new("cannot open the access log".to_owned(), error))?;

        // From here on, an error drops this, which ends the threads that run already.
        let mut gateway = Self {
            shared: Arc::new(shared),
            address,
            admin_address,
            workers: Vec::with_capacity(listeners.len()),
            admin: None,
            log,
        };
        let no_thread = |error| StartError::new("cannot start a thread".to_owned(), error);
        gateway.admin =
            Some(admin::spawn(admin_listener, gateway.shared.clone(), access).map_err(no_thread)?);
        gateway.shared.wait_for_servers();
        for (index, listener) in listeners.into_iter().enumerate() {
            let worker = worker::spawn(
                index,
                listener,
                gateway.shared.clone(),
                gateway.log.as_ref(),
            );
            gateway.workers.push(worker.map_err(no_thread)?);
        }
        Ok(gateway)
    }

    /// Reads the configuration's file again, and takes it over if it says something else.
    ///
    /// What stays the same keeps its state: the buckets of a limit with the same route, name and
    /// numbers; the connections to an endpoint of the same upstream; all counters. Requests under
    /// way end as they began. When this returns, every request whose head is read from then on is
    /// served by the new configuration. It blocks while it reads and builds, some milliseconds.
    ///
    /// A few fields take a restart; those that changed are [told](Reloaded::restart), and the
    /// others are in force.
    ///
    /// # Errors
    ///
    /// When the configuration was not [read from a file](Config::read), or the file cannot be read
    /// or is refused. Nothing changed then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.shared.reload()
    }

    /// Takes over another configuration, as [`reload`](Self::reload) does that of the file.
    ///
    /// # Errors
    ///
    /// When a secret cannot be read, or a thread cannot be made. Nothing changed then.
    pub fn apply(&self, config: Config) -> Result<Reloaded, ReloadError> {
        self.shared.apply(config)
    }

    /// Which configuration is in force, and how the last reload went.
    #[must_use]
    pub fn config_status(&self) -> ConfigStatus {
        self.shared.reloading.status()
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `/healthz`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Begins the shutdown and returns at once. Asking again changes nothing.
    pub fn begin_shutdown(&self) {
        self.shared.leave.notify_one();
    }

    /// Shuts down and waits until that is done.
    ///
    /// Readiness goes off; after the wait `shutdown.announce` no new connections are taken, but
    /// those that reached the listening queue still are; requests under way, and those that still
    /// come on open connections, are answered with `Connection: close`; connections on which
    /// nothing comes are closed after `shutdown.idle_grace`; what is left at `shutdown.deadline`
    /// is cut.
    ///
    /// # Panics
    ///
    /// When a worker panicked.
    #[expect(
        clippy::must_use_candidate,
        reason = "it is called for what it does; the report may be ignored"
    )]
    pub fn shutdown(mut self) -> Report {
        self.begin_shutdown();
        let cut = self.workers.drain(..).map(|worker| match worker.join() {
            Ok(cut) => cut,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let connections_cut = cut.sum();
        if let Some(admin) = self.admin.take()
            && let Err(panic) = admin.join()
        {
            std::panic::resume_unwind(panic);
        }
        if let Some(log) = self.log.take() {
            log.finish();
        }
        Report { connections_cut }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}

/// Why a gateway did not start.
#[derive(Debug)]
pub struct StartError {
    what: String,
    source: io::Error,
}

impl StartError {
    fn new(what: String, source: io::Error) -> Self {
        Self { what, source }
    }

    /// The kind of what the operating system said: `AddrInUse` where another process listens.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use crate::limit::Limit;
    use crate::snapshot::Snapshot;

    use super::*;

    fn config(rate: usize) -> Config {
        let text = format!(
            "workers = 2\naccess_log = \"off\"\nlisten.address = \"127.0.0.1:0\"\n\
             admin.address = \"127.0.0.1:0\"\nupstream.main.endpoints = [\"http://127.0.0.1:9\"]\n\
             [[route]]\nid = \"all\"\nupstream = \"main\"\n\
             [[route.limit]]\nby = \"address\"\nrate = \"{rate}/s\"\nkeys_max = 100\n"
        );
        Config::from_toml(&text).unwrap()
    }

    #[test]
    fn nothing_holds_a_snapshot_that_went() {
        let gateway = Gateway::start(config(1)).unwrap();
        let mut gone: Vec<Weak<Snapshot>> = Vec::new();
        for rate in 2..=1_001 {
            gone.push(Arc::downgrade(&gateway.shared.snapshot()));
            gateway.apply(config(rate)).unwrap();
        }
        // Whoever answers operators may hold the last one for a moment.
        let deadline = std::time::Duration::from_secs(10);
        testkit::eventually_blocking(deadline, "all of them are dropped", || {
            gone.iter().all(|snapshot| snapshot.upgrade().is_none())
        });
        let snapshot = gateway.shared.snapshot();
        assert_eq!(snapshot.limits().map(<[Limit]>::len).sum::<usize>(), 1);
        gateway.shutdown();
    }
}
