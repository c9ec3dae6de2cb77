use std::time::Duration;

use crate::{EndpointId, Health};

/// A balancer in plain numbers, to make metrics from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The endpoints, in the order in which they were given.
    pub endpoints: Vec<EndpointSnapshot>,
    /// The priority levels that have an endpoint to use, the first one first.
    pub levels: Vec<LevelSnapshot>,
}

/// One endpoint in plain numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// What it is called.
    pub id: EndpointId,
    /// Whether it may be picked.
    pub health: Health,
    /// Whether its breaker keeps it from being picked even in panic.
    pub held: bool,
    /// For how much longer outlier detection has taken it out, if it has.
    pub ejected_for: Option<Duration>,
    /// How many ejections of late count towards the length of its next.
    pub ejections: u32,
    /// Calls that this balancer has sent there and that are not over.
    pub in_flight: u32,
    /// Its peak latency, decayed; `None` where the policy times no calls, or none has ended.
    pub latency: Option<Duration>,
    /// Its share beside others.
    pub weight: u16,
    /// How much of that it is sent while it starts slowly, in percent; else 100.
    pub share_percent: u32,
    /// The level that it belongs to.
    pub priority: u8,
}

/// One priority level in plain numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelSnapshot {
    /// Which one.
    pub priority: u8,
    /// How many of its endpoints are healthy, or not known to be otherwise.
    pub healthy: u32,
    /// How many are degraded.
    pub degraded: u32,
    /// How many are meant to be used at all.
    pub endpoints: u32,
    /// What part of the traffic it gets, in percent.
    pub load: u32,
    /// Whether its health is believed no more, and all of its endpoints are used.
    pub panic: bool,
}
