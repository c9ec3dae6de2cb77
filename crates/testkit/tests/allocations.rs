//! The counts are exact, per thread, and the live bytes those of the whole process.

use std::hint::black_box;
use std::thread;

use testkit::{CountingAllocator, allocations, live_bytes};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

#[test]
fn allocations_of_each_kind_are_counted() {
    let plain = allocations(|| black_box(Vec::<u8>::with_capacity(1_000)));
    assert_eq!((plain.allocations, plain.bytes), (1, 1_000));

    let zeroed = allocations(|| black_box(vec![0_u8; 300]));
    assert_eq!((zeroed.allocations, zeroed.bytes), (1, 300));

    let mut grown = plain.result;
    let regrown = allocations(|| grown.reserve_exact(1_500));
    assert_eq!((regrown.allocations, regrown.bytes), (1, 500));

    let none = allocations(|| black_box(1) + 1);
    assert_eq!((none.result, none.allocations, none.bytes), (2, 0, 0));
}

#[test]
fn other_threads_are_not_counted() {
    thread::scope(|scope| {
        let counted = scope.spawn(|| allocations(|| black_box(1))).join().unwrap();
        assert_eq!(counted.allocations, 0);
    });
    let alone = allocations(|| {
        thread::scope(|scope| {
            scope.spawn(|| drop(black_box(vec![1_u8; 1 << 20])));
        });
    });
    assert!(alone.bytes < 1 << 20, "{} bytes", alone.bytes);
}

#[test]
fn live_bytes_rise_and_fall_also_when_another_thread_frees() {
    const MIB: u64 = 1 << 20;
    let before = live_bytes();
    let held = black_box(vec![1_u8; 64 << 20]);
    let during = live_bytes();
    thread::spawn(move || drop(held)).join().unwrap();
    let after = live_bytes();
    // Other tests of this file hold about a mebibyte.
    assert!(
        (60 * MIB..68 * MIB).contains(&(during - before)),
        "{before} {during}"
    );
    assert!(after.abs_diff(before) < 4 * MIB, "{before} {after}");
}
