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
use std::time::Duration;

use http::HeaderValue;
use hyper::body::Incoming;
use stanchion_core::{Clock, Instant, Outcome};
use stanchion_lb::{EndpointId, PickContext, Unavailable};

use crate::affinity::Wanted;
use crate::balance::{self, Balance, Pick, Server};
use crate::breaker::{self, Admitted, Guards, Refusal};
use crate::config;
use crate::exchange::{Outbound, Request, Response};
use crate::forward;
use crate::metrics::{EndpointMetrics, Metrics};
use crate::outbox::Outbox;
use crate::snapshot::Snapshot;
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
    balance: Balance,
}

#[derive(Clone, Debug)]
struct Endpoint {
    server: Arc<Server>,
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
    /// The upstream at `index` in the configuration of `snapshot`. Of `before`, the same upstream by an earlier configuration, the endpoints that stay are kept
    /// with their connections.
    pub(crate) fn new(
        index: usize,
        metrics: &Metrics,
        clock: &Clock,
        outbox: &Outbox,
        snapshot: &Snapshot,
        before: Option<&Self>,
    ) -> Self {
        let config = &snapshot.config.upstreams[index];
        let endpoint = |server: &Arc<Server>| {
            let guards = snapshot.breakers.endpoint(&config.name, &server.name);
            let kept = before.and_then(|before| before.endpoint(&server.name));
            if let Some(kept) = kept.filter(|kept| kept.connections.stay(config)) {
                return Endpoint {
                    server: server.clone(),
                    guards,
                    ..kept.clone()
                };
            }
            let metrics = metrics.endpoint(&config.name, &server.name);
            let name = server.name.clone();
            Endpoint {
                server: server.clone(),
                connections: match config.protocol {
                    config::Protocol::Http1 => {
                        let pool = Pool::new(name, config, metrics.clone(), clock, outbox);
                        Connections::Http1(Arc::new(pool))
                    }
                    config::Protocol::Http2 => {
                        let pool = h2::Pool::new(name, config, metrics.clone(), clock);
                        Connections::Http2(Arc::new(pool))
                    }
                },
                metrics,
                guards,
            }
        };
        let (balance, servers) = snapshot.balancers.of(index);
        Self {
            endpoints: servers.iter().map(endpoint).collect(),
            balance: balance.clone(),
        }
    }

    fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|known| *known.server.name == *name)
    }

    /// The place of a server; `None` if this worker serves by another configuration and does not know
    /// it.
    fn place(&self, server: &Server) -> Option<usize> {
        let is_it = |endpoint: &Endpoint| *endpoint.server == *server;
        // Its number is its place, unless there were others once.
        let guess = server.number as usize;
        if self.endpoints.get(guess).is_some_and(is_it) {
            return Some(guess);
        }
        self.endpoints.iter().position(is_it)
    }

    /// The upstream's response, or a problem.
    ///
    /// A second try is made, once, only where nothing of the request was sent: at another endpoint
    /// if none could be connected to, on a new connection if a kept one turned out to be closed.
    /// Endpoints whose breaker or throttle refuses are passed over.
    pub(crate) fn send(
        self: &Arc<Self>,
        request: Request,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let id = request.body().origin().id.clone();
        let mut tried = Tried::default();
        let chosen = self.choose(&mut tried, wanted(&request));
        let kept = match &chosen {
            Ok(chosen) => match &self.at(chosen.place).connections {
                Connections::Http1(pool) => pool.lease_kept(),
                Connections::Http2(_) => None,
            },
            Err(_) => None,
        };
        match (chosen, kept) {
            (Ok(chosen), Some(lease)) => {
                self.at(chosen.place).metrics.requests.inc();
                let answer = Box::pin(lease.send(request));
                Sending::begun(self.clone(), chosen, id, answer)
            }
            (chosen, _) => Sending::slowly(
                self.clone(),
                request,
                Way {
                    chosen,
                    connection: Connection::Kept,
                    second: false,
                    tried,
                },
            ),
        }
    }

    fn at(&self, place: usize) -> &Endpoint {
        &self.endpoints[place]
    }

    /// The endpoint that a request is to be sent to.
    ///
    /// # Errors
    ///
    /// If the balancer has none, or none but those that were tried or refuse.
    fn choose(&self, tried: &mut Tried, wanted: Option<&Wanted>) -> Result<Chosen, Unavailable> {
        loop {
            let mut context = PickContext::new().with_avoid(&tried.ids);
            if let Some(wanted) = wanted {
                context = wanted.heeded(context);
            }
            let pick = match self.balance.pick(&context) {
                Ok(pick) => pick,
                Err(_) if self.ask_held(tried) => continue,
                Err(unavailable) => return self.choose_own(tried).ok_or(unavailable),
            };
            if tried.ids.contains(pick.id()) {
                // There is no other.
                pick.record(Outcome::Ignore);
                let own = self.choose_own(tried);
                return own.ok_or(Unavailable::AllUnhealthy);
            }
            let Some(place) = self.place(pick.address()) else {
                tried.unknown = true;
                tried.pass_over(pick);
                continue;
            };
            match self.at(place).guards.admit() {
                Ok(admitted) => {
                    let admitted = admitted.with_pick(pick);
                    return Ok(Chosen { place, admitted });
                }
                Err(refusal) => {
                    if let Some(open_for) = refusal.open_for() {
                        self.balance.hold(pick.address(), open_for);
                    }
                    tried.refused(refusal);
                    tried.pass_over(pick);
                }
            }
        }
    }

    /// An endpoint of this worker's own, where the balancer has gone on to a configuration all of whose
    /// servers the worker does not know yet: a request is served by one configuration to its end.
    fn choose_own(&self, tried: &mut Tried) -> Option<Chosen> {
        if !tried.unknown {
            return None;
        }
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let name = &*endpoint.server.name;
            if tried.ids.iter().any(|id| id.as_str() == name) {
                continue;
            }
            match endpoint.guards.admit() {
                Ok(admitted) => return Some(Chosen { place, admitted }),
                Err(refusal) => tried.refused(refusal),
            }
        }
        None
    }

    /// Asks the breakers of the endpoints that are passed over, since there is no other: whether one of
    /// them lets something through again.
    fn ask_held(&self, tried: &mut Tried) -> bool {
        let held = self.endpoints.iter();
        let held = held.filter(|endpoint| endpoint.server.is_held());
        for endpoint in held {
            match endpoint.guards.admit() {
                Ok(admitted) => {
                    admitted.record(Outcome::Ignore);
                    self.balance.release(&endpoint.server);
                    return true;
                }
                Err(refusal) => tried.refused(refusal),
            }
        }
        false
    }

    /// The same endpoint again, for a request that came back unsent.
    fn again(
        &self,
        mut chosen: Chosen,
        tried: &mut Tried,
        wanted: Option<&Wanted>,
    ) -> Result<Chosen, Unavailable> {
        let endpoint = self.at(chosen.place);
        let pick = chosen.admitted.take_pick();
        endpoint.unsent(chosen.admitted);
        let Some(pick) = pick else {
            return self.choose(tried, wanted);
        };
        match endpoint.guards.admit() {
            Ok(admitted) => Ok(Chosen {
                admitted: admitted.with_pick(pick),
                ..chosen
            }),
            Err(refusal) => {
                tried.refused(refusal);
                tried.pass_over(pick);
                self.choose(tried, wanted)
            }
        }
    }

    /// The answer where nobody can be asked (any more).
    fn nobody(&self, unavailable: Unavailable, tried: &Tried, id: &HeaderValue) -> Response {
        match (&tried.failed, &tried.soonest) {
            (Some((failure, place)), _) => self.at(*place).problem(*failure, id),
            (None, Some(refusal)) => breaker::refuse(refusal, id),
            (None, None) => balance::problem(unavailable).response(id),
        }
    }

    /// What [`send`](Self::send) does where there is something to wait for besides the response.
    async fn send_slowly(self: Arc<Self>, mut request: Request, way: Way) -> Response {
        let id = request.body().origin().id.clone();
        let mut refused = None;
        let Way {
            mut chosen,
            mut connection,
            mut second,
            mut tried,
        } = way;
        loop {
            let Chosen { place, admitted } = match chosen {
                Ok(chosen) => chosen,
                Err(unavailable) => return self.nobody(unavailable, &tried, &id),
            };
            let endpoint = self.at(place);
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
                                chosen = self.again(
                                    Chosen { place, admitted },
                                    &mut tried,
                                    wanted(&returned),
                                );
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
                                chosen = self.again(
                                    Chosen { place, admitted },
                                    &mut tried,
                                    wanted(&returned),
                                );
                                request = returned;
                                refused = lease;
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
            if second {
                return endpoint.failed(admitted, no_connection, &id);
            }
            endpoint.metrics.failed(no_connection.cause());
            tried.failed(no_connection, place, &endpoint.server, admitted);
            chosen = self.choose(&mut tried, wanted(&request));
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

/// What a request wants of the choice of its endpoint.
fn wanted(request: &Request) -> Option<&Wanted> {
    request.body().origin().wanted.as_deref()
}

/// An endpoint that lets a request through.
struct Chosen {
    place: usize,
    admitted: Admitted,
}

/// How far a request has come that is not sent yet.
struct Way {
    chosen: Result<Chosen, Unavailable>,
    connection: Connection,
    /// Whether this is the second try.
    second: bool,
    tried: Tried,
}

/// Endpoints that a request was kept from.
#[derive(Default)]
struct Tried {
    ids: Vec<EndpointId>,
    /// Whether the balancer gave servers of another configuration.
    unknown: bool,
    /// Of their refusals, the one that is over first.
    soonest: Option<Refusal>,
    /// What a try before failed of, and where.
    failed: Option<(Failure, usize)>,
}

impl Tried {
    fn pass_over(&mut self, pick: Pick) {
        self.ids.push(pick.id().clone());
        pick.record(Outcome::Ignore);
    }

    fn refused(&mut self, refusal: Refusal) {
        let wait = |refusal: &Refusal| refusal.retry_after().unwrap_or(Duration::MAX);
        match &self.soonest {
            Some(soonest) if wait(soonest) <= wait(&refusal) => {}
            _ => self.soonest = Some(refusal),
        }
    }

    fn failed(&mut self, failure: Failure, place: usize, server: &Server, admitted: Admitted) {
        self.failed = Some((failure, place));
        self.ids.push(EndpointId::from(&*server.name));
        admitted.record(failure.outcome());
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
        response.body_mut().note_mut().endpoint = Some(self.server.name.clone());
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
        response.body_mut().note_mut().endpoint = Some(self.server.name.clone());
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
