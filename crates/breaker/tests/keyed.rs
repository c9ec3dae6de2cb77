//! Many keys in few places, against a map that keeps all it knows.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stanchion_breaker::{
    Breaker, Config, Event, HalfOpen, KeyedBreaker, OpenTime, OwnedPermit, Ramp, Ratio, Snapshot,
    State,
};
use stanchion_core::{Clock, ManualClock, Outcome};

const IDLE: u64 = 800;
const OPEN: u64 = 300;

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// Opens with the first failure; one trial decides.
fn config() -> Config {
    Config::consecutive_failures(NonZeroU32::MIN)
        .with_half_open(HalfOpen::new(1).unwrap())
        .with_open_time(OpenTime::fixed(ns(OPEN)).unwrap())
}

fn keyed(max_keys: usize) -> (KeyedBreaker<u32>, Clock, ManualClock) {
    let (clock, time) = Clock::manual();
    let keyed = KeyedBreaker::new(config(), max_keys).unwrap();
    let keyed = keyed.with_idle_time(ns(IDLE)).unwrap();
    (keyed.with_clock(clock.clone()), clock, time)
}

/// All keys with their numbers. Not by [`KeyedBreaker::find`], after which it has to look anew for who
/// may be forgotten.
fn all(keyed: &KeyedBreaker<u32>) -> HashMap<u32, Snapshot> {
    keyed.snapshots().into_iter().collect()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire(u32),
    Finish(usize, bool),
    Drop(usize),
    Wait(u64),
    Forget(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0_u32..9).prop_map(Step::Acquire),
        5 => (any::<usize>(), any::<bool>()).prop_map(|(which, good)| Step::Finish(which, good)),
        2 => any::<usize>().prop_map(Step::Drop),
        3 => (0_u64..200).prop_map(Step::Wait),
        2 => (0_u64..1500).prop_map(Step::Wait),
        1 => (0_u32..9).prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 0..200)
}

/// What the naive map knows of a key: a breaker of its own, the permits that are out, and when it
/// was asked for.
struct Known {
    breaker: Breaker,
    permits: usize,
    asked: u64,
}

impl Known {
    /// Whether it may be forgotten, if it was not asked for during `idle`.
    fn may_go(&self, now: u64, idle: u64) -> bool {
        self.permits == 0 && self.breaker.state() == State::Closed && now - self.asked > idle
    }
}

/// A permit of ours, and that of the naive map's breaker with the key; none where it is untracked.
type Out = (OwnedPermit, Option<(u32, u64, OwnedPermit)>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_naive_map_does(max_keys in 1_usize..6, steps in steps()) {
        let (keyed, clock, time) = keyed(max_keys);
        // By key; with a number for each breaker that was made, since one may be forgotten.
        let mut known: HashMap<u32, (u64, Known)> = HashMap::new();
        let (mut made, mut untracked, mut evicted) = (0, 0, 0);
        let mut out: Vec<Out> = Vec::new();
        for step in steps {
            let now = clock.now().as_nanos();
            match step {
                Step::Acquire(key) => {
                    let ours = keyed.try_acquire(&key);
                    let tracked = all(&keyed).contains_key(&key);
                    if !known.contains_key(&key) {
                        let full = known.len() == max_keys;
                        if full && tracked {
                            // Whom it forgot was idle, or nearly: it notes only so exactly when
                            // one was asked for.
                            let left = all(&keyed);
                            let gone = known.keys().find(|key| !left.contains_key(key));
                            let gone = *gone.expect("one had to go");
                            let (_, gone) = known.remove(&gone).unwrap();
                            prop_assert!(gone.may_go(now, IDLE - IDLE / 8));
                            evicted += 1;
                        } else if full {
                            let idle = known.values().any(|(_, known)| known.may_go(now, IDLE));
                            prop_assert!(!idle, "there was a place");
                            untracked += 1;
                            out.push((ours.unwrap(), None));
                            continue;
                        }
                        prop_assert!(tracked);
                        made += 1;
                        let breaker = Breaker::new(config()).with_clock(clock.clone());
                        known.insert(key, (made, Known { breaker, permits: 0, asked: now }));
                    }
                    let (number, known) = known.get_mut(&key).unwrap();
                    known.asked = now;
                    match (ours, known.breaker.try_acquire_owned()) {
                        (Ok(ours), Ok(naive)) => {
                            known.permits += 1;
                            out.push((ours, Some((key, *number, naive))));
                        }
                        (Err(ours), Err(naive)) => prop_assert_eq!(ours, naive),
                        (ours, naive) => prop_assert!(false, "{ours:?}, but {naive:?}"),
                    }
                }
                Step::Finish(..) | Step::Drop(_) if out.is_empty() => {}
                Step::Finish(which, _) | Step::Drop(which) => {
                    let (ours, naive) = out.swap_remove(which % out.len());
                    let outcome = match step {
                        Step::Finish(_, true) => Some(Outcome::Success),
                        Step::Finish(..) => Some(Outcome::Failure),
                        _ => None,
                    };
                    if let Some(outcome) = outcome {
                        ours.record(outcome);
                    }
                    if let Some((key, number, naive)) = naive {
                        if let Some(outcome) = outcome {
                            naive.record(outcome);
                        }
                        if let Some((same, known)) = known.get_mut(&key)
                            && *same == number
                        {
                            known.permits -= 1;
                        }
                    }
                }
                Step::Wait(nanos) => time.advance(ns(nanos)),
                Step::Forget(key) => {
                    prop_assert_eq!(keyed.forget(&key), known.remove(&key).is_some());
                }
            }
            let snapshot = keyed.snapshot();
            prop_assert_eq!(snapshot.keys, known.len());
            prop_assert_eq!(snapshot.untracked_total, untracked);
            prop_assert_eq!(snapshot.evicted_total, evicted);
            let all = all(&keyed);
            for (key, (_, known)) in &known {
                prop_assert_eq!(all[key], known.breaker.snapshot());
            }
        }
    }
}

