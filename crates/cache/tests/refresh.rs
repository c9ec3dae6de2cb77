//! Each way to spare an origin the stampede, by a clock that is moved by hand.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use stanchion_cache::{Cache, InvalidCache, LoadError, Loading, Refresh, Refresher};
use stanchion_core::{Clock, Instant, ManualClock};
use testkit::Gate;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

type Users = Loading<u64, u64, &'static str>;

/// Counts loads, the nth of which is `n`, or fails as long as it is told to.
#[derive(Clone, Default)]
struct Origin {
    gate: Gate,
    loads: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl Origin {
    fn loader(&self) -> impl Fn(u64) -> Loaded + Send + Sync + 'static + use<> {
        let origin = self.clone();
        move |_| {
            let origin = origin.clone();
            Box::pin(async move {
                let nth = origin.loads.fetch_add(1, Ordering::SeqCst) + 1;
                origin.gate.pass().await;
                if origin.broken.load(Ordering::SeqCst) {
                    Err("broken")
                } else {
                    Ok(nth)
                }
            })
        }
    }

    fn open() -> Self {
        let origin = Self::default();
        origin.gate.stay_open();
        origin
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    fn breaks(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

type Loaded = Pin<Box<dyn Future<Output = Result<u64, &'static str>> + Send>>;

fn clock() -> (Clock, ManualClock) {
    let (clock, time) = Clock::manual();
    time.advance(1000 * SECOND);
    (clock, time)
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

/// Polls the refresher until it waits.
fn run<K, V, S>(refresher: &mut Refresher<K, V, S>)
where
    Refresher<K, V, S>: Future<Output = ()> + Unpin,
{
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    while woken.0.swap(false, Ordering::SeqCst) {
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut *refresher).poll(&mut cx).is_pending());
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// Early, while the old value is served.

#[test]
fn an_early_refresh_serves_the_old_value_until_the_new_one_is_there() {
    let ((clock, time), origin) = (clock(), Origin::default());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let (users, mut refresher) = cache
        .loading(origin.loader())
        .with_refresh(Refresh::after(0.8).unwrap())
        .build()
        .unwrap();
    let mut first = pin!(users.get_or_load(&7));
    assert!(poll(first.as_mut()).is_pending());
    origin.gate.open_all();
    assert_eq!(at_once(first).unwrap(), 1);

    time.advance(8 * SECOND - MILLI);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    assert_eq!(users.cache().snapshot().refreshes, 0);
    time.advance(MILLI);
    for _ in 0..100 {
        assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
        run(&mut refresher);
    }
    assert_eq!(origin.loads(), 2, "one refresh for all of them");
    origin.gate.open_all();
    run(&mut refresher);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 2);
    // Its time began anew.
    time.advance(8 * SECOND - MILLI);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 2);
    let snapshot = users.cache().snapshot();
    assert_eq!(
        (snapshot.refreshes, snapshot.stale, snapshot.loads),
        (1, 0, 2)
    );
}

#[test]
fn nothing_is_refreshed_without_being_read() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let refresh = Refresh::after(0.5).unwrap();
    let builder = cache.loading(origin.loader()).with_refresh(refresh);
    let (users, mut refresher) = builder.build().unwrap();
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    time.advance(9 * SECOND);
    run(&mut refresher);
    assert_eq!(origin.loads(), 1);
    time.advance(SECOND);
    assert_eq!(
        at_once(users.get_or_load(&7)).unwrap(),
        2,
        "loaded in the foreground"
    );
}

// By chance.

/// Reads one key each `step`, and loads it in `load`, until `cycles` values were loaded. Gives the
/// loads of each cycle, what the first of them was ahead of the end of the value's time, and how many
/// reads waited.
fn xfetch(beta: f64, is_shared: bool, cycles: usize) -> (Vec<usize>, Vec<f64>, usize) {
    const LOAD: Duration = SECOND;
    const STEP: Duration = Duration::from_millis(20);
    const TIME: Duration = Duration::from_secs(1000);
    let (clock, time) = clock();
    let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let loader = {
        let (clock, starts) = (clock.clone(), Arc::clone(&starts));
        move |_: u64| {
            starts.lock().push(clock.now());
            let sleep = clock.sleep(LOAD);
            async move {
                sleep.await;
                Ok::<_, &'static str>(0)
            }
        }
    };
    let mut builder = Cache::builder(10).with_clock(clock).with_time_to_live(TIME);
    if !is_shared {
        builder = builder.without_single_flight();
    }
    let (users, mut refresher): (Users, _) = builder
        .loading(loader)
        .with_refresh(Refresh::by_chance(beta).unwrap())
        .with_refreshes_max(10_000)
        .with_seed(7)
        .build()
        .unwrap();
    let mut first = pin!(users.get_or_load(&1));
    assert!(poll(first.as_mut()).is_pending());
    time.advance(LOAD);
    assert_eq!(at_once(first).unwrap(), 0);

    let (mut loads, mut leads, mut waited) = (Vec::new(), Vec::new(), 0);
    let mut end = time.now() + TIME;
    starts.lock().clear();
    for _ in 0..cycles {
        // Nothing happens as far from the end as this.
        time.advance(end - time.now() - LOAD.mul_f64(12.0 * beta));
        let done = users.cache().snapshot().loads;
        while users.cache().snapshot().loads == done {
            if poll(pin!(users.get_or_load(&1))).is_pending() {
                waited += 1;
            }
            time.advance(STEP);
            run(&mut refresher);
        }
        let starts = std::mem::take(&mut *starts.lock());
        let first = *starts.first().expect("a load");
        loads.push(starts.len());
        leads.push((end - first).as_secs_f64());
        end = time.now() + TIME;
        // What else was begun comes too late to count.
        time.advance(2 * LOAD);
        run(&mut refresher);
    }
    (loads, leads, waited)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len();
    numbers.sum::<f64>() / count as f64
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn xfetch_alone_loads_and_leads_as_often_as_the_formula_says() {
    for (beta, cycles) in [(0.5, 1000), (1.0, 1000), (2.0, 500)] {
        let (loads, leads, _) = xfetch(beta, false, cycles);
        let loads = mean(loads.iter().map(|loads| *loads as f64));
        let wanted = (1.0 / beta).exp();
        assert!(
            (loads / wanted - 1.0).abs() < 0.05,
            "beta {beta}: {loads} loads"
        );
        let leads = mean(leads.iter().copied());
        // 50 reads in the time of a load, which is 1 s.
        let wanted = beta * ((50.0 * beta).ln() + 0.577);
        assert!(
            (leads / wanted - 1.0).abs() < 0.05,
            "beta {beta}: {leads} s ahead"
        );
    }
}

#[test]
fn xfetch_with_a_single_flight_loads_once_and_nobody_waits() {
    let (loads, _, waited) = xfetch(1.0, true, 500);
    assert!(loads.iter().all(|loads| *loads == 1));
    assert_eq!(waited, 0);
}

#[test]
fn without_single_flight_each_caller_loads_and_the_first_value_stays() {
    let origin = Origin::default();
    let cache = Cache::<u64, u64>::builder(10).without_single_flight();
    let (users, _refresher) = cache.loading(origin.loader()).build().unwrap();
    let mut first = pin!(users.get_or_load(&1));
    let mut second = pin!(users.get_or_load(&1));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(origin.loads(), 2);
    origin.gate.open_all();
    assert_eq!(at_once(second).unwrap(), 2);
    assert_eq!(at_once(first).unwrap(), 1);
    assert_eq!(users.cache().get(&1), Some(2));
}

#[test]
fn without_single_flight_a_load_of_its_own_key_is_an_error_still() {
    let cache = Cache::<u64, u64>::builder(10).without_single_flight();
    let cache = cache.build().unwrap();
    let inner = cache.clone();
    let load = move || async move { inner.try_get_or_load(&1, || async { Ok::<_, ()>(1) }).await };
    match at_once(cache.try_get_or_load(&1, load)) {
        Err(LoadError::Failed(inner)) => assert!(matches!(*inner, LoadError::Reentrant)),
        other => panic!("{other:?}"),
    }
}

// Never expiring.

#[cfg(feature = "tokio")]
#[test]
fn what_never_expires_is_refreshed_by_the_clock_though_nobody_reads() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10_000).with_clock(clock);
    let (users, mut refresher) = cache
        .loading(origin.loader())
        .with_refresh(Refresh::every(8 * SECOND).unwrap())
        .with_refreshes_max(10)
        .build()
        .unwrap();
    for user in 0..100 {
        at_once(users.get_or_load(&user)).unwrap();
    }
    for round in 1..4 {
        for _ in 0..8 {
            time.advance(SECOND);
            run(&mut refresher);
        }
        assert_eq!(origin.loads(), 100 * (round + 1));
        let oldest = users.cache().iter().map(|(_, value)| value).min().unwrap();
        assert!(oldest > 100 * round);
    }
    // Without the refresher a reader gets what there is, and never waits.
    time.advance(1_000_000 * SECOND);
    assert!(at_once(users.get_or_load(&7)).is_ok());
}

