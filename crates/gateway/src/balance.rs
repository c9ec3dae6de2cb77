//! The balancers of upstreams, as they run: shared by all workers, and kept over reloads.

mod hearing;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use stanchion_core::Clock;
use stanchion_lb::policy::{
    self, ConsistentHash, InvalidPolicy, LeastConnections, P2c, PeakEwma, Random, RoundRobin,
    WeightedLeastConnections, WeightedRoundRobin,
};
use stanchion_lb::{Balancer, Endpoint, Locality, Mark, PickContext, Picked, Unavailable};

use crate::affinity::Wants;
use crate::build_error::BuildError;
use crate::check::Check;
use crate::config::{self, Balancing, Config, Policy};
use crate::problem::Problem;
pub(crate) use hearing::Hearing;

/// The balancers of one configuration, in the order of its upstreams.
#[derive(Debug, Default)]
pub(crate) struct Balancers(Vec<Standing>);

#[derive(Debug)]
struct Standing {
    upstream: Arc<str>,
    policy: Policy,
    hash: Option<config::keys::Hash>,
    affinity: Option<config::keys::Affinity>,
    balancing: Balancing,
    /// Of these two, what is another one than before is to be put in force.
    is_new: IsNew,
    balance: Balance,
    check: Option<Check>,
    wants: Option<Wants>,
    servers: Vec<Arc<Server>>,
    /// Of the servers as configured, in the same order.
    endpoints: Vec<config::Endpoint>,
    /// The number of the next server that is new.
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct IsNew {
    policy: bool,
    balancing: bool,
}

/// Picks servers of one upstream; clones share all but the clock.
#[derive(Clone, Debug)]
pub(crate) struct Balance {
    balancer: Balancer<Arc<Server>>,
    clock: Clock,
    /// Of this one and its clones.
    identity: Arc<()>,
}

/// A server that is picked.
#[derive(Debug)]
pub(crate) struct Server {
    /// Of this upstream, never given twice: a worker that serves by an earlier configuration still
    /// may pick a server that it does not know.
    pub(crate) number: u32,
    pub(crate) name: Arc<str>,
    incarnation: u64,
    /// It is passed over while its breaker is open, and somebody sees to the end of that.
    held: AtomicBool,
}

impl Server {
    /// Whether it is passed over because its breaker was open.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// The answer to a request where no server can be picked.
pub(crate) fn problem(unavailable: Unavailable) -> Problem {
    const BUSY: Problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "endpoints-full",
        "every server has as many requests as it may, try again later",
    );
    const NONE: Problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no-endpoint",
        "no server takes requests now, try again later",
    );
    match unavailable {
        Unavailable::Overloaded => BUSY,
        _ => NONE,
    }
}

/// One pick.
pub(crate) type Pick = Picked<Arc<Server>>;

impl Balancers {
    /// The balancers of a configuration. Those of upstreams that there were `before` go on; they
    /// learn of it when it is [put in force](Self::put_in_force).
    ///
    /// # Errors
    ///
    /// If a number is out of its range, which of a configuration none is.
    pub(crate) fn new(
        config: &Config,
        clock: &Clock,
        hearing: &Hearing,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let upstreams = config.upstreams.iter();
        let standing = upstreams.map(|upstream| {
            let known = before.into_iter().flat_map(|before| &before.0);
            let kept = known
                .into_iter()
                .find(|known| known.upstream == upstream.name);
            Standing::new(upstream, clock, hearing, kept)
        });
        standing.collect::<Result<_, _>>().map(Self)
    }

    /// Has the balancers pick by this configuration: all of them, or on an error none.
    ///
    /// # Errors
    ///
    /// If a balancer refuses something: a policy that has no table for servers that were found. What
    /// a configuration lists itself is allowed.
    pub(crate) fn put_in_force(&self) -> Result<(), BuildError> {
        self.0.iter().try_for_each(Standing::try_apart)?;
        self.0.iter().try_for_each(Standing::put_in_force)
    }

