use crate::Rejected;

/// What a limiter's observer hears. Admissions are not told: they are the hot path.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request was refused.
    Rejected(Rejected),
    /// A keyed limiter had no room for a new key, so the request went to the shared cell.
    Overflowed,
    /// Redis did not decide in time, so the outage policy did.
    #[cfg(feature = "redis")]
    FellBack,
    /// A keyed limiter had no room for a new key, which took the place of another.
    Evicted,
}
