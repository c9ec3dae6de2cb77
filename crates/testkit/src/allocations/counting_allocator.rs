#![expect(unsafe_code, reason = "an allocator can be written in no other way")]

use std::alloc::{GlobalAlloc, Layout, System};

use super::{note_allocation, note_free};

/// The system's allocator, counting.
///
/// ```
/// use testkit::{CountingAllocator, allocations};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator::system();
///
/// let counted = allocations(|| vec![0_u8; 100]);
/// assert_eq!((counted.allocations, counted.bytes), (1, 100));
/// ```
///
/// Costs a few nanoseconds for each allocation, and no lock or cache line that threads share (up
/// to 64 of them).
#[derive(Debug)]
pub struct CountingAllocator {
    system: System,
}

impl CountingAllocator {
    /// Counts in front of the system's allocator.
    #[must_use]
    pub const fn system() -> Self {
        Self { system: System }
    }
}

// SAFETY: each method hands its arguments to `System` unchanged and returns what it returns;
// counting neither allocates nor unwinds (constant thread locals without destructors, atomics).
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System`'s too.
        let pointer = unsafe { self.system.alloc(layout) };
        if !pointer.is_null() {
            note_allocation(layout.size());
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let pointer = unsafe { self.system.alloc_zeroed(layout) };
        if !pointer.is_null() {
            note_allocation(layout.size());
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note_free(layout.size());
        // SAFETY: `pointer` came from `System` through this allocator, with this layout.
        unsafe { self.system.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`; the caller upholds the bounds on `new_size`.
        let moved = unsafe { self.system.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            note_allocation(new_size.saturating_sub(layout.size()));
            note_free(layout.size().saturating_sub(new_size));
        }
        moved
    }
}
