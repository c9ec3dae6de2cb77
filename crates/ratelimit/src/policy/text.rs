//! Policies as text: `"100/s burst 20"`, `"fixed-window 100/m"`.

use std::fmt;
use std::str::FromStr;

use super::Policy;
use crate::quota::{Problem, read_rate, write_rate};
use crate::window::Window;
use crate::{FixedWindow, InvalidQuota, SlidingWindowCounter, SlidingWindowLog, StrictWindow};

/// Reads an algorithm's name and what it takes; without a name a quota, for a token bucket.
impl FromStr for Policy {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, InvalidQuota> {
        let text = text.trim();
        if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return text.parse().map(Self::TokenBucket);
        }
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        match name {
            "token-bucket" => rest.parse().map(Self::TokenBucket),
            "leaky-bucket" => rest.parse().map(Self::LeakyBucket),
            "fixed-window" => rest.parse().map(Self::FixedWindow),
            "sliding-window-counter" => rest.parse().map(Self::SlidingWindowCounter),
            "sliding-window-log" => rest.parse().map(Self::SlidingWindowLog),
            "strict-window" => rest.parse().map(Self::StrictWindow),
            _ => Err(InvalidQuota::new(Problem::Policy(text.to_owned()))),
        }
    }
}

/// Writes what `FromStr` reads; the name of the algorithm only where it is not the token bucket.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.algorithm();
        match self {
            Self::TokenBucket(quota) => quota.fmt(f),
            Self::LeakyBucket(bucket) => write!(f, "{name} {bucket}"),
            Self::FixedWindow(window) => write!(f, "{name} {window}"),
            Self::SlidingWindowCounter(window) => write!(f, "{name} {window}"),
            Self::SlidingWindowLog(window) => write!(f, "{name} {window}"),
            Self::StrictWindow(window) => write!(f, "{name} {window}"),
        }
    }
}

/// Reads and writes `LIMIT/WINDOW`, such as `"100/m"`.
macro_rules! window_as_text {
    ($($window:ident),*) => {$(
        /// Reads `LIMIT/WINDOW`, such as `"100/m"` or `"5/250ms"`.
        impl FromStr for $window {
            type Err = InvalidQuota;

            fn from_str(text: &str) -> Result<Self, InvalidQuota> {
                let (limit, window) = read_rate(text)
                    .ok_or_else(|| InvalidQuota::new(Problem::Text(text.to_owned())))?;
                Self::new(limit, window)
            }
        }

        /// Writes what `FromStr` reads.
        impl fmt::Display for $window {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Window { limit, nanos } = self.window;
                write_rate(f, limit, nanos)
            }
        }
    )*};
}

window_as_text!(
    FixedWindow,
    SlidingWindowCounter,
    SlidingWindowLog,
    StrictWindow
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_back() {
        for text in [
            "100/s",
            "100/s burst 20",
            "fixed-window 100/m",
            "sliding-window-counter 5/250ms",
            "sliding-window-log 1/d",
            "strict-window 10000/90s",
            "leaky-bucket 3/s",
            "leaky-bucket 3/s queue 50",
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.to_string(), text);
        }
        let policy: Policy = "token-bucket 7/m".parse().unwrap();
        assert_eq!(policy.to_string(), "7/m");
    }

    #[test]
    fn errors_name_the_field_and_show_the_value() {
        for (text, field, shown) in [
            ("", "rate", "\"\""),
            ("fixed-windows 1/s", "policy", "fixed-windows 1/s"),
            ("fixed-window", "rate", "\"\""),
            ("fixed-window 0/s", "limit", "0"),
            ("fixed-window 1/0s", "window", "0ns"),
            ("sliding-window-counter 1/s burst 2", "rate", "1/s burst 2"),
            (
                "sliding-window-counter 9007199254740993/s",
                "limit",
                "9007199254740993",
            ),
            ("sliding-window-log 1048577/s", "limit", "1048576"),
            ("leaky-bucket 1/d queue 99999999", "queue", "99999999"),
            ("leaky-bucket 1/d queue x", "rate", "1/d queue x"),
            ("leaky-bucket 0/d", "count", "0"),
            ("1/s burst 0", "burst", "0"),
        ] {
            let error = text.parse::<Policy>().unwrap_err();
            assert_eq!(error.field(), field, "{error}");
            assert!(error.to_string().contains(shown), "{error}");
        }
    }
}
