//! The endpoints behind a lock for who changes them, and a plan that picks read without one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use stanchion_core::{Clock, Instant, Observe};

use super::change::{Change, Listed};
use super::{EndpointSnapshot, LevelSnapshot, Snapshot};
use crate::counted::Kept;
use crate::node::Node;
use crate::outlier::Heed;
use crate::plan::{Basis, Plan};
use crate::policy::{InvalidTable, Metering, Policy};
#[cfg(feature = "tokio")]
use crate::signal::Listener;
use crate::signal::Signal;
use crate::sync::{AtomicU32, Ordering};
use crate::{
    Config, Draw, ENDPOINTS_MAX, EjectionCause, Endpoint, Event, Health, InvalidEndpoints, Mark,
    Outliers, PickContext, Picked, ReadmissionCause, Unavailable,
};

pub(crate) struct Shared<A> {
    pub(super) plan: ArcSwap<Plan<A>>,
    /// Held while a plan is built and swapped in, so that the last change wins.
    pub(super) settings: Mutex<Settings<A>>,
    pub(super) clock: Clock,
    pub(super) observer: Option<Observer>,
    /// Changes with each plan, and is closed with the last handle.
    pub(super) signal: Arc<Signal>,
    /// How many futures do what becomes due, so that picks need not.
    pub(super) upkeepers: AtomicU32,
}

pub(super) struct Settings<A> {
    pub(super) policy: Arc<dyn Policy<A>>,
    pub(super) config: Config,
    /// Since when calls are counted for the rules by interval.
    pub(super) swept: Instant,
    /// How many want to know of each endpoint whether calls there succeed.
    proofs_wanted: u32,
}

impl<A> Settings<A> {
    /// What is heeded of each outcome.
    pub(super) fn heed(&self) -> Heed {
        let outliers = self.config.outliers.as_ref();
        let heed = outliers.map_or(Heed::NOTHING, Outliers::heed);
        if self.proofs_wanted > 0 {
            heed.with_proofs()
        } else {
            heed
        }
    }
}

