//! Who chooses the server of a call: a balancer of ours, or one that sees more than any client may.

use std::time::Duration;

use stanchion_core::{Clock, Instant, ManualClock, Outcome};
use stanchion_lb::policy::Policy;
use stanchion_lb::{Balancer, Endpoint, Mark, PickContext, Picked};

use super::{Change, Nanos, Scenario};
use crate::Random;

/// Chooses the server of each call.
pub trait Chooser {
    /// Chooses for a call of `client`, or finds nobody.
    fn choose(&mut self, client: usize, world: &World<'_>, random: &mut Random) -> Option<Ticket>;

    /// Ends a call; `None` if the client gave it up.
    fn end(&mut self, ticket: Ticket, now: Nanos, answered: Option<bool>) {
        let _ = (ticket, now, answered);
    }

    /// Learns of a change.
    fn learn(&mut self, change: Change, now: Nanos);
}

/// What is true when a call goes out.
#[derive(Debug)]
pub struct World<'a> {
    /// When that is.
    pub now: Nanos,
    /// How many calls each server has.
    pub present: &'a [u32],
}

/// A call, from being sent to its end.
#[derive(Debug)]
pub struct Ticket {
    pub(super) server: usize,
    picked: Option<Picked<usize>>,
}

impl Ticket {
    fn to(server: usize) -> Self {
        Self {
            server,
            picked: None,
        }
    }

    /// The call as its client has it; what stays says only where it went.
    pub(super) fn take(&mut self) -> Self {
        Self {
            server: self.server,
            picked: self.picked.take(),
        }
    }
}

/// Balancers of ours, one for each client.
#[derive(Debug)]
pub struct Balancers {
    clients: Vec<Balancer<usize>>,
    endpoints: Vec<(usize, u16)>,
    time: ManualClock,
}

impl Balancers {
    /// One for each client of `scenario`, with all its servers of equal weight.
    pub fn new<P: Policy<usize> + 'static>(scenario: &Scenario, policy: impl Fn() -> P) -> Self {
        Self::weighted(scenario, policy, |_| 1)
    }

    /// The same with the servers' weights.
    ///
    /// # Panics
    ///
    /// If the balancer refuses the servers.
    pub fn weighted<P: Policy<usize> + 'static>(
        scenario: &Scenario,
        policy: impl Fn() -> P,
        weight: impl Fn(usize) -> u16,
    ) -> Self {
        let (clock, time) = Clock::manual();
        let client = |_| Balancer::new(policy()).with_clock(clock.clone());
        let there = (0..scenario.servers).filter(|server| scenario.begins_with(*server));
        let balancers = Self {
            clients: (0..scenario.clients).map(client).collect(),
            endpoints: there.map(|server| (server, weight(server))).collect(),
            time,
        };
        balancers.update();
        balancers
    }

    fn update(&self) {
        let endpoint = |&(server, weight): &(usize, u16)| {
            Endpoint::new(name(server), server).with_weight(weight)
        };
        for client in &self.clients {
            let updated = client.update(self.endpoints.iter().map(endpoint));
            assert!(updated.is_ok(), "servers were refused: {updated:?}");
        }
    }

    fn at(&self, now: Nanos) {
        self.time.set(Instant::ZERO + Duration::from_nanos(now));
    }
}

impl Chooser for Balancers {
    fn choose(&mut self, client: usize, world: &World<'_>, random: &mut Random) -> Option<Ticket> {
        self.at(world.now);
        let context = PickContext::new().with_random(random.next_u64());
        let picked = self.clients[client].pick(&context).ok()?;
        Some(Ticket {
            server: *picked.address(),
            picked: Some(picked),
        })
    }

    fn end(&mut self, ticket: Ticket, now: Nanos, answered: Option<bool>) {
        self.at(now);
        let Some(picked) = ticket.picked else { return };
        match answered {
            Some(true) => picked.record(Outcome::Success),
            Some(false) => picked.record(Outcome::Failure),
            None => drop(picked),
        }
    }

