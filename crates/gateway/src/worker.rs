//! One thread with its own listener, runtime, stack and upstream connections. Workers share the
//! limits and the counters, and nothing else that a request touches.

mod housekeeping;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use stanchion_core::{Clock, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::access_log::{AccessLog, LogBuffer};
use crate::exchange::Peer;
use crate::metrics::Http2Metrics;
use crate::outbox::Outbox;
use crate::places::{Place, Places};
use crate::record::Recorder;
use crate::reload::{Followed, Follower};
use crate::shared::{Phase, Shared};
use crate::snapshot::Snapshot;
use crate::stack::GatewayService;
use crate::upstream::Upstream;
use crate::{connection, listener, stack};

/// How long handshakes that are under way get to finish when the listener is to be closed.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(100);
/// How many times tasks get a turn before the kernel is asked what else is ready. One request takes
/// about four turns, so with tokio's own 61 every 15 requests would ask; what is ready waits for no
/// more than what it takes to serve some sixty.
const TASKS_BETWEEN_EVENTS: u32 = 251;
/// How long accepting rests when the process or the machine has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the connections of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    log: Option<Arc<LogBuffer>>,
    outbox: Outbox,
    draining: AtomicBool,
    drain: Notify,
    open: AtomicUsize,
    all_closed: Notify,
}

/// What one worker serves by: a snapshot, and what the worker makes of it for itself.
pub(crate) struct Serving<S> {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) stack: S,
    upstreams: Vec<Arc<Upstream>>,
}

/// What a worker serves by now. Each request loads it once.
pub(crate) type Current<S> = ArcSwap<Serving<S>>;

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
        .event_interval(TASKS_BETWEEN_EVENTS)
        .global_queue_interval(TASKS_BETWEEN_EVENTS)
        .build()?;
    let worker = Arc::new(Worker {
        log: log.map(|log| Arc::new(log.buffer())),
        outbox: Outbox::default(),
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
    let current = follow(&worker);
    worker.shared.worker_begins();
    let running = Running(worker.shared.clone());
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            // Also when it panics, and when the thread cannot be made.
            let _running = running;
            let cut = runtime.block_on(run(worker.clone(), current, listener));
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

/// Serves by the snapshot in force, and from now on by each that follows.
fn follow(worker: &Arc<Worker>) -> Arc<Current<impl GatewayService + use<>>> {
    worker.shared.follow(|snapshot| {
        let current = Arc::new(ArcSwap::from_pointee(worker.serve_by(snapshot, None)));
        let (worker, followed) = (Arc::downgrade(worker), Arc::downgrade(&current));
        let follower = move |snapshot: &Arc<Snapshot>| {
            let (Some(worker), Some(current)) = (worker.upgrade(), followed.upgrade()) else {
                return Followed::Ended;
            };
            let before = current.load();
            let next = worker.serve_by(snapshot, Some((&before.snapshot, &before.upstreams)));
            current.store(Arc::new(next));
            Followed::Swapped
        };
        (current, Box::new(follower) as Follower)
    })
}

async fn run<S: GatewayService>(
    worker: Arc<Worker>,
    current: Arc<Current<S>>,
    listener: TcpListener,
) -> usize {
    tokio::spawn(worker.outbox.clone().serve());
    tokio::spawn(housekeeping::keep(worker.clone(), current.clone()));
    let mut phase = worker.shared.phase.subscribe();
    let mut draining = std::pin::pin!(phase.wait_for(|phase| *phase != Phase::Serving));
    loop {
        tokio::select! {
            biased;
            _ = &mut draining => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    let place = tokio::select! {
                        biased;
                        place = Places::take(worker.shared.places.clone()) => place,
                        // It is in already: it is served, if beyond the bound.
                        _ = &mut draining => {
                            worker.admit(accepted, None, &current);
                            break;
                        }
                    };
                    worker.admit(accepted, Some(place), &current);
                }
                Err(error) => worker.accept_failed(&error).await,
            },
        }
    }
    worker.drain(listener, current).await
}

impl<S> Serving<S> {
    /// Closes upstream connections that were kept for too long.
    fn sweep(&self, now: Instant) {
        for upstream in &self.upstreams {
            upstream.sweep(now);
        }
    }
}

impl Worker {
    /// What this worker makes of a snapshot. Of the upstreams `before` it, what stays is kept.
    fn serve_by(
        &self,
        snapshot: &Arc<Snapshot>,
        before: Option<(&Snapshot, &[Arc<Upstream>])>,
    ) -> Serving<impl GatewayService + use<>> {
        let upstreams = snapshot
            .config
            .upstreams
            .iter()
            .enumerate()
            .map(|(index, config)| {
                let before = before.and_then(|(snapshot, upstreams)| {
                    let known = &snapshot.config.upstreams;
                    let place = known.iter().position(|known| known.name == config.name);
                    place.map(|place| &*upstreams[place])
                });
                let (metrics, clock) = (&self.shared.metrics, &self.shared.clock);
                Arc::new(Upstream::new(
                    index,
                    metrics,
                    clock,
                    &self.outbox,
                    snapshot,
                    before,
                ))
            });
        let upstreams: Vec<_> = upstreams.collect();
        Serving {
            snapshot: snapshot.clone(),
            stack: stack::gateway(self, snapshot, &upstreams),
            upstreams,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Where small writes are left.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn http2_metrics(&self) -> &Http2Metrics {
        &self.shared.metrics.http2
    }

    /// For how long the next request is waited for on a connection when the worker drains.
    pub(crate) fn idle_grace(&self) -> Duration {
        self.shared.snapshot().config.shutdown.idle_grace
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
        place: Option<Place<Arc<Places>>>,
        current: &Arc<Current<S>>,
    ) {
        let open = Open::new(self.clone(), place);
        // It only costs time where it fails.
        let _ = stream.set_nodelay(true);
        let (worker, current) = (self.clone(), current.clone());
        tokio::spawn(async move {
            connection::serve(stream, Peer::new(address), worker, current).await;
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
    async fn drain<S: GatewayService>(
        self: &Arc<Self>,
        listener: TcpListener,
        current: Arc<Current<S>>,
    ) -> usize {
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
                    Ok(accepted) => self.admit(accepted, None, &current),
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
    _place: Option<Place<Arc<Places>>>,
}

impl Open {
    fn new(worker: Arc<Worker>, place: Option<Place<Arc<Places>>>) -> Self {
        worker.open.fetch_add(1, Ordering::Relaxed);
        worker.shared.metrics.accepted.inc();
        worker.shared.metrics.connections.inc();
        Self {
            worker,
            _place: place,
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