#[cfg(feature = "tokio")]
#[test]
fn a_refresh_by_the_clock_is_no_use_of_the_entry() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_idle(20 * SECOND);
    let refresh = Refresh::every(8 * SECOND).unwrap();
    let builder = cache.loading(origin.loader()).with_refresh(refresh);
    let (users, mut refresher) = builder.build().unwrap();
    at_once(users.get_or_load(&7)).unwrap();
    for _ in 0..30 {
        time.advance(SECOND);
        run(&mut refresher);
    }
    assert_eq!(users.cache().get(&7), None);
    let loads = origin.loads();
    assert!((2..=3).contains(&loads), "{loads}");
}

// Stale values, and their limits.

#[test]
fn a_stale_value_is_served_while_it_is_refreshed_and_not_beyond_its_limit() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let (users, mut refresher) = cache
        .loading(origin.loader())
        .with_stale_while_refreshing(5 * SECOND)
        .build()
        .unwrap();
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    time.advance(14 * SECOND);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    assert_eq!(users.cache().snapshot().stale, 1);
    run(&mut refresher);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 2);
    time.advance(15 * SECOND);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 3, "it was too old");
}

#[test]
fn a_refresh_that_fails_rests_and_never_moves_the_limit() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let (users, mut refresher) = cache
        .loading(origin.loader())
        .with_stale_while_refreshing(60 * SECOND)
        .with_retry_waits(SECOND..=8 * SECOND)
        .build()
        .unwrap();
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    origin.breaks(true);
    time.advance(10 * SECOND);
    for _ in 0..600 {
        assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
        run(&mut refresher);
        time.advance(99 * MILLI);
    }
    // 60 s of waits of 0.5 to 1, 1 to 2, 2 to 4, and then 4 to 8 s.
    let tries = origin.loads() - 1;
    assert!((10..=18).contains(&tries), "{tries} tries");
    time.advance(SECOND);
    assert!(matches!(
        at_once(users.get_or_load(&7)),
        Err(LoadError::Failed(error)) if *error == "broken"
    ));
    origin.breaks(false);
    assert!(at_once(users.get_or_load(&7)).is_ok());
}

