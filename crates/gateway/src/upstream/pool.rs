use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::failure::Failure;
use super::io::{InUse, UpstreamIo};
use super::lease::Lease;
use super::{Bounds, Connection};
use crate::config;
use crate::exchange::Inbound;
use crate::metrics::EndpointMetrics;
use crate::timer::within;

/// The most a response's head may take, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

pub(super) type Sender = http1::SendRequest<Inbound>;

/// One worker's connections to one endpoint.
///
/// At most `connections_max` are open. A lease, that is a connection in use or being made, holds a
/// permit. A new connection is made only when none is kept, so those that are kept and those in
/// use are never more than the permits.
#[derive(Debug)]
pub(super) struct Pool {
    /// Host and port.
    address: Arc<str>,
    bounds: Bounds,
    metrics: EndpointMetrics,
    clock: Clock,
    permits: Semaphore,
    /// The most recently used last. Used by one thread, so never contended.
    kept: Mutex<VecDeque<Kept>>,
}

/// A connection that waits for its next request.
#[derive(Debug)]
struct Kept {
    sender: Sender,
    in_use: InUse,
    since: Instant,
}

impl Pool {
    pub(super) fn new(
        address: Arc<str>,
        config: &config::Upstream,
        metrics: EndpointMetrics,
        clock: &Clock,
    ) -> Self {
        Self {
            address,
            bounds: Bounds {
                connect_timeout: config.connect_timeout,
                response_timeout: config.response_timeout,
                idle_timeout: config.idle_timeout,
                idle_max: config.idle_max,
            },
            metrics,
            clock: clock.clone(),
            permits: Semaphore::new(config.connections_max),
            kept: Mutex::new(VecDeque::new()),
        }
    }

    /// A connection to send one request on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its place; a connection being made is closed.
    pub(super) async fn lease(self: &Arc<Self>, connection: Connection) -> Result<Lease, Failure> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => within(
                &self.clock,
                self.bounds.connect_timeout,
                self.permits.acquire(),
            )
            .await
            .and_then(Result::ok)
            .ok_or(Failure::Exhausted)?,
        };
        let kept = match connection {
            Connection::Kept => self.take_kept(),
            Connection::New => {
                // Makes room for the new one.
                self.kept.lock().pop_front();
                None
            }
        };
        let (sender, in_use) = match kept {
            Some(kept) => (kept.sender, kept.in_use),
            None => self.connect().await?,
        };
        permit.forget();
        Ok(Lease::new(self.clone(), sender, in_use))
    }

    /// The connection used last of those that are still open and not too old.
    fn take_kept(&self) -> Option<Kept> {
        let mut kept = self.kept.lock();
        if kept.is_empty() {
            return None;
        }
        let now = self.clock.now();
        while let Some(last) = kept.pop_back() {
            if now - last.since >= self.bounds.idle_timeout {
                // The others are older.
                kept.clear();
                return None;
            }
            if last.sender.is_ready() {
                return Some(last);
            }
        }
        None
    }

    async fn connect(&self) -> Result<(Sender, InUse), Failure> {
        let limit = self.bounds.connect_timeout;
        let stream = within(&self.clock, limit, open(&self.address))
            .await
            .ok_or(Failure::ConnectTimeout)?
            .map_err(|_| Failure::ConnectRefused)?;
        let open = self.metrics.opened();
        let (io, in_use) = UpstreamIo::new(stream, self.bounds.response_timeout, &self.clock);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| Failure::ConnectRefused)?;
        // Ends when the lease is dropped, or when the endpoint closes. Its errors reach whoever
        // waits for a response.
        tokio::spawn(async move {
            drop(connection.await);
            drop(open);
        });
        Ok((sender, in_use))
    }

    /// Keeps a connection that is ready for its next request, and frees its place.
    pub(super) fn give_back(&self, sender: Sender, in_use: InUse) {
        let since = self.clock.now();
        let mut kept = self.kept.lock();
        if kept.len() < self.bounds.idle_max {
            kept.push_back(Kept {
                sender,
                in_use,
                since,
            });
        }
    }

    /// Frees the place of a lease.
    pub(super) fn free(&self) {
        self.permits.add_permits(1);
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How long a connection whose response is over may take to become ready.
    pub(super) fn settle_timeout(&self) -> Duration {
        self.bounds.response_timeout
    }

    /// Closes what was kept for too long, and forgets what the endpoint closed.
    pub(super) fn sweep(&self, now: Instant) {
        let fresh =
            |kept: &Kept| now - kept.since < self.bounds.idle_timeout && !kept.sender.is_closed();
        self.kept.lock().retain(fresh);
    }
}

async fn open(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
