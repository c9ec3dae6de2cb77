//! Limits in Redis: 64 tasks that draw from one key of one server, all admitted.
//!
//! The tasks share one count of calls, so that there are 64 of them until the last call: whoever is
//! served first would else be done first, and leave fewer to share a round trip.
//!
//! Each contestant has one connection and one thread for its tasks; the server has the other
//! processor. *Bare EVALSHA* sends the very script that ours runs, with arguments made beforehand, and
//! reads nothing of the answer: what a decision costs without a limiter around it.
//!
//! *Leased 64* is a lease of batches of 64 with nothing else said: a key that is used faster than they
//! come may hold up to four. *None ahead* holds one at most.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use stanchion_benches::{Case, Contestant, Measure, Target, Unit, figure};
use stanchion_ratelimit::{
    Outage, Quota, RedisConfig, RedisLease, RedisRateLimiter, RedisServers, RedisStore,
};
use testkit::{Redis, RedisServer, Server};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const TASKS: usize = 64;
const BATCH: u64 = 64;
/// Calls in one round.
const STRICT_CALLS: usize = 64 * TASKS;
const LEASED_CALLS: usize = 2_000 * TASKS;
const SCRIPT: &str = concat!(
    "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n",
    include_str!("../../../../crates/ratelimit/src/redis/limits.lua")
);

pub(crate) fn cases() -> Vec<Case> {
    // Started when first asked for: who compares something else needs no server.
    let server = Rc::new(OnceCell::new());
    let limited = |lease, calls| {
        let (server, limited) = (server.clone(), OnceCell::new());
        let limited: OnceCell<Limited> = limited;
        figure(move || {
            let server = server.get_or_init(start);
            let limited = limited.get_or_init(|| Limited::new(server, lease));
            limited.operations_per_second(calls)
        })
    };
    let strict = limited(None, STRICT_CALLS);
    let lease = RedisLease::new(BATCH, Duration::from_secs(1));
    let leased = limited(Some(lease), LEASED_CALLS);
    let one_batch = limited(Some(lease.drawing_ahead(1)), LEASED_CALLS);
    vec![
        Case::new("redis, one key, 64 tasks", Unit::OPS_PER_SECOND)
            .with(Contestant::ours("stanchion", strict).must(Target::AtLeast {
                ratio: 0.9,
                versus: "bare EVALSHA",
            }))
            .with(
                Contestant::ours("stanchion, leased 64", leased).must(Target::AtLeast {
                    ratio: 20.0,
                    versus: "stanchion",
                }),
            )
            .with(Contestant::ours(
                "stanchion, leased 64, none ahead",
                one_batch,
            ))
            .with(Contestant::peer("bare EVALSHA", bare(server))),
    ]
}

fn start() -> RedisServer {
    let spec = Redis::new().option("appendonly", "no");
    Server::start(spec).expect("redis-server is installed by `cargo xtask compare`")
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

struct Limited {
    runtime: Runtime,
    limiter: RedisRateLimiter,
}

impl Limited {
    fn new(server: &RedisServer, lease: Option<RedisLease>) -> Self {
        let runtime = runtime();
        let servers = RedisServers::standalone(&server.url()).expect("an address");
        let store = RedisStore::connect_on(servers, runtime.handle());
        let quota: Quota = "100_000_000/s".parse().expect("a valid quota");
        let config = RedisConfig::new("bench", quota)
            .with_deadline(Duration::from_secs(1))
            .on_outage(Outage::Closed);
        let config = match lease {
            Some(lease) => config.leased(lease),
            None => config,
        };
        let limiter = RedisRateLimiter::new(&store, config).expect("a valid configuration");
        let limited = Self { runtime, limiter };
        limited.operations_per_second(STRICT_CALLS);
        limited
    }

    fn operations_per_second(&self, calls: usize) -> f64 {
        per_second(&self.runtime, calls, |calls| {
            let limiter = self.limiter.clone();
            async move {
                while calls.next() {
                    let admitted = limiter.check("key").await;
                    assert!(admitted.is_ok(), "every call is admitted: {admitted:?}");
                }
            }
        })
    }
}

fn bare(server: Rc<OnceCell<RedisServer>>) -> Measure {
    let world: OnceCell<(Runtime, MultiplexedConnection)> = OnceCell::new();
    figure(move || {
        let server = server.get_or_init(start);
        let (runtime, connection) = world.get_or_init(|| {
            let runtime = runtime();
            let client = redis::Client::open(server.url()).expect("an address");
            let connection = client.get_multiplexed_async_connection();
            let connection = runtime.block_on(connection).expect("a connection");
            (runtime, connection)
        });
        let script = redis::Script::new(SCRIPT);
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(script.get_hash())
            .arg(1)
            .arg("{bare:key}:1:gcra-100-1-100000000");
        command
            .arg("take")
            .arg(1)
            .arg(1)
            .arg("gcra")
            .arg(&[100, 1, 100_000_000]);
        let command = Rc::new(command);
        let mut loading = connection.clone();
        let load = runtime.block_on(script.load_async(&mut loading));
        assert!(load.is_ok(), "the script is loaded: {load:?}");
        per_second(runtime, STRICT_CALLS, |calls| {
            let (mut connection, command) = (connection.clone(), redis::Cmd::clone(&command));
            async move {
                while calls.next() {
                    let answer = connection.send_packed_command(&command).await;
                    assert!(answer.is_ok(), "{answer:?}");
                }
            }
        })
    })
}

/// Calls that are still to be made, by whichever task comes first.
#[derive(Clone)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn next(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        self.0.fetch_update(relaxed, relaxed, one_less).is_ok()
    }
}

/// Runs `work` in each of the tasks, and tells how many of its `calls` were done in a second.
fn per_second<F>(runtime: &Runtime, calls: usize, work: impl Fn(Calls) -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        #[expect(clippy::disallowed_methods, reason = "a rate is of real time")]
        let start = Instant::now();
        let left = Calls(Arc::new(AtomicUsize::new(calls)));
        for _ in 0..TASKS {
            tasks.spawn(work(left.clone()));
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no task fails");
        }
        calls as f64 / start.elapsed().as_secs_f64()
    })
}