#[test]
fn a_stale_value_excuses_a_failed_load_until_its_limit() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let (users, _refresher) = cache
        .loading(origin.loader())
        .with_stale_if_error(60 * SECOND)
        .with_retry_waits(SECOND..=SECOND)
        .build()
        .unwrap();
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    time.advance(10 * SECOND);
    origin.breaks(true);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    assert_eq!(origin.loads(), 2);
    // The load rests: nobody waits for another failure.
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    assert_eq!(origin.loads(), 2);
    time.advance(SECOND);
    assert_eq!(users.get_or_load_blocking(&7).unwrap(), 1);
    assert_eq!(origin.loads(), 3);
    assert_eq!(users.cache().snapshot().stale, 3);
    origin.breaks(false);
    time.advance(SECOND);
    assert_eq!(
        at_once(users.get_or_load(&7)).unwrap(),
        4,
        "it is loaded, not served"
    );
    origin.breaks(true);
    time.advance(70 * SECOND);
    assert!(at_once(users.get_or_load(&7)).is_err());
}

#[test]
fn what_is_removed_while_its_load_fails_excuses_nothing() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let builder = cache.loading(origin.loader());
    let builder = builder.with_stale_if_error(60 * SECOND);
    let (users, _refresher) = builder.build().unwrap();
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    time.advance(10 * SECOND);
    origin.breaks(true);
    origin.gate.close();
    let mut load = pin!(users.get_or_load(&7));
    assert!(poll(load.as_mut()).is_pending());
    users.cache().remove(&7);
    origin.gate.open_all();
    assert!(at_once(load).is_err());
}

