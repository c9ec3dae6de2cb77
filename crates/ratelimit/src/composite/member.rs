//! The state, or the states, of one limit of several.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use stanchion_core::Instant;

use crate::algorithm::Algorithm;
use crate::keyed::{InvalidMaxKeys, Place, States};
use crate::locked::Numbers;
use crate::token_bucket::TokenBucket;
use crate::{FixedWindow, Inherit, Policy, Rejected, SlidingWindowCounter, SlidingWindowLog};
use crate::{Status, StrictWindow, WhenFull};

/// Is told a limit's verdict while its state is held, and tells whether to take.
pub(crate) type Next<'a> = &'a mut dyn FnMut(Result<(), Rejected>) -> bool;

/// What is asked of one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Of the key.
    pub(crate) hash: u64,
    pub(crate) now: Instant,
    pub(crate) cost: u64,
    pub(crate) when_full: WhenFull,
}

pub(super) trait Member: Send + Sync {
    /// Holds the state of the key while `next` is told whether it admits the cost, and takes it if
    /// `next` says so. Tells where the state stands then, and how the key came to its place.
    ///
    /// A status is wide, and is made where it stays: to copy it costs as much as half of a check.
    fn hold(&self, asked: &Asked, told: &mut Option<Status>, next: Next<'_>) -> Place;

    /// Where the key of `hash` stands.
    fn peek(&self, hash: u64, now: Instant) -> Status;

    /// Gives back what the key of `hash` took, up to `cost`.
    fn refund(&self, hash: u64, now: Instant, cost: u64);

    /// Forgets what the key of `hash` has used.
    fn reset(&self, hash: u64);

    fn policy(&self) -> Policy;

    /// Limits by `policy` from now on; `false`, and nothing changed, if it is another algorithm.
    fn set_policy(&self, policy: Policy, now: Instant, inherit: Inherit) -> bool;

    /// Counts how a key came to its place.
    fn count(&self, place: Place);

    /// Keys that shared a state, were denied, or lost their place, since the start.
    fn counts(&self) -> [u64; 3];
}

/// One state for all.
struct One<A: Algorithm> {
    running: Mutex<Running<A>>,
}

struct Running<A: Algorithm> {
    numbers: Numbered<A>,
    state: A::State,
}

/// An algorithm, and the policy that it was made of.
#[derive(Clone, Copy)]
struct Numbered<A> {
    algorithm: A,
    policy: Policy,
}

/// One state for each key.
struct Each<A: Algorithm> {
    numbers: Box<[Padded<Numbered<A>>]>,
    states: States<A>,
    counts: [AtomicU64; 3],
}

/// The numbers, so often that those who read them seldom meet: whoever changes them locks all. On
/// cache lines of its own.
#[repr(align(128))]
struct Padded<T>(RwLock<T>);

const COPIES: u64 = if cfg!(stanchion_loom) { 1 } else { 16 };

/// Makes a member of whichever algorithm.
trait Make {
    type Made;
    fn make<A: Algorithm + Numbers>(self, numbers: Numbered<A>) -> Self::Made;
}

fn make<M: Make>(policy: Policy, make: M) -> M::Made {
    fn of<A: Algorithm + Numbers, M: Make>(algorithm: A, policy: Policy, make: M) -> M::Made {
        make.make(Numbered { algorithm, policy })
    }
    match policy {
        Policy::TokenBucket(quota) => of(TokenBucket::new(quota), policy, make),
        Policy::FixedWindow(window) => of::<FixedWindow, M>(window, policy, make),
        Policy::SlidingWindowCounter(window) => of::<SlidingWindowCounter, M>(window, policy, make),
        Policy::SlidingWindowLog(window) => of::<SlidingWindowLog, M>(window, policy, make),
        Policy::StrictWindow(window) => of::<StrictWindow, M>(window, policy, make),
        // Nothing waits here, so only what flows out at once is admitted.
        Policy::LeakyBucket(bucket) => of(TokenBucket::leaky(&bucket), policy, make),
    }
}

pub(super) fn shared(policy: Policy) -> Box<dyn Member> {
    struct Alone;
    impl Make for Alone {
        type Made = Box<dyn Member>;
        fn make<A: Algorithm + Numbers>(self, numbers: Numbered<A>) -> Box<dyn Member> {
            let state = numbers.algorithm.idle();
            let running = Mutex::new(Running { numbers, state });
            Box::new(One { running })
        }
    }
    make(policy, Alone)
}

pub(super) fn keyed(policy: Policy, max_keys: usize) -> Result<Box<dyn Member>, InvalidMaxKeys> {
    struct ByKey(usize);
    impl Make for ByKey {
        type Made = Box<dyn Member>;
        fn make<A: Algorithm + Numbers>(self, numbers: Numbered<A>) -> Box<dyn Member> {
            let copy = |_| Padded(RwLock::new(numbers));
            Box::new(Each {
                numbers: (0..COPIES).map(copy).collect(),
                states: States::new(self.0, &numbers.algorithm),
                counts: [const { AtomicU64::new(0) }; 3],
            })
        }
    }
    Ok(make(policy, ByKey(InvalidMaxKeys::unless_valid(max_keys)?)))
}

/// Asks a state that is held, and takes from it if `next` says so. Tells where it stands, and whether
/// anything was taken.
#[inline]
pub(crate) fn hold<A: Algorithm>(
    algorithm: &A,
    state: &mut A::State,
    (now, cost): (Instant, u64),
    told: &mut Option<Status>,
    next: Next<'_>,
) -> bool {
    algorithm.advance(state, now);
    let verdict = if cost == 0 || algorithm.fits(state, now, cost) {
        Ok(())
    } else {
        Err(algorithm.refusal(state, now, cost))
    };
    let taken = next(verdict) && cost > 0;
    if taken {
        algorithm.take(state, now, cost);
    }
    *told = Some(algorithm.status(state, now, 1));
    taken
}

impl<A: Algorithm + Numbers> Numbered<A> {
    /// The same algorithm with other numbers.
    fn with(&self, policy: Policy) -> Option<Self> {
        let same = policy.algorithm() == self.policy.algorithm();
        let algorithm = A::of(policy).filter(|_| same)?;
        Some(Self { algorithm, policy })
    }
}

impl<A: Algorithm + Numbers> Member for One<A> {
    fn hold(&self, asked: &Asked, told: &mut Option<Status>, next: Next<'_>) -> Place {
        let mut running = self.running.lock();
        let Running { numbers, state } = &mut *running;
        let of = (asked.now, asked.cost);
        hold(&numbers.algorithm, state, of, told, next);
        Place::Own
    }

