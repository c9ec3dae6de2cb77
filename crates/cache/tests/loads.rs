//! One load for each key, whatever becomes of those who wait for it.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use stanchion_cache::{Cache, LoadError};
use testkit::{Gate, drop_at_every_await_in};

#[derive(Clone, Default)]
struct Origin {
    gate: Gate,
    loads: Arc<AtomicUsize>,
}

impl Origin {
    /// Waits at the gate and then is `value`.
    fn load(&self, value: u32) -> impl FnOnce() -> Loading + Send + 'static + use<> {
        let origin = self.clone();
        move || {
            origin.loads.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                origin.gate.pass().await;
                value
            })
        }
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

type Loading = Pin<Box<dyn Future<Output = u32> + Send>>;

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn done<F: Future>(future: Pin<&mut F>) -> F::Output {
    match poll_once(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

fn cache() -> Cache<String, u32> {
    Cache::new(100)
}

// The matrix of what goes wrong with single flights.

#[test]
fn a_leader_dropped_in_its_load_leaves_the_load_to_who_waits() {
    let (cache, origin) = (cache(), Origin::default());
    let mut leader = Box::pin(cache.get_or_load("a", origin.load(1)));
    let mut follower = pin!(cache.get_or_load("a", origin.load(2)));
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(follower.as_mut()).is_pending());
    drop(leader);
    origin.gate.open_all();
    assert_eq!(done(follower).unwrap(), 1);
    assert_eq!(origin.loads(), 1);
    assert_eq!(cache.get("a"), Some(1));
}

#[test]
fn a_panic_in_the_load_reaches_all_who_wait_with_its_message_and_the_next_call_works() {
    let (cache, gate) = (cache(), Gate::new());
    let load = || {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            panic!("no route to {}", "host")
        }
    };
    let mut leader = pin!(cache.get_or_load("a", load()));
    let mut follower = pin!(cache.get_or_load("a", load()));
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(follower.as_mut()).is_pending());
    gate.open_all();
    for waiter in [done(follower), done(leader)] {
        match waiter {
            Err(LoadError::Panicked(message)) => assert_eq!(&*message, "no route to host"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        done(pin!(cache.get_or_load("a", || async { 3 }))).unwrap(),
        3
    );
    assert_eq!(cache.snapshot().failed_loads, 1);
}

#[test]
fn what_is_removed_during_its_load_stays_out_and_later_callers_load_again() {
    let remove: [fn(&Cache<String, u32>); 3] = [
        |cache| assert_eq!(cache.remove("a"), None),
        Cache::clear,
        |cache| assert_eq!(cache.invalidate_if(|_, value| *value == 1), 0),
    ];
    for remove in remove {
        let (cache, origin) = (cache(), Origin::default());
        let mut before = pin!(cache.get_or_load("a", origin.load(1)));
        assert!(poll_once(before.as_mut()).is_pending());
        remove(&cache);
        let mut after = pin!(cache.get_or_load("a", origin.load(2)));
        assert!(poll_once(after.as_mut()).is_pending());
        assert_eq!(origin.loads(), 2);

        assert!(origin.gate.open_one());
        assert_eq!(done(before).unwrap(), 1);
        assert_eq!(cache.get("a"), None);
        origin.gate.open_all();
        assert_eq!(done(after).unwrap(), 2);
        assert_eq!(cache.get("a"), Some(2));
    }
}

#[test]
fn what_is_inserted_during_its_load_is_not_overwritten_by_it() {
    let (cache, origin) = (cache(), Origin::default());
    let mut leader = pin!(cache.get_or_load("a", origin.load(1)));
    assert!(poll_once(leader.as_mut()).is_pending());
    cache.insert("a".to_owned(), 99);
    origin.gate.open_all();
    assert_eq!(done(leader).unwrap(), 1);
    assert_eq!(cache.get("a"), Some(99));
}

#[test]
fn a_leader_that_is_held_and_never_polled_blocks_nobody() {
    let (cache, origin) = (cache(), Origin::default());
    let mut leader = pin!(cache.get_or_load("a", origin.load(1)));
    assert!(poll_once(leader.as_mut()).is_pending());
    origin.gate.open_all();
    let follower = pin!(cache.get_or_load("a", origin.load(2)));
    assert_eq!(done(follower).unwrap(), 1);
    assert_eq!(done(leader).unwrap(), 1);
    assert_eq!(origin.loads(), 1);
}

#[test]
fn a_load_that_asks_for_its_own_key_is_told_so() {
    let cache = cache();
    let load = {
        let cache = cache.clone();
        move || async move {
            cache
                .try_get_or_load("a", || async { Ok::<_, String>(1) })
                .await
        }
    };
    match done(pin!(cache.try_get_or_load("a", load))) {
        Err(LoadError::Failed(inner)) => assert!(matches!(*inner, LoadError::Reentrant)),
        other => panic!("{other:?}"),
    }
    assert!(cache.is_empty());
}

#[test]
fn a_failed_load_is_shared_by_all_who_waited_and_by_nobody_later() {
    let (cache, gate, loads) = (cache(), Gate::new(), Arc::new(AtomicUsize::new(0)));
    let load = || {
        let (gate, loads) = (gate.clone(), Arc::clone(&loads));
        move || async move {
            loads.fetch_add(1, Ordering::SeqCst);
            gate.pass().await;
            Err::<u32, _>("refused".to_owned())
        }
    };
    let mut waiters: Vec<_> = (0..8)
        .map(|_| Box::pin(cache.try_get_or_load("a", load())))
        .collect();
    for waiter in &mut waiters {
        assert!(poll_once(waiter.as_mut()).is_pending());
    }
    gate.open_all();
    let errors: Vec<_> = waiters
        .iter_mut()
        .map(|waiter| match done(waiter.as_mut()) {
            Err(LoadError::Failed(error)) => error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert!(poll_once(pin!(cache.try_get_or_load("a", load()))).is_pending());
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

// What else may happen.

#[test]
fn dropping_waiters_at_every_await_gives_everything_back() {
    let drops = drop_at_every_await_in(|| {
        let (cache, origin, held) = (cache(), Origin::default(), Arc::new(()));
        let load = {
            let (origin, held) = (origin.clone(), Arc::clone(&held));
            move || async move {
                origin.gate.pass().await;
                origin.gate.pass().await;
                drop(held);
                1
            }
        };
        let future = {
            let cache = cache.clone();
            async move { cache.get_or_load("a", load).await }
        };
        ((cache, origin, held), future)
    })
    .nudge(|(_, origin, _)| {
        origin.gate.open_one();
    })
    .check(|(cache, origin, held)| {
        assert_eq!(origin.gate.waiting(), 0);
        assert_eq!(Arc::strong_count(held), 1, "the load is dropped");
        let value = done(pin!(cache.get_or_load("a", || async { 1 })));
        assert_eq!(value.unwrap(), 1);
    });
    assert_eq!(drops, 5);
}

#[test]
fn dropping_a_follower_at_every_await_leaves_the_leader_its_load() {
    let drops = drop_at_every_await_in(|| {
        let (cache, origin) = (cache(), Origin::default());
        let leader = {
            let (cache, load) = (cache.clone(), origin.load(1));
            let mut leader = Box::pin(async move { cache.get_or_load("a", load).await });
            assert!(poll_once(leader.as_mut()).is_pending());
            parking_lot::Mutex::new(leader)
        };
        let future = {
            let (cache, load) = (cache.clone(), origin.load(2));
            async move { cache.get_or_load("a", load).await }
        };
        ((origin, leader), future)
    })
    .nudge(|(origin, _)| {
        origin.gate.open_one();
    })
    .check(|(origin, leader)| {
        origin.gate.open_all();
        assert_eq!(done(leader.lock().as_mut()).unwrap(), 1);
        assert_eq!(origin.loads(), 1);
    });
    assert_eq!(drops, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_loads_that_wait_for_each_other_end_with_an_error() {
    for _ in 0..200 {
        let cache = cache();
        // Each asks for the other's key once both have begun.
        let both = Arc::new(tokio::sync::Barrier::new(2));
        let ask = |own: &'static str, other: &'static str| {
            let (cache, both) = (cache.clone(), Arc::clone(&both));
            tokio::spawn(async move {
                let inner = cache.clone();
                let load = move || async move {
                    both.wait().await;
                    let lonely = || async { Ok::<u32, String>(1) };
                    let found = inner.try_get_or_load(other, lonely).await;
                    found.map_err(|error| error.to_string())
                };
                cache.try_get_or_load(own, load).await
            })
        };
        let (a, b) = (ask("a", "b"), ask("b", "a"));
        assert!(matches!(a.await.unwrap(), Err(LoadError::Failed(_))));
        assert!(matches!(b.await.unwrap(), Err(LoadError::Failed(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiters_share_one_load() {
    let (cache, origin) = (cache(), Origin::default());
    let waiters: Vec<_> = (0..10_000)
        .map(|_| {
            let (cache, load) = (cache.clone(), origin.load(1));
            tokio::spawn(async move { cache.get_or_load("a", load).await.unwrap() })
        })
        .collect();
    origin.gate.until_waiting(1).await;
    origin.gate.stay_open();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), 1);
    }
    assert_eq!(origin.loads(), 1);
    assert_eq!(cache.snapshot().loads, 1);
}

#[test]
fn callers_with_other_errors_share_the_value_and_load_again_after_an_error() {
    let (cache, gate) = (cache(), Gate::new());
    let refused = {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            Err::<u32, _>("refused")
        }
    };
    let mut leader = pin!(cache.try_get_or_load("a", refused));
    let mut follower = pin!(cache.get_or_load("a", || async { 5 }));
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(follower.as_mut()).is_pending());
    gate.open_all();
    assert!(matches!(done(leader), Err(LoadError::Failed(_))));
    assert_eq!(done(follower).unwrap(), 5);
}

#[test]
fn what_cannot_be_kept_still_goes_to_all_who_waited() {
    let (cache, origin) = (Cache::<String, u32>::new(0), Origin::default());
    let mut first = pin!(cache.get_or_load("a", origin.load(1)));
    let mut second = pin!(cache.get_or_load("a", origin.load(2)));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    origin.gate.open_all();
    assert_eq!((done(first).unwrap(), done(second).unwrap()), (1, 1));
    assert!(cache.is_empty());
}

// Blocking.

#[test]
fn threads_share_one_blocking_load() {
    let (cache, loads) = (cache(), AtomicUsize::new(0));
    let ask = || {
        cache.get_or_load_blocking("a", || {
            loads.fetch_add(1, Ordering::SeqCst);
            // Whoever leads waits for all others to join, which nothing hinders.
            while cache.snapshot().joined_loads < 3 {
                thread::yield_now();
            }
            7
        })
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().unwrap(), 7);
        }
    });
    assert_eq!(loads.into_inner(), 1);
}

#[test]
fn a_blocking_load_that_panics_ends_for_all_who_wait() {
    let (cache, has_begun) = (cache(), AtomicBool::new(false));
    let wait_for = |condition: &dyn Fn() -> bool| {
        while !condition() {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            cache.get_or_load_blocking("a", || {
                has_begun.store(true, Ordering::SeqCst);
                wait_for(&|| cache.snapshot().joined_loads == 1);
                panic!("broken")
            })
        });
        wait_for(&|| has_begun.load(Ordering::SeqCst));
        let follower = scope.spawn(|| cache.get_or_load_blocking("a", || 2));
        assert!(leader.join().is_err());
        match follower.join().unwrap() {
            Err(LoadError::Panicked(message)) => assert_eq!(&*message, "broken"),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(cache.get_or_load_blocking("a", || 4).unwrap(), 4);
}

#[test]
fn a_blocked_thread_goes_on_with_an_async_load_that_nobody_polls() {
    let (cache, origin) = (cache(), Origin::default());
    let mut held = pin!(cache.get_or_load("a", origin.load(1)));
    assert!(poll_once(held.as_mut()).is_pending());
    let value = thread::scope(|scope| {
        let blocked = scope.spawn(|| cache.get_or_load_blocking("a", || 2));
        while cache.snapshot().joined_loads < 1 {
            thread::yield_now();
        }
        origin.gate.open_all();
        blocked.join().unwrap()
    });
    assert_eq!(value.unwrap(), 1);
}

#[test]
fn blocking_loads_that_ask_in_a_circle_are_told_so() {
    let cache = cache();
    let alone = cache.try_get_or_load_blocking("a", || cache.get_or_load_blocking("a", || 1));
    assert!(
        matches!(alone, Err(LoadError::Failed(error)) if matches!(*error, LoadError::Reentrant))
    );

    let both = std::sync::Barrier::new(2);
    let ask = |own: &'static str, other: &'static str| {
        cache.try_get_or_load_blocking(own, || {
            both.wait();
            cache
                .try_get_or_load_blocking(other, || Err::<u32, _>("it is being loaded"))
                .map_err(|error| error.to_string())
        })
    };
    thread::scope(|scope| {
        let (a, b) = (scope.spawn(|| ask("a", "b")), scope.spawn(|| ask("b", "a")));
        assert!(a.join().unwrap().is_err());
        assert!(b.join().unwrap().is_err());
    });
}

// Computations.

#[test]
fn no_computation_is_lost_between_threads() {
    let cache = cache();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    cache.compute("a", |count| Some(count.unwrap_or(0) + 1));
                }
            });
        }
    });
    assert_eq!(cache.get("a"), Some(8_000));
}

