//! A limit on work of your own, without any service: first on a clock that the story moves by hand,
//! as a test would, then on the system's clock with real waiting.
//!
//! `cargo run -p stanchion-examples --example plain_limit`

use std::error::Error;
use std::time::Duration;

use stanchion::core::{Clock, Instant};
use stanchion::ratelimit::{KeyedRateLimiter, Quota, RateLimiter, Reason};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    by_hand()?;
    in_real_time().await
}

/// Two mails at once, then one every thirty seconds. Takes no time at all.
fn by_hand() -> Result<(), Box<dyn Error>> {
    let (clock, time) = Clock::manual();
    let quota = Quota::new(2, Duration::from_secs(60))?;
    let mails = RateLimiter::new(quota).with_clock(clock);

    println!("mails, at most {quota}:");
    let table = [
        (0, true),
        (1, true),
        (2, false),
        (29, false),
        (30, true),
        (59, false),
        (60, true),
    ];
    for (second, sent) in table {
        time.set(Instant::ZERO + Duration::from_secs(second));
        let answer = mails.check();
        match &answer {
            Ok(status) => println!("  {second:>2} s: sent, {} left", status.remaining()),
            Err(refused) => println!("  {second:>2} s: {refused}"),
        }
        assert_eq!(answer.is_ok(), sent);
    }

    // Three at once do not fit a burst of two, however long one waits.
    let never = mails.check_n(3).expect_err("it is above the burst");
    assert_eq!(never.reason(), Reason::CostAboveBurst);
    assert_eq!(never.retry_after(), None);
    println!("  three at once: {never}");

    // The same for each tenant, in memory that never grows.
    let tenants = KeyedRateLimiter::<str>::new(quota, 10_000)?.with_clock(time.clock());
    assert!(tenants.check_n("anna", 2).is_ok());
    assert!(tenants.check("anna").is_err());
    assert!(tenants.check("bela").is_ok());
    let bytes = tenants.snapshot().bytes;
    println!("  anna has sent two, bela one; {bytes} bytes, whoever comes");
    Ok(())
}

/// Twenty jobs, five at once and then one per millisecond: each refused one waits as told.
async fn in_real_time() -> Result<(), Box<dyn Error>> {
    const JOBS: u32 = 20;
    const BURST: u32 = 5;
    let interval = Duration::from_millis(1);

    let clock = Clock::system();
    let quota = Quota::new(1, interval)?.with_burst(BURST.into())?;
    let limiter = RateLimiter::new(quota).with_clock(clock.clone());

    let start = clock.now();
    let mut waits = 0;
    for _ in 0..JOBS {
        while let Err(refused) = limiter.check() {
            let wait = refused.retry_after().ok_or("a job costs 1, which fits")?;
            clock.sleep(wait).await;
            waits += 1;
        }
    }
    let took = clock.now() - start;

    println!("{JOBS} jobs at {quota}: {took:?}, {waits} waits");
    assert!(took >= interval * (JOBS - BURST));
    Ok(())
}

#[test]
fn the_story_holds() {
    main().expect("it ends well");
}
