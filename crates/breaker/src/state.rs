use std::fmt;

/// What a breaker does with calls.
///
/// ```text
///               a rate or a streak                 the open time is over
///   ┌────────┐ ───────────────────► ┌──────┐ ───────────────────────► ┌───────────┐
///   │ closed │                      │ open │                          │ half-open │
///   └────────┘ ◄──┐                 └──────┘ ◄─────────────────────── └─────┬─────┘
///                 │                            trials failed, or hung       │
///                 └─────────────────────────────────────────────────────────┘
///                                 trials succeeded
///   by hand, from any state:  forced open, disabled, metrics only; and closed or open again
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Calls pass, and are recorded.
    Closed,
    /// Calls are refused until the open time is over.
    Open,
    /// So many calls pass as there are trials.
    HalfOpen,
    /// Calls are refused, until it is changed by hand.
    ForcedOpen,
    /// Calls pass, and nothing is recorded.
    Disabled,
    /// Calls pass and are recorded, and it never opens: it tells when it would.
    MetricsOnly,
}

impl State {
    /// In three bits.
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
            Self::ForcedOpen => 3,
            Self::Disabled => 4,
            Self::MetricsOnly => 5,
        }
    }

    pub(crate) const fn from_code(code: u64) -> Self {
        match code {
            0 => Self::Closed,
            1 => Self::Open,
            2 => Self::HalfOpen,
            3 => Self::ForcedOpen,
            4 => Self::Disabled,
            _ => Self::MetricsOnly,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics only",
        })
    }
}

/// Why a breaker changed its state, or would have.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// This share of the calls in the window failed.
    FailureRate(f32),
    /// This share of the calls in the window was slow.
    SlowRate(f32),
    /// So many failed in a row.
    ConsecutiveFailures(u32),
    /// The open time was over.
    OpenTimeOver,
    /// The trials failed or were slow.
    TrialsFailed,
    /// The trials succeeded.
    TrialsSucceeded,
    /// It was half-open for too long.
    TrialsTimedOut,
    /// Someone asked for it.
    ByHand,
}

impl Cause {
    /// In one word: the number in the upper half, the kind in bits 15–8, and nothing below.
    pub(crate) fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::FailureRate(rate) => (0, rate.to_bits()),
            Self::SlowRate(rate) => (1, rate.to_bits()),
            Self::ConsecutiveFailures(count) => (2, count),
            Self::OpenTimeOver => (3, 0),
            Self::TrialsFailed => (4, 0),
            Self::TrialsSucceeded => (5, 0),
            Self::TrialsTimedOut => (6, 0),
            Self::ByHand => (7, 0),
        };
        u64::from(number) << 32 | kind << 8
    }

    pub(crate) fn unpack(word: u64) -> Self {
        let number = (word >> 32) as u32;
        match word >> 8 & 0xff {
            0 => Self::FailureRate(f32::from_bits(number)),
            1 => Self::SlowRate(f32::from_bits(number)),
            2 => Self::ConsecutiveFailures(number),
            3 => Self::OpenTimeOver,
            4 => Self::TrialsFailed,
            5 => Self::TrialsSucceeded,
            6 => Self::TrialsTimedOut,
            _ => Self::ByHand,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate(rate) => write!(f, "{:.1} % of the calls failed", rate * 100.0),
            Self::SlowRate(rate) => write!(f, "{:.1} % of the calls were slow", rate * 100.0),
            Self::ConsecutiveFailures(count) => write!(f, "{count} calls failed in a row"),
            Self::OpenTimeOver => f.write_str("the open time was over"),
            Self::TrialsFailed => f.write_str("trials failed"),
            Self::TrialsSucceeded => f.write_str("trials succeeded"),
            Self::TrialsTimedOut => f.write_str("trials took too long"),
            Self::ByHand => f.write_str("by hand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_fits_into_a_word_and_comes_back() {
        for cause in [
            Cause::FailureRate(0.6),
            Cause::SlowRate(1.0),
            Cause::ConsecutiveFailures(u32::MAX),
            Cause::OpenTimeOver,
            Cause::TrialsFailed,
            Cause::TrialsSucceeded,
            Cause::TrialsTimedOut,
            Cause::ByHand,
        ] {
            assert_eq!(Cause::unpack(cause.pack()), cause);
        }
    }
}
