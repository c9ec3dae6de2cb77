//! What the layer adds to a call: admitted, refused with an error, and answered in HTTP's terms.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use stanchion_core::Clock;
use stanchion_ratelimit::{Quota, RateLimitLayer, RateLimiter};
use tower::{Layer, Service};

const HOUR: Duration = Duration::from_secs(3_600);

/// Ready at all times, and done at once.
#[derive(Clone)]
struct Hello;

impl Service<Request<()>> for Hello {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

fn call<S: Service<Request<()>>>(service: &mut S) -> Result<S::Response, S::Error> {
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let Poll::Ready(result) = pin!(service.call(Request::new(()))).poll(&mut context) else {
        panic!("the inner service is done at once, so the layer's future is");
    };
    result
}

/// A limit that refuses nothing, and one whose only permit is taken.
fn limits() -> (RateLimiter, RateLimiter) {
    let (clock, _time) = Clock::manual();
    let endless = Quota::new(1_000_000_000, Duration::from_secs(1))
        .and_then(|quota| quota.with_burst(1 << 50))
        .expect("a valid quota");
    let open = RateLimiter::new(endless).with_clock(clock.clone());
    let spent = RateLimiter::new(Quota::new(1, HOUR).expect("a valid quota")).with_clock(clock);
    assert!(spent.check().is_ok());
    (open, spent)
}

fn layer(criterion: &mut Criterion) {
    let (open, spent) = limits();
    for (name, limiter, admits) in [("admit", open, true), ("refuse", spent, false)] {
        let layer = RateLimitLayer::from_limiter(limiter);

        let mut failing = layer.clone().layer(Hello);
        criterion.bench_function(&format!("layer/{name}"), |bencher| {
            bencher.iter(|| assert_eq!(call(&mut failing).is_ok(), admits));
        });
        let mut http = layer.http().layer(Hello);
        criterion.bench_function(&format!("layer/http/{name}"), |bencher| {
            bencher.iter(|| call(&mut http).is_ok_and(|response| response.status().is_success()));
        });
    }
}

criterion_group!(benches, layer);
criterion_main!(benches);
