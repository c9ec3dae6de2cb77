//! One call through a layer around a service that is always ready: `poll_ready`, `call`, and the
//! future to its end. Everybody admits.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_benches::{Case, Contestant, Measure, Target, Unit, allocations, single};
use stanchion_ratelimit::{Quota, RateLimitLayer};
use tower::limit::{RateLimit, rate::Rate};
use tower::{Layer, Service};
use tower_resilience_ratelimiter::RateLimiterLayer;

const SECOND: Duration = Duration::from_secs(1);
const GIGA: u32 = 1_000_000_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("layer, allow", Unit::NS, Way::Time),
        case(
            "layer, allow, allocations",
            Unit::ALLOCATIONS,
            Way::Allocations,
        ),
    ]
}

#[derive(Clone, Copy)]
enum Way {
    Time,
    Allocations,
}

impl Way {
    fn measure<F: FnMut(u64) + 'static>(self, build: impl Fn() -> F + 'static) -> Measure {
        match self {
            Self::Time => single(build),
            Self::Allocations => allocations(build),
        }
    }
}

fn case(name: &'static str, unit: Unit, way: Way) -> Case {
    let ours = Contestant::ours("stanchion", way.measure(stanchion));
    let ours = match way {
        Way::Time => ours
            .must(Target::AtLeast {
                ratio: 8.0,
                versus: "tower-resilience",
            })
            .must(Target::AtMostPlus {
                versus: "tower",
                more: 5.0,
            }),
        Way::Allocations => ours.must(Target::Zero),
    };
    Case::new(name, unit)
        .with(ours)
        .with(Contestant::peer("no layer", way.measure(|| driven(Always))))
        .with(Contestant::peer("tower", way.measure(tower)))
        .with(Contestant::peer(
            "tower-resilience",
            way.measure(|| resilience(false)),
        ))
        .with(Contestant::peer(
            "tower-resilience, waiting",
            way.measure(|| resilience(true)),
        ))
}

fn stanchion() -> impl FnMut(u64) {
    let quota = Quota::new(u64::from(GIGA), SECOND).expect("a valid quota");
    driven(RateLimitLayer::new(quota).layer(Always))
}

/// tower's own limit. It makes a timer when it is built, but sets it only when it refuses.
fn tower() -> impl FnMut(u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let service = RateLimit::new(Always, Rate::new(u64::from(GIGA), SECOND));
    drop(entered);
    let mut run = driven(service);
    move |iterations| {
        let _runtime = &runtime;
        run(iterations);
    }
}

/// Its fixed window, the cheapest of its kinds; refusing in `call`, as ours, or `waiting` in
/// `poll_ready`, as tower's.
fn resilience(waiting: bool) -> impl FnMut(u64) {
    let builder = RateLimiterLayer::builder()
        .limit_for_period(GIGA as usize)
        .refresh_period(SECOND)
        .timeout_duration(Duration::ZERO)
        .name("bench");
    let builder = if waiting {
        builder.backpressure()
    } else {
        builder
    };
    driven(builder.build().expect("valid settings").layer(Always))
}

/// Calls `service` in a loop, as one connection would: the same instance, made ready each time.
fn driven<S: Service<u64, Response = ()>>(mut service: S) -> impl FnMut(u64) {
    move |iterations| {
        let mut context = Context::from_waker(Waker::noop());
        let mut answered = 0;
        for request in 0..iterations {
            assert!(matches!(
                service.poll_ready(&mut context),
                Poll::Ready(Ok(()))
            ));
            let future = pin!(service.call(black_box(request)));
            answered += u64::from(matches!(future.poll(&mut context), Poll::Ready(Ok(()))));
        }
        assert_eq!(answered, iterations, "every call is admitted and answered");
    }
}

/// The inner service: ready at all times, and done at once.
#[derive(Clone)]
struct Always;

impl Service<u64> for Always {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: u64) -> Self::Future {
        ready(Ok(()))
    }
}