    fn peek(&self, _hash: u64, now: Instant) -> Status {
        let mut running = self.running.lock();
        let Running { numbers, state } = &mut *running;
        numbers.algorithm.peek(state, now, 1)
    }

    fn refund(&self, _hash: u64, now: Instant, cost: u64) {
        let mut running = self.running.lock();
        let Running { numbers, state } = &mut *running;
        numbers.algorithm.advance(state, now);
        numbers.algorithm.refund(state, now, cost);
    }

    fn reset(&self, _hash: u64) {
        let mut running = self.running.lock();
        running.state = running.numbers.algorithm.idle();
    }

    fn policy(&self) -> Policy {
        self.running.lock().numbers.policy
    }

    fn set_policy(&self, policy: Policy, now: Instant, inherit: Inherit) -> bool {
        let mut running = self.running.lock();
        let Running { numbers, state } = &mut *running;
        let Some(next) = numbers.with(policy) else {
            return false;
        };
        let old = std::mem::replace(numbers, next);
        next.algorithm.inherit(&old.algorithm, state, now, inherit);
        true
    }

    fn count(&self, _place: Place) {}

    fn counts(&self) -> [u64; 3] {
        [0; 3]
    }
}

impl<A: Algorithm> Each<A> {
    /// The numbers; they stay as they are while this is held.
    fn numbers(&self, hash: u64) -> RwLockReadGuard<'_, Numbered<A>> {
        let copy = usize::try_from(hash % COPIES).unwrap_or(0);
        self.numbers[copy].0.read()
    }
}

impl<A: Algorithm + Numbers> Member for Each<A> {
    fn hold(&self, asked: &Asked, told: &mut Option<Status>, next: Next<'_>) -> Place {
        let numbers = self.numbers(asked.hash);
        self.states.hold(&numbers.algorithm, asked, told, next)
    }

    fn peek(&self, hash: u64, now: Instant) -> Status {
        let numbers = self.numbers(hash);
        self.states.peek(&numbers.algorithm, hash, now)
    }

    fn refund(&self, hash: u64, now: Instant, cost: u64) {
        let numbers = self.numbers(hash);
        self.states.refund(&numbers.algorithm, hash, now, cost);
    }

    fn reset(&self, hash: u64) {
        let numbers = self.numbers(hash);
        self.states.reset(&numbers.algorithm, hash);
    }

    fn policy(&self) -> Policy {
        self.numbers(0).policy
    }

    fn set_policy(&self, policy: Policy, now: Instant, inherit: Inherit) -> bool {
        // All, in their order: nobody decides meanwhile, and two who change do not wait in a circle.
        let mut copies: Vec<_> = self.numbers.iter().map(|copy| copy.0.write()).collect();
        let Some(old) = copies.first().map(|copy| **copy) else {
            return false;
        };
        let Some(next) = old.with(policy) else {
            return false;
        };
        self.states
            .inherit(&old.algorithm, &next.algorithm, now, inherit);
        for copy in &mut copies {
            **copy = next;
        }
        true
    }

    fn count(&self, place: Place) {
        let [shared, denied, evicted] = &self.counts;
        let counter = match place {
            Place::Own => return,
            Place::Shared => shared,
            Place::Denied => denied,
            Place::Evicted => evicted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> [u64; 3] {
        self.counts
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }
}
