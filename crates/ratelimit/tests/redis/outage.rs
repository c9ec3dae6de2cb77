//! Redis that is not there, stands still, dies, comes back, and has forgotten.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use stanchion_ratelimit::{Event, Outage, Reason, RedisLease, StoreEvent};
use testkit::{eventually, eventually_async};

use super::*;

/// What holds where nothing is said.
const DEADLINE: Duration = Duration::from_millis(10);

/// A configuration with the default deadline, to be reached by hand.
fn prompt(quota: Quota) -> RedisConfig {
    RedisConfig::new("test", quota)
}

fn local(instances: u32) -> Outage {
    Outage::Local {
        instances,
        max_keys: 100,
    }
}

/// Waits until the store has a connection.
async fn connected(limiter: &RedisRateLimiter) {
    eventually(LIMIT, "the store is connected", || {
        limiter.store().snapshot().connected
    })
    .await;
}

/// Whether `future` is still pending after its tasks had their turns.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    for _ in 0..10 {
        tokio::task::yield_now().await;
        if poll_once(future).await {
            return false;
        }
    }
    true
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(Pin::new(&mut *future).poll(context).is_ready())
    })
    .await
}

/// A server that nobody runs: nothing listens on port 1.
fn nowhere(config: RedisConfig) -> RedisRateLimiter {
    let servers = RedisServers::standalone("redis://127.0.0.1:1/").unwrap();
    let store = RedisStore::connect_on(servers, &Handle::current());
    RedisRateLimiter::new(&store, config).unwrap()
}

#[tokio::test]
async fn without_a_server_the_policy_decides() {
    let open = nowhere(patient(burst(1)).on_outage(Outage::Open));
    for _ in 0..5 {
        // Uncounted, so it has no status.
        assert_eq!(open.check("anna").await.unwrap(), None);
    }
    let closed = nowhere(patient(burst(1)).on_outage(Outage::Closed));
    let rejected = closed.check("anna").await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unavailable);
    assert_eq!((rejected.retry_after(), rejected.status()), (None, None));
    assert!(
        rejected.to_string().contains("could not be asked"),
        "{rejected}"
    );

    let share = nowhere(patient(burst(10)).on_outage(local(3)));
    let status = share.check("anna").await.unwrap().unwrap();
    assert_eq!((status.limit(), status.remaining()), (3, 2));
    assert_eq!(admitted(&share, "anna", 9).await, 2);
    assert_eq!(admitted(&share, "bela", 9).await, 3);
    let snapshot = share.snapshot();
    assert_eq!(
        (snapshot.calls, snapshot.fell_back, snapshot.timed_out),
        (19, 19, 0)
    );
    assert!(share.peek("anna").await.is_err());
}

#[tokio::test]
async fn several_limits_fall_back_together() {
    let config = patient(burst(10))
        .in_one_slot()
        .and_shared("all", burst(15));
    let share = nowhere(config.on_outage(local(5)));
    assert_eq!(admitted(&share, "anna", 9).await, 2);
    assert_eq!(admitted(&share, "bela", 9).await, 1);
    // What the shared limit refused took nothing of her own.
    let own = patient(burst(10)).and("more", burst(5));
    let share = nowhere(own.on_outage(local(5)));
    assert_eq!(admitted(&share, "anna", 9).await, 1);
}

/// Time stands still but for what the test moves, so nothing here depends on how fast it runs.
#[tokio::test]
async fn a_frozen_server_costs_three_deadlines_and_then_nothing() {
    let Some(server) = redis() else { return };
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let (clock, time) = Clock::manual();
    let servers = servers(&server)
        .with_clock(clock)
        .with_observer(move |event: &StoreEvent| heard.lock().push(*event));
    let store = RedisStore::connect_on(servers, &Handle::current());
    let limiter = RedisRateLimiter::new(&store, prompt(burst(9)).on_outage(Outage::Closed));
    let limiter = limiter.unwrap();
    connected(&limiter).await;
    server.freeze();

    for miss in 1..=3 {
        let mut call = limiter.check("anna");
        assert!(is_pending(&mut call).await);
        time.advance(DEADLINE - Duration::from_nanos(1));
        assert!(is_pending(&mut call).await);
        time.advance(Duration::from_nanos(1));
        let rejected = call.await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::Unavailable);
        assert_eq!(limiter.snapshot().timed_out, miss);
    }
    assert_eq!(*events.lock(), [StoreEvent::Answers, StoreEvent::Away]);
    for _ in 0..100 {
        assert!(poll_once(&mut limiter.check("anna")).await);
    }
    assert_eq!(limiter.snapshot().timed_out, 3);
    assert_eq!(store.snapshot().not_asked, 100);

    server.thaw();
    eventually_async(LIMIT, "it is asked again", async || {
        time.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        store.snapshot().connected
    })
    .await;
    // What the frozen server had received it may have carried out.
    let admitted = admitted(&limiter, "anna", 20).await;
    assert!((6..=9).contains(&admitted), "{admitted}");
    assert_eq!(
        *events.lock(),
        [StoreEvent::Answers, StoreEvent::Away, StoreEvent::Answers]
    );
}

