//! `RateLimit-Policy`, `RateLimit` and `Retry-After`.
//!
//! Source: draft-ietf-httpapi-ratelimit-headers-10; RFC 9110, section 10.2.3.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

use crate::{Policy, Status};

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;
/// A window is told in whole seconds; a period that only this many repeats make whole is not told.
const REPEATS_MAX: u64 = 1_000;

/// `"name";q=100;w=60`: the quota over a window. The window is left out where whole seconds
/// cannot tell it.
pub(super) fn policy(name: &str, policy: &Policy) -> Option<HeaderValue> {
    let mut text = format!("\"{name}\"");
    match whole_seconds(policy) {
        Some((count, seconds)) => write!(text, ";q={};w={seconds}", count.min(INTEGER_MAX)),
        None => write!(text, ";q={}", policy.limit().min(INTEGER_MAX)),
    }
    .ok()?;
    HeaderValue::try_from(text).ok()
}

/// The quota over the shortest window of whole seconds; a window of the policy's own only as it is.
fn whole_seconds(policy: &Policy) -> Option<(u64, u64)> {
    let (count, period, repeats_max) = match policy {
        Policy::TokenBucket(quota) => (quota.count(), quota.period(), REPEATS_MAX),
        Policy::FixedWindow(window) => (window.limit(), window.window(), 1),
        Policy::SlidingWindowCounter(window) => (window.limit(), window.window(), 1),
    };
    let nanos = u64::try_from(period.as_nanos()).ok()?;
    let repeats = (1..=repeats_max).find(|repeats| {
        nanos
            .checked_mul(*repeats)
            .is_some_and(|window| window % 1_000_000_000 == 0)
    })?;
    Some((count.checked_mul(repeats)?, nanos * repeats / 1_000_000_000))
}

/// `"name";r=99;t=1`: what is left, and the seconds until there is more.
pub(super) fn remaining(name: &str, status: &Status, after: Duration) -> Option<HeaderValue> {
    let mut text = String::with_capacity(name.len() + 24);
    let left = status.remaining().min(INTEGER_MAX);
    write!(text, "\"{name}\";r={left};t={}", ceil_seconds(after)).ok()?;
    HeaderValue::try_from(text).ok()
}

/// Whole seconds, rounded up.
pub(super) fn ceil_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_in_whole_seconds_or_not_at_all() {
        for (quota, told) in [
            ("100/s", "\"a\";q=100;w=1"),
            ("1000/d burst 5", "\"a\";q=1000;w=86400"),
            ("3/250ms", "\"a\";q=12;w=1"),
            ("10/1500ms", "\"a\";q=20;w=3"),
            ("7/999999937ns", "\"a\";q=7"),
            ("fixed-window 9/m", "\"a\";q=9;w=60"),
            ("sliding-window-counter 9/1500ms", "\"a\";q=9"),
        ] {
            assert_eq!(
                policy("a", &quota.parse().unwrap()).unwrap(),
                told,
                "{quota}"
            );
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(ceil_seconds(Duration::ZERO), 0);
        assert_eq!(ceil_seconds(Duration::from_nanos(1)), 1);
        assert_eq!(ceil_seconds(Duration::from_millis(1_000)), 1);
        assert_eq!(ceil_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(ceil_seconds(Duration::MAX), u64::MAX);
    }
}
