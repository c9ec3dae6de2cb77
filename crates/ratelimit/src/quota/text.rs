//! Quotas as text: `"100/s"`, `"5/250ms"`, `"1000/d burst 10"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{InvalidQuota, Problem, Quota};

/// The units of a period, largest first.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `COUNT/PERIOD`, or `COUNT/PERIOD burst BURST`; a period is an optional whole number and
/// one of `ns`, `us`, `ms`, `s`, `m`, `h`, `d`.
impl FromStr for Quota {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, InvalidQuota> {
        let unreadable = || InvalidQuota::new(Problem::Text(text.to_owned()));
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let (count, period) = read_rate(rate).ok_or_else(unreadable)?;
        let quota = Self::new(count, period)?;
        match burst {
            Some(burst) => quota.with_burst(number(burst).ok_or_else(unreadable)?),
            None => Ok(quota),
        }
    }
}

/// `COUNT/PERIOD`.
pub(crate) fn read_rate(text: &str) -> Option<(u64, Duration)> {
    let (count, period) = text.split_once('/')?;
    Some((number(count)?, period_of(period)?))
}

/// A whole number, with `_` between digits if you like.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    // `parse` would take a sign.
    let digits = text.starts_with(|first: char| first.is_ascii_digit());
    digits.then(|| text.replace('_', "").parse().ok())?
}

/// A whole number with a unit.
#[cfg(all(feature = "redis", feature = "serde"))]
pub(crate) fn read_time(text: &str) -> Option<Duration> {
    let digits = text
        .trim()
        .starts_with(|first: char| first.is_ascii_digit());
    digits.then(|| period_of(text))?
}

/// What `read_time` reads.
#[cfg(all(feature = "redis", feature = "serde"))]
pub(crate) fn time_text(time: Duration) -> String {
    let nanos = time.as_nanos();
    let fits = |size: &u64| nanos.is_multiple_of(u128::from(*size));
    let (unit, size) = *UNITS
        .iter()
        .find(|(_, size)| fits(size))
        .unwrap_or(&("ns", 1));
    format!("{}{unit}", nanos / u128::from(size))
}

fn period_of(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit = text.trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '_');
    let nanos = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let times = match &text[..text.len() - unit.len()] {
        "" => 1,
        times => number(times)?,
    };
    times.checked_mul(nanos).map(Duration::from_nanos)
}

/// Writes what `FromStr` reads; the burst only where it differs from the count.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rate(f, self.count, self.period_nanos())?;
        if self.burst != self.count {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

/// Writes what `read_rate` reads.
pub(crate) fn write_rate(f: &mut fmt::Formatter<'_>, count: u64, nanos: u64) -> fmt::Result {
    // The period is positive and the last unit is 1, so one unit always divides it.
    let (unit, size) = *UNITS
        .iter()
        .find(|(_, size)| nanos.is_multiple_of(*size))
        .unwrap_or(&("ns", 1));
    match nanos / size {
        1 => write!(f, "{count}/{unit}"),
        times => write!(f, "{count}/{times}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_back() {
        for (text, count, period, burst) in [
            ("100/s", 100, Duration::from_secs(1), 100),
            ("5/250ms", 5, Duration::from_millis(250), 5),
            ("1000/d burst 10", 1000, Duration::from_secs(86_400), 10),
            ("1/90s", 1, Duration::from_secs(90), 1),
        ] {
            let quota: Quota = text.parse().unwrap();
            assert_eq!(
                (quota.count(), quota.period(), quota.burst()),
                (count, period, burst)
            );
            assert_eq!(quota.to_string(), text);
        }
        assert_eq!(
            "10_000 / 1m".parse::<Quota>().unwrap().to_string(),
            "10000/m"
        );
    }

    #[test]
    fn unreadable_text_is_shown_with_what_is_allowed() {
        for text in [
            "",
            "100",
            "/s",
            "100/",
            "100/x",
            "-1/s",
            "+1/s",
            "1.5/s",
            "100/s burst",
            "1/s burst x",
            "1/sec",
            "99999999999999999999/s",
            "1/99999999999999999999d",
        ] {
            let error = text.parse::<Quota>().unwrap_err();
            assert_eq!(error.field(), "rate", "{error}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        assert_eq!("0/s".parse::<Quota>().unwrap_err().field(), "count");
    }
}