pub(super) type Observer = Arc<dyn Observe<Event> + Send + Sync>;

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
    pub(super) fn new(
        policy: Arc<dyn Policy<A>>,
        config: Config,
        clock: Clock,
        observer: Option<Observer>,
    ) -> Self {
        let basis = Basis {
            nodes: Box::default(),
            by_id: Box::default(),
            attributes: None,
            policy: &*policy,
            config: &config,
            now: clock.now(),
            before: None,
        };
        // Of no endpoints no table is made, so none fails.
        let (plan, _) = Plan::new(basis, &mut Draw::of_thread());
        Self {
            plan: ArcSwap::from_pointee(plan),
            settings: Mutex::new(Settings {
                policy,
                config,
                swept: clock.now(),
                proofs_wanted: 0,
            }),
            clock,
            observer,
            signal: Arc::default(),
            upkeepers: AtomicU32::new(0),
        }
    }

    pub(super) fn settings(&self) -> (Arc<dyn Policy<A>>, Config) {
        let settings = self.settings.lock();
        (settings.policy.clone(), settings.config.clone())
    }

    #[cfg(any(feature = "discover", feature = "tower", feature = "tokio"))]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    #[inline]
    pub(super) fn pick(&self, context: &PickContext<'_>) -> Result<Picked<A>, Unavailable> {
        let mut plan = self.plan.load();
        if plan.due != Instant::MAX && self.catches_up(plan.due, context) {
            plan = self.plan.load();
        }
        plan.pick(context, &self.clock)
    }

    /// Does what became due, where nobody else sees to it. While another does so, the plan is good
    /// enough as it is.
    #[cold]
    fn catches_up(&self, due: Instant, context: &PickContext<'_>) -> bool {
        // Relaxed: at worst a pick does what the future would have done a moment later.
        if self.upkeepers.load(Ordering::Relaxed) > 0 {
            return false;
        }
        // The clock decides; the time that the caller brings only saves to read it.
        if context.now.is_some_and(|now| now < due) || self.clock.now() < due {
            return false;
        }
        let Some(settings) = self.settings.try_lock() else {
            return false;
        };
        self.change_under(settings, |change| {
            change.readmit_due();
            change.plan_anew();
        });
        true
    }

    pub(super) fn update(
        self: &Arc<Self>,
        endpoints: Vec<Endpoint<A>>,
        policy: Option<Arc<dyn Policy<A>>>,
    ) -> Result<Updated, InvalidEndpoints>
    where
        A: PartialEq,
    {
        let by_id = sorted(&endpoints)?;
        let updated = self.change(|change| {
            let policy = policy.unwrap_or_else(|| change.settings.policy.clone());
            self.updated(change, endpoints, by_id, policy)
        });
        Ok(updated?)
    }

    fn updated(
        self: &Arc<Self>,
        change: &mut Change<'_, A>,
        endpoints: Vec<Endpoint<A>>,
        by_id: Box<[u32]>,
        policy: Arc<dyn Policy<A>>,
    ) -> Result<Updated, InvalidTable>
    where
        A: PartialEq,
    {
        let before = change.plan.clone();
        let heed = change.settings.heed();
        let count = endpoints.len();
        let mut kept = 0;
        let mut attributes = Vec::with_capacity(count);
        let node = |endpoint: Endpoint<A>| {
            let same = before.node(endpoint.id().as_str());
            match same.filter(|node| node.is(&endpoint)) {
                Some(node) => {
                    kept += 1;
                    let known = node.attributes.load_full();
                    attributes.push(match *known == *endpoint.attributes() {
                        true => known,
                        false => Arc::new(endpoint.into_parts().3),
                    });
                    node.clone()
                }
                None => {
                    let home = Arc::downgrade(self);
                    let node = Kept::new(Node::new(endpoint, &self.clock, home, heed));
                    attributes.push(node.attributes.load_full());
                    node
                }
            }
        };
        let nodes: Box<[Kept<Node<A>>]> = endpoints.into_iter().map(node).collect();
        if let Some(metering) = before.metering() {
            self.begin_latencies(&nodes, metering);
        }
        if kept > 0 {
            change.start_new(&nodes);
        }
        let removed = before.nodes.len() - kept;
        let listed = Listed {
            nodes,
            by_id,
            attributes: Some(attributes),
        };
        change.plan_for(listed, policy)?;
        Ok(Updated {
            added: count - kept,
            kept,
            removed,
        })
    }

    /// Gives nodes whose latency nobody knows the median of the others', so that a new one is
    /// neither flooded nor starved.
    fn begin_latencies(&self, nodes: &[Kept<Node<A>>], metering: Metering) {
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
        let node = self.plan.load().node(id)?.clone();
        Some(self.mark_node(&node, mark))
    }

    /// Marks this very server, whatever may have its id by now.
    pub(crate) fn mark_node(&self, node: &Kept<Node<A>>, mark: Mark) -> Health {
        let marked = node.health.mark(mark);
        let (before, after) = marked;
        let may_readmit = matches!(mark, Mark::Healthy | Mark::Degraded) && before.is_ejected();
        if before != after || may_readmit {
            self.change(|change| {
                // What was said of a server that is gone by now changes nothing.
                if !change.knows(node) {
                    return;
                }
                let mut anew = change.marked(node, marked, mark);
                if mark == Mark::Readmit {
                    change.readmit(node, ReadmissionCause::Marked);
                }
                let config = &change.settings.config;
                let by_checks = |outliers: &Outliers| outliers.readmit_by_checks;
                if may_readmit && config.outliers.as_ref().is_some_and(by_checks) {
                    anew |= change.readmit(node, ReadmissionCause::CheckPassed);
                }
                if anew {
                    change.plan_anew();
                }
            });
        }
        node.health.read().health()
    }

    /// Takes out a server that failed too often, if as many as may be are not out already.
    pub(crate) fn suspect(&self, node: &Kept<Node<A>>, cause: EjectionCause) {
        if !self.plan.load().may_eject {
            let id = node.id.clone();
            self.tell(&Event::EjectionSkipped { id, cause });
            return;
        }
        self.change(|change| {
            if change.knows(node) && change.eject(node, cause) {
                change.plan_anew();
            }
        });
    }

    pub(super) fn tell(&self, event: &Event) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }

    pub(super) fn health(&self, id: &str) -> Option<Health> {
        Some(self.plan.load().node(id)?.health.read().health())
    }

    pub(super) fn set_policy(&self, policy: Arc<dyn Policy<A>>) -> Result<(), InvalidTable> {
        self.change(|change| change.plan_for(change.listed(), policy))
    }

    pub(super) fn set_config(&self, config: Config) {
        self.change(|change| {
            if config.outliers.is_none() {
                change.readmit_all();
            }
            change.settings.config = config;
            change.heed_anew();
            change.plan_anew();
        });
    }

    /// Does what is due, and tells when the next is.
    pub(super) fn catch_up(&self) -> Instant {
        self.change(|change| {
            let mut anew = change.plan.due <= change.now;
            if anew {
                change.readmit_due();
            }
            anew |= change.sweep_due();
            if anew {
                change.plan_anew();
            }
            change.next_sweep().min(change.plan.due)
        })
    }

    /// Wants to know, or no more, of each endpoint whether calls there succeed.
    #[cfg(feature = "tokio")]
    pub(crate) fn want_proofs(&self, want: bool) {
        self.change(|change| {
            let wanted = &mut change.settings.proofs_wanted;
            *wanted = if want { *wanted + 1 } else { *wanted - 1 };
            change.heed_anew();
        });
    }

    /// The servers as they are now.
    #[cfg(feature = "tokio")]
    pub(crate) fn plan(&self) -> Arc<Plan<A>> {
        self.plan.load_full()
    }

    /// Hears of each change of the plan from now on.
    #[cfg(feature = "tokio")]
    pub(crate) fn listen(&self) -> Listener {
        self.signal.listen()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let plan = self.plan.load();
        let now = self.clock.now();
        let (_, config) = self.settings();
        let interval = config.outliers.as_ref().map(|outliers| outliers.interval);
        let endpoint = |node: &Kept<Node<A>>| {
            let known = node.health.read();
            let attributes = node.attributes.load();
            let ejection = *node.ejection.lock();
            let latency = plan.metering().and_then(|by| node.latency.at(now, by));
            EndpointSnapshot {
                id: node.id.clone(),
                health: known.health(),
                held: known.is_held(),
                ejected_for: ejection.until().map(|until| until - now),
                ejections: interval.map_or(0, |interval| ejection.recent_at(now, interval)),
                in_flight: node.calls(),
                latency: latency.map(|nanos| Duration::from_secs_f32(nanos / 1e9)),
                weight: attributes.weight,
                share_percent: config.share(&node.started, now),
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

impl<A> Drop for Shared<A> {
    fn drop(&mut self) {
        self.signal.close();
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
