//! The endpoints behind a lock for who changes them, and a plan that picks read without one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use stanchion_core::Clock;

use super::{EndpointSnapshot, LevelSnapshot, Snapshot};
use crate::node::Node;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::{
    Config, Draw, ENDPOINTS_MAX, Endpoint, Health, InvalidEndpoints, Mark, PickContext, Picked,
    Unavailable,
};

pub(super) struct Shared<A> {
    plan: ArcSwap<Plan<A>>,
    /// Held while a plan is built and swapped in, so that the last change wins.
    settings: Mutex<Settings<A>>,
    clock: Clock,
}

struct Settings<A> {
    policy: Arc<dyn Policy<A>>,
    config: Config,
}

/// What an update changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated {
    /// Endpoints that are new, or are another server than before.
    pub added: usize,
    /// Endpoints that stayed, with perhaps other attributes.
    pub kept: usize,
    /// Endpoints that are gone.
    pub removed: usize,
}

impl<A> Shared<A> {
    pub(super) fn new(policy: Arc<dyn Policy<A>>, config: Config, clock: Clock) -> Self {
        let none = Box::default();
        let draw = &mut Draw::of_thread();
        let plan = Plan::new(none, Box::default(), &*policy, &config, draw);
        Self {
            plan: ArcSwap::from_pointee(plan),
            settings: Mutex::new(Settings { policy, config }),
            clock,
        }
    }

    pub(super) fn settings(&self) -> (Arc<dyn Policy<A>>, Config) {
        let settings = self.settings.lock();
        (settings.policy.clone(), settings.config.clone())
    }

    #[cfg(feature = "tower")]
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    #[inline]
    pub(super) fn pick(&self, context: &PickContext<'_>) -> Result<Picked<A>, Unavailable> {
        self.plan.load().pick(context, &self.clock)
    }

    pub(super) fn update(&self, endpoints: Vec<Endpoint<A>>) -> Result<Updated, InvalidEndpoints>
    where
        A: PartialEq,
    {
        let by_id = sorted(&endpoints)?;
        let settings = self.settings.lock();
        let before = self.plan.load_full();
        let count = endpoints.len();
        let mut kept = 0;
        let node = |endpoint: Endpoint<A>| {
            let same = before.node(endpoint.id().as_str());
            match same.filter(|node| node.is(&endpoint)) {
                Some(node) => {
                    kept += 1;
                    node.attributes.store(Arc::new(endpoint.into_parts().3));
                    node.clone()
                }
                None => Arc::new(Node::new(endpoint, &self.clock)),
            }
        };
        let nodes: Box<[Arc<Node<A>>]> = endpoints.into_iter().map(node).collect();
        if let Some(metering) = before.metering() {
            self.begin_latencies(&nodes, metering);
        }
        let removed = before.nodes.len() - kept;
        self.swap(&settings, nodes, by_id);
        Ok(Updated {
            added: count - kept,
            kept,
            removed,
        })
    }

    /// Gives nodes whose latency nobody knows the median of the others', so that a new one is
    /// neither flooded nor starved.
    fn begin_latencies(&self, nodes: &[Arc<Node<A>>], metering: crate::policy::Metering) {
        let now = self.clock.now();
        let known = nodes
            .iter()
            .filter_map(|node| node.latency.at(now, metering));
        let mut known: Vec<f32> = known.collect();
        known.sort_unstable_by(f32::total_cmp);
        if let Some(&median) = known.get(known.len() / 2) {
            for node in nodes {
                node.latency.begin(median, now);
            }
        }
    }

    pub(super) fn mark(&self, id: &str, mark: Mark) -> Option<Health> {
        let (before, after) = self.plan.load().node(id)?.health.mark(mark);
        if before.health() != after.health() || before.is_held() != after.is_held() {
            let settings = self.settings.lock();
            self.plan_anew(&settings);
        }
        Some(after.health())
    }

    pub(super) fn health(&self, id: &str) -> Option<Health> {
        Some(self.plan.load().node(id)?.health.read().health())
    }

    pub(super) fn set_policy(&self, policy: Arc<dyn Policy<A>>) {
        let mut settings = self.settings.lock();
        settings.policy = policy;
        self.plan_anew(&settings);
    }

    pub(super) fn set_config(&self, config: Config) {
        let mut settings = self.settings.lock();
        settings.config = config;
        self.plan_anew(&settings);
    }

    /// Plans anew for the same endpoints.
    fn plan_anew(&self, settings: &Settings<A>) {
        let before = self.plan.load_full();
        self.swap(settings, before.nodes.clone(), before.by_id.clone());
    }

    fn swap(&self, settings: &Settings<A>, nodes: Box<[Arc<Node<A>>]>, by_id: Box<[u32]>) {
        let draw = &mut Draw::of_thread();
        let plan = Plan::new(nodes, by_id, &*settings.policy, &settings.config, draw);
        self.plan.store(Arc::new(plan));
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let plan = self.plan.load();
        let now = self.clock.now();
        let endpoint = |node: &Arc<Node<A>>| {
            let known = node.health.read();
            let attributes = node.attributes.load();
            let latency = plan.metering().and_then(|by| node.latency.at(now, by));
            EndpointSnapshot {
                id: node.id.clone(),
                health: known.health(),
                held: known.is_held(),
                in_flight: node.in_flight(),
                latency: latency.map(|nanos| Duration::from_secs_f32(nanos / 1e9)),
                weight: attributes.weight,
                priority: attributes.priority,
            }
        };
        let level = |level: &crate::plan::Level| LevelSnapshot {
            priority: level.priority,
            healthy: level.counts.healthy,
            degraded: level.counts.degraded,
            endpoints: level.counts.all,
            load: level.load.total(),
            panic: level.load.panic,
        };
        Snapshot {
            endpoints: plan.nodes.iter().map(endpoint).collect(),
            levels: plan.levels.iter().map(level).collect(),
        }
    }
}

/// The places of endpoints by their ids, of which no two are the same.
fn sorted<A>(endpoints: &[Endpoint<A>]) -> Result<Box<[u32]>, InvalidEndpoints> {
    let too_many = InvalidEndpoints::TooMany(endpoints.len());
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(too_many);
    }
    let count = u32::try_from(endpoints.len()).map_err(|_| too_many)?;
    let mut places: Box<[u32]> = (0..count).collect();
    let id = |place: u32| endpoints[place as usize].id();
    places.sort_unstable_by_key(|&place| id(place));
    match places.windows(2).find(|pair| id(pair[0]) == id(pair[1])) {
        Some(pair) => Err(InvalidEndpoints::Duplicate(id(pair[0]).clone())),
        None => Ok(places),
    }
}

impl<A> fmt::Debug for Shared<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan.load();
        f.debug_struct("Shared")
            .field("policy", &self.settings.lock().policy)
            .field("nodes", &plan.nodes)
            .finish_non_exhaustive()
    }
}