    /// The balancer of the upstream at this place in the configuration, and the servers in its order.
    pub(crate) fn of(&self, upstream: usize) -> (&Balance, &[Arc<Server>]) {
        let standing = &self.0[upstream];
        (&standing.balance, &standing.servers)
    }

    /// What requests to the upstream at this place want, if they want anything.
    pub(crate) fn wants(&self, upstream: usize) -> Option<&Wants> {
        self.0[upstream].wants.as_ref()
    }

    pub(crate) fn by_name(&self, upstream: &str) -> Option<&Balance> {
        let found = self
            .0
            .iter()
            .find(|standing| *standing.upstream == *upstream);
        found.map(|standing| &standing.balance)
    }

    /// Picks a server again whose breaker somebody has set by hand.
    pub(crate) fn release(&self, upstream: &str, endpoint: &str) {
        let standing = self.0.iter().find(|known| *known.upstream == *upstream);
        let Some(standing) = standing else { return };
        let server = standing
            .servers
            .iter()
            .find(|known| *known.name == *endpoint);
        if let Some(server) = server {
            standing.balance.release(server);
        }
    }

    /// All upstreams with their balancers and checks.
    pub(crate) fn checked(&self) -> impl Iterator<Item = (&Arc<str>, &Balance, Option<&Check>)> {
        let all = self.0.iter();
        all.map(|standing| {
            let check = standing.check.as_ref();
            (&standing.upstream, &standing.balance, check)
        })
    }

    /// All upstreams with their balancers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Balance)> {
        let all = self.0.iter();
        all.map(|standing| (&standing.upstream, &standing.balance))
    }
}

impl Standing {
    fn new(
        config: &config::Upstream,
        clock: &Clock,
        hearing: &Hearing,
        kept: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let mut next = kept.map_or(0, |kept| kept.next);
        let known: HashMap<&str, &Arc<Server>> = kept.map_or_else(HashMap::new, |kept| {
            let servers = kept.servers.iter();
            servers.map(|server| (&*server.name, server)).collect()
        });
        let server = |endpoint: &config::Endpoint| {
            if let Some(server) = known.get(&*endpoint.url)
                && server.incarnation == endpoint.incarnation
            {
                return Arc::clone(server);
            }
            let number = next;
            next = next.wrapping_add(1);
            Arc::new(Server {
                number,
                name: endpoint.url.clone(),
                incarnation: endpoint.incarnation,
                held: AtomicBool::new(false),
            })
        };
        let servers = config.endpoints.iter().map(server).collect();
        let balancer = kept.map_or_else(
            || {
                Balancer::new(RoundRobin::new())
                    .with_clock(clock.clone())
                    .with_observer(hearing.of(&config.name))
            },
            |kept| kept.balance.balancer.clone(),
        );
        Ok(Self {
            check: Check::new(config).map_err(BuildError::Balancing)?,
            upstream: config.name.clone(),
            wants: match kept {
                // Its secrets are not read again.
                Some(kept) if kept.affinity == config.affinity && kept.hash == config.hash => {
                    kept.wants.clone()
                }
                _ => Wants::new(config, clock)?,
            },
            affinity: config.affinity.clone(),
            policy: config.policy,
            hash: config.hash.clone(),
            balancing: config.balancing.clone(),
            is_new: IsNew {
                policy: kept
                    .is_none_or(|kept| kept.policy != config.policy || kept.hash != config.hash),
                balancing: kept.is_none_or(|kept| kept.balancing != config.balancing),
            },
            balance: Balance {
                balancer,
                clock: clock.clone(),
                identity: kept.map_or_else(Arc::default, |kept| kept.balance.identity.clone()),
            },
            servers,
            endpoints: config.endpoints.clone(),
            next,
        })
    }