#[test]
fn a_computation_begins_again_after_an_insertion_and_outdates_a_load() {
    let (cache, origin) = (cache(), Origin::default());
    let mut load = pin!(cache.get_or_load("a", origin.load(1)));
    assert!(poll_once(load.as_mut()).is_pending());
    let mut seen = Vec::new();
    let made = cache.compute("a", |there| {
        seen.push(there);
        if there.is_none() {
            cache.insert("a".to_owned(), 10);
        }
        there.map(|value| value + 1).or(Some(0))
    });
    assert_eq!(made, Some(11));
    assert_eq!(seen, [None, Some(10)]);
    origin.gate.open_all();
    assert_eq!(done(load).unwrap(), 1);
    assert_eq!(cache.get("a"), Some(11));
    assert_eq!(cache.compute("a", |_| None), None);
    assert!(cache.is_empty());
}

#[cfg(feature = "tokio")]
#[test]
fn a_load_that_takes_too_long_is_dropped_and_all_who_wait_are_told() {
    use stanchion_core::Clock;
    use std::time::Duration;

    let (clock, time) = Clock::manual();
    let limit = Duration::from_secs(1);
    let builder = Cache::<String, u32>::builder(10).with_clock(clock);
    let cache = builder.with_load_timeout(limit).build().unwrap();
    let origin = Origin::default();
    let mut first = pin!(cache.get_or_load("a", origin.load(1)));
    let mut second = pin!(cache.get_or_load("a", origin.load(2)));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    time.advance(limit);
    assert!(matches!(done(second), Err(LoadError::TimedOut)));
    assert!(matches!(done(first), Err(LoadError::TimedOut)));
    assert_eq!(origin.gate.waiting(), 0);
    let none = Cache::<String, u32>::builder(10).with_load_timeout(Duration::ZERO);
    assert!(
        none.build()
            .unwrap_err()
            .to_string()
            .contains("load_timeout is 0")
    );
}

#[test]
fn loads_are_send_and_their_errors_say_what_was() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let cache = cache();
    let load = send(cache.try_get_or_load("a", || async { Err(std::fmt::Error) }));
    let error = done(pin!(load)).unwrap_err();
    assert_eq!(error.to_string(), "the load failed");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(
        LoadError::<Infallible>::Panicked("why".into()).to_string(),
        "the load panicked: why"
    );
}
