//! Every interleaving of a few checks on two stripes and their bucket.

use std::time::Duration;

use ::loom::sync::Arc;
use stanchion_core::ManualClock;

use super::*;

struct World {
    leases: Leases,
    cell: Cell,
    gcra: Gcra,
    clock: Clock,
    _time: ManualClock,
}

/// Leases of two permits, in so many stripes, beside a bucket that holds `bucket`; time stands still.
fn world(bucket: u64, stripes: u64) -> Arc<World> {
    let quota = Quota::new(1, Duration::from_secs(1)).unwrap();
    let quota = quota.with_burst(bucket + 2 * stripes).unwrap();
    let (leases, rest) = Leases::striped(quota, 2, stripes).unwrap();
    assert_eq!(rest.burst(), bucket);
    let (clock, time) = Clock::manual();
    Arc::new(World {
        leases,
        cell: Cell::new(),
        gcra: Gcra::new(&rest),
        clock,
        _time: time,
    })
}

impl World {
    /// Checks so often, and tells how many were admitted.
    fn check(&self, thread: usize, costs: &[u64]) -> u64 {
        let admits = |cost: &&u64| {
            let decision = self
                .leases
                .check(thread, &self.cell, &self.gcra, &self.clock, **cost);
            decision.is_admitted()
        };
        costs.iter().filter(admits).sum()
    }

    fn left(&self) -> u64 {
        let ahead = self.cell.peek(&self.gcra, self.clock.now());
        self.leases.held() + self.gcra.remaining(ahead)
    }
}

/// Runs both lists of costs, each on a thread with its number; nothing is lost or made.
fn race(
    world: &Arc<World>,
    here: (usize, &'static [u64]),
    there: (usize, &'static [u64]),
) -> (u64, u64) {
    let before = world.left();
    let thread = ::loom::thread::spawn({
        let world = world.clone();
        move || world.check(there.0, there.1)
    });
    let here = world.check(here.0, here.1);
    let there = thread.join().unwrap();
    assert_eq!(here + there + world.left(), before);
    for stripe in &world.leases.stripes {
        assert!(stripe.left() <= 2, "a stripe holds more than a lease");
        assert_eq!(stripe.word.load(Ordering::Relaxed) & RENEWING, 0);
    }
    (here, there)
}

#[test]
fn two_threads_on_one_stripe_fill_it_once() {
    ::loom::model(|| {
        let world = world(4, 1);
        assert_eq!(world.check(0, &[1, 1]), 2);
        assert_eq!(race(&world, (0, &[1, 1]), (0, &[1])), (2, 1));
    });
}

#[test]
fn two_stripes_share_what_the_bucket_has_left() {
    ::loom::model(|| {
        let world = world(4, 2);
        assert_eq!(world.check(0, &[2]) + world.check(1, &[2, 1, 1]), 6);
        let (here, there) = race(&world, (0, &[1, 1]), (1, &[1, 1]));
        assert!(here + there <= 2);
        // Whoever comes last gets the rest, wherever it lies.
        assert_eq!(world.left(), world.check(0, &[1, 1]));
    });
}

#[test]
fn a_stripe_is_spent_by_its_thread_or_by_one_that_found_nothing_else() {
    ::loom::model(|| {
        let world = world(2, 1);
        assert_eq!(world.check(0, &[2]), 2);
        let (here, there) = race(&world, (0, &[2]), (0, &[1, 1]));
        assert!(here + there <= 2);
        assert_eq!(world.left(), world.check(0, &[1, 1]));
    });
}
