//! Sends a request to one of an upstream's endpoints.

mod failure;
mod framing;
mod h2;
mod io;
mod lease;
mod pool;
mod sending;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use hyper::body::Incoming;
use stanchion_core::{Clock, Instant, Outcome};

use crate::breaker::{self, Admitted, Breakers, Guards, Refusal};
use crate::config;
use crate::exchange::{Outbound, Request, Response};
use crate::forward;
use crate::metrics::{EndpointMetrics, Metrics};
use failure::Failure;
pub(crate) use h2::StreamBody;
pub(crate) use lease::Lease;
use lease::Sent;
use pool::Pool;
use sending::Sending;

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
    guards: Guards,
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
        breakers: &Breakers,
        before: Option<&Self>,
    ) -> Self {
        let endpoint = |name: &Arc<str>| {
            let guards = breakers.endpoint(&config.name, name);
            let kept = before.and_then(|before| before.endpoint(name));
            if let Some(kept) = kept.filter(|kept| kept.connections.stay(config)) {
                return Endpoint {
                    guards,
                    ..kept.clone()
                };
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
                guards,
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
    /// Endpoints whose breaker or throttle refuses are passed over.
    pub(crate) fn send(
        self: &Arc<Self>,
        request: Request,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let id = request.body().origin().id.clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.at(turn);
        let asked = endpoint.guards.admit();
        let kept = match (&asked, &endpoint.connections) {
            (Ok(_), Connections::Http1(pool)) => pool.lease_kept(),
            _ => None,
        };
        match (asked, kept) {
            (Ok(admitted), Some(lease)) => {
                endpoint.metrics.requests.inc();
                let answer = Box::pin(lease.send(request));
                Sending::begun(self.clone(), turn, id, admitted, answer)
            }
            (asked, _) => Sending::slowly(
                self.clone(),
                request,
                Way {
                    turn,
                    connection: Connection::Kept,
                    second: false,
                    asked: Some(asked),
                },
            ),
        }
    }

    /// The endpoint whose turn it is.
    fn at(&self, turn: usize) -> &Endpoint {
        &self.endpoints[turn % self.endpoints.len()]
    }

    /// What [`send`](Self::send) does where there is something to wait for besides the response.
    async fn send_slowly(self: Arc<Self>, mut request: Request, way: Way) -> Response {
        let id = request.body().origin().id.clone();
        let mut refused = None;
        let Way {
            mut turn,
            mut connection,
            mut second,
            mut asked,
        } = way;
        let mut passed_over = PassedOver::default();
        loop {
            let endpoint = self.at(turn);
            let admitted = match asked.take().unwrap_or_else(|| endpoint.guards.admit()) {
                Ok(admitted) => admitted,
                Err(refusal) => {
                    passed_over.add(refusal);
                    if passed_over.count < self.endpoints.len() {
                        turn = turn.wrapping_add(1);
                        continue;
                    }
                    return match passed_over.failed {
                        Some((failure, endpoint)) => endpoint.problem(failure, &id),
                        None => breaker::refuse(&passed_over.soonest(refusal), &id),
                    };
                }
            };
            let no_connection = match &endpoint.connections {
                Connections::Http1(pool) => match pool.lease(connection).await {
                    Err(failure) => failure,
                    Ok(lease) => {
                        endpoint.metrics.requests.inc();
                        match lease.send(request).await {
                            Sent::Answered(response, lease) => {
                                return endpoint.answered(admitted, response, |incoming| {
                                    Outbound::upstream(incoming, lease)
                                });
                            }
                            Sent::Unsent(returned) if !second => {
                                endpoint.unsent(admitted);
                                request = returned;
                                connection = Connection::New;
                                second = true;
                                continue;
                            }
                            Sent::Unsent(_) => {
                                return endpoint.failed(admitted, Failure::Stale, &id);
                            }
                            Sent::Failed(failure) => {
                                return endpoint.failed(admitted, failure, &id);
                            }
                        }
                    }
                },
                Connections::Http2(pool) => match Box::pin(pool.lease(refused.as_ref())).await {
                    Err(failure) => failure,
                    Ok(lease) => {
                        endpoint.metrics.requests.inc();
                        match Box::pin(lease.send(request)).await {
                            (h2::Sent::Answered(response, held), _) => {
                                return endpoint.answered(admitted, response, |incoming| {
                                    Outbound::stream(incoming, held)
                                });
                            }
                            (h2::Sent::Unsent(returned), lease) if !second => {
                                endpoint.unsent(admitted);
                                request = returned;
                                refused = lease;
                                turn = turn.wrapping_add(1);
                                second = true;
                                continue;
                            }
                            (h2::Sent::Unsent(_), _) => {
                                return endpoint.failed(admitted, Failure::Stale, &id);
                            }
                            (h2::Sent::Failed(failure), _) => {
                                return endpoint.failed(admitted, failure, &id);
                            }
                        }
                    }
                },
            };
            if second || self.endpoints.len() == 1 {
                return endpoint.failed(admitted, no_connection, &id);
            }
            admitted.record(no_connection.outcome());
            endpoint.metrics.failed(no_connection.cause());
            passed_over = PassedOver::after(no_connection, endpoint);
            turn = turn.wrapping_add(1);
            second = true;
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

/// How far a request has come that is not sent yet.
struct Way {
    /// Of the endpoint that is to be tried.
    turn: usize,
    connection: Connection,
    /// Whether this is the second try.
    second: bool,
    /// What this endpoint's guards say, if they were asked.
    asked: Option<Result<Admitted, Refusal>>,
}

/// Endpoints that a request was kept from.
#[derive(Default)]
struct PassedOver<'a> {
    count: usize,
    soonest: Option<Refusal>,
    /// What a try before failed of.
    failed: Option<(Failure, &'a Endpoint)>,
}

impl<'a> PassedOver<'a> {
    fn after(failure: Failure, endpoint: &'a Endpoint) -> Self {
        Self {
            failed: Some((failure, endpoint)),
            ..Self::default()
        }
    }

    fn add(&mut self, refusal: Refusal) {
        self.count += 1;
        self.soonest = Some(self.soonest(refusal));
    }

    /// Of this refusal and those before, the one that is over first.
    fn soonest(&self, refusal: Refusal) -> Refusal {
        let wait = |refusal: &Refusal| refusal.retry_after().unwrap_or(Duration::MAX);
        match self.soonest {
            Some(soonest) if wait(&soonest) <= wait(&refusal) => soonest,
            _ => refusal,
        }
    }
}

impl Endpoint {
    /// What the client gets of a response from here, which is judged with it.
    fn answered(
        &self,
        admitted: Admitted,
        response: http::Response<Incoming>,
        outbound: impl FnOnce(Incoming) -> Outbound,
    ) -> Response {
        let mut response = response.map(outbound);
        response.body_mut().note_mut().endpoint = Some(self.name.clone());
        breaker::judge(admitted, &mut response);
        forward::response(&mut response);
        response
    }

    /// A request came back unsent, which says nothing of the endpoint but that it lets idle
    /// connections go.
    fn unsent(&self, admitted: Admitted) {
        admitted.record(Outcome::Ignore);
        self.metrics.failed(Failure::Stale.cause());
    }

    /// The answer to a request that failed here, once that is counted.
    fn failed(&self, admitted: Admitted, failure: Failure, id: &HeaderValue) -> Response {
        admitted.record(failure.outcome());
        self.metrics.failed(failure.cause());
        self.problem(failure, id)
    }

    fn problem(&self, failure: Failure, id: &HeaderValue) -> Response {
        let mut response = failure.problem().response(id);
        response.body_mut().note_mut().endpoint = Some(self.name.clone());
        response
    }
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
