//! One thread with its own listener, runtime, stack and upstream connections. Workers share the
//! limits and the counters, and nothing else that a request touches.

mod housekeeping;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use stanchion_core::{Clock, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::access_log::{AccessLog, LogBuffer};
use crate::client::Clients;
use crate::config::{Config, Listen, Shutdown};
use crate::limit::LimitLayer;
use crate::metrics::Http2Metrics;
use crate::record::Recorder;
use crate::shared::{Phase, Shared};
use crate::stack::GatewayService;
use crate::upstream::Upstream;
use crate::{connection, listener, stack};

/// How long handshakes that are under way get to finish when the listener is to be closed.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(100);
/// How long accepting rests when the process or the machine has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the connections of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    upstreams: Vec<Arc<Upstream>>,
    log: Option<Arc<LogBuffer>>,
    draining: AtomicBool,
    drain: Notify,
    open: AtomicUsize,
    all_closed: Notify,
}

/// Starts worker number `index`. Its thread ends once it is drained, with the number of connections
/// that were cut because the deadline passed.
pub(crate) fn spawn(
    index: usize,
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    log: Option<&AccessLog>,
) -> io::Result<JoinHandle<usize>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let upstream = |config| {
        let upstream = Upstream::new(config, &shared.metrics, &shared.clock, index);
        Arc::new(upstream)
    };
    let worker = Arc::new(Worker {
        upstreams: shared.config.upstreams.iter().map(upstream).collect(),
        log: log.map(|log| Arc::new(log.buffer())),
        draining: AtomicBool::new(false),
        drain: Notify::new(),
        open: AtomicUsize::new(0),
        all_closed: Notify::new(),
        shared,
    });
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    worker.shared.worker_begins();
    let running = Running(worker.shared.clone());
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            // Also when it panics, and when the thread cannot be made.
            let _running = running;
            let cut = runtime.block_on(run(worker.clone(), listener));
            // Drops what was cut, which closes its records.
            runtime.shutdown_background();
            if let Some(log) = &worker.log {
                log.finish();
            }
            cut
        })
}

/// Tells the end of a worker.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.worker_ends();
    }
}

async fn run(worker: Arc<Worker>, listener: TcpListener) -> usize {
    let stack = stack::gateway(&worker);
    tokio::spawn(housekeeping::keep(worker.clone()));
    let mut phase = worker.shared.phase.subscribe();
    let mut draining = std::pin::pin!(phase.wait_for(|phase| *phase != Phase::Serving));
    loop {
        tokio::select! {
            biased;
            _ = &mut draining => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    let permit = tokio::select! {
                        biased;
                        permit = worker.shared.permits.clone().acquire_owned() => permit.ok(),
                        // It is in already: it is served, if beyond the bound.
                        _ = &mut draining => {
                            worker.admit(accepted, None, &stack);
                            break;
                        }
                    };
                    worker.admit(accepted, permit, &stack);
                }
                Err(error) => worker.accept_failed(&error).await,
            },
        }
    }
    worker.drain(listener, stack).await
}

impl Worker {
    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn listen(&self) -> &Listen {
        &self.shared.config.listen
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.shared.config.shutdown
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(crate) fn clients(&self) -> &Clients {
        &self.shared.clients
    }

    pub(crate) fn http2_metrics(&self) -> &Http2Metrics {
        &self.shared.metrics.http2
    }

    /// The limits of each route, in the order of the configuration.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &[LimitLayer]> {
        self.shared.limits.iter().map(Vec::as_slice)
    }

    pub(crate) fn upstream(&self, index: usize) -> &Arc<Upstream> {
        &self.upstreams[index]
    }

    pub(crate) fn recorder(&self, route: &Arc<str>) -> Arc<Recorder> {
        Arc::new(Recorder::new(
            route.clone(),
            self.shared.metrics.route(route),
            self.log.clone(),
            self.clock().clone(),
        ))
    }

    /// Whether responses are to close their connections.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends when draining begins. Polled once, it wakes; then [`is_draining`](Self::is_draining)
    /// is to be asked.
    pub(crate) fn drain_begins(&self) -> Notified<'_> {
        self.drain.notified()
    }

    fn admit<S: GatewayService>(
        self: &Arc<Self>,
        (stream, address): (TcpStream, SocketAddr),
        permit: Option<OwnedSemaphorePermit>,
        stack: &S,
    ) {
        let open = Open::new(self.clone(), permit);
        // It only costs time where it fails.
        let _ = stream.set_nodelay(true);
        let peer = self.clients().peer(address);
        let (worker, stack) = (self.clone(), stack.clone());
        tokio::spawn(async move {
            connection::serve(stream, peer, worker, stack).await;
            drop(open);
        });
    }

    async fn accept_failed(&self, error: &io::Error) {
        self.shared.metrics.accept_errors.inc();
        let of_one_client = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        );
        if !of_one_client {
            // No file descriptors or no memory: trying again at once would burn the core.
            self.clock().sleep(ACCEPT_PAUSE).await;
        }
    }

    /// Serves what is open or on its way, until the deadline; says how many connections were left.
    async fn drain<S: GatewayService>(self: &Arc<Self>, listener: TcpListener, stack: S) -> usize {
        self.draining.store(true, Ordering::Relaxed);
        self.drain.notify_waiters();

        let grace = match listener::refuse_new(&listener) {
            Ok(()) => self.clock().now() + HANDSHAKE_GRACE,
            // Without the filter there is no end to wait for.
            Err(_) => self.clock().now(),
        };
        let mut grace = std::pin::pin!(self.clock().sleep_until(grace));
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => self.admit(accepted, None, &stack),
                    Err(error) => self.accept_failed(&error).await,
                },
                () = &mut grace => break,
            }
        }
        drop(listener);

        let until = match *self.shared.phase.borrow() {
            Phase::Draining { until } => until,
            Phase::Serving | Phase::Stopped => Instant::ZERO,
        };
        let mut deadline = std::pin::pin!(self.clock().sleep_until(until));
        loop {
            let open = self.open.load(Ordering::Relaxed);
            if open == 0 {
                return 0;
            }
            tokio::select! {
                biased;
                () = self.all_closed.notified() => {}
                () = &mut deadline => return open,
            }
        }
    }
}

/// One open connection, counted until it is dropped.
#[derive(Debug)]
struct Open {
    worker: Arc<Worker>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Open {
    fn new(worker: Arc<Worker>, permit: Option<OwnedSemaphorePermit>) -> Self {
        worker.open.fetch_add(1, Ordering::Relaxed);
        worker.shared.metrics.accepted.inc();
        worker.shared.metrics.connections.inc();
        Self {
            worker,
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.shared.metrics.connections.dec();
        if self.worker.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.worker.all_closed.notify_one();
        }
    }
}
