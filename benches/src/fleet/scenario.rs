//! What a fleet is like, and what befalls it.

use super::{MILLISECOND, Nanos, SECOND};

/// A fleet, its load, and what befalls it. The default is the facts' homogeneous fleet: 50 servers of
/// 4 cores, one client, 70 % load.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What a reader calls it.
    pub name: &'static str,
    /// How many servers there are.
    pub servers: usize,
    /// How many calls each works on at once.
    pub cores: usize,
    /// How many balancers there are, which know nothing of each other.
    pub clients: usize,
    /// Calls per second, as a share of what all servers can do in the mean.
    pub load: f64,
    /// How many calls are made; the first fifth is not counted.
    pub calls: usize,
    /// How much work a call is.
    pub demand: Demand,
    /// How fast servers are.
    pub speeds: Speeds,
    /// Whether each server is slowed to 0.3 for half a second every five seconds, at random.
    pub antagonist: bool,
    /// How long a message takes, one way.
    pub one_way: Nanos,
    /// How long a client waits for an answer before it gives up.
    pub deadline: Nanos,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What clients are told, and when.
    pub changes: Vec<(Nanos, Change)>,
}

/// How much work calls are; 10 ms of one core in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demand {
    /// Lognormal, σ = 0.8.
    Lognormal,
    /// Exponential.
    Exponential,
    /// Nine of ten are short, the tenth is fifty times as long.
    Bimodal,
    /// All alike.
    Fixed,
}

/// How fast servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Speeds {
    /// All alike.
    Equal,
    /// Every other server is half as fast.
    Halves,
}

/// What goes wrong with one server for a while.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which one.
    pub server: usize,
    /// From when.
    pub from: Nanos,
    /// Until when.
    pub until: Nanos,
    /// What.
    pub kind: FaultKind,
}

/// In which way a server fails.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Answers each call with a failure after 0.2 ms, without work.
    FailsFast,
    /// Refuses connections, and loses what it had.
    Down,
    /// Works at this share of its speed.
    Slow(f64),
}

/// What clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A server is there that was not.
    Joins(usize),
    /// A server is gone for good.
    Leaves(usize),
    /// Checks of a server fail.
    Unhealthy(usize),
    /// Checks of a server pass.
    Healthy(usize),
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "homogeneous",
            servers: 50,
            cores: 4,
            clients: 1,
            load: 0.7,
            calls: 600_000,
            demand: Demand::Lognormal,
            speeds: Speeds::Equal,
            antagonist: false,
            one_way: MILLISECOND / 2,
            deadline: 5 * SECOND,
            faults: Vec::new(),
            changes: Vec::new(),
        }
    }
}

impl Scenario {
    /// Servers of two speeds, each slowed now and then.
    #[must_use]
    pub fn mixed() -> Self {
        Self {
            name: "heterogeneous, antagonist",
            speeds: Speeds::Halves,
            antagonist: true,
            ..Self::default()
        }
    }

    /// One server answers at once, and always with a failure.
    #[must_use]
    pub fn failing_fast() -> Self {
        Self {
            name: "one server fails fast",
            faults: vec![Fault {
                server: 7,
                from: 0,
                until: Nanos::MAX,
                kind: FaultKind::FailsFast,
            }],
            ..Self::default()
        }
    }

    /// One server more, after a third of the calls.
    #[must_use]
    pub fn joined(self, at: Nanos) -> Self {
        let server = self.servers - 1;
        Self {
            name: "a new server",
            changes: vec![(at, Change::Joins(server))],
            ..self
        }
    }

    /// A third of the servers is lost at `at`, which checks tell 3 s later, and is back 10 s later.
    #[must_use]
    pub fn losing_a_zone(self, at: Nanos) -> Self {
        let lost = || (0..self.servers).filter(|server| server % 3 == 0);
        let faults = lost().map(|server| Fault {
            server,
            from: at,
            until: at + 10 * SECOND,
            kind: FaultKind::Down,
        });
        let told = lost().map(|server| (at + 3 * SECOND, Change::Unhealthy(server)));
        let back = lost().map(|server| (at + 12 * SECOND, Change::Healthy(server)));
        Self {
            name: "a zone is lost",
            faults: faults.collect(),
            changes: told.chain(back).collect(),
            ..self
        }
    }

    /// Whether a server is there from the start.
    pub(super) fn begins_with(&self, server: usize) -> bool {
        !self
            .changes
            .iter()
            .any(|(_, change)| *change == Change::Joins(server))
    }

    /// How fast a server is when nothing slows it.
    pub(super) fn base_speed(&self, server: usize) -> f64 {
        match self.speeds {
            Speeds::Halves if server % 2 == 1 => 0.5,
            _ => 1.0,
        }
    }
}