    fn put_in_force(&self) -> Result<(), BuildError> {
        let balancer = &self.balance.balancer;
        if self.is_new.balancing {
            let config = self.balancing.config().map_err(BuildError::Balancing)?;
            balancer.set_config(config);
        }
        // A policy is changed together with the endpoints that it is for.
        let updated = match self.is_new.policy {
            true => {
                let policy = self.policy().map_err(BuildError::Policy)?;
                balancer.update_with_policy(self.listed(), policy)
            }
            false => balancer.update(self.listed()),
        };
        updated.map(|_| ()).map_err(BuildError::Balancer)
    }

    /// Puts the same in force for a balancer that nobody uses, so that nothing is refused later.
    fn try_apart(&self) -> Result<(), BuildError> {
        self.balancing.config().map_err(BuildError::Balancing)?;
        let policy = self.policy().map_err(BuildError::Policy)?;
        let tried = Balancer::new(RoundRobin::new()).update_with_policy(self.listed(), policy);
        tried.map(|_| ()).map_err(BuildError::Balancer)
    }

    fn listed(&self) -> impl Iterator<Item = Endpoint<Arc<Server>>> {
        let endpoints = self.servers.iter().zip(&self.endpoints);
        endpoints.map(|(server, config)| {
            let endpoint = Endpoint::new(&*server.name, server.clone())
                .with_weight(config.weight)
                .with_priority(config.priority)
                .with_locality(Locality::zone(config.zone.clone()));
            match config.in_flight_max {
                Some(max) => endpoint.with_in_flight_max(max),
                None => endpoint,
            }
        })
    }

    fn policy(&self) -> Result<Arc<dyn policy::Policy<Arc<Server>>>, InvalidPolicy> {
        let by_hash = self.hash.as_ref().map(|hash| hash.policy(self.policy));
        Ok(match self.policy {
            Policy::RoundRobin => Arc::new(RoundRobin::new()),
            Policy::WeightedRoundRobin => Arc::new(WeightedRoundRobin::new()),
            Policy::Random => Arc::new(Random::new()),
            Policy::LeastConnections => Arc::new(LeastConnections::new()),
            Policy::WeightedLeastConnections => Arc::new(WeightedLeastConnections::new()),
            Policy::P2c => Arc::new(P2c::new()),
            Policy::PeakEwma => Arc::new(PeakEwma::new()),
            Policy::Ring | Policy::Maglev | Policy::Rendezvous => {
                // A configuration has it for each of the three.
                Arc::new(
                    by_hash
                        .transpose()?
                        .flatten()
                        .unwrap_or_else(ConsistentHash::ring),
                )
            }
        })
    }
}

impl Balance {
    pub(crate) fn pick(&self, context: &PickContext<'_>) -> Result<Pick, Unavailable> {
        self.balancer.pick(context)
    }

    /// Whether it is a clone of `other`.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    pub(crate) fn balancer(&self) -> &Balancer<Arc<Server>> {
        &self.balancer
    }

    /// Passes over a server for as long as its breaker stays open.
    ///
    /// One task for each server at most, which ends with that time.
    pub(crate) fn hold(&self, server: &Arc<Server>, open_for: Duration) {
        if server.held.swap(true, Ordering::AcqRel) {
            return;
        }
        self.balancer.mark(&server.name, Mark::Hold);
        let (balance, server) = (self.clone(), server.clone());
        tokio::spawn(async move {
            balance.clock.sleep(open_for).await;
            balance.release(&server);
        });
    }

    /// Picks a server again, whose breaker is to be asked again.
    pub(crate) fn release(&self, server: &Server) {
        self.balancer.mark(&server.name, Mark::Release);
        server.held.store(false, Ordering::Release);
    }

    /// Goes by no checks any more.
    pub(crate) fn forget_checks(&self) {
        for endpoint in self.balancer.snapshot().endpoints {
            self.balancer.mark(endpoint.id.as_str(), Mark::Unknown);
        }
    }
}
