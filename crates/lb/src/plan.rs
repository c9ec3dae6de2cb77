//! What a pick reads: built whole from all that is known, then swapped in.
//!
//! ```text
//! level (priority)   by how much of each is fit; one that panics is used whole
//!   group            its healthy endpoints, or its degraded ones, or all
//!     table          what the policy made of them
//! ```

mod group;
mod levels;
mod subset;
mod whole;
mod zones;

use std::sync::Arc;

use stanchion_core::{Clock, Instant};

use crate::counted::{Call, Kept};
use crate::latency::Metering;
use crate::node::Node;
use crate::picked::UNTIMED;
use crate::policy::{InvalidTable, Member, Needs, Policy, Random, Table};
use crate::slow_start::WARM;
use crate::{
    Attributes, Config, Draw, EndpointId, Health, Outliers, PickContext, Picked, Unavailable,
};
use group::Group;
pub(crate) use levels::{Counts, Load};
use whole::WholeLevel;
use zones::WHOLE;

/// All that picks read.
#[derive(Debug)]
pub(crate) struct Plan<A> {
    /// In the caller's order.
    pub(crate) nodes: Box<[Kept<Node<A>>]>,
    /// Places in `nodes`, by id.
    pub(crate) by_id: Box<[u32]>,
    pub(crate) levels: Box<[Level]>,
    /// First those with a share of the traffic, then those that take over what these cannot.
    groups: Box<[Group<A>]>,
    /// The tables that groups of one level share, if the policy wants that.
    whole: Box<[WholeLevel<A>]>,
    metering: Option<Metering>,
    /// What is to be said where there is no group.
    unavailable: Unavailable,
    /// When it is to be made anew, since time alone changes something.
    pub(crate) due: Instant,
    /// Whether outlier detection may take out one more.
    pub(crate) may_eject: bool,
}

/// One priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) priority: u8,
    pub(crate) counts: Counts,
    pub(crate) load: Load,
}

/// What a plan is made of.
#[derive(Debug)]
pub(crate) struct Basis<'a, A> {
    pub(crate) nodes: Box<[Kept<Node<A>>]>,
    /// Places in `nodes`, by id.
    pub(crate) by_id: Box<[u32]>,
    /// What is told of each node now; `None` if that is what its own attributes say.
    pub(crate) attributes: Option<&'a [Arc<Attributes>]>,
    pub(crate) policy: &'a dyn Policy<A>,
    pub(crate) config: &'a Config,
    pub(crate) now: Instant,
    /// A plan by the same policy.
    pub(crate) before: Option<&'a Plan<A>>,
}

