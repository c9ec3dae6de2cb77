//! Shows the endpoints as their balancers see them, and takes one out by hand.

use http::StatusCode;
use serde::Serialize;
use stanchion_lb::{EndpointSnapshot, LevelSnapshot, Mark};

use super::answer::{self, Answer};
use super::query;
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct All<'a> {
    upstreams: Vec<Upstream<'a>>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    levels: Vec<Level>,
    endpoints: Vec<Endpoint>,
}

/// One priority.
#[derive(Serialize)]
struct Level {
    priority: u8,
    healthy: u32,
    endpoints: u32,
    /// Percent of the traffic.
    load: u32,
    /// All are used, whatever their health.
    panic: bool,
}

#[derive(Serialize)]
struct Endpoint {
    endpoint: String,
    health: String,
    /// Whether it is passed over because its breaker is open.
    held: bool,
    in_flight: u32,
    /// Milliseconds; `null` where the policy does not go by it, or nobody answered.
    latency_ms: Option<f64>,
    /// Seconds until outlier detection lets it in again, if that took it out.
    ejected_for: Option<f64>,
    weight: u16,
    /// How much of its weight counts, in percent: less than 100 while it starts slowly.
    share_percent: u32,
    priority: u8,
}

/// What can be done by hand.
const STATES: &str = "enabled, draining or disabled";

pub(super) fn show(snapshot: &Snapshot) -> Answer {
    let upstreams = snapshot.balancers.all().map(|(name, balance)| {
        let now = balance.balancer().snapshot();
        Upstream {
            name,
            levels: now.levels.iter().map(Level::new).collect(),
            endpoints: now.endpoints.iter().map(Endpoint::new).collect(),
        }
    });
    answer::json(&All {
        upstreams: upstreams.collect(),
    })
}

/// Does what a query says: `upstream`, `endpoint` and `state`.
pub(super) fn change(snapshot: &Snapshot, query: &str) -> Answer {
    let [upstream, endpoint, state] = match query::read(query, ["upstream", "endpoint", "state"]) {
        Ok(read) => read,
        Err(detail) => return answer::problem(StatusCode::BAD_REQUEST, &detail),
    };
    let mark = match &*state {
        "enabled" => Mark::Enable,
        "draining" => Mark::Drain,
        "disabled" => Mark::Disable,
        _ => {
            let detail = query::wrong(&state, "state", STATES);
            return answer::problem(StatusCode::BAD_REQUEST, &detail);
        }
    };
    let balance = snapshot.balancers.by_name(&upstream);
    let marked = balance.and_then(|balance| {
        balance.balancer().mark(&endpoint, mark)?;
        let now = balance.balancer().snapshot();
        now.endpoints
            .into_iter()
            .find(|known| known.id.as_str() == endpoint)
    });
    match marked {
        Some(now) => answer::json(&Endpoint::new(&now)),
        None => {
            let detail = format!("there is no endpoint {endpoint:?} of an upstream {upstream:?}");
            answer::problem(StatusCode::NOT_FOUND, &detail)
        }
    }
}

impl Level {
    fn new(level: &LevelSnapshot) -> Self {
        Self {
            priority: level.priority,
            healthy: level.healthy,
            endpoints: level.endpoints,
            load: level.load,
            panic: level.panic,
        }
    }
}

impl Endpoint {
    fn new(now: &EndpointSnapshot) -> Self {
        Self {
            endpoint: now.id.as_str().to_owned(),
            health: now.health.to_string(),
            held: now.held,
            in_flight: now.in_flight,
            latency_ms: now.latency.map(|latency| latency.as_secs_f64() * 1e3),
            ejected_for: now.ejected_for.map(|time| time.as_secs_f64()),
            weight: now.weight,
            share_percent: now.share_percent,
            priority: now.priority,
        }
    }
}
