//! Many keys at once: those that are missing are loaded together, and each but once.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use stanchion_cache::{Cache, InvalidCache, LoadError};
use stanchion_core::Clock;
use testkit::{Gate, drop_at_every_await_in};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Vec<(u32, u32)>, &'static str>;
type Loading = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Loads squares, but for 13, and remembers what it was asked for.
#[derive(Clone, Default)]
struct Origin {
    gate: Gate,
    asked: Arc<Mutex<Vec<Vec<u32>>>>,
    broken: Arc<AtomicBool>,
}

impl Origin {
    fn open() -> Self {
        let origin = Self::default();
        origin.gate.stay_open();
        origin
    }

    fn load(&self) -> impl Fn(Vec<u32>) -> Loading + Clone + Send + Sync + 'static + use<> {
        let origin = self.clone();
        move |keys| {
            let origin = origin.clone();
            Box::pin(async move {
                origin.asked.lock().push(keys.clone());
                origin.gate.pass().await;
                if origin.broken.load(Ordering::SeqCst) {
                    return Err("broken");
                }
                let known = keys.into_iter().filter(|key| *key != 13);
                Ok(known.map(|key| (key, key * key)).collect())
            })
        }
    }

    fn asked(&self) -> Vec<Vec<u32>> {
        self.asked.lock().clone()
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn at_once<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

fn values<E: std::fmt::Debug>(all: HashMap<u32, Result<u32, LoadError<E>>>) -> Vec<(u32, u32)> {
    let mut values: Vec<_> = all
        .into_iter()
        .map(|(key, value)| (key, value.unwrap()))
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn what_is_missing_is_loaded_together_and_what_is_not_brought_is_left_out() {
    let (cache, origin) = (Cache::<u32, u32>::new(100), Origin::open());
    cache.insert(2, 40);
    let all = at_once(cache.get_or_load_all([1, 2, 3, 13, 3, 1], origin.load()));
    assert_eq!(values(all), [(1, 1), (2, 40), (3, 9)]);
    assert_eq!(origin.asked(), [[1, 3, 13]]);
    let there = cache.get_all(&[1, 2, 3, 13]);
    assert_eq!(there, HashMap::from([(1, 1), (2, 40), (3, 9)]));
    let snapshot = cache.snapshot();
    assert_eq!((snapshot.loads, snapshot.failed_loads), (1, 0));
}

#[test]
fn a_load_of_many_is_cut_into_batches_one_after_the_other() {
    let origin = Origin::default();
    let cache = Cache::<u32, u32>::builder(100).with_batch_max(4);
    let cache = cache.build().unwrap();
    let mut all = pin!(cache.get_or_load_all(0..10, origin.load()));
    for begun in 1..=3 {
        assert!(poll(all.as_mut()).is_pending());
        assert_eq!(origin.asked().len(), begun);
        assert!(origin.gate.open_one());
    }
    assert_eq!(values(at_once(all)).len(), 10);
    assert_eq!(
        origin.asked(),
        [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]
    );
    let none = Cache::<u32, u32>::builder(100).with_batch_max(0).build();
    assert_eq!(none.unwrap_err(), InvalidCache::BatchMax);
}

#[test]
fn keys_that_others_load_are_waited_for_and_others_wait_for_these() {
    let (cache, origin) = (Cache::<u32, u32>::new(100), Origin::default());
    let gate = Gate::new();
    let alone = |value: u32| {
        let gate = gate.clone();
        move || async move {
            gate.pass().await;
            value
        }
    };
    let mut one = pin!(cache.get_or_load(&1, alone(100)));
    assert!(poll(one.as_mut()).is_pending());
    let mut all = pin!(cache.get_or_load_all([1, 2], origin.load()));
    let mut more = pin!(cache.get_or_load_all([2, 3], origin.load()));
    assert!(poll(all.as_mut()).is_pending());
    assert!(poll(more.as_mut()).is_pending());
    let mut three = pin!(cache.get_or_load(&3, alone(300)));
    assert!(poll(three.as_mut()).is_pending());

    origin.gate.stay_open();
    // Whoever waits goes on with the load.
    assert_eq!(at_once(three).unwrap(), 9);
    gate.stay_open();
    assert_eq!(values(at_once(all)), [(1, 100), (2, 4)]);
    assert_eq!(values(at_once(more)), [(2, 4), (3, 9)]);
    assert_eq!(at_once(one).unwrap(), 100);
    let mut asked = origin.asked();
    asked.sort();
    assert_eq!(asked, [[2], [3]]);
}

#[test]
fn who_waited_alone_for_what_was_not_brought_loads_it_alone() {
    let (cache, origin) = (Cache::<u32, u32>::new(100), Origin::default());
    let mut all = pin!(cache.get_or_load_all([13, 14], origin.load()));
    assert!(poll(all.as_mut()).is_pending());
    let mut alone = pin!(cache.get_or_load(&13, || async { 1300 }));
    assert!(poll(alone.as_mut()).is_pending());
    origin.gate.open_all();
    assert_eq!(values(at_once(all)), [(14, 196)]);
    assert_eq!(at_once(alone).unwrap(), 1300);
    assert_eq!(cache.get(&13), Some(1300));
}

#[test]
fn each_key_is_put_in_unless_something_happened_to_it() {
    let (cache, origin) = (Cache::<u32, u32>::new(100), Origin::default());
    let mut all = pin!(cache.get_or_load_all([1, 2, 3], origin.load()));
    assert!(poll(all.as_mut()).is_pending());
    cache.insert(1, 99);
    cache.remove(&2);
    origin.gate.open_all();
    assert_eq!(values(at_once(all)), [(1, 1), (2, 4), (3, 9)]);
    assert_eq!(
        (cache.get(&1), cache.get(&2), cache.get(&3)),
        (Some(99), None, Some(9))
    );
}

#[test]
fn a_batch_that_fails_or_panics_is_an_error_for_its_keys_alone() {
    let (cache, origin) = (Cache::<u32, u32>::new(100), Origin::open());
    cache.insert(1, 1);
    origin.broken.store(true, Ordering::SeqCst);
    let all = at_once(cache.get_or_load_all([1, 2, 3], origin.load()));
    assert!(matches!(all[&1], Ok(1)));
    for key in [2, 3] {
        assert!(matches!(&all[&key], Err(LoadError::Failed(error)) if **error == "broken"));
    }
    let panics = |_: Vec<u32>| async { panic!("no route") };
    let load = cache.get_or_load_all::<_, _, Vec<(u32, u32)>, ()>([1, 4, 5], panics);
    let all = at_once(load);
    for key in [4, 5] {
        assert!(
            matches!(&all[&key], Err(LoadError::Panicked(message)) if &**message == "no route")
        );
    }
    origin.broken.store(false, Ordering::SeqCst);
    assert_eq!(
        values(at_once(cache.get_or_load_all([2, 4], origin.load()))),
        [(2, 4), (4, 16)]
    );
}

#[test]
fn a_batch_that_asks_for_its_own_keys_is_told_so() {
    let cache = Cache::<u32, u32>::new(100);
    let inner = cache.clone();
    let load = move |_: Vec<u32>| {
        let inner = inner.clone();
        async move {
            let own = inner.get_or_load(&2, || async { 1 }).await;
            assert!(matches!(own, Err(LoadError::Reentrant)), "{own:?}");
            Ok::<_, ()>([(1, 1), (2, 4)])
        }
    };
    let all = at_once(cache.get_or_load_all([1, 2], load));
    assert!(matches!(all[&1], Ok(1)));
}

#[test]
fn dropping_it_at_every_await_gives_everything_back() {
    let drops = drop_at_every_await_in(|| {
        let origin = Origin::default();
        let cache = Cache::<u32, u32>::builder(100).with_batch_max(2);
        let cache = cache.build().unwrap();
        let future = {
            let (cache, load) = (cache.clone(), origin.load());
            async move { cache.get_or_load_all([1, 2, 3], load).await }
        };
        ((cache, origin), future)
    })
    .nudge(|(_, origin)| {
        origin.gate.open_one();
    })
    .check(|(cache, origin)| {
        assert_eq!(origin.gate.waiting(), 0);
        let again = Origin::open();
        assert_eq!(
            values(at_once(cache.get_or_load_all([1, 2, 3], again.load()))).len(),
            3
        );
    });
    assert_eq!(drops, 5);
}

#[test]
fn a_loading_cache_loads_together_or_up_to_sixteen_at_once() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let origin = Origin::default();
    let (clock, time) = Clock::manual();
    let single = Origin::default();
    let load = single.load();
    let one = move |key: u32| {
        let load = load(vec![key]);
        async move {
            load.await
                .map(|found| found.first().map_or(0, |(_, value)| *value))
        }
    };
    let cache = || {
        let cache = Cache::<u32, u32>::builder(100).with_clock(clock.clone());
        let builder = cache.with_time_to_live(10 * SECOND).loading(one.clone());
        builder.with_stale_if_error(100 * SECOND)
    };
    let (squares, _refresher) = cache().build().unwrap();
    let mut all = pin!(send(squares.get_or_load_all(20..60)));
    assert!(poll(all.as_mut()).is_pending());
    assert_eq!(single.gate.waiting(), 16);
    single.gate.stay_open();
    assert_eq!(values(at_once(all)).len(), 40);

    let (squares, _refresher) = cache().with_bulk_loader(origin.load()).build().unwrap();
    squares.cache().insert(3, 9);
    let mut all = pin!(send(squares.get_or_load_all([3, 4, 13])));
    assert!(poll(all.as_mut()).is_pending());
    origin.gate.stay_open();
    assert_eq!(values(at_once(all)), [(3, 9), (4, 16)]);
    assert_eq!(origin.asked(), [[4, 13]]);
    // What is stale excuses a batch that fails.
    time.advance(20 * SECOND);
    origin.broken.store(true, Ordering::SeqCst);
    let all = at_once(squares.get_or_load_all([3, 4, 5]));
    assert!(matches!((&all[&3], &all[&4]), (Ok(9), Ok(16))));
    assert!(all[&5].is_err());
}
