use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant};
use tokio::net::TcpStream;

use super::failure::Failure;
use super::io::{InUse, Patience, UpstreamIo};
use super::lease::Lease;
use super::{Bounds, Connection};
use crate::config;
use crate::exchange::Inbound;
use crate::metrics::EndpointMetrics;
use crate::outbox::Outbox;
use crate::places::Places;
use crate::timer::within;

/// The most a response's head may take, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection as those have it who use or keep it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) sender: http1::SendRequest<Inbound>,
    pub(super) in_use: InUse,
}

/// One worker's connections to one endpoint.
///
/// At most `connections_max` are open. A lease, that is a connection in use or being made, holds a
/// place. A new connection is made only when none is kept, so those that are kept and those in use
/// are never more than the places.
#[derive(Debug)]
pub(super) struct Pool {
    /// Host and port.
    address: Arc<str>,
    patience: Patience,
    metrics: EndpointMetrics,
    clock: Clock,
    outbox: Outbox,
    places: Places,
    /// Used by one thread, and by a reload, so hardly ever contended.
    shelf: Mutex<Shelf>,
}

/// The connections that are kept, and for how long.
#[derive(Debug)]
struct Shelf {
    bounds: Bounds,
    /// The most recently used last.
    kept: VecDeque<Kept>,
}

/// A connection that waits for its next request.
#[derive(Debug)]
struct Kept {
    held: Held,
    since: Instant,
}

impl Pool {
    pub(super) fn new(
        address: Arc<str>,
        config: &config::Upstream,
        metrics: EndpointMetrics,
        clock: &Clock,
        outbox: &Outbox,
    ) -> Self {
        Self {
            address,
            patience: Patience::new(config.response_timeout),
            metrics,
            clock: clock.clone(),
            outbox: outbox.clone(),
            places: Places::new(config.connections_max),
            shelf: Mutex::new(Shelf {
                bounds: Bounds::of(config),
                kept: VecDeque::new(),
            }),
        }
    }

    /// Takes over changed times and bounds, for the connections that there are too.
    pub(super) fn set_bounds(&self, config: &config::Upstream) {
        self.patience.set(config.response_timeout);
        self.places.set_max(config.connections_max);
        let shelf = &mut *self.shelf.lock();
        shelf.bounds = Bounds::of(config);
        // Those that were used last stay.
        let surplus = shelf.kept.len().saturating_sub(config.idle_max);
        shelf.kept.drain(..surplus);
    }

    /// A connection that was kept, if there is one and a place is free.
    pub(super) fn lease_kept(self: &Arc<Self>) -> Option<Lease> {
        let place = Places::try_take(&self.places)?;
        let kept = self.take_kept()?;
        place.forget();
        Some(Lease::new(self.clone(), kept.held))
    }

    /// A connection to send one request on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its place; a connection being made is closed.
    pub(super) async fn lease(self: &Arc<Self>, connection: Connection) -> Result<Lease, Failure> {
        let place = match Places::try_take(&self.places) {
            Some(place) => place,
            // Boxed, as is connecting: seldom, and not to be carried along by every request.
            None => {
                let limit = self.connect_timeout();
                Box::pin(within(&self.clock, limit, Places::take(&self.places)))
                    .await
                    .ok_or(Failure::Exhausted)?
            }
        };
        let kept = match connection {
            Connection::Kept => self.take_kept(),
            Connection::New => {
                // Makes room for the new one.
                self.shelf.lock().kept.pop_front();
                None
            }
        };
        let held = match kept {
            Some(kept) => kept.held,
            None => Box::pin(self.connect()).await?,
        };
        place.forget();
        Ok(Lease::new(self.clone(), held))
    }

    /// The connection used last of those that are still open and not too old.
    fn take_kept(&self) -> Option<Kept> {
        let shelf = &mut *self.shelf.lock();
        if shelf.kept.is_empty() {
            return None;
        }
        let now = self.clock.now();
        while let Some(last) = shelf.kept.pop_back() {
            if now - last.since >= shelf.bounds.idle_timeout {
                // The others are older.
                shelf.kept.clear();
                return None;
            }
            if last.held.sender.is_ready() {
                return Some(last);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Held, Failure> {
        let limit = self.connect_timeout();
        let stream = within(&self.clock, limit, open(&self.address))
            .await
            .ok_or(Failure::ConnectTimeout)?
            .map_err(|_| Failure::ConnectRefused)?;
        let open = self.metrics.opened();
        let (io, in_use) = UpstreamIo::new(
            stream,
            self.outbox.clone(),
            self.patience.clone(),
            &self.clock,
        );
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| Failure::ConnectRefused)?;
        // Ends when the lease is dropped, or when the endpoint closes. Its errors reach whoever
        // waits for a response.
        let known = in_use.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = std::future::poll_fn(|cx| {
                // hyper wakes it once more when the last of a body is taken from it.
                if known.has_nothing_to_do() {
                    return Poll::Pending;
                }
                connection.as_mut().poll(cx)
            });
            drop(ended.await);
            drop(open);
        });
        Ok(Held { sender, in_use })
    }

    /// Keeps a connection that is ready for its next request, and frees its place.
    pub(super) fn give_back(&self, held: Held) {
        let since = self.clock.now();
        let shelf = &mut *self.shelf.lock();
        if shelf.kept.len() < shelf.bounds.idle_max {
            shelf.kept.push_back(Kept { held, since });
        }
    }

    /// Frees the place of a lease.
    pub(super) fn free(&self) {
        self.places.give_back();
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long a connection whose response is over may take to become ready.
    pub(super) fn settle_timeout(&self) -> Duration {
        self.patience.get()
    }

    fn connect_timeout(&self) -> Duration {
        self.shelf.lock().bounds.connect_timeout
    }

    /// Closes what was kept for too long, and forgets what the endpoint closed.
    pub(super) fn sweep(&self, now: Instant) {
        let Shelf { bounds, kept } = &mut *self.shelf.lock();
        kept.retain(|kept| now - kept.since < bounds.idle_timeout && !kept.held.sender.is_closed());
    }
}

impl Drop for Held {
    /// Before the sender is dropped: the connection, which ends then, is polled only if it is in use.
    fn drop(&mut self) {
        self.in_use.set(true);
    }
}

pub(super) async fn open(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