// Answers that there is nothing.

#[test]
fn absence_has_a_time_of_its_own_and_is_never_stale() {
    let (clock, time) = clock();
    let loads = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&loads);
    let (users, _refresher) = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(100 * SECOND)
        .with_absence_time(5 * SECOND)
        .loading(move |user: u64| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, &'static str>((user != 7).then_some(user)) }
        })
        .with_stale_while_refreshing(50 * SECOND)
        .build()
        .unwrap();
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), None);
    time.advance(5 * SECOND - MILLI);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), None);
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    time.advance(MILLI);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), None);
    assert_eq!(loads.load(Ordering::SeqCst), 2);
    assert_eq!(at_once(users.get_or_load(&8)).unwrap(), Some(8));
    time.advance(120 * SECOND);
    assert_eq!(at_once(users.get_or_load(&8)).unwrap(), Some(8));
    assert_eq!(loads.load(Ordering::SeqCst), 3);
}

#[test]
fn errors_are_kept_as_long_as_is_asked_for_and_no_change_of_the_key_is_hidden() {
    let ((clock, time), origin) = (clock(), Origin::open());
    let cache = Cache::<u64, u64>::builder(10)
        .with_clock(clock)
        .with_error_time(|error: &&str| (*error == "broken").then_some(5 * SECOND));
    let (users, _refresher) = cache.loading(origin.loader()).build().unwrap();
    origin.breaks(true);
    for _ in 0..3 {
        assert!(at_once(users.get_or_load(&7)).is_err());
    }
    assert_eq!(origin.loads(), 1);
    // A caller with another type of error loads by itself.
    let other = users.cache().try_get_or_load(&7, || async { Err(7_u8) });
    assert!(matches!(at_once(other), Err(LoadError::Failed(error)) if *error == 7));
    assert!(at_once(users.get_or_load(&7)).is_err());
    assert_eq!(origin.loads(), 2);
    time.advance(5 * SECOND);
    assert!(at_once(users.get_or_load(&7)).is_err());
    assert_eq!(origin.loads(), 3);
    users.cache().insert(7, 70);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 70);
    users.cache().remove(&7);
    assert!(at_once(users.get_or_load(&7)).is_err());
    users.cache().remove(&7);
    origin.breaks(false);
    assert!(at_once(users.get_or_load(&7)).is_ok());
    // What is not asked for is not kept.
    for error in ["other", "another"] {
        let load = move || async move { Err(error) };
        match at_once(users.cache().try_get_or_load(&8, load)) {
            Err(LoadError::Failed(got)) => assert_eq!(*got, error),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn kept_errors_are_bounded() {
    let cache = Cache::<u64, u64>::builder(10)
        .with_shards(1)
        .with_error_time(|(): &()| Some(SECOND))
        .build()
        .unwrap();
    let loads = Arc::new(AtomicU64::new(0));
    let fail = |key: u64| {
        let loads = Arc::clone(&loads);
        let load = move || async move {
            loads.fetch_add(1, Ordering::SeqCst);
            Err(())
        };
        assert!(at_once(cache.try_get_or_load(&key, load)).is_err());
    };
    (0..1000).for_each(fail);
    (1000 - 64..1000).for_each(fail);
    assert_eq!(loads.load(Ordering::SeqCst), 1000, "the last 64 are kept");
    fail(0);
    assert_eq!(loads.load(Ordering::SeqCst), 1001);
}

// Races, bounds and ends.

#[test]
fn what_happens_to_a_key_wins_over_a_refresh_of_it() {
    type Change = (fn(&Cache<u64, u64>), Option<u64>);
    let changes: [Change; 5] = [
        (|cache| assert_eq!(cache.remove(&7), Some(1)), None),
        (|cache| assert_eq!(cache.insert(7, 99), Some(1)), Some(99)),
        (
            |cache| assert_eq!(cache.compute(&7, |_| Some(11)), Some(11)),
            Some(11),
        ),
        (Cache::clear, None),
        (
            |cache| assert_eq!(cache.invalidate_if(|_, value| *value == 1), 1),
            None,
        ),
    ];
    for (change, left) in changes {
        let ((clock, time), origin) = (clock(), Origin::default());
        let cache = Cache::builder(10)
            .with_clock(clock)
            .with_time_to_live(10 * SECOND);
        let refresh = Refresh::after(0.5).unwrap();
        let builder = cache.loading(origin.loader()).with_refresh(refresh);
        let (users, mut refresher) = builder.build().unwrap();
        users.cache().insert(7, 1);
        time.advance(6 * SECOND);
        assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
        run(&mut refresher);
        assert_eq!(origin.gate.waiting(), 1);
        change(users.cache());
        origin.gate.open_all();
        run(&mut refresher);
        assert_eq!(users.cache().get(&7), left);
        // Whether or not it came too late, its place is free again.
        assert!(users.refresh(&7));
    }
}

#[test]
fn refreshes_at_once_are_bounded_and_the_next_read_tries_again() {
    let ((clock, time), origin) = (clock(), Origin::default());
    let cache = Cache::builder(100)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let (users, mut refresher) = cache
        .loading(origin.loader())
        .with_refresh(Refresh::after(0.5).unwrap())
        .with_refreshes_max(3)
        .build()
        .unwrap();
    for user in 0..10 {
        users.cache().insert(user, 0);
    }
    time.advance(6 * SECOND);
    let read_all = || (0..10).for_each(|user| drop(at_once(users.get_or_load(&user))));
    read_all();
    run(&mut refresher);
    assert_eq!(origin.gate.waiting(), 3);
    assert_eq!(users.cache().snapshot().refused_refreshes, 7);
    assert!(!users.refresh(&50));
    origin.gate.open_all();
    run(&mut refresher);
    read_all();
    run(&mut refresher);
    assert_eq!(origin.loads(), 6);
}

#[test]
fn a_reader_that_comes_when_the_value_is_too_old_joins_the_refresh() {
    let ((clock, time), origin) = (clock(), Origin::default());
    let cache = Cache::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let refresh = Refresh::after(0.5).unwrap();
    let builder = cache.loading(origin.loader()).with_refresh(refresh);
    let (users, refresher) = builder.build().unwrap();
    users.cache().insert(7, 0);
    time.advance(9 * SECOND);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 0);
    time.advance(9 * SECOND);
    // The refresher is never polled, and blocks nobody.
    let mut late = pin!(users.get_or_load(&7));
    assert!(poll(late.as_mut()).is_pending());
    assert_eq!(origin.loads(), 1);
    drop(refresher);
    origin.gate.open_all();
    assert_eq!(at_once(late).unwrap(), 1);
    // Without a refresher nothing is refreshed any more.
    time.advance(6 * SECOND);
    assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 1);
    assert_eq!(origin.loads(), 1);
}

