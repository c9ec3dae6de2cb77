#![expect(unsafe_code, reason = "an allocator can be written in no other way")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::CountingAllocator;

static COUNTING: AtomicBool = AtomicBool::new(false);

/// The system's allocator, counting only while allocations are what is measured.
///
/// Counting costs a few nanoseconds for each allocation. Were it always on, a contestant that
/// allocates would be timed together with it, in favour of one that does not. While it is off, an
/// allocation costs one load and one branch more than the system's.
///
/// Every comparison that uses [`allocations`](crate::allocations) or [`held`](crate::held) says
///
/// ```
/// use stanchion_benches::CountingOnDemand;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingOnDemand = CountingOnDemand::system();
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct CountingOnDemand {
    counting: CountingAllocator,
}

impl CountingOnDemand {
    /// The system's allocator, not counting yet.
    #[must_use]
    pub const fn system() -> Self {
        Self {
            counting: CountingAllocator::system(),
        }
    }
}

/// Counts what `code` does, on every thread.
pub(crate) fn counting<T>(code: impl FnOnce() -> T) -> T {
    COUNTING.store(true, Ordering::SeqCst);
    let result = code();
    COUNTING.store(false, Ordering::SeqCst);
    result
}

// Relaxed: who counts is on the thread that turned counting on, or was started by it.
fn on() -> bool {
    COUNTING.load(Ordering::Relaxed)
}

// SAFETY: each method hands its arguments unchanged to `System` or to `CountingAllocator`, which
// hands them to `System`. So all memory comes from `System` and goes back to it, whichever of the
// two an allocation and its release went through.
unsafe impl GlobalAlloc for CountingOnDemand {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if on() {
            // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract.
            unsafe { self.counting.alloc(layout) }
        } else {
            // SAFETY: as above.
            unsafe { System.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if on() {
            // SAFETY: as in `alloc`.
            unsafe { self.counting.alloc_zeroed(layout) }
        } else {
            // SAFETY: as in `alloc`.
            unsafe { System.alloc_zeroed(layout) }
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if on() {
            // SAFETY: `pointer` came from `System`, directly or through `counting`.
            unsafe { self.counting.dealloc(pointer, layout) }
        } else {
            // SAFETY: as above.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if on() {
            // SAFETY: as in `dealloc`; the caller upholds the bounds on `new_size`.
            unsafe { self.counting.realloc(pointer, layout, new_size) }
        } else {
            // SAFETY: as above.
            unsafe { System.realloc(pointer, layout, new_size) }
        }
    }
}