impl<A> Plan<A> {
    /// A plan for these nodes as they are now; and, where a table could not be made, so that chance has
    /// to choose, why not.
    pub(crate) fn new(basis: Basis<'_, A>, draw: &mut Draw) -> (Self, Option<InvalidTable>) {
        let Basis {
            nodes,
            by_id,
            attributes,
            policy,
            config,
            now,
            before,
        } = basis;
        let needs = policy.needs();
        let known = nodes.iter().enumerate().map(|(place, node)| {
            let told = attributes.and_then(|attributes| attributes.get(place));
            let attributes = told.cloned().unwrap_or_else(|| node.attributes.load_full());
            Known::of(node, &attributes, config, now)
        });
        let known: Vec<Known<'_, A>> = known.collect();
        let meant = known.iter().filter(|known| known.is_meant_to_be_used());
        let mut priorities: Vec<u8> = meant.map(|known| known.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();

        let of_level = |priority: u8| {
            let of_level = known.iter().filter(move |known| known.priority == priority);
            LevelNodes::new(priority, of_level.collect())
        };
        let found: Vec<LevelNodes<'_, A>> = priorities.iter().copied().map(of_level).collect();
        let counts: Vec<Counts> = found.iter().map(LevelNodes::counts).collect();
        let loads = levels::split(&counts, config);
        let levels = (priorities.iter().zip(&counts).zip(&loads))
            .map(|((&priority, &counts), &load)| Level {
                priority,
                counts,
                load,
            })
            .collect();
        let whole = match needs.whole {
            true => WholeLevel::all(&known, policy, before, draw),
            false => Ok(Box::default()),
        };
        let (whole, mut invalid) = match whole {
            Ok(whole) => (whole, None),
            Err(invalid) => (Box::default(), Some(invalid)),
        };
        let tables = Tables {
            policy,
            needs,
            whole: &whole,
        };
        let groups = groups(&found, &loads, &tables, config, (draw, &mut invalid));
        let unavailable = match found.is_empty() {
            true => Unavailable::NoEndpoints,
            false => Unavailable::AllUnhealthy,
        };
        let plan = Self {
            levels,
            groups,
            whole,
            metering: needs.latency,
            unavailable,
            due: due(&nodes, config, now),
            may_eject: may_eject(&nodes, config),
            by_id,
            nodes,
        };
        (plan, invalid)
    }

    /// Tells the tables of whole levels that they are in force.
    pub(crate) fn adopted(&self) {
        for level in &self.whole {
            level.table.adopted();
        }
    }

    /// The node of this id.
    pub(crate) fn node(&self, id: &str) -> Option<&Kept<Node<A>>> {
        let place = |&place: &u32| self.nodes.get(place as usize);
        let found = self
            .by_id
            .binary_search_by(|probe| place(probe).map_or("", |node| node.id.as_str()).cmp(id));
        place(self.by_id.get(found.ok()?)?)
    }

    /// How calls are timed.
    pub(crate) fn metering(&self) -> Option<Metering> {
        self.metering
    }

    #[inline]
    pub(crate) fn pick(
        &self,
        context: &PickContext<'_>,
        clock: &Clock,
    ) -> Result<Picked<A>, Unavailable> {
        let (now, since) = match self.metering {
            None => (Instant::ZERO, UNTIMED),
            Some(_) => now(context, clock),
        };
        if context.affinity.is_some()
            && let Some(call) = self.bound(context)
        {
            return Ok(Picked::new(call, since));
        }
        let mut draw = match context.random {
            None => Draw::of_thread(),
            Some(seed) => Draw::from_seed(seed),
        };
        let (first, group) = match &*self.groups {
            [group, ..] if group.share_end >= WHOLE => (0, Some(group)),
            _ => self.route(context.hash, &mut draw),
        };
        let call = group.and_then(|group| group.begin(context, now, draw.clone()));
        let call = call.map_or_else(|| self.begin_any(first, context.avoid, draw), Ok)?;
        Ok(Picked::new(call, since))
    }

    /// The endpoint that the call is bound to, if it takes the call.
    #[cold]
    fn bound(&self, context: &PickContext<'_>) -> Option<Call<Node<A>>> {
        let node = self.node(context.affinity?)?;
        let fit = match node.health.read().health() {
            Health::Unknown | Health::Healthy | Health::Degraded | Health::Draining => true,
            Health::Unhealthy | Health::Ejected | Health::Disabled => false,
        };
        let max = node.attributes.load().in_flight_max;
        let max = max.map_or(u32::MAX, u32::from);
        let fit = fit && !context.avoid.contains(&node.id);
        fit.then(|| node.begin(max)).flatten()
    }

    /// The group whose turn it is, by its share, and its place: always the same for the same hash.
    #[cold]
    fn route(&self, hash: Option<u64>, draw: &mut Draw) -> (usize, Option<&Group<A>>) {
        let bits = match hash {
            // Mixed again, since the policy goes by the hash itself.
            Some(hash) => Draw::from_seed(hash).bits(),
            None => draw.bits(),
        };
        let point = (u128::from(bits) * u128::from(WHOLE)) >> 64;
        let passed = |group: &Group<A>| u128::from(group.share_end) <= point;
        let place = self.groups.partition_point(passed);
        (place, self.groups.get(place))
    }

    /// Any endpoint of another group, or one that was to be avoided.
    #[cold]
    fn begin_any(
        &self,
        first: usize,
        avoid: &[EndpointId],
        mut draw: Draw,
    ) -> Result<Call<Node<A>>, Unavailable> {
        let (before, from) = self.groups.split_at_checked(first).unwrap_or_default();
        let groups = || from.iter().chain(before);
        let any = |avoid| {
            let start = draw.bits();
            groups().find_map(|group| group.scan(avoid, start))
        };
        let others = [avoid, &[]];
        let call = others.into_iter().find_map(any);
        call.ok_or(match self.groups.is_empty() {
            true => self.unavailable,
            false => Unavailable::Overloaded,
        })
    }
}

/// The time for the policy, and for the call. Apart, since most policies go without.
#[inline(never)]
fn now(context: &PickContext<'_>, clock: &Clock) -> (Instant, Instant) {
    let now = context.now.unwrap_or_else(|| clock.now());
    (now, now)
}

/// When the first of the ejected is let in again, or the share of one that starts slowly grows.
fn due<A>(nodes: &[Kept<Node<A>>], config: &Config, now: Instant) -> Instant {
    let due = |node: &Kept<Node<A>>| {
        let health = node.health.read();
        if health.is_ejected() {
            return node.ejection.lock().until();
        }
        let (slow, since) = (config.slow_start?, node.started.get()?);
        let starts = health.is_fit() && slow.share(since, now) < WARM;
        starts.then(|| slow.next(since, now))
    };
    nodes.iter().filter_map(due).min().unwrap_or(Instant::MAX)
}

fn may_eject<A>(nodes: &[Kept<Node<A>>], config: &Config) -> bool {
    let is_ejected = |node: &&Kept<Node<A>>| node.health.read().is_ejected();
    let max = |outliers: &Outliers| outliers.ejected_max(nodes.len());
    config.outliers.as_ref().map_or(0, max) > nodes.iter().filter(is_ejected).count()
}

/// A node as it is while a plan is built.
struct Known<'a, A> {
    node: &'a Kept<Node<A>>,
    health: Health,
    held: bool,
    weight: u16,
    /// In percent, while it starts slowly.
    share: u32,
    priority: u8,
    in_flight_max: u32,
    zone: Arc<str>,
}

