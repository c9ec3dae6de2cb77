// Its examples, which are tests, need the features that they show.
#![cfg_attr(any(all(feature = "http", feature = "ratelimit"), not(doctest)), doc = include_str!("../README.md"))]
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::time::Duration;

#[cfg(feature = "breaker")]
#[doc(inline)]
pub use stanchion_breaker as breaker;
#[cfg(feature = "cache")]
#[doc(inline)]
pub use stanchion_cache as cache;
#[doc(inline)]
pub use stanchion_core as core;
#[cfg(feature = "hashing")]
#[doc(inline)]
pub use stanchion_hashing as hashing;
#[cfg(feature = "journal")]
#[doc(inline)]
pub use stanchion_journal as journal;
#[cfg(feature = "lb")]
#[doc(inline)]
pub use stanchion_lb as lb;
#[cfg(feature = "ratelimit")]
#[doc(inline)]
pub use stanchion_ratelimit as ratelimit;

/// How long to wait before trying again, if a refusal of one of the patterns stands anywhere in
/// the chain of `error` and its sources, and waiting helps.
///
/// Sees only the patterns whose features are on. Looks inside [`io::Error`] too, which does not
/// name the error that it was made of as its source.
///
/// # Complexity
///
/// O(sources); looks at 32 of them at most, since an error may be its own source.
#[must_use]
pub fn retry_after(error: &(dyn Error + 'static)) -> Option<Duration> {
    let mut next = Some(error);
    let chain = std::iter::from_fn(|| {
        let error = next?;
        next = inside(error).or_else(|| error.source());
        Some(error)
    });
    chain.take(SOURCES_MAX).find_map(told_by)
}

/// What an I/O error was made of, by `io::Error::other` or `new`: its `source` is that error's own.
fn inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

const SOURCES_MAX: usize = 32;

fn told_by(error: &(dyn Error + 'static)) -> Option<Duration> {
    by_ratelimit(error).or_else(|| by_breaker(error))
}

#[cfg(feature = "ratelimit")]
fn by_ratelimit(error: &(dyn Error + 'static)) -> Option<Duration> {
    error.downcast_ref::<ratelimit::Rejected>()?.retry_after()
}

#[cfg(not(feature = "ratelimit"))]
fn by_ratelimit(_error: &(dyn Error + 'static)) -> Option<Duration> {
    None
}

#[cfg(feature = "breaker")]
fn by_breaker(error: &(dyn Error + 'static)) -> Option<Duration> {
    error.downcast_ref::<breaker::Rejected>()?.retry_after()
}

#[cfg(not(feature = "breaker"))]
fn by_breaker(_error: &(dyn Error + 'static)) -> Option<Duration> {
    None
}

#[cfg(all(test, feature = "breaker"))]
mod breaker_tests {
    use super::*;
    use crate::breaker::Breaker;

    #[test]
    fn an_open_breaker_tells_how_long() {
        let (clock, _time) = core::Clock::manual();
        let breaker = Breaker::default().with_clock(clock);
        breaker.open();
        let rejected = breaker.try_acquire().unwrap_err();
        assert!(rejected.retry_after().is_some());
        assert_eq!(retry_after(&rejected), rejected.retry_after());
        breaker.force_open();
        assert_eq!(retry_after(&breaker.try_acquire().unwrap_err()), None);
    }
}

#[cfg(all(test, feature = "ratelimit"))]
mod tests {
    use std::fmt;

    use super::*;
    use crate::ratelimit::{Quota, RateLimiter};

    #[derive(Debug)]
    struct Wrapped(Box<dyn Error>);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.0)
        }
    }

    #[test]
    fn a_refusal_is_found_under_other_errors() {
        let quota = Quota::new(1, Duration::from_secs(60)).unwrap();
        let (clock, _time) = core::Clock::manual();
        let limiter = RateLimiter::new(quota).with_clock(clock);
        assert!(limiter.check().is_ok());
        let refused = limiter.check().unwrap_err();
        let error = Wrapped(Box::new(Wrapped(Box::new(refused))));
        assert_eq!(retry_after(&error), Some(Duration::from_secs(60)));
        // An I/O error's source is that of what it was made of, which was skipped once.
        let error = Wrapped(Box::new(io::Error::other(io::Error::other(refused))));
        assert_eq!(retry_after(&error), Some(Duration::from_secs(60)));
        let plain = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(retry_after(&plain), None);
    }

    #[test]
    fn other_errors_and_refusals_that_waiting_does_not_help_tell_nothing() {
        assert_eq!(retry_after(&Wrapped(Box::new(fmt::Error))), None);
        let limiter = RateLimiter::new(Quota::new(1, Duration::from_secs(60)).unwrap());
        assert_eq!(retry_after(&limiter.check_n(2).unwrap_err()), None);
    }
}