    fn learn(&mut self, change: Change, now: Nanos) {
        self.at(now);
        let mark = |server: usize, mark: Mark| {
            for client in &self.clients {
                client.mark(&name(server), mark);
            }
        };
        match change {
            Change::Joins(server) => {
                self.endpoints.push((server, 1));
                self.update();
            }
            Change::Leaves(server) => {
                self.endpoints.retain(|(other, _)| *other != server);
                self.update();
            }
            Change::Unhealthy(server) => mark(server, Mark::Unhealthy),
            Change::Healthy(server) => mark(server, Mark::Healthy),
        }
    }
}

fn name(server: usize) -> String {
    format!("server-{server}")
}

/// Chooses the less loaded of two by what is true at this moment, which no client knows.
#[derive(Debug)]
pub struct Fresh {
    servers: Vec<usize>,
}

impl Fresh {
    /// Over the servers of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            servers: from_the_start(scenario),
        }
    }
}

impl Chooser for Fresh {
    fn choose(&mut self, _client: usize, world: &World<'_>, random: &mut Random) -> Option<Ticket> {
        let two = two_of(&self.servers, random)?;
        Some(Ticket::to(less_loaded(two, world.present)))
    }

    fn learn(&mut self, change: Change, _now: Nanos) {
        learn(&mut self.servers, change);
    }
}

/// Chooses the least loaded of all, or of two, by what was true up to `age` ago.
#[derive(Debug)]
pub struct Stale {
    servers: Vec<usize>,
    age: Nanos,
    of_all: bool,
    seen_at: Option<Nanos>,
    seen: Vec<u32>,
}

impl Stale {
    /// The least loaded of all servers.
    #[must_use]
    pub fn of_all(scenario: &Scenario, age: Nanos) -> Self {
        Self {
            servers: from_the_start(scenario),
            age,
            of_all: true,
            seen_at: None,
            seen: Vec::new(),
        }
    }

    /// The less loaded of two servers.
    #[must_use]
    pub fn of_two(scenario: &Scenario, age: Nanos) -> Self {
        Self {
            of_all: false,
            ..Self::of_all(scenario, age)
        }
    }
}

impl Chooser for Stale {
    fn choose(&mut self, _client: usize, world: &World<'_>, random: &mut Random) -> Option<Ticket> {
        if self.seen_at.is_none_or(|at| world.now - at >= self.age) {
            self.seen_at = Some(world.now);
            self.seen.clear();
            self.seen.extend_from_slice(world.present);
        }
        if !self.of_all {
            let two = two_of(&self.servers, random)?;
            return Some(Ticket::to(less_loaded(two, &self.seen)));
        }
        let load = |server: &usize| self.seen[*server];
        let least = self.servers.iter().map(load).min()?;
        // Of several that are as good, any.
        let mut best = self.servers.iter().filter(|server| load(server) == least);
        let count = best.clone().count();
        let server = best.nth(random.below(count))?;
        Some(Ticket::to(*server))
    }

    fn learn(&mut self, change: Change, _now: Nanos) {
        learn(&mut self.servers, change);
    }
}

fn from_the_start(scenario: &Scenario) -> Vec<usize> {
    let there = (0..scenario.servers).filter(|server| scenario.begins_with(*server));
    there.collect()
}

fn learn(servers: &mut Vec<usize>, change: Change) {
    match change {
        Change::Joins(server) | Change::Healthy(server) => servers.push(server),
        Change::Leaves(server) | Change::Unhealthy(server) => {
            servers.retain(|other| *other != server);
        }
    }
}

/// Two different ones, or the only one twice.
fn two_of(servers: &[usize], random: &mut Random) -> Option<(usize, usize)> {
    let count = servers.len();
    if count < 2 {
        return servers.first().map(|only| (*only, *only));
    }
    let first = random.below(count);
    let second = (first + 1 + random.below(count - 1)) % count;
    Some((servers[first], servers[second]))
}

fn less_loaded((one, other): (usize, usize), present: &[u32]) -> usize {
    if present[other] < present[one] {
        other
    } else {
        one
    }
}
