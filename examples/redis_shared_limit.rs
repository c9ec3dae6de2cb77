//! Two instances of a service that share one limit through Redis: together they admit what one would,
//! and when Redis goes, each keeps to its half.
//!
//! `cargo run -p stanchion-examples --example redis_shared_limit`
//!
//! It starts a `redis-server` of its own; where none is installed it says so, and ends.

use std::error::Error;
use std::time::Duration;

use stanchion::ratelimit::{
    Outage, Quota, RedisConfig, RedisRateLimiter, RedisServers, RedisStore, StoreEvent,
};
use testkit::{Redis, Server, eventually};
use tokio::runtime::Handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Some(mut server) = Server::start(Redis::new()) else {
        println!("this story needs redis-server, which is not installed");
        return Ok(());
    };
    let instances = [
        instance("one", &server.url())?,
        instance("two", &server.url())?,
    ];

    println!("ten an hour for each client, asked of two instances in turn:");
    let admitted = ask(&instances, "anna", 16).await;
    println!("  anna: {admitted:?} of 16");
    assert_eq!(admitted.iter().sum::<u32>(), 10);

    println!("redis is killed: each instance keeps to its half, five at once:");
    server.kill();
    let admitted = ask(&instances, "bela", 16).await;
    println!("  bela: {admitted:?} of 16");
    assert_eq!(admitted, [5, 5]);
    // What Redis had admitted was taken from the halves too.
    let admitted = ask(&instances, "anna", 16).await;
    println!("  anna, who had her ten: {admitted:?} of 16");
    assert_eq!(admitted, [0, 0]);

    println!("redis is back, with what it knew:");
    server.restart();
    eventually(Duration::from_secs(20), "both are connected again", || {
        instances
            .iter()
            .all(|limiter| limiter.store().snapshot().connected)
    })
    .await;
    let admitted = ask(&instances, "cleo", 16).await;
    println!("  cleo: {admitted:?} of 16");
    assert_eq!(admitted.iter().sum::<u32>(), 10);
    Ok(())
}

/// What each instance makes when it starts. Here they run in one process, but share nothing in it.
fn instance(name: &'static str, url: &str) -> Result<RedisRateLimiter, Box<dyn Error>> {
    let servers = RedisServers::standalone(url)?.with_observer(move |event: &StoreEvent| {
        println!("  (instance {name}: {event:?})");
    });
    // One connection, kept by one task on the runtime that we name.
    let store = RedisStore::connect_on(servers, &Handle::current());
    let quota: Quota = "10/h".parse()?;
    let config = RedisConfig::new("story", quota)
        // The default of 10 ms suits a service; a story may run on a busy machine.
        .with_deadline(Duration::from_secs(5))
        .on_outage(Outage::Local {
            instances: 2,
            max_keys: 10_000,
        });
    Ok(RedisRateLimiter::new(&store, config)?)
}

/// How many of `requests`, sent to the instances in turn, each of them admits.
async fn ask(instances: &[RedisRateLimiter; 2], client: &str, requests: usize) -> [u32; 2] {
    let mut admitted = [0; 2];
    for request in 0..requests {
        let instance = request % 2;
        let answer = instances[instance].check(client).await;
        admitted[instance] += u32::from(answer.is_ok());
    }
    admitted
}

#[test]
fn the_story_holds() {
    main().expect("it ends well");
}
