#![doc = include_str!("../README.md")]

mod allocations;
mod drop_at_every_await;
mod eventually;
mod gate;
mod parts;
mod probe;
mod server;
mod strict;
mod waiters;

pub use allocations::{Counted, CountingAllocator, allocations, live_bytes};
pub use drop_at_every_await::{DropAtEveryAwait, drop_at_every_await, drop_at_every_await_in};
pub use eventually::{eventually, eventually_async, eventually_blocking};
pub use gate::{Gate, Gated, GatedFuture, Pass};
pub use parts::{Part, Parts};
pub use probe::Probe;
pub use server::{
    Chromium, ChromiumServer, Nsd, NsdServer, Place, Redis, RedisCluster, RedisServer, Server,
    ServerSpec, Tab,
};
pub use strict::{Strict, StrictFuture, StrictHandle};
