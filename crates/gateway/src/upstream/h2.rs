//! Connections of HTTP/2 to one endpoint, each of which carries many requests at a time.

mod loan;

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant};
use tokio::sync::Semaphore;

use super::failure::Failure;
use super::pool::open;
use crate::config;
use crate::exchange::Request;
use crate::metrics::EndpointMetrics;
use crate::timer::{HyperTimer, LazyTimer, within};
pub(super) use loan::Lender;
use loan::Lent;

/// The most a response's head may take, in bytes.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// What the body of one response may hold in memory, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// What the bodies of one connection's responses may: more than `streams_max` is likely to be times
/// the above, so that clients who take theirs slowly do not hold up others.
///
/// It bounds small frames as well: `h2` counts one that is not taken yet as 256 bytes, and closes a
/// connection where half of this is used up beyond the data itself. Of messages of 10 bytes, that
/// are 40 responses which nobody takes.
const WINDOW: u32 = 256 * 1024 * 1024;
/// What one request's body may hold in memory that the server's windows are open for, in bytes.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// How often a server is asked whether it is still there, while an answer is due.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type Sender = http2::SendRequest<Lent>;

/// One worker's connections to one endpoint.
///
/// At most `connections_max` take requests, and each has at most `streams_max` under way, or as
/// many as the server allows, if those are fewer. Those that the server closes to new requests may
/// stay beside them until the last response is over; all responses under way together are never
/// more than the places.
#[derive(Debug)]
pub(super) struct Pool {
    /// Host and port.
    address: Arc<str>,
    metrics: EndpointMetrics,
    clock: Clock,
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_timeout: Duration,
    connections_max: usize,
    streams_max: usize,
    /// One for each request under way.
    places: Arc<Semaphore>,
    /// Held by whoever opens a connection, so that those who wait find it.
    opening: tokio::sync::Mutex<()>,
    /// Those that take requests. Of one thread, so never contended.
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    sender: Sender,
    streams: AtomicUsize,
    /// How many the server allows.
    streams_max: AtomicUsize,
    /// When the last response was over.
    idle_since: AtomicU64,
}

/// A place for one request on a connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct StreamLease {
    pool: Arc<Pool>,
    connection: Arc<Connection>,
}

/// What became of a request.
#[expect(clippy::large_enum_variant, reason = "nearly every one is answered")]
pub(super) enum Sent {
    Answered(http::Response<Incoming>, StreamBody),
    /// The server did not begin with it, and it is whole.
    Unsent(Request),
    Failed(Failure),
}

impl Pool {
    pub(super) fn new(
        address: Arc<str>,
        config: &config::Upstream,
        metrics: EndpointMetrics,
        clock: &Clock,
    ) -> Self {
        let places = config.connections_max.saturating_mul(config.streams_max);
        Self {
            address,
            metrics,
            clock: clock.clone(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            connections_max: config.connections_max,
            streams_max: config.streams_max,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            opening: tokio::sync::Mutex::new(()),
            connections: Mutex::new(Vec::new()),
        }
    }

    /// Whether a pool for this configuration would be the same. If not, another one is made, and
    /// this one ends with its last response.
    pub(super) fn is_made_for(&self, config: &config::Upstream) -> bool {
        config.protocol == config::Protocol::Http2
            && config.connect_timeout == self.connect_timeout
            && config.response_timeout == self.response_timeout
            && config.idle_timeout == self.idle_timeout
            && config.connections_max == self.connections_max
            && config.streams_max == self.streams_max
    }

    /// A place to send one request, if it can be had on another connection than `not`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its place; a connection being made is closed.
    pub(super) async fn lease(
        self: &Arc<Self>,
        not: Option<&StreamLease>,
    ) -> Result<StreamLease, Failure> {
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let place = within(&self.clock, self.connect_timeout, self.places.acquire());
                let place = place.await.and_then(Result::ok);
                place.ok_or(Failure::Exhausted)?
            }
        };
        let connection = match self.take(not) {
            Some(connection) => connection,
            None => {
                let opened = within(&self.clock, self.connect_timeout, self.open(not)).await;
                opened.unwrap_or(Err(Failure::ConnectTimeout))?
            }
        };
        place.forget();
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Ok(StreamLease {
            pool: self.clone(),
            connection,
        })
    }

    /// A connection that someone else opened meanwhile, or a new one.
    async fn open(self: &Arc<Self>, not: Option<&StreamLease>) -> Result<Arc<Connection>, Failure> {
        let _turn = self.opening.lock().await;
        match self.take(not) {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// The connection with the fewest requests under way; none where a new one may be made.
    fn take(&self, not: Option<&StreamLease>) -> Option<Arc<Connection>> {
        let mut connections = self.connections.lock();
        connections.retain(|connection| !connection.sender.is_closed());
        let may_open = connections.len() < self.connections_max;
        let others = connections.iter().filter(|connection| {
            let avoided = not.is_some_and(|not| Arc::ptr_eq(&not.connection, connection));
            !(may_open && (avoided || connection.is_full(self.streams_max)))
        });
        others
            .min_by_key(|connection| connection.streams())
            .cloned()
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<Connection>, Failure> {
        let stream = open(&self.address)
            .await
            .map_err(|_| Failure::ConnectRefused)?;
        let open = self.metrics.opened();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(HyperTimer::new(&self.clock))
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buf_size(SEND_BYTES_MAX)
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Failure::ConnectRefused)?;
        let made = Arc::new(Connection {
            sender,
            streams: AtomicUsize::new(0),
            streams_max: AtomicUsize::new(usize::MAX),
            idle_since: AtomicU64::new(self.clock.now().as_nanos()),
        });
        // Ends when all senders are gone, or when the endpoint closes. Its errors reach whoever
        // waits for a response.
        let told = Arc::downgrade(&made);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = std::future::poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                if let Some(told) = told.upgrade() {
                    let allowed = connection.current_max_send_streams();
                    told.streams_max.store(allowed, Ordering::Relaxed);
                }
                ended
            });
            drop(ended.await);
            drop(open);
        });
        self.connections.lock().push(made.clone());
        Ok(made)
    }

    /// Closes what was idle for too long, and forgets what the endpoint closed.
    pub(super) fn sweep(&self, now: Instant) {
        self.connections.lock().retain(|connection| {
            let idle_since = Instant::from_nanos(connection.idle_since.load(Ordering::Relaxed));
            let idle = connection.streams() == 0 && now - idle_since >= self.idle_timeout;
            !idle && !connection.sender.is_closed()
        });
    }
}