#[test]
fn the_refresher_ends_with_the_last_handle_and_drops_its_loads() {
    let origin = Origin::default();
    let (users, mut refresher) = Cache::builder(10).loading(origin.loader()).build().unwrap();
    let other = users.clone();
    assert!(users.refresh(&7));
    run(&mut refresher);
    assert_eq!(origin.gate.waiting(), 1);
    drop(users);
    run(&mut refresher);
    drop(other);
    at_once(&mut refresher);
    assert_eq!(origin.gate.waiting(), 0);
}

#[test]
fn a_load_that_nobody_waits_for_is_dropped_or_finished() {
    let origin = Origin::default();
    let (users, mut refresher) = Cache::builder(10).loading(origin.loader()).build().unwrap();
    let mut load = Box::pin(users.get_or_load(&7));
    assert!(poll(load.as_mut()).is_pending());
    drop(load);
    run(&mut refresher);
    assert_eq!(origin.gate.waiting(), 0);

    let builder = Cache::builder(10).loading(origin.loader());
    let (users, mut refresher) = builder.with_loads_finished().build().unwrap();
    let mut load = Box::pin(users.get_or_load(&7));
    assert!(poll(load.as_mut()).is_pending());
    drop(load);
    run(&mut refresher);
    assert_eq!(origin.gate.waiting(), 1);
    origin.gate.open_all();
    run(&mut refresher);
    assert_eq!(users.cache().get(&7), Some(2));
}