/// What is known of a key in a full table.
struct Key {
    asked: u64,
    open: bool,
    held: Vec<Breaker>,
}

fn nth(known: &mut BTreeMap<u32, Key>, which: usize) -> (u32, &mut Key) {
    let which = which % known.len();
    let (name, key) = known.iter_mut().nth(which).unwrap();
    (*name, key)
}

/// What happens to a full table: to the key with that number among those that are in it.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Call(usize),
    Reset(usize),
    ForceOpen(usize),
    Hold(usize),
    LetGo,
    Forget(usize),
    Wait(u64),
    /// So many new keys come.
    Come(u32),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let which = any::<usize>;
    let happening = prop_oneof![
        1 => which().prop_map(Happening::Call),
        3 => which().prop_map(Happening::Reset),
        1 => which().prop_map(Happening::ForceOpen),
        1 => which().prop_map(Happening::Hold),
        2 => Just(Happening::LetGo),
        1 => which().prop_map(Happening::Forget),
        3 => (0_u64..2 * IDLE).prop_map(Happening::Wait),
        4 => (1_u32..4).prop_map(Happening::Come),
    ];
    proptest::collection::vec(happening, 30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// A table of several parts, full of keys whose breakers are open by hand but for a few: a new key
    /// gets the place of one that may go, wherever that is, and is untracked only if none may.
    #[test]
    fn no_place_is_overlooked(closed in 0_u32..4, happenings in happenings()) {
        const MAX: u32 = 2_500;
        let may_go = |key: &Key, now: u64, idle: u64| {
            !key.open && key.held.is_empty() && now - key.asked > idle
        };
        let (keyed, clock, time) = keyed(MAX as usize);
        // In the order in which they came, so that failures repeat.
        let mut known: BTreeMap<u32, Key> = BTreeMap::new();
        for key in 0..MAX {
            let open = key >= closed;
            let breaker = keyed.breaker(&key).expect("it is not full");
            if open {
                breaker.force_open();
            }
            known.insert(key, Key { asked: 0, open, held: Vec::new() });
        }
        let (mut next, mut evicted, mut untracked) = (MAX, 0, 0);
        for happening in happenings {
            let now = clock.now().as_nanos();
            match happening {
                Happening::Call(which) => {
                    let (name, key) = nth(&mut known, which);
                    prop_assert_eq!(keyed.try_acquire(&name).is_err(), key.open);
                    key.asked = now;
                }
                Happening::Reset(which) => {
                    let (name, key) = nth(&mut known, which);
                    if which % 2 == 0 {
                        keyed.find(&name).expect("it is known").reset();
                    } else {
                        keyed.for_each(|other, breaker| {
                            if *other == name {
                                breaker.reset();
                            }
                        });
                    }
                    key.open = false;
                }
                Happening::ForceOpen(which) => {
                    let (name, key) = nth(&mut known, which);
                    keyed.for_each(|other, breaker| {
                        if *other == name {
                            breaker.force_open();
                        }
                    });
                    key.open = true;
                }
                Happening::Hold(which) => {
                    let (name, key) = nth(&mut known, which);
                    key.held.push(keyed.find(&name).expect("it is known"));
                }
                Happening::LetGo => {
                    for key in known.values_mut() {
                        if let Some(held) = key.held.pop() {
                            held.reset();
                            key.open = false;
                        }
                    }
                }
                Happening::Forget(which) => {
                    let (name, _) = nth(&mut known, which);
                    prop_assert!(keyed.forget(&name));
                    known.remove(&name);
                }
                Happening::Wait(nanos) => time.advance(ns(nanos)),
                Happening::Come(count) => {
                    for name in next..next + count {
                        let full = known.len() == MAX as usize;
                        let sure = known.values().any(|key| may_go(key, now, IDLE));
                        let before = keyed.snapshot();
                        drop(keyed.try_acquire(&name));
                        let after = keyed.snapshot();
                        if after.untracked_total > before.untracked_total {
                            prop_assert!(full && !sure, "{name} had a place");
                            untracked += 1;
                            continue;
                        }
                        let left = all(&keyed);
                        let gone: Vec<u32> =
                            known.keys().copied().filter(|name| !left.contains_key(name)).collect();
                        prop_assert_eq!(gone.len(), usize::from(full));
                        for gone in gone {
                            let gone = known.remove(&gone).expect("it was there");
                            prop_assert!(may_go(&gone, now, IDLE - IDLE / 8));
                            evicted += 1;
                        }
                        known.insert(name, Key { asked: now, open: false, held: Vec::new() });
                    }
                    next += count;
                }
            }
            let snapshot = keyed.snapshot();
            prop_assert_eq!(snapshot.keys, known.len());
            prop_assert_eq!((snapshot.evicted_total, snapshot.untracked_total), (evicted, untracked));
        }
    }
}

