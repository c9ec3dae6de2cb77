//! Models of a table of two lines, both of them home to every key.

use std::time::Duration;

use ::loom::sync::Arc;
use ::loom::thread;

use super::*;
use crate::Quota;
use crate::gcra::Kind;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}

/// One per second, one at once.
fn gcra() -> Gcra {
    Gcra::new(&Quota::new(1, Duration::from_secs(1)).unwrap())
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

/// The hash of the key with this number.
fn key(number: u64) -> u64 {
    number << 20
}

fn admits(table: &Table, key_number: u64, millis: u64) -> bool {
    let decision = table.check(&gcra(), key(key_number), || at(millis), 1);
    assert!(!decision.overflowed, "two lines hold eight keys");
    decision.kind == Kind::Admitted
}

fn spawn(table: &Arc<Table>, ask: impl Fn(&Table) -> bool + 'static) -> thread::JoinHandle<bool> {
    let table = table.clone();
    thread::spawn(move || ask(&table))
}

#[test]
fn two_threads_that_bring_the_same_new_key_share_its_bucket() {
    model(|| {
        let table = Arc::new(Table::new(1));
        let one = spawn(&table, |table| admits(table, 1, 5_000));
        let two = spawn(&table, |table| admits(table, 1, 5_000));
        assert!(one.join().unwrap() ^ two.join().unwrap());
    });
}

#[test]
fn two_threads_that_swap_one_bucket_take_no_more_than_there_is() {
    model(|| {
        let table = Arc::new(Table::new(1));
        assert!(admits(&table, 1, 1_000));
        let one = spawn(&table, |table| admits(table, 1, 2_000));
        let two = spawn(&table, |table| admits(table, 1, 2_000));
        assert!(one.join().unwrap() ^ two.join().unwrap());
    });
}

/// All slots hold full buckets; a key that comes back races with a new key that takes its slot.
#[test]
fn a_bucket_that_is_moved_on_is_not_lost_to_a_new_key() {
    model(|| {
        let table = Arc::new(Table::new(1));
        for number in 1..=8 {
            // The first one was full the longest, so its slot is taken first.
            assert!(admits(&table, number, 1_000 + number));
        }
        let owner = spawn(&table, |table| admits(table, 1, 5_000));
        let newcomer = spawn(&table, |table| admits(table, 9, 5_000));
        assert!(owner.join().unwrap());
        assert!(newcomer.join().unwrap());
        assert!(!admits(&table, 1, 5_000), "the owner's admission was lost");
        assert!(
            !admits(&table, 9, 5_000),
            "the newcomer's admission was lost"
        );
    });
}
