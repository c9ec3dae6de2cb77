//! Atomics, a lock and the pause of a spinning thread, by loom where it models them.

#[cfg(not(stanchion_loom))]
pub(crate) use parking_lot::Mutex;

#[cfg(stanchion_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(stanchion_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Spins briefly, then lets other threads run: who holds a lock may have lost the processor.
pub(crate) fn pause(spins: &mut u32) {
    *spins += 1;
    #[cfg(stanchion_loom)]
    loom::thread::yield_now();
    #[cfg(not(stanchion_loom))]
    if *spins < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

/// A lock with the handles of `parking_lot`'s.
#[cfg(stanchion_loom)]
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(stanchion_loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("no thread has panicked")
    }
}
