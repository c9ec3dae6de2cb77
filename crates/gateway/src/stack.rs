//! The way of a request, in the order of its steps.

use std::convert::Infallible;
use std::sync::Arc;

use tower::util::MapResponseLayer;
use tower::{Service, ServiceBuilder, service_fn};

use crate::affinity::{Wants, WantsLayer};
use crate::body_limit::BodyLimitLayer;
use crate::breaker::{Guards, GuardsLayer};
use crate::config::{self, Telling};
use crate::exchange::{Request, Response};
use crate::forward;
use crate::limit::{Limit, LimitsLayer};
use crate::record::{RecordLayer, Recorder};
use crate::request_id::RequestIdLayer;
use crate::rewrite::Rewrite;
use crate::router::{Router, Table};
use crate::snapshot::Snapshot;
use crate::trace::Traces;
use crate::upstream::Upstream;
use crate::worker::Worker;

/// What every request meets, in one worker and by one snapshot: an id, a trace, then its route.
pub(crate) fn gateway(
    worker: &Worker,
    snapshot: &Snapshot,
    upstreams: &[Arc<Upstream>],
) -> impl GatewayService + use<> {
    let config = &snapshot.config;
    let routes = config.routes.iter().zip(snapshot.limits());
    let routes = routes.map(|(config, limits)| {
        let upstream = upstreams[config.upstream].clone();
        let recorder = worker.recorder(&config.id);
        let forwarded = snapshot.config.upstreams[config.upstream].forwarded;
        let guards = snapshot.breakers.route(&config.id);
        let wants = snapshot.balancers.wants(config.upstream);
        route(config, limits, guards, wants, forwarded, recorder, upstream)
    });
    let table = Table::new(&config.routes).with_encoded_slash(config.listen.encoded_slash);
    let unmatched = worker.recorder(&Arc::from(config::UNMATCHED));
    ServiceBuilder::new()
        .layer(RequestIdLayer::new(Traces::new(config.trace_ratio)))
        .service(Router::new(table, routes.collect(), unmatched))
}

/// What the requests of one route meet. Steps that the configuration does not ask for are not
/// there.
fn route(
    config: &config::Route,
    limits: &[Limit],
    guards: Guards,
    wants: Option<&Wants>,
    forwarded: Telling,
    recorder: Arc<Recorder>,
    upstream: Arc<Upstream>,
) -> impl GatewayService + use<> {
    let limits = (!limits.is_empty()).then(|| LimitsLayer::new(limits));
    let guards = (!guards.is_empty()).then(|| GuardsLayer::new(guards));
    let wants = wants.cloned().map(WantsLayer::new);
    let rewrite = Arc::new(Rewrite::new(config));
    let rewrites = rewrite.changes_responses().then(|| {
        let rewrite = rewrite.clone();
        MapResponseLayer::new(move |response| rewrite.response(response))
    });
    ServiceBuilder::new()
        .layer(RecordLayer::new(recorder))
        // The gateway's own answers, too.
        .option_layer(rewrites)
        .option_layer(limits)
        // Behind the limits: what they refuse is no request to the server.
        .option_layer(guards)
        .option_layer(wants)
        .layer(BodyLimitLayer::new(config.bodies))
        .service(service_fn(move |mut request: Request| {
            forward::request(&mut request, forwarded);
            rewrite.request(&mut request);
            upstream.send(request)
        }))
}

/// A service of the stack: whatever goes wrong is answered, and it is ready at any time, so nobody asks
/// whether it is.
pub(crate) trait GatewayService:
    Service<Request, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GatewayService for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}
