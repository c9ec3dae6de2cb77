//! A value that is shared as by an `Arc`, where some of those who share it are calls, and counted.
//!
//! An `Arc` beside a count takes two additions for the begin of a call and two for its end, each of
//! them a locked operation on memory that other threads write. Here one word counts both, so it is one
//! for each:
//!
//! | bits | meaning |
//! |---|---|
//! | 63–32 | those who keep the value and are no calls |
//! | 31 | somebody waits until no call is in flight |
//! | 30–0 | calls in flight |
//!
//! Who takes both counts to 0 frees the value.
#![expect(
    unsafe_code,
    reason = "no safe pointer lets its own count be read as that of the calls"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::process::abort;
use std::ptr::NonNull;

use crate::sync::{AtomicU64, Ordering, fence};

const KEPT: u64 = 1 << 32;
const WAITED_FOR: u64 = 1 << 31;
const CALLS: u64 = WAITED_FOR - 1;
/// With more calls nothing can be begun. So many others could begin at the same moment until a count
/// would run into the next, which are more than there are threads.
const CALLS_MAX: u64 = CALLS / 2;
/// With more of those who keep it the program ends, as with an `Arc`'s.
const KEPT_MAX: u64 = u64::MAX / 2;

/// What somebody may wait for.
pub(crate) trait Waited {
    /// No call is in flight, or was not a moment ago; and somebody waited for that.
    fn tell_idle(&self);
}

/// Keeps the value; clones share it.
pub(crate) struct Kept<T: Waited> {
    inner: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

/// A call, which keeps the value too, and is in flight until this is dropped.
pub(crate) struct Call<T: Waited> {
    inner: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

/// Begins with a cache line, so that who reads one value does not wait for who counts at another.
#[repr(C, align(64))]
struct Inner<T> {
    word: AtomicU64,
    value: T,
}

impl<T: Waited> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        let inner = Box::new(Inner {
            word: AtomicU64::new(KEPT),
            value,
        });
        Self {
            inner: NonNull::from(Box::leak(inner)),
            owns: PhantomData,
        }
    }

    /// How many calls are in flight.
    #[inline]
    pub(crate) fn calls(&self) -> u32 {
        // Acquire pairs with the release of a call's end: who sees that a call is over sees what it
        // did.
        calls(self.inner().word.load(Ordering::Acquire))
    }

    /// Begins a call, unless there are `max`.
    #[inline]
    pub(crate) fn begin(&self, max: u32) -> Option<Call<T>> {
        if max != u32::MAX {
            return self.begin_up_to(max.into());
        }
        // Relaxed, here and below: who begins a call has the value already, by what it is begun
        // with.
        let before = self.inner().word.fetch_add(1, Ordering::Relaxed);
        let call = Call::new(self.inner);
        if before & CALLS >= CALLS_MAX {
            return give_up(call);
        }
        Some(call)
    }

    #[inline(never)]
    fn begin_up_to(&self, max: u64) -> Option<Call<T>> {
        let max = max.min(CALLS_MAX);
        let one_more = |word: u64| (word & CALLS < max).then_some(word + 1);
        let word = &self.inner().word;
        let begun = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        begun.is_ok().then(|| Call::new(self.inner))
    }

    /// Whether no call is in flight. Else, the last one tells, once it is over.
    #[cfg(any(feature = "tokio", stanchion_loom))]
    pub(crate) fn is_idle_or_tells(&self) -> bool {
        // The flag and the count are one word: of the last call and this one, the later sees the
        // other. Acquire pairs with the release of a call's end.
        let before = self.inner().word.fetch_or(WAITED_FOR, Ordering::Acquire);
        before & CALLS == 0
    }

    /// Whether both share one value.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.inner == other.inner
    }

    /// A number that tells values apart that are kept at the same time.
    #[cfg(feature = "tokio")]
    pub(crate) fn place(&self) -> usize {
        self.inner.addr().get()
    }

    #[inline]
    fn inner(&self) -> &Inner<T> {
        // SAFETY: this one is counted in the word, so nobody has freed what it points to; it came from
        // a box, and nobody has more than a shared reference to it until it is freed.
        unsafe { self.inner.as_ref() }
    }
}

