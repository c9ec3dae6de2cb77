//! The limiter on real Redis servers.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod cluster;
mod composite;
mod config;
mod decisions;
mod dropped;
mod lease;
mod outage;
mod processes;
mod refusals;

use std::time::Duration;

use stanchion_core::{Clock, ManualClock};
use stanchion_ratelimit::{Policy, Quota, RedisConfig, RedisRateLimiter, RedisServers, RedisStore};
use testkit::{Redis, RedisServer, Server};
use tokio::runtime::Handle;

/// How long a test waits for what is to happen; it is never reached.
const LIMIT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

/// `burst` at once, and as good as none after that.
fn burst(burst: u64) -> Quota {
    Quota::new(1, HOUR).unwrap().with_burst(burst).unwrap()
}

/// A configuration whose deadline no healthy server misses, on however busy a machine.
fn patient(policy: impl Into<Policy>) -> RedisConfig {
    RedisConfig::new("test", policy).with_deadline(LIMIT)
}

fn redis() -> Option<RedisServer> {
    Server::start(Redis::new())
}

fn servers(server: &RedisServer) -> RedisServers {
    RedisServers::standalone(&server.url()).unwrap()
}

fn store(server: &RedisServer) -> RedisStore {
    RedisStore::connect_on(servers(server), &Handle::current())
}

fn limiter(server: &RedisServer, config: RedisConfig) -> RedisRateLimiter {
    RedisRateLimiter::new(&store(server), config).unwrap()
}

/// A limiter whose waits are in the hand of the test.
fn by_hand(server: &RedisServer, config: RedisConfig) -> (RedisRateLimiter, ManualClock) {
    let (clock, time) = Clock::manual();
    let store = RedisStore::connect_on(servers(server).with_clock(clock), &Handle::current());
    (RedisRateLimiter::new(&store, config).unwrap(), time)
}

/// Whether one request of `key` is admitted.
async fn admits(limiter: &RedisRateLimiter, key: &str) -> bool {
    limiter.check(key).await.is_ok()
}

/// How many of `requests` of `key`, one after the other, are admitted.
async fn admitted(limiter: &RedisRateLimiter, key: &str, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        admitted += usize::from(admits(limiter, key).await);
    }
    admitted
}