impl<'a, A> Known<'a, A> {
    fn of(node: &'a Kept<Node<A>>, attributes: &Attributes, config: &Config, now: Instant) -> Self {
        let health = node.health.read();
        Self {
            node,
            health: health.health(),
            held: health.is_held(),
            weight: attributes.weight,
            share: config.share(&node.started, now),
            priority: attributes.priority,
            in_flight_max: attributes.in_flight_max.map_or(u32::MAX, u32::from),
            zone: attributes.locality.zone.clone(),
        }
    }

    fn is_meant_to_be_used(&self) -> bool {
        self.weight > 0 && !matches!(self.health, Health::Draining | Health::Disabled)
    }
}

/// The nodes of one level.
struct LevelNodes<'a, A> {
    priority: u8,
    nodes: Vec<&'a Known<'a, A>>,
    /// Whether one is known to be healthy; unknown ones then wait for their check.
    any_healthy: bool,
}

/// Which endpoints of a level make a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Healthy,
    Degraded,
    /// In panic.
    All,
}

impl<'a, A> LevelNodes<'a, A> {
    fn new(priority: u8, nodes: Vec<&'a Known<'a, A>>) -> Self {
        let is_healthy =
            |known: &&Known<'_, A>| known.is_meant_to_be_used() && known.health == Health::Healthy;
        Self {
            priority,
            any_healthy: nodes.iter().any(is_healthy),
            nodes,
        }
    }

    fn is_in(&self, part: Part, known: &Known<'_, A>) -> bool {
        match part {
            _ if !known.is_meant_to_be_used() => false,
            Part::Healthy if known.health == Health::Unknown => !self.any_healthy,
            Part::Healthy => known.health == Health::Healthy,
            Part::Degraded => known.health == Health::Degraded,
            Part::All => !known.held,
        }
    }

