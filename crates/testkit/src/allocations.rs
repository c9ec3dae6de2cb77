//! Counts what a piece of code allocates, and what the process holds.

mod counting_allocator;

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

pub use self::counting_allocator::CountingAllocator;

/// Stripes of the live count, so that threads seldom meet on one.
const STRIPES: usize = 64;

static LIVE: [Stripe; STRIPES] = [const { Stripe(AtomicI64::new(0)) }; STRIPES];
static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Constant and without drop glue: reading them allocates nothing, at any time of the thread.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Live bytes of some threads; may be below zero where one thread frees what another allocated.
#[repr(align(128))]
struct Stripe(AtomicI64);

/// A result, and what it took to make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counted<T> {
    /// What the code returned.
    pub result: T,
    /// Allocations on this thread; a reallocation counts as one.
    pub allocations: u64,
    /// Bytes asked for on this thread; of a reallocation, those that it added.
    pub bytes: u64,
}

/// Runs `code` and counts what it allocates on this thread.
///
/// # Panics
/// When [`CountingAllocator`] is not the program's allocator: the counts would always be zero.
pub fn allocations<T>(code: impl FnOnce() -> T) -> Counted<T> {
    assert_installed();
    let allocations = ALLOCATIONS.get();
    let bytes = BYTES.get();
    let result = code();
    Counted {
        result,
        allocations: ALLOCATIONS.get() - allocations,
        bytes: BYTES.get() - bytes,
    }
}

/// The bytes that the process holds now, as asked for (without the allocator's own overhead).
///
/// Exact while no other thread allocates; the difference of two readings is what a structure
/// built in between takes.
///
/// # Panics
/// When [`CountingAllocator`] is not the program's allocator.
#[must_use]
pub fn live_bytes() -> u64 {
    assert_installed();
    let live = LIVE
        .iter()
        .map(|stripe| stripe.0.load(Ordering::Relaxed))
        .fold(0, i64::wrapping_add);
    u64::try_from(live).unwrap_or(0)
}

fn assert_installed() {
    let before = ALLOCATIONS.get();
    drop(black_box(Box::new(black_box(0_u8))));
    assert!(
        ALLOCATIONS.get() > before,
        "nothing is counted: write `#[global_allocator] static ALLOCATOR: CountingAllocator = \
         CountingAllocator::system();` at the top of this test or bench"
    );
}

/// Notes one allocation that made the process hold `bytes` more.
fn note_allocation(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get().wrapping_add(1));
    BYTES.set(BYTES.get().wrapping_add(bytes as u64));
    stripe().fetch_add(signed(bytes), Ordering::Relaxed);
}

fn note_free(bytes: usize) {
    stripe().fetch_sub(signed(bytes), Ordering::Relaxed);
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn stripe() -> &'static AtomicI64 {
    let mut index = STRIPE.get();
    if index == usize::MAX {
        index = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
        STRIPE.set(index);
    }
    &LIVE[index].0
}