#[test]
fn a_panic_in_a_refresh_is_a_failure_and_harms_nobody() {
    let (clock, time) = clock();
    let cache = Cache::<u64, u64>::builder(10)
        .with_clock(clock)
        .with_time_to_live(10 * SECOND);
    let refresh = Refresh::after(0.5).unwrap();
    let panics = |_| async { panic!("broken") };
    let (users, mut refresher): (Users, _) =
        cache.loading(panics).with_refresh(refresh).build().unwrap();
    users.cache().insert(7, 0);
    time.advance(6 * SECOND);
    for _ in 0..3 {
        assert_eq!(at_once(users.get_or_load(&7)).unwrap(), 0);
        run(&mut refresher);
    }
    let snapshot = users.cache().snapshot();
    assert_eq!(
        (snapshot.refreshes, snapshot.failed_loads),
        (1, 1),
        "then it rests"
    );
}

#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_hung_refresh_ends_with_the_load_s_time_out_and_is_tried_again() {
    let cache = Cache::<u64, u64>::builder(10)
        .with_clock(Clock::tokio())
        .with_time_to_live(100 * SECOND)
        .with_load_timeout(SECOND);
    let origin = Origin::default();
    let handle = tokio::runtime::Handle::current();
    let builder = cache.loading(origin.loader());
    let builder = builder.with_refresh(Refresh::after(0.5).unwrap());
    let users = builder.build_on(&handle).unwrap();
    users.cache().insert(7, 0);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(users.get_or_load(&7).await.unwrap(), 0);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(users.cache().snapshot().failed_loads, 1);
    origin.gate.stay_open();
    assert_eq!(users.get_or_load(&7).await.unwrap(), 0);
    tokio::time::sleep(SECOND).await;
    assert_eq!(users.get_or_load(&7).await.unwrap(), 2);
}

#[test]
fn what_cannot_be_is_refused_with_its_name() {
    for part in [0.0, 1.0, -0.5, f64::NAN, f64::INFINITY] {
        let error = Refresh::after(part).unwrap_err().to_string();
        assert!(error.starts_with("refresh after is"), "{error}");
    }
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = Refresh::by_chance(beta).unwrap_err().to_string();
        assert!(error.starts_with("beta is"), "{error}");
    }
    let builder = || Cache::<u64, u64>::builder(10);
    let timed = || builder().with_time_to_live(SECOND);
    let load = |_| async { Ok::<_, ()>(0) };
    let chance = Refresh::by_chance(1.0).unwrap();
    let invalid = [
        (
            builder().loading(load).with_refresh(chance).build(),
            InvalidCache::RefreshWithoutTime,
        ),
        (
            builder().loading(load).with_stale_if_error(SECOND).build(),
            InvalidCache::StaleWithoutTime,
        ),
        (
            timed().loading(load).with_refreshes_max(0).build(),
            InvalidCache::RefreshesMax,
        ),
        (
            timed()
                .loading(load)
                .with_retry_waits(SECOND..=MILLI)
                .build(),
            InvalidCache::RetryWaits {
                first: SECOND,
                longest: MILLI,
            },
        ),
        (
            builder()
                .with_time_to_live(Duration::ZERO)
                .loading(load)
                .build(),
            InvalidCache::TimeToLive,
        ),
    ];
    for (built, wanted) in invalid {
        assert_eq!(built.unwrap_err(), wanted);
    }
    let absent = Cache::<u64, Option<u64>>::builder(1).with_absence_time(Duration::ZERO);
    assert_eq!(absent.build().unwrap_err(), InvalidCache::AbsenceTime);
}