    fn counts(&self) -> Counts {
        let count = |fits: &dyn Fn(&Known<'_, A>) -> bool| {
            let count = self.nodes.iter().filter(|known| fits(known)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Counts {
            healthy: count(&|known| self.is_in(Part::Healthy, known)),
            degraded: count(&|known| self.is_in(Part::Degraded, known)),
            // Those that wait for their check are not there yet.
            all: count(&|known| {
                let waits = self.any_healthy && known.health == Health::Unknown;
                known.is_meant_to_be_used() && !waits
            }),
        }
    }
}

/// Where the tables of groups come from.
struct Tables<'a, A> {
    policy: &'a dyn Policy<A>,
    needs: Needs,
    whole: &'a [WholeLevel<A>],
}

impl<A> Tables<'_, A> {
    /// A group of those that are usable.
    fn group(
        &self,
        level: &LevelNodes<'_, A>,
        usable: impl Fn(&Known<'_, A>) -> bool,
        config: &Config,
        (draw, invalid): (&mut Draw, &mut Option<InvalidTable>),
    ) -> Group<A> {
        let (table, members) = if self.needs.whole {
            let member = |known: &&Known<'_, A>| whole::member(known, usable(known));
            let table = WholeLevel::of_priority(self.whole, level.priority);
            let members = level.nodes.iter().map(member).collect();
            (table.map(|level| level.table.clone()), members)
        } else {
            let members = group::members(&level.nodes, usable, config.subset);
            let table = match self.policy.table(&members, draw) {
                Ok(table) => Some(table.into()),
                Err(why) => {
                    invalid.get_or_insert(why.at(level.priority));
                    None
                }
            };
            (table, members)
        };
        Group {
            table: table.unwrap_or_else(|| chance(&members)),
            members,
            share_end: 0,
        }
    }
}

/// What stands in for a table that cannot be made.
fn chance<A>(members: &[Member<A>]) -> Arc<dyn Table<A>> {
    Random::by_weight(members).into()
}

/// The groups of all levels that have an endpoint: those with a share before the others.
fn groups<A>(
    levels: &[LevelNodes<'_, A>],
    loads: &[Load],
    tables: &Tables<'_, A>,
    config: &Config,
    (draw, invalid): (&mut Draw, &mut Option<InvalidTable>),
) -> Box<[Group<A>]> {
    let parts = |part: Part, share: fn(&Load) -> u32| {
        levels
            .iter()
            .zip(loads)
            .map(move |(level, load)| match load.panic {
                true if part == Part::Healthy => (level, Part::All, load.total()),
                true => (level, part, 0),
                false => (level, part, share(load)),
            })
    };
    let healthy = parts(Part::Healthy, |load| load.healthy);
    let degraded = parts(Part::Degraded, |load| load.degraded);
    let mut parts: Vec<_> = healthy
        .chain(degraded)
        .filter(|(level, part, _)| level.nodes.iter().any(|known| level.is_in(*part, known)))
        .collect();
    parts.sort_by_key(|(_, _, share)| *share == 0);
    let whole: u64 = parts.iter().map(|(_, _, share)| u64::from(*share)).sum();
    // Shares of groups that turned out empty go to the others.
    let scaled = |share: u64| (share * WHOLE).checked_div(whole).unwrap_or(WHOLE);
    let mut before = 0;
    let mut groups = Vec::new();
    for (level, part, share) in parts {
        let (begin, end) = (scaled(before), scaled(before + u64::from(share)));
        before += u64::from(share);
        // Tables that span a level, or a panic, leave nothing to choose a zone by.
        let splits = !tables.needs.whole && part != Part::All;
        let zones = splits.then(|| level.zones(part, config)).flatten();
        for (zone, zone_end) in zones.unwrap_or_else(|| vec![(None, WHOLE)]) {
            let usable = |known: &Known<'_, A>| {
                level.is_in(part, known) && zone.is_none_or(|zone| *known.zone == *zone)
            };
            let share_end = begin + (end - begin) * zone_end / WHOLE;
            let group = tables.group(level, usable, config, (draw, invalid));
            groups.push(Group { share_end, ..group });
        }
    }
    groups.into()
}

impl<A> LevelNodes<'_, A> {
    /// The zones of a part, the local one first, each with where its part of the traffic ends; `None` if
    /// zones do not matter.
    fn zones(&self, part: Part, config: &Config) -> Option<Vec<(Option<&str>, u64)>> {
        let local = config.local_zone.as_deref()?;
        let in_part = || self.nodes.iter().filter(|known| self.is_in(part, known));
        if in_part().count() < config.zone_endpoints_min as usize {
            return None;
        }
        let mut zones: Vec<(&str, u64)> = Vec::new();
        for known in in_part() {
            match zones.iter_mut().find(|(zone, _)| *zone == &*known.zone) {
                Some((_, weight)) => *weight += u64::from(known.weight),
                None => zones.push((&known.zone, u64::from(known.weight))),
            }
        }
        let place = zones.iter().position(|(zone, _)| *zone == local)?;
        zones.swap(0, place);
        let weights: Vec<u64> = zones.iter().map(|(_, weight)| *weight).collect();
        let mut end = 0;
        let ends = zones::split(&weights, 0).into_iter().map(|part| {
            end += part;
            end
        });
        Some(
            zones
                .iter()
                .map(|(zone, _)| Some(*zone))
                .zip(ends)
                .collect(),
        )
    }
}
