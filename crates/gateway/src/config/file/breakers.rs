//! The breakers as they are written.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use toml::Spanned;

use super::{Reader, SECOND, Written};
use crate::config::text::{FromText, Text};
use crate::config::{Breaker, BreakerWindow, Share};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakerTable {
    window: Option<Spanned<BreakerWindow>>,
    min_calls: Option<Spanned<usize>>,
    failure_rate: Option<Spanned<f64>>,
    consecutive_failures: Option<Spanned<usize>>,
    slow_call: Option<Written<Duration>>,
    slow_rate: Option<Spanned<f64>>,
    open: Option<Written<Duration>>,
    open_max: Option<Written<Duration>>,
    retry_after_max: Option<Written<Duration>>,
    trials: Option<Spanned<usize>>,
    trials_max_time: Option<Written<Duration>>,
    ramp: Option<Written<Duration>>,
}

const CALLS: RangeInclusive<usize> = 1..=1_000_000;
pub(super) const SPANS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
const RAMPS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);
const WINDOW: u32 = 100;
const MIN_CALLS: u32 = 20;

impl Reader<'_> {
    pub(super) fn breaker(&mut self, table: Option<Spanned<BreakerTable>>) -> Option<Breaker> {
        let table = table?;
        let span = table.span();
        let table = table.into_inner();
        let window = self.window(table.window);
        let fits = match window {
            BreakerWindow::Calls(calls) => calls.min(MIN_CALLS),
            BreakerWindow::Time(_) => MIN_CALLS,
        };
        let most = match window {
            BreakerWindow::Calls(calls) => calls as usize,
            BreakerWindow::Time(_) => *CALLS.end(),
        };
        let open = self.duration(table.open, 5 * SECOND, TIMES);
        let slow_rate = self.share(table.slow_rate, Share::HALF);
        let breaker = Breaker {
            window,
            min_calls: self.calls(table.min_calls, fits, 1..=most),
            failure_rate: self.share(table.failure_rate, Share::HALF),
            consecutive_failures: table
                .consecutive_failures
                .and_then(|failures| NonZeroU32::new(self.calls(Some(failures), 1, 1..=1_000_000))),
            slow_call: table
                .slow_call
                .map(|slow| self.duration(Some(slow), SECOND, TIMES)),
            slow_rate,
            open,
            open_max: self.duration(table.open_max, open, open..=*TIMES.end()),
            retry_after_max: table
                .retry_after_max
                .map(|max| self.duration(Some(max), SECOND, TIMES)),
            trials: self.calls(table.trials, 10, 1..=10_000),
            trials_max_time: self.duration(table.trials_max_time, 60 * SECOND, TIMES),
            ramp: self.duration(table.ramp, Duration::ZERO, RAMPS),
        };
        if self.mistakes.is_empty()
            && let Err(error) = breaker.config()
        {
            self.mistake(&span, error.to_string());
        }
        Some(breaker)
    }

    fn window(&mut self, given: Option<Spanned<BreakerWindow>>) -> BreakerWindow {
        let Some(given) = given else {
            return BreakerWindow::Calls(WINDOW);
        };
        let span = given.span();
        match given.into_inner() {
            BreakerWindow::Calls(calls) => {
                let calls = Spanned::new(span, calls as usize);
                BreakerWindow::Calls(self.calls(Some(calls), WINDOW, CALLS))
            }
            BreakerWindow::Time(time) => {
                let time = Spanned::new(span, Text(time));
                BreakerWindow::Time(self.duration(Some(time), SECOND, SPANS))
            }
        }
    }

    fn calls(
        &mut self,
        given: Option<Spanned<usize>>,
        default: u32,
        allowed: RangeInclusive<usize>,
    ) -> u32 {
        let calls = self.number(given, default as usize, allowed);
        u32::try_from(calls).unwrap_or(u32::MAX)
    }

    pub(super) fn share(&mut self, given: Option<Spanned<f64>>, default: Share) -> Share {
        let Some(given) = given else {
            return default;
        };
        let span: Range<usize> = given.span();
        let value = given.into_inner();
        Share::new(value).unwrap_or_else(|| {
            let message = format!("{value} given, more than 0 and at most 1 is allowed");
            self.mistake(&span, message);
            default
        })
    }
}

/// A number of calls, or a time as text.
impl<'de> Deserialize<'de> for BreakerWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WindowVisitor;

        impl Visitor<'_> for WindowVisitor {
            type Value = BreakerWindow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of calls, or a time such as \"10s\"")
            }

            fn visit_i64<E: Error>(self, calls: i64) -> Result<BreakerWindow, E> {
                // What is out of range is told with the range.
                Ok(BreakerWindow::Calls(
                    u32::try_from(calls).unwrap_or(if calls < 0 { 0 } else { u32::MAX }),
                ))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BreakerWindow, E> {
                let time = Duration::from_text(text).ok_or_else(|| {
                    let expected = Duration::EXPECTED;
                    E::custom(format_args!("{text:?} given, expected {expected}"))
                })?;
                Ok(BreakerWindow::Time(time))
            }
        }

        deserializer.deserialize_any(WindowVisitor)
    }
}