/// A breaker that closed, and was not called again while traffic was to come back, stayed for ever.
#[test]
fn a_breaker_may_be_forgotten_when_its_ramp_and_its_openings_are_over() {
    let (clock, time) = Clock::manual();
    let open_time = OpenTime::fixed(ns(OPEN)).unwrap();
    let config = config()
        .with_open_time(open_time.with_decay(ns(5_000)).unwrap())
        .with_ramp(Ramp::new(Ratio::HALF, ns(9_000)).unwrap());
    let keyed = KeyedBreaker::<u32>::new(config, 1).unwrap();
    let keyed = keyed.with_idle_time(ns(IDLE)).unwrap().with_clock(clock);
    keyed.try_acquire(&1).unwrap().record(Outcome::Failure);
    time.advance(ns(OPEN + 1));
    keyed.try_acquire(&1).unwrap().record(Outcome::Success);
    assert_eq!(keyed.find(&1).unwrap().state(), State::Closed);
    time.advance(ns(8_999));
    drop(keyed.try_acquire(&2));
    assert_eq!(keyed.snapshot().evicted_total, 0, "its ramp is not over");
    time.advance(ns(1));
    drop(keyed.try_acquire(&2));
    assert_eq!(keyed.snapshot().evicted_total, 1);
}

fn together(work: impl Fn(u32) + Sync) {
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for index in 0..4 {
            let (work, barrier) = (&work, &barrier);
            scope.spawn(move || {
                barrier.wait();
                work(index);
            });
        }
    });
}

/// Every new key gets a place, takes one, or is let through untracked: each is counted once.
#[test]
fn a_flood_of_keys_from_many_threads_is_counted_and_bounded() {
    let (keyed, _clock, time) = keyed(5_000);
    together(|thread| {
        for number in 0..5_000 {
            let key = thread * 5_000 + number;
            keyed.try_acquire(&key).unwrap().record(Outcome::Success);
            if thread == 0 {
                time.advance(ns(1));
            }
        }
    });
    let snapshot = keyed.snapshot();
    assert!(snapshot.keys <= 5_000, "{snapshot:?}");
    let all = snapshot.keys as u64 + snapshot.evicted_total + snapshot.untracked_total;
    assert_eq!(all, 20_000, "{snapshot:?}");
}

#[test]
fn an_open_breaker_is_not_forgotten_whoever_invents_keys() {
    let (clock, time) = Clock::manual();
    let config = config().with_open_time(OpenTime::fixed(ns(1_000_000)).unwrap());
    let keyed = KeyedBreaker::<u32>::new(config, 100).unwrap();
    let keyed = keyed.with_idle_time(ns(IDLE)).unwrap().with_clock(clock);
    keyed.try_acquire(&0).unwrap().record(Outcome::Failure);
    let held = keyed.try_acquire(&1).unwrap();
    together(|thread| {
        for number in 2..3_000 {
            drop(keyed.try_acquire(&(thread * 3_000 + number)));
            if thread == 0 && number % 100 == 0 {
                time.advance(ns(IDLE + 1));
            }
        }
    });
    assert!(keyed.snapshot().evicted_total > 0);
    assert!(keyed.try_acquire(&0).is_err());
    held.record(Outcome::Failure);
    assert!(keyed.try_acquire(&1).is_err(), "its permit was out");
}

