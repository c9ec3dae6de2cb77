//! `RateLimit-Policy`, `RateLimit` and `Retry-After`.
//!
//! Source: draft-ietf-httpapi-ratelimit-headers-10; RFC 9110, section 10.2.3.

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

use super::told::{Named, Standing};
use crate::Policy;

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;
/// A window is told in whole seconds; a period that only this many repeats make whole is not told.
const REPEATS_MAX: u64 = 1_000;

/// `"name";q=100;w=60`: the quota over a window, for each limit. The window is left out where whole
/// seconds cannot tell it.
pub(super) fn policies(limits: &[Named]) -> Option<HeaderValue> {
    let mut text = String::new();
    for Named { name, policy } in limits {
        let comma = if text.is_empty() { "" } else { ", " };
        match whole_seconds(policy) {
            Some((count, seconds)) => {
                let count = count.min(INTEGER_MAX);
                write!(text, "{comma}\"{name}\";q={count};w={seconds}")
            }
            None => {
                let count = policy.limit().min(INTEGER_MAX);
                write!(text, "{comma}\"{name}\";q={count}")
            }
        }
        .ok()?;
    }
    HeaderValue::try_from(text).ok()
}

/// The quota over the shortest window of whole seconds; a window of the policy's own only as it is.
fn whole_seconds(policy: &Policy) -> Option<(u64, u64)> {
    let (count, period, repeats_max) = match policy {
        Policy::TokenBucket(quota) => (quota.count(), quota.period(), REPEATS_MAX),
        Policy::LeakyBucket(bucket) => (bucket.count(), bucket.period(), REPEATS_MAX),
        Policy::FixedWindow(window) => (window.limit(), window.window(), 1),
        Policy::SlidingWindowCounter(window) => (window.limit(), window.window(), 1),
        Policy::SlidingWindowLog(window) => (window.limit(), window.window(), 1),
        Policy::StrictWindow(window) => (window.limit(), window.window(), 1),
    };
    let nanos = u64::try_from(period.as_nanos()).ok()?;
    let repeats = (1..=repeats_max).find(|repeats| {
        nanos
            .checked_mul(*repeats)
            .is_some_and(|window| window % 1_000_000_000 == 0)
    })?;
    Some((count.checked_mul(repeats)?, nanos * repeats / 1_000_000_000))
}

/// `"name";r=99;t=1`: what is left, and the seconds until there is more, for each limit. Allocates
/// once: a buffer that the text fills exactly becomes the value as it is.
pub(super) fn remaining<'a>(
    standings: impl Iterator<Item = Standing<'a>> + Clone,
) -> Option<HeaderValue> {
    let numbers = |standing: &Standing<'_>| {
        let left = standing.status.remaining().min(INTEGER_MAX);
        (left, ceil_seconds(standing.after))
    };
    let signs = "\"\";r=;t=, ".len();
    let lengths = standings.clone().map(|standing| {
        let (left, seconds) = numbers(&standing);
        standing.name.len() + signs + digits(left) + digits(seconds)
    });
    let length = lengths.sum::<usize>().checked_sub(", ".len())?;
    let mut text = Vec::with_capacity(length);
    for standing in standings {
        let (left, seconds) = numbers(&standing);
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.push(b'"');
        text.extend_from_slice(standing.name.as_bytes());
        text.extend_from_slice(b"\";r=");
        push_number(&mut text, left);
        text.extend_from_slice(b";t=");
        push_number(&mut text, seconds);
    }
    HeaderValue::try_from(text).ok()
}

/// `60`: the seconds to wait, at least 1.
pub(super) fn retry_after(after: Duration) -> Option<HeaderValue> {
    let seconds = ceil_seconds(after).max(1);
    let mut text = Vec::with_capacity(digits(seconds));
    push_number(&mut text, seconds);
    HeaderValue::try_from(text).ok()
}

/// How many digits `number` has.
fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Writes `number` without the machinery of `format!`, which takes as long as all the rest of an
/// answer.
fn push_number(text: &mut Vec<u8>, mut number: u64) {
    let start = text.len();
    text.resize(start + digits(number), b'0');
    for digit in text[start..].iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
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
            let limit = |name: &str| Named {
                name: name.to_owned(),
                policy: quota.parse().unwrap(),
            };
            assert_eq!(policies(&[limit("a")]).unwrap(), told, "{quota}");
            let twice = format!("{told}, {}", told.replace("\"a\"", "\"b\""));
            assert_eq!(policies(&[limit("a"), limit("b")]).unwrap(), twice);
        }
    }

    #[test]
    fn numbers_are_written_as_usual() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 7]);
        for number in around.chain([u64::MAX]) {
            let mut text = b"r=".to_vec();
            push_number(&mut text, number);
            assert_eq!(text, format!("r={number}").into_bytes());
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
