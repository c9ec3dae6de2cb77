//! What the caller gives a limiter to keep its state in.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::redis::cluster::ClusterClient;
use ::redis::{Client, RedisError};
use stanchion_backoff::Backoff;
use stanchion_core::{Clock, Observe};
use tokio::runtime::Handle;

use super::link::{Link, Shared};
use super::session::Server;

/// Where Redis is, and how to keep in touch with it; checked, and not connected yet.
pub struct RedisServers {
    server: Server,
    clock: Clock,
    backoff: Backoff,
    observer: Option<Box<dyn Observe<StoreEvent> + Send + Sync>>,
}

const BASE: Duration = Duration::from_millis(10);
const CAP: Duration = Duration::from_secs(1);

impl RedisServers {
    /// One server: `redis://[user:password@]host[:port][/db]`, or `unix:///path`.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn standalone(url: &str) -> Result<Self, InvalidServers> {
        let client = Client::open(url).map_err(|error| InvalidServers::new(url, error))?;
        Ok(Self::new(Server::Standalone(client)))
    }

    /// A cluster, by the addresses of some of its nodes; the others are found through them.
    ///
    /// # Errors
    ///
    /// When there is no address, or one of them is none, or their credentials differ.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidServers> {
        let urls: Vec<&str> = urls.into_iter().collect();
        // A command that may have been run is not to be sent again: redirections, which say that
        // it was not, are followed by `link`.
        let client = ClusterClient::builder(urls.iter().copied())
            .retries(0)
            .build()
            .map_err(|error| InvalidServers::new(&urls.join(", "), error))?;
        Ok(Self::new(Server::Cluster(Box::new(client))))
    }

    fn new(server: Server) -> Self {
        Self {
            server,
            clock: Clock::system(),
            backoff: Backoff::new(BASE, CAP).expect("10 ms is not above 1 s"),
            observer: None,
        }
    }

    /// Waits by `clock`. Default: [`Clock::system`].
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How long to leave Redis alone after it did not answer: `base` at first, twice as long each
    /// time, at most `cap`; each shortened by chance to no less than half. Default: 10 ms, 1 s.
    ///
    /// # Errors
    ///
    /// `base` must be positive, and `cap` at least `base`.
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Result<Self, InvalidServers> {
        self.backoff = Backoff::new(base, cap).map_err(|error| InvalidServers {
            problem: Problem::Backoff(error.to_string()),
        })?;
        Ok(self)
    }

    /// Tells `observer` when Redis stops to answer, and when it answers again. Default: nobody.
    #[must_use]
    pub fn with_observer(
        mut self,
        observer: impl Observe<StoreEvent> + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }
}

impl fmt::Debug for RedisServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address may hold a password.
        let kind = match self.server {
            Server::Standalone(_) => "standalone",
            Server::Cluster(_) => "cluster",
        };
        f.debug_struct("RedisServers")
            .field("kind", &kind)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// A connection to Redis that many limiters share; clones are the same connection.
///
/// It is made and replaced in the background, by one task on the runtime that was given. With the
/// last handle, and the last limiter that uses it, the task ends and the connection is closed.
///
/// **Away.** A standalone server is away when the connection broke, or three calls in a row were
/// not answered in time; then no call waits for it, until the task has connected anew and heard an
/// answer. In a cluster each 256 slots are judged on their own, so a node that is away takes only
/// its keys with it; one call in turn finds out whether it is back.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    handle: Handle,
}

/// What a store's observer hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEvent {
    /// Redis, or a part of a cluster, does not answer; calls are decided by their outage policy at
    /// once.
    Away,
    /// It answers, for the first time or again.
    Answers,
}

/// A store in plain numbers, to make metrics from. Numbers are since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSnapshot {
    /// There is a connection on which Redis answered.
    pub connected: bool,
    /// Connections made.
    pub connections: u64,
    /// Commands sent.
    pub asked: u64,
    /// Calls that were not answered within their deadline.
    pub timed_out: u64,
    /// Calls that were answered with an error, or lost with the connection.
    pub failed: u64,
    /// Calls that were not sent because Redis was known to be away.
    pub not_asked: u64,
}

impl RedisStore {
    /// Begins to connect, on the runtime of `handle`, and returns at once.
    ///
    /// Calls that come before the first connection is made, or has failed, wait for it up to their
    /// deadline.
    ///
    /// The runtime must have its I/O and its timer enabled. One task of ours runs on it, and the
    /// connection's own.
    #[must_use]
    pub fn connect_on(servers: RedisServers, handle: &Handle) -> Self {
        let RedisServers {
            server,
            clock,
            backoff,
            observer,
        } = servers;
        Self {
            link: Arc::new(Link::new(server, handle, clock, backoff, observer)),
            handle: handle.clone(),
        }
    }

    /// The store in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> StoreSnapshot {
        let shared = self.shared();
        let counts = &shared.counts;
        StoreSnapshot {
            connected: shared.is_up(),
            connections: counts.connected.load(Ordering::Relaxed),
            asked: counts.asked.load(Ordering::Relaxed),
            timed_out: counts.timed_out.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            not_asked: counts.not_asked.load(Ordering::Relaxed),
        }
    }

    /// Whether both are the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.link.shared()
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("connected", &self.shared().is_up())
            .finish_non_exhaustive()
    }
}

/// Addresses or settings that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidServers {
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Url { url: String, why: String },
    Backoff(String),
}

impl InvalidServers {
    fn new(url: &str, error: RedisError) -> Self {
        Self {
            problem: Problem::Url {
                url: without_password(url),
                why: error.to_string(),
            },
        }
    }
}

/// What stands before an `@` may be a secret.
fn without_password(url: &str) -> String {
    let hide = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        (None, Some((_, place))) => format!("…@{place}"),
        (_, None) => url.to_owned(),
    };
    let urls: Vec<_> = url.split(", ").map(hide).collect();
    urls.join(", ")
}

impl fmt::Display for InvalidServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Url { url, why } => write!(
                f,
                "url is {url:?}, must be like \"redis://127.0.0.1:6379\" ({why})"
            ),
            Problem::Backoff(why) => write!(f, "backoff: {why}"),
        }
    }
}

impl Error for InvalidServers {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_addresses_are_refused_without_telling_passwords() {
        let refused =
            |result: Result<RedisServers, InvalidServers>| result.unwrap_err().to_string();
        let said = refused(RedisServers::standalone("http://anna:secret@host"));
        assert!(
            said.starts_with("url is \"http://…@host\", must be like"),
            "{said}"
        );
        assert!(!said.contains("secret"), "{said}");
        let said = refused(RedisServers::cluster([]));
        assert!(said.starts_with("url is \"\""), "{said}");
        let one = || RedisServers::standalone("redis://127.0.0.1/").unwrap();
        let said = refused(one().with_backoff(CAP, BASE));
        assert_eq!(
            said,
            "backoff: cap is 10ms, must be at least the base of 1s"
        );
        assert!(!format!("{:?}", one()).contains("127"));
    }
}
