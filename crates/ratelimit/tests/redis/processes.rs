//! Two processes on one server: in no window do they admit more than the quota.

use std::env;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::process::{Child, Command, Stdio};

use rustix::time::{ClockId, clock_gettime};
use stanchion_ratelimit::{Outage, RedisLease};

use super::*;

const ROLE: &str = "STANCHION_TEST_REDIS_URL";
const LEASE: &str = "STANCHION_TEST_LEASE";
const RATE: u64 = 400;
const BURST: u64 = 40;
/// Admissions after which one process has seen enough.
const ENOUGH: usize = 150;

/// The machine's own clock, the same in all its processes.
fn nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap()
}

/// An admission, between these two moments.
#[derive(Clone, Copy, Debug)]
struct Admission {
    asked: u64,
    answered: u64,
}

/// A batch, and how many of them a key may hold; 0 leases nothing.
#[derive(Clone, Copy, Debug)]
struct Lease {
    batch: u64,
    ahead: u64,
}

fn config(lease: Lease) -> RedisConfig {
    let quota = Quota::new(RATE, Duration::from_secs(1)).unwrap();
    let config = patient(quota.with_burst(BURST).unwrap()).on_outage(Outage::Closed);
    if lease.batch == 0 {
        return config;
    }
    let leased = RedisLease::new(lease.batch, Duration::from_secs(1));
    config.leased(leased.drawing_ahead(lease.ahead))
}

/// One of the two: four tasks that call all the time, once the other is ready too.
async fn instance(url: &str, lease: Lease) {
    let store = RedisStore::connect_on(RedisServers::standalone(url).unwrap(), &Handle::current());
    let limiter = RedisRateLimiter::new(&store, config(lease)).unwrap();
    limiter.peek("anna").await.unwrap();
    println!("ready");
    stdout().flush().unwrap();
    stdin().read_exact(&mut [0]).unwrap();
    let tasks = (0..4).map(|_| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            let mut admissions = Vec::new();
            while admissions.len() < ENOUGH / 4 {
                let asked = nanos();
                if admits(&limiter, "anna").await {
                    let answered = nanos();
                    admissions.push(Admission { asked, answered });
                }
                tokio::task::yield_now().await;
            }
            admissions
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        for Admission { asked, answered } in task.await.unwrap() {
            println!("admitted {asked} {answered}");
        }
    }
}

struct Other(Child);

impl Other {
    fn start(test: &str, url: &str, lease: Lease) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([test, "--exact", "--nocapture"])
            .env(ROLE, url)
            .env(LEASE, format!("{} {}", lease.batch, lease.ahead))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn two_processes(test: &str, lease: Lease) -> Vec<Admission> {
    let Some(server) = redis() else {
        return Vec::new();
    };
    let mut others = [(); 2].map(|()| Other::start(test, &server.url(), lease));
    let mut outputs = others
        .each_mut()
        .map(|other| BufReader::new(other.0.stdout.take().unwrap()).lines());
    for output in &mut outputs {
        assert!(
            output.any(|line| line.unwrap().ends_with("ready")),
            "it ended"
        );
    }
    for other in &mut others {
        other.0.stdin.take().unwrap().write_all(b"!").unwrap();
    }
    let mut admissions = Vec::new();
    for output in outputs {
        for line in output {
            let line = line.unwrap();
            let Some(moments) = line.strip_prefix("admitted ") else {
                continue;
            };
            let (asked, answered) = moments.split_once(' ').unwrap();
            admissions.push(Admission {
                asked: asked.parse().unwrap(),
                answered: answered.parse().unwrap(),
            });
        }
    }
    assert_eq!(admissions.len(), 2 * (ENOUGH / 4) * 4);
    admissions
}

/// Looks at each window that begins with one admission and ends with another.
fn assert_bounded(mut admissions: Vec<Admission>, more: u64) {
    admissions.sort_by_key(|admission| admission.answered);
    for first in &admissions {
        let within = admissions
            .iter()
            .filter(|admission| admission.asked >= first.asked);
        for (count, last) in (1..).zip(within) {
            // Certainly within the window; what only may have been is left out.
            let window = last.answered.saturating_sub(first.asked);
            let refilled = u128::from(window) * u128::from(RATE) / 1_000_000_000;
            // One more for microseconds and for the moment itself.
            let most = BURST + u64::try_from(refilled).unwrap() + 1 + more;
            assert!(count <= most, "{count} in {window} ns, at most {most}");
        }
    }
}

fn run(test: &str, lease: Lease) {
    if let Ok(url) = env::var(ROLE) {
        let lease = env::var(LEASE).unwrap();
        let (batch, ahead) = lease.split_once(' ').unwrap();
        let (batch, ahead) = (batch.parse().unwrap(), ahead.parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let lease = Lease { batch, ahead };
        runtime.unwrap().block_on(instance(&url, lease));
        return;
    }
    // What a process had drawn before a window it may spend in it.
    let Lease { batch, ahead } = lease;
    assert_bounded(two_processes(test, lease), 2 * batch * ahead);
}

#[test]
fn two_processes_never_admit_more_than_the_quota() {
    run(
        "processes::two_processes_never_admit_more_than_the_quota",
        Lease { batch: 0, ahead: 0 },
    );
}

#[test]
fn two_processes_with_leases_never_admit_more_than_the_quota_and_their_batches() {
    run(
        "processes::two_processes_with_leases_never_admit_more_than_the_quota_and_their_batches",
        Lease {
            batch: 10,
            ahead: 1,
        },
    );
}

#[test]
fn two_processes_that_draw_ahead_never_admit_more_than_the_quota_and_what_they_hold() {
    run(
        "processes::two_processes_that_draw_ahead_never_admit_more_than_the_quota_and_what_they_hold",
        Lease { batch: 5, ahead: 4 },
    );
}
