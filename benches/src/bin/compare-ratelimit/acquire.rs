//! A thousand who wait for 500 a second: who is served when.
//!
//! They come at twice that rate, so all but the first have to wait, each on its own, while others still
//! come. Who is served behind others that came after it has lost as many places; the figure is the most
//! that one of them lost.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, figure};
use stanchion_ratelimit::{Quota, RateLimiter};
use tower::{Layer, Service, ServiceExt};
use tower_resilience_ratelimiter::RateLimiterLayer;

const WAITERS: usize = 1_000;
/// As many come together, every so often.
const TOGETHER: usize = 10;
const PAUSE: Duration = Duration::from_millis(10);
/// 500 a second, one at a time.
const INTERVAL: Duration = Duration::from_millis(2);
/// Longer than all of it takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes the wait of one waiter after the other.
type Waits = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>>>;

pub(crate) fn cases() -> Vec<Case> {
    // Two seconds of waiting each, so only once in a run.
    let case = Case::new(
        "acquire, 1,000 who wait for 500/s",
        Unit::lower("places lost"),
    );
    vec![
        case.rounds(1)
            .with(Contestant::ours("stanchion", places_lost(stanchion)).must(Target::Zero))
            .with(Contestant::peer("governor", places_lost(governor)))
            .with(Contestant::peer("leaky-bucket", places_lost(leaky_bucket)))
            .with(Contestant::peer(
                "tower-resilience",
                places_lost(resilience),
            )),
    ]
}

/// One thread polls all waiters, so they are served in the order in which they are woken.
fn places_lost(build: fn() -> Waits) -> Measure {
    figure(move || {
        let served = Arc::new(Mutex::new(Vec::with_capacity(WAITERS)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let wait = build();
            let mut waiting = Vec::with_capacity(WAITERS);
            for place in 0..WAITERS {
                if place % TOGETHER == 0 {
                    tokio::time::sleep(PAUSE).await;
                }
                let (wait, served) = (wait(), served.clone());
                waiting.push(tokio::spawn(async move {
                    wait.await;
                    locked(&served).push(place);
                }));
            }
            for waiter in waiting {
                waiter.await.expect("a waiter does not panic");
            }
        });
        let served = locked(&served);
        assert_eq!(served.len(), WAITERS, "all are served");
        let lost = |(turn, place): (usize, &usize)| turn.saturating_sub(*place);
        served.iter().enumerate().map(lost).max().unwrap_or(0) as f64
    })
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stanchion() -> Waits {
    let limiter = RateLimiter::new(Quota::new(1, INTERVAL).expect("a valid quota"));
    Box::new(move || {
        let wait = limiter.acquire(1, DEADLINE);
        Box::pin(async { wait.await.expect("the last slot lies before the deadline") })
    })
}

fn governor() -> Waits {
    let quota = governor::Quota::with_period(INTERVAL).expect("not 0");
    let limiter = Arc::new(governor::RateLimiter::direct(quota));
    Box::new(move || {
        let limiter = limiter.clone();
        Box::pin(async move { limiter.until_ready().await })
    })
}

/// In its fair mode.
fn leaky_bucket() -> Waits {
    let limiter = leaky_bucket::RateLimiter::builder()
        .max(1)
        .initial(1)
        .refill(1)
        .interval(INTERVAL)
        .fair(true)
        .build();
    let limiter = Arc::new(limiter);
    Box::new(move || {
        let limiter = limiter.clone();
        Box::pin(async move { limiter.acquire_one().await })
    })
}

/// Ten in each 20 ms: its windows are no shorter than a timer can tell.
fn resilience() -> Waits {
    let layer = RateLimiterLayer::builder()
        .limit_for_period(10)
        .refresh_period(INTERVAL * 10)
        .timeout_duration(DEADLINE)
        .name("bench")
        .build();
    let service = layer.expect("valid settings").layer(Always);
    Box::new(move || {
        let service = service.clone();
        Box::pin(async move {
            let answer = service.oneshot(()).await;
            assert!(answer.is_ok(), "no wait is longer than the deadline");
        })
    })
}

/// The inner service: ready at all times, and done at once.
#[derive(Clone)]
struct Always;

impl Service<()> for Always {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}
