/// Hears the events of a pattern, after every lock is released.
///
/// It runs on the caller's thread, inside the caller's request: count, send on a channel, or log
/// through a non-blocking writer, and return. A panic in it unwinds into the caller.
///
/// `()` hears nothing; closures are observers:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use stanchion_core::Observe;
///
/// let heard = AtomicU64::new(0);
/// let count = |_event: &str| { heard.fetch_add(1, Ordering::Relaxed); };
/// count.observe(&"opened");
/// assert_eq!(heard.load(Ordering::Relaxed), 1);
/// ```
pub trait Observe<E: ?Sized> {
    /// Hears one event.
    fn observe(&self, event: &E);
}

impl<E: ?Sized> Observe<E> for () {
    fn observe(&self, _event: &E) {}
}

impl<E, F> Observe<E> for F
where
    E: ?Sized,
    F: Fn(&E),
{
    fn observe(&self, event: &E) {
        self(event);
    }
}