impl Connection {
    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn is_full(&self, streams_max: usize) -> bool {
        self.streams() >= streams_max.min(self.streams_max.load(Ordering::Relaxed))
    }
}

impl StreamLease {
    /// Sends a request, and waits for the head of the response.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the stream.
    pub(super) async fn send(self, request: Request) -> (Sent, Option<Self>) {
        let (parts, inbound) = request.into_parts();
        let Some(head) = head(&parts) else {
            return (Sent::Failed(Failure::Invalid), None);
        };
        let clock = &self.pool.clock;
        let (lender, lent) = Lender::lend(inbound, clock);
        let mut sender = self.connection.sender.clone();
        let mut answer = pin!(sender.try_send_request(http::Request::from_parts(head, lent)));
        let mut timer = LazyTimer::new(clock.clone());
        let answer = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            let deadline = lender.moved() + self.pool.response_timeout;
            timer.poll(cx, deadline).map(|()| None)
        });
        let error = match answer.await {
            Some(Ok(response)) => {
                lender.settle();
                let body = StreamBody {
                    patience: self.pool.response_timeout,
                    lender,
                    timer,
                    _lease: self,
                };
                return (Sent::Answered(response, body), None);
            }
            Some(Err(error)) => error,
            None => return (Sent::Failed(Failure::ResponseTimeout), None),
        };
        let unsent = error.message().is_some() || was_refused(error.error());
        let failure = lender.failure();
        if let (true, None) = (unsent, failure)
            && let Some(inbound) = lender.take_back()
        {
            return (
                Sent::Unsent(Box::new(http::Request::from_parts(parts, inbound))),
                Some(self),
            );
        }
        let failure = failure.unwrap_or_else(|| Failure::of(error.error()));
        (Sent::Failed(failure), None)
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        let now = self.pool.clock.now();
        self.connection
            .idle_since
            .store(now.as_nanos(), Ordering::Relaxed);
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
        self.pool.places.add_permits(1);
    }
}

/// What the body of a response holds on to, until it is over.
#[derive(Debug)]
pub(crate) struct StreamBody {
    lender: Lender,
    patience: Duration,
    timer: LazyTimer,
    _lease: StreamLease,
}

impl StreamBody {
    /// A part of the response came.
    pub(crate) fn moved(&self) {
        self.lender.touch();
    }

    /// Ready when nothing moved for too long, either way.
    pub(crate) fn poll_late(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        self.timer.poll(cx, self.lender.moved() + self.patience)
    }
}

/// The head of the same request in HTTP/2: the host is the authority of its target.
fn head(parts: &Parts) -> Option<Parts> {
    let mut head = http::Request::new(()).into_parts().0;
    head.method = parts.method.clone();
    head.headers = parts.headers.clone();
    head.version = Version::HTTP_2;
    let host = head.headers.remove(header::HOST)?;
    head.headers.remove(header::TRANSFER_ENCODING);
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = Some(authority(&host)?);
    uri.path_and_query = Some(parts.uri.path_and_query()?.clone());
    head.uri = Uri::from_parts(uri).ok()?;
    Some(head)
}

fn authority(host: &HeaderValue) -> Option<http::uri::Authority> {
    host.as_bytes().try_into().ok()
}

/// Whether the server said that it did not begin with the request.
///
/// Source: RFC 9113, sections 6.8 and 8.7.
fn was_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|error: &h2::Error| {
        // Of GOAWAY, only the streams above its last one hear this way.
        error.is_remote()
            && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
