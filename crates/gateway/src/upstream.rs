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
use stanchion_breaker::{Breaker, OwnedPermit, Rejected};
use stanchion_core::{Clock, Instant, Outcome};

use crate::breaker::{self, Breakers};
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
    breaker: Option<Breaker>,
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
            let breaker = breakers.endpoint(&config.name, name);
            let kept = before.and_then(|before| before.endpoint(name));
            if let Some(kept) = kept.filter(|kept| kept.connections.stay(config)) {
                return Endpoint {
                    breaker,
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
                breaker,
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
    /// Endpoints whose breaker is open are passed over.
    pub(crate) fn send(
        self: &Arc<Self>,
        request: Request,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let id = request.body().origin().id.clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.at(turn);
        let admitted = endpoint.admit();
        let kept = match (&admitted, &endpoint.connections) {
            (Ok(_), Connections::Http1(pool)) => pool.lease_kept(),
            _ => None,
        };
        match (admitted, kept) {
            (Ok(permit), Some(lease)) => {
                endpoint.metrics.requests.inc();
                let answer = Box::pin(lease.send(request));
                Sending::begun(self.clone(), turn, id, permit, answer)
            }
            (admitted, _) => Sending::slowly(
                self.clone(),
                request,
                Way {
                    turn,
                    connection: Connection::Kept,
                    second: false,
                    admitted: Some(admitted),
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
            mut admitted,
        } = way;
        let mut passed_over = PassedOver::default();
        loop {
            let endpoint = self.at(turn);
            let permit = match admitted.take().unwrap_or_else(|| endpoint.admit()) {
                Ok(permit) => permit,
                Err(rejected) => {
                    passed_over.add(rejected);
                    if passed_over.count < self.endpoints.len() {
                        turn = turn.wrapping_add(1);
                        continue;
                    }
                    return match passed_over.failed {
                        Some((failure, endpoint)) => endpoint.problem(failure, &id),
                        None => breaker::refuse(&passed_over.soonest(rejected), &id),
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
                                return endpoint.answered(permit, response, |incoming| {
                                    Outbound::upstream(incoming, lease)
                                });
                            }
                            Sent::Unsent(returned) if !second => {
                                endpoint.unsent(permit);
                                request = returned;
                                connection = Connection::New;
                                second = true;
                                continue;
                            }
                            Sent::Unsent(_) => return endpoint.failed(permit, Failure::Stale, &id),
                            Sent::Failed(failure) => return endpoint.failed(permit, failure, &id),
                        }
                    }
                },
                Connections::Http2(pool) => match Box::pin(pool.lease(refused.as_ref())).await {
                    Err(failure) => failure,
                    Ok(lease) => {
                        endpoint.metrics.requests.inc();
                        match Box::pin(lease.send(request)).await {
                            (h2::Sent::Answered(response, held), _) => {
                                return endpoint.answered(permit, response, |incoming| {
                                    Outbound::stream(incoming, held)
                                });
                            }
                            (h2::Sent::Unsent(returned), lease) if !second => {
                                endpoint.unsent(permit);
                                request = returned;
                                refused = lease;
                                turn = turn.wrapping_add(1);
                                second = true;
                                continue;
                            }
                            (h2::Sent::Unsent(_), _) => {
                                return endpoint.failed(permit, Failure::Stale, &id);
                            }
                            (h2::Sent::Failed(failure), _) => {
                                return endpoint.failed(permit, failure, &id);
                            }
                        }
                    }
                },
            };
            if second || self.endpoints.len() == 1 {
                return endpoint.failed(permit, no_connection, &id);
            }
            judge(permit, no_connection.outcome());
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

/// What a breaker says to a request, if there is one.
type Admitted = Result<Option<OwnedPermit>, Rejected>;

/// How far a request has come that is not sent yet.
struct Way {
    /// Of the endpoint that is to be tried.
    turn: usize,
    connection: Connection,
    /// Whether this is the second try.
    second: bool,
    /// What this endpoint's breaker says, if it was asked.
    admitted: Option<Admitted>,
}

/// Endpoints that a request was kept from.
#[derive(Default)]
struct PassedOver<'a> {
    count: usize,
    soonest: Option<Rejected>,
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

    fn add(&mut self, rejected: Rejected) {
        self.count += 1;
        self.soonest = Some(self.soonest(rejected));
    }

    /// Of this refusal and those before, the one that is over first.
    fn soonest(&self, rejected: Rejected) -> Rejected {
        let wait = |rejected: &Rejected| rejected.retry_after().unwrap_or(Duration::MAX);
        match self.soonest {
            Some(soonest) if wait(&soonest) <= wait(&rejected) => soonest,
            _ => rejected,
        }
    }
}

impl Endpoint {
    /// Lets a request through, by the breaker if there is one.
    fn admit(&self) -> Admitted {
        let breaker = self.breaker.as_ref();
        breaker.map(Breaker::try_acquire_owned).transpose()
    }

    /// What the client gets of a response from here.
    fn answered(
        &self,
        permit: Option<OwnedPermit>,
        response: http::Response<Incoming>,
        outbound: impl FnOnce(Incoming) -> Outbound,
    ) -> Response {
        judge(permit, breaker::outcome(response.status()));
        let mut response = response.map(outbound);
        response.body_mut().note_mut().endpoint = Some(self.name.clone());
        forward::response(&mut response);
        response
    }

    /// A request came back unsent, which says nothing of the endpoint but that it lets idle
    /// connections go.
    fn unsent(&self, permit: Option<OwnedPermit>) {
        judge(permit, Outcome::Ignore);
        self.metrics.failed(Failure::Stale.cause());
    }

    /// The answer to a request that failed here, once that is counted.
    fn failed(&self, permit: Option<OwnedPermit>, failure: Failure, id: &HeaderValue) -> Response {
        judge(permit, failure.outcome());
        self.metrics.failed(failure.cause());
        self.problem(failure, id)
    }

    fn problem(&self, failure: Failure, id: &HeaderValue) -> Response {
        let mut response = failure.problem().response(id);
        response.body_mut().note_mut().endpoint = Some(self.name.clone());
        response
    }
}

fn judge(permit: Option<OwnedPermit>, outcome: Outcome) {
    if let Some(permit) = permit {
        permit.record(outcome);
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