#[test]
fn the_same_key_from_many_threads_has_one_breaker() {
    let (keyed, ..) = keyed(100);
    let held = Mutex::new(Vec::new());
    together(|_| {
        for key in 0..100 {
            held.lock().unwrap().push(keyed.try_acquire(&key).unwrap());
        }
    });
    assert_eq!(keyed.snapshot().keys, 100);
    held.into_inner()
        .unwrap()
        .pop()
        .unwrap()
        .record(Outcome::Failure);
    let mut open = 0;
    keyed.for_each(|_, breaker| open += u32::from(breaker.state() == State::Open));
    assert_eq!(open, 1);
}

#[test]
fn each_key_has_its_own_configuration_and_observer() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let config_of = |key: &str| match key {
        "strict" => config(),
        _ => Config::default(),
    };
    let keyed = KeyedBreaker::<str>::per_key(config_of, 10).unwrap();
    let keyed = keyed.with_observers({
        let heard = heard.clone();
        move |key: &str| {
            let (key, heard) = (key.to_owned(), heard.clone());
            move |event: &Event| {
                if let Event::Changed(change) = event {
                    heard.lock().unwrap().push((key.clone(), change.to));
                }
            }
        }
    });
    for key in ["strict", "lenient"] {
        keyed.try_acquire(key).unwrap().record(Outcome::Failure);
    }
    assert_eq!(*heard.lock().unwrap(), [("strict".to_owned(), State::Open)]);
    let states: HashMap<_, _> = keyed.snapshots().into_iter().collect();
    assert_eq!(states["strict"].state, State::Open);
    assert_eq!(states["lenient"].failed, 1);
}

#[test]
fn forcing_by_name_holds_a_place() {
    let (keyed, _clock, time) = keyed(1);
    keyed.breaker(&7).unwrap().force_open();
    time.advance(ns(10 * IDLE));
    assert!(keyed.try_acquire(&8).is_ok(), "untracked");
    assert_eq!(keyed.snapshot().untracked_total, 1);
    assert_eq!(
        keyed.try_acquire(&7).unwrap_err().state(),
        State::ForcedOpen
    );
    assert!(keyed.forget(&7));
    assert!(!keyed.forget(&7));
    assert!(keyed.try_acquire(&7).is_ok());
}

#[test]
fn new_configurations_reach_the_breakers_that_there_are() {
    let (keyed, _clock, time) = keyed(10);
    keyed.try_acquire(&1).unwrap().record(Outcome::Failure);
    let longer = config().with_open_time(OpenTime::fixed(ns(9 * OPEN)).unwrap());
    let for_new = longer.clone();
    keyed.reconfigure(move |_| longer.clone());
    let open = keyed.find(&1).unwrap();
    assert_eq!((open.state(), open.config()), (State::Open, &for_new));
    assert_eq!(open.snapshot().failed_total, 1);
    assert_eq!(keyed.breaker(&2).unwrap().config(), &for_new);

    time.advance(ns(OPEN + 1));
    keyed.try_acquire(&1).unwrap().record(Outcome::Failure);
    time.advance(ns(OPEN + 1));
    assert!(keyed.try_acquire(&1).is_err(), "it opened for longer");
}

#[test]
fn a_new_configuration_goes_on_where_the_old_one_stands() {
    let (clock, time) = Clock::manual();
    let growing = OpenTime::growing(ns(100), 2.0, ns(10_000)).unwrap();
    let growing = config().with_open_time(growing);
    let old = Breaker::new(growing.clone()).with_clock(clock);
    old.try_acquire().unwrap().record(Outcome::Failure);
    time.advance(ns(101));
    old.try_acquire().unwrap().record(Outcome::Failure);

    let new = old.reconfigured(growing.clone());
    assert_eq!(new.snapshot(), old.snapshot());
    assert_eq!(new.snapshot().open_for, Some(ns(201)));
    time.advance(ns(201));
    new.try_acquire().unwrap().record(Outcome::Failure);
    assert_eq!(
        new.snapshot().open_for,
        Some(ns(401)),
        "it opened for the third time"
    );

    new.disable();
    let disabled = new.reconfigured(growing);
    assert_eq!(disabled.state(), State::Disabled);
    let call = new.try_acquire().unwrap();
    call.record(Outcome::Failure);
    assert_eq!(
        disabled.snapshot().late_total,
        0,
        "calls end where they began"
    );
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_name() {
    for wrong in [0, (1 << 24) + 1] {
        let error = KeyedBreaker::<str>::new(Config::default(), wrong).unwrap_err();
        let wanted = format!("max_keys is {wrong}, must be 1 to 16777216");
        assert_eq!(error.to_string(), wanted);
    }
    let keyed = KeyedBreaker::<str>::new(Config::default(), 1).unwrap();
    let error = keyed
        .with_idle_time(Duration::from_secs(86_401))
        .unwrap_err();
    assert_eq!(error.field(), "idle_time");
}
