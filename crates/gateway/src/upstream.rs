//! Sends a request to one of an upstream's endpoints.

mod failure;
mod framing;
mod h2;
mod io;
mod lease;
mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use stanchion_core::{Clock, Instant};

use crate::config;
use crate::exchange::{Outbound, Request, Response};
use crate::metrics::{EndpointMetrics, Metrics};
use failure::Failure;
pub(crate) use h2::StreamBody;
pub(crate) use lease::Lease;
use lease::Sent;
use pool::Pool;

/// The endpoints of one upstream, with one worker's connections to them.
#[derive(Debug)]
pub(crate) struct Upstream {
    endpoints: Box<[Endpoint]>,
    turn: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Endpoint {
    name: Arc<str>,
    connections: Connections,
    metrics: EndpointMetrics,
}

/// The connections to one endpoint, by what it speaks.
#[derive(Clone, Debug)]
enum Connections {
    Http1(Arc<Pool>),
    Http2(Arc<h2::Pool>),
}

impl Connections {
    /// Whether they serve under this configuration too, whose bounds they take over then.
    fn stay(&self, config: &config::Upstream) -> bool {
        match self {
            Self::Http1(pool) if config.protocol == config::Protocol::Http1 => {
                pool.set_bounds(config);
                true
            }
            Self::Http2(pool) => pool.is_made_for(config),
            Self::Http1(_) => false,
        }
    }
}

/// Which connection a try may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// One that was kept alive, if there is one.
    Kept,
    New,
}

impl Upstream {
    /// `first` says whose turn it is first, so that workers do not all begin with the same. Of
    /// `before`, the same upstream by an earlier configuration, the endpoints that stay are kept
    /// with their connections.
    pub(crate) fn new(
        config: &config::Upstream,
        metrics: &Metrics,
        clock: &Clock,
        first: usize,
        before: Option<&Self>,
    ) -> Self {
        let endpoint = |name: &Arc<str>| {
            let kept = before.and_then(|before| before.endpoint(name));
            if let Some(kept) = kept.filter(|kept| kept.connections.stay(config)) {
                return kept.clone();
            }
            let metrics = metrics.endpoint(&config.name, name);
            Endpoint {
                name: name.clone(),
                connections: match config.protocol {
                    config::Protocol::Http1 => {
                        let pool = Pool::new(name.clone(), config, metrics.clone(), clock);
                        Connections::Http1(Arc::new(pool))
                    }
                    config::Protocol::Http2 => {
                        let pool = h2::Pool::new(name.clone(), config, metrics.clone(), clock);
                        Connections::Http2(Arc::new(pool))
                    }
                },
                metrics,
            }
        };
        Self {
            endpoints: config.endpoints.iter().map(endpoint).collect(),
            turn: AtomicUsize::new(
                before.map_or(first, |before| before.turn.load(Ordering::Relaxed)),
            ),
        }
    }

    fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|known| *known.name == *name)
    }

    /// The upstream's response, or a problem.
    ///
    /// A second try is made, once, only where nothing of the request was sent: at the next endpoint
    /// if none could be connected to, on a new connection if a kept one turned out to be closed.
    pub(crate) async fn send(&self, mut request: Request) -> Response {
        let id = request.body().origin().id.clone();
        let mut refused = None;
        let mut turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection::Kept;
        let mut second = false;
        loop {
            let endpoint = &self.endpoints[turn % self.endpoints.len()];
            let pool = match &endpoint.connections {
                Connections::Http1(pool) => pool,
                Connections::Http2(pool) => {
                    let failure = match Box::pin(pool.lease(refused.as_ref())).await {
                        Err(failure) if !second && self.endpoints.len() > 1 => {
                            endpoint.metrics.failed(failure.cause());
                            turn = turn.wrapping_add(1);
                            second = true;
                            continue;
                        }
                        Err(failure) => failure,
                        Ok(lease) => {
                            endpoint.metrics.requests.inc();
                            match Box::pin(lease.send(request)).await {
                                (h2::Sent::Answered(response, held), _) => {
                                    let (parts, incoming) = response.into_parts();
                                    let outbound = Outbound::stream(incoming, held);
                                    return answered(parts, outbound, &endpoint.name);
                                }
                                (h2::Sent::Unsent(returned), lease) if !second => {
                                    endpoint.metrics.failed(Failure::Stale.cause());
                                    request = returned;
                                    refused = lease;
                                    turn = turn.wrapping_add(1);
                                    second = true;
                                    continue;
                                }
                                (h2::Sent::Unsent(_), _) => Failure::Stale,
                                (h2::Sent::Failed(failure), _) => failure,
                            }
                        }
                    };
                    return failed(failure, endpoint, &id);
                }
            };
            let failure = match pool.lease(connection).await {
                Err(failure) if !second && self.endpoints.len() > 1 => {
                    endpoint.metrics.failed(failure.cause());
                    turn = turn.wrapping_add(1);
                    second = true;
                    continue;
                }
                Err(failure) => failure,
                Ok(lease) => {
                    endpoint.metrics.requests.inc();
                    match lease.send(request).await {
                        Sent::Answered(response, lease) => {
                            let (parts, incoming) = response.into_parts();
                            let outbound = Outbound::upstream(incoming, lease);
                            return answered(parts, outbound, &endpoint.name);
                        }
                        Sent::Unsent(returned) if !second => {
                            endpoint.metrics.failed(Failure::Stale.cause());
                            request = returned;
                            connection = Connection::New;
                            second = true;
                            continue;
                        }
                        Sent::Unsent(_) => Failure::Stale,
                        Sent::Failed(failure) => failure,
                    }
                }
            };
            return failed(failure, endpoint, &id);
        }
    }

    /// Closes connections that were kept for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        for endpoint in &self.endpoints {
            match &endpoint.connections {
                Connections::Http1(pool) => pool.sweep(now),
                Connections::Http2(pool) => pool.sweep(now),
            }
        }
    }
}

fn failed(failure: Failure, endpoint: &Endpoint, id: &HeaderValue) -> Response {
    endpoint.metrics.failed(failure.cause());
    let mut response = failure.problem().response(id);
    response.body_mut().note_mut().endpoint = Some(endpoint.name.clone());
    response
}

fn answered(parts: http::response::Parts, mut outbound: Outbound, endpoint: &Arc<str>) -> Response {
    outbound.note_mut().endpoint = Some(endpoint.clone());
    Response::from_parts(parts, outbound)
}

/// The times and bounds of one pool.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connect_timeout: Duration,
    idle_timeout: Duration,
    idle_max: usize,
}

impl Bounds {
    fn of(config: &config::Upstream) -> Self {
        Self {
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            idle_max: config.idle_max,
        }
    }
}