impl<T: Waited> Call<T> {
    /// A call that is counted already.
    #[inline]
    const fn new(inner: NonNull<Inner<T>>) -> Self {
        Self {
            inner,
            owns: PhantomData,
        }
    }

    /// Keeps the value beyond this call.
    pub(crate) fn keep(&self) -> Kept<T> {
        keep(self.inner());
        Kept {
            inner: self.inner,
            owns: PhantomData,
        }
    }

    #[inline]
    fn inner(&self) -> &Inner<T> {
        // SAFETY: as for one who keeps it: this call is counted.
        unsafe { self.inner.as_ref() }
    }
}

impl<T: Waited> Clone for Kept<T> {
    fn clone(&self) -> Self {
        keep(self.inner());
        Self {
            inner: self.inner,
            owns: PhantomData,
        }
    }
}

impl<T: Waited> Drop for Kept<T> {
    fn drop(&mut self) {
        let before = self.inner().word.fetch_sub(KEPT, Ordering::Release);
        if is_free(before - KEPT) {
            // SAFETY: this one was the last that was counted.
            unsafe { free(self.inner) }
        }
    }
}

impl<T: Waited> Drop for Call<T> {
    #[inline]
    fn drop(&mut self) {
        let word = &self.inner().word;
        let mut before = word.load(Ordering::Relaxed);
        loop {
            debug_assert!(before & CALLS > 0, "a call ended twice");
            // Who tells must keep the value for as long, and who waits must not: so the last call
            // becomes one who keeps it, in the same step in which it ends.
            let tells = before & (WAITED_FOR | CALLS) == WAITED_FOR | 1;
            let after = match tells {
                true => (before & !WAITED_FOR) - 1 + KEPT,
                false => before - 1,
            };
            match word.compare_exchange_weak(before, after, Ordering::Release, Ordering::Relaxed) {
                Ok(_) if tells => return tell(self.inner),
                // SAFETY: this one was the last that was counted.
                Ok(_) if is_free(after) => return unsafe { free(self.inner) },
                Ok(_) => return,
                Err(changed) => before = changed,
            }
        }
    }
}

/// Ends a call that is one too many.
#[cold]
fn give_up<T: Waited>(_call: Call<T>) -> Option<Call<T>> {
    None
}

/// Tells who waits, for one who is counted as keeping the value until this is done.
#[cold]
fn tell<T: Waited>(inner: NonNull<Inner<T>>) {
    let kept = Kept {
        inner,
        owns: PhantomData,
    };
    kept.tell_idle();
}

#[inline]
fn keep<T>(inner: &Inner<T>) {
    if inner.word.fetch_add(KEPT, Ordering::Relaxed) > KEPT_MAX {
        abort();
    }
}

#[inline]
const fn is_free(word: u64) -> bool {
    word & !WAITED_FOR == 0
}

/// # Safety
///
/// `inner` came from a box, and nobody is counted any more, so that nobody has it.
#[cold]
unsafe fn free<T>(inner: NonNull<Inner<T>>) {
    // Pairs with the release of each end: what others did with the value is before its drop.
    fence(Ordering::Acquire);
    // SAFETY: by this function's own contract.
    drop(unsafe { Box::from_raw(inner.as_ptr()) });
}

#[inline]
const fn calls(word: u64) -> u32 {
    (word & CALLS) as u32
}

impl<T: Waited> Deref for Kept<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: Waited> Deref for Call<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

// SAFETY: as for an `Arc`. Who has one of these has a shared reference, from any thread, and may be
// the one to drop the value.
unsafe impl<T: Waited + Send + Sync> Send for Kept<T> {}
// SAFETY: as above: a shared `Kept` can be cloned.
unsafe impl<T: Waited + Send + Sync> Sync for Kept<T> {}
// SAFETY: as for `Kept`.
unsafe impl<T: Waited + Send + Sync> Send for Call<T> {}
// SAFETY: as for `Kept`.
unsafe impl<T: Waited + Send + Sync> Sync for Call<T> {}

impl<T: Waited + fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("value", &self.inner().value)
            .field("calls", &self.calls())
            .finish()
    }
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests;

#[cfg(all(test, stanchion_loom))]
mod loom;