/// The second waits on through the first one's draw, and no longer than its own deadline.
#[tokio::test]
async fn those_who_wait_for_a_draw_keep_their_own_deadlines() {
    let Some(server) = redis() else { return };
    let lease = RedisLease::new(5, Duration::from_secs(60));
    let config = prompt(burst(9)).leased(lease).on_outage(Outage::Closed);
    let (limiter, time) = by_hand(&server, config);
    connected(&limiter).await;
    server.freeze();
    let mut first = limiter.check("anna");
    assert!(is_pending(&mut first).await);
    time.advance(Duration::from_millis(4));
    let mut second = limiter.check("anna");
    time.advance(Duration::from_millis(6));
    let unavailable = Reason::Unavailable;
    assert_eq!(first.await.unwrap_err().reason(), unavailable);
    assert!(is_pending(&mut second).await);
    time.advance(Duration::from_millis(4));
    assert_eq!(second.await.unwrap_err().reason(), unavailable);
    assert_eq!(limiter.snapshot().timed_out, 2);
}

/// What Redis admits is taken from the share too.
#[tokio::test]
async fn a_client_that_has_used_its_share_does_not_begin_anew_in_an_outage() {
    let Some(mut server) = redis() else { return };
    let fell_back = Arc::new(Mutex::new(0));
    let counter = fell_back.clone();
    let config = patient(burst(10)).on_outage(local(2));
    let limiter = limiter(&server, config).with_observer(move |event: &Event| {
        *counter.lock() += u32::from(matches!(event, Event::FellBack));
    });
    assert_eq!(admitted(&limiter, "anna", 7).await, 7);
    assert_eq!(admitted(&limiter, "bela", 3).await, 3);
    server.kill();
    assert_eq!(admitted(&limiter, "anna", 9).await, 0);
    assert_eq!(admitted(&limiter, "bela", 9).await, 2);
    assert_eq!(admitted(&limiter, "cleo", 9).await, 5);
    assert_eq!(*fell_back.lock(), 27);
    assert_eq!(limiter.snapshot().fell_back, 27);
}

/// The server's own time, in microseconds.
fn time_of(server: &RedisServer) -> u64 {
    let info = server.ask("INFO server").unwrap();
    let micros = info
        .lines()
        .find_map(|line| line.strip_prefix("server_time_usec:"));
    micros.unwrap().parse().unwrap()
}

/// Tasks that call all the time, and how many calls were admitted.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
}

impl Load {
    fn start(limiter: &RedisRateLimiter) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let call = |limiter: RedisRateLimiter, stop: Arc<AtomicBool>| async move {
            let mut admitted = 0;
            while !stop.load(Ordering::Relaxed) {
                admitted += u64::from(admits(&limiter, "anna").await);
                // A refusal may come at once.
                tokio::task::yield_now().await;
            }
            admitted
        };
        let tasks = (0..16)
            .map(|_| tokio::spawn(call(limiter.clone(), stop.clone())))
            .collect();
        Self { stop, tasks }
    }

    /// Every call ends: none waits for a server that does not answer.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut admitted = 0;
        for task in self.tasks {
            admitted += tokio::time::timeout(LIMIT, task).await.unwrap().unwrap();
        }
        admitted
    }
}

/// Waits until Redis answers again.
async fn admits_again(limiter: &RedisRateLimiter, key: &str) {
    eventually_async(LIMIT, "redis decides again", async || {
        limiter.peek(key).await.is_ok()
    })
    .await;
}

const RATE: u64 = 200;
const BURST: u64 = 20;

fn steady() -> RedisConfig {
    let quota = Quota::new(RATE, Duration::from_secs(1)).unwrap();
    prompt(quota.with_burst(BURST).unwrap())
        .with_deadline(Duration::from_millis(100))
        .on_outage(Outage::Closed)
}

fn most(micros: u64) -> u64 {
    BURST + RATE * micros / 1_000_000 + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_frozen_and_killed_under_load_admits_no_more_than_the_quota() {
    let Some(mut server) = redis() else { return };
    let limiter = limiter(&server, steady());
    connected(&limiter).await;
    let start = time_of(&server);
    let load = Load::start(&limiter);
    for _ in 0..2 {
        admits_again(&limiter, "anna").await;
        server.freeze();
        eventually(LIMIT, "nobody asks it any more", || {
            !limiter.store().snapshot().connected
        })
        .await;
        server.thaw();
        admits_again(&limiter, "anna").await;
        server.kill();
        eventually(LIMIT, "nobody asks it any more", || {
            !limiter.store().snapshot().connected
        })
        .await;
        server.restart();
    }
    admits_again(&limiter, "anna").await;
    let admitted = load.stop().await;
    let took = time_of(&server) - start;
    assert!(admitted >= BURST, "{admitted}");
    assert!(admitted <= most(took), "{admitted} in {took} us");
}

/// After Redis has lost its data at most one more burst is admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_loss_of_data_brings_one_more_burst_at_most() {
    let Some(mut server) = redis() else { return };
    let limiter = limiter(&server, steady());
    connected(&limiter).await;
    let start = time_of(&server);
    let load = Load::start(&limiter);
    let losses = 2;
    for _ in 0..losses {
        admits_again(&limiter, "anna").await;
        server.restart_empty();
    }
    admits_again(&limiter, "anna").await;
    let admitted = load.stop().await;
    let took = time_of(&server) - start;
    assert!(
        admitted <= most(took) + losses * BURST,
        "{admitted} in {took} us"
    );
}
