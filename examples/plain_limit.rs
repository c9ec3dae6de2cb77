//! A limiter without a runtime: how much, who, and when to come back.
//!
//! Run it with `cargo run -p stanchion-examples --example plain_limit`; it ends by itself.

use std::error::Error;
use std::time::Duration;

use stanchion::core::Clock;
use stanchion::ratelimit::{KeyedRateLimiter, Quota, RateLimiter};

fn main() -> Result<(), Box<dyn Error>> {
    // Two per second on average, three at once. Time is moved by hand here; a service leaves the
    // clock as it is.
    let (clock, time) = Clock::manual();
    let quota = Quota::new(2, Duration::from_secs(1))?.with_burst(3)?;
    let limiter = RateLimiter::new(quota).with_clock(clock.clone());

    for request in 1..=4 {
        match limiter.check() {
            Ok(status) => println!("request {request}: admitted, {} left", status.remaining()),
            Err(rejected) => println!("request {request}: {rejected}"),
        }
    }
    let refused = limiter.check().expect_err("three at once, and no more");
    let wait = refused.retry_after().expect("it will fit later");
    assert_eq!(wait, Duration::from_millis(500));
    time.advance(wait);
    assert!(limiter.check().is_ok());
    println!("after {wait:?}: admitted");

    // The same for each tenant, in memory that never grows.
    let tenants = KeyedRateLimiter::<str>::new("1/m".parse()?, 10_000)?.with_clock(clock);
    assert!(tenants.check("anna").is_ok());
    assert!(tenants.check("anna").is_err());
    assert!(tenants.check("bela").is_ok());
    println!(
        "anna is refused, bela is not; {} bytes, whoever comes",
        tenants.snapshot().bytes
    );
    Ok(())
}

#[test]
fn the_story_holds() {
    main().expect("it ends well");
}
