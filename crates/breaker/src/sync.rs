//! Atomics and the machine's lock, by loom where it models them.

#[cfg(stanchion_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(stanchion_loom)]
pub(crate) use modelled::{Mutex, MutexGuard};
#[cfg(not(stanchion_loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(stanchion_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Keeps what many threads write off the cache line of what they all read.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Padded<T>(pub(crate) T);

#[cfg(stanchion_loom)]
mod modelled {
    pub(crate) use loom::sync::MutexGuard;

    /// loom's, without poisoning.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a model that panics has failed")
        }
    }
}
