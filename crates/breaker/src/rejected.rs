use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::{Cause, State};

/// The breaker let no call through, and nothing was called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejected {
    pub(crate) state: State,
    pub(crate) cause: Cause,
    pub(crate) retry_after: Option<Duration>,
}

impl Rejected {
    /// The state that refused: open, forced open, half-open with all trials taken, or closed while
    /// traffic comes back little by little.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Why that state was entered.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// How long the breaker stays open: each call is refused before, and the first one then is a
    /// trial. Never 0; `None` where no time decides.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            State::Closed => f.write_str("circuit breaker lets traffic back little by little"),
            State::HalfOpen => f.write_str("circuit breaker is half-open, all trials are taken"),
            state => {
                write!(f, "circuit breaker is {state}: {}", self.cause)?;
                match self.retry_after {
                    Some(wait) => write!(f, "; try again in {wait:?}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Error for Rejected {}

/// Why [`Breaker::call`](crate::Breaker::call) gave no value.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete by nature: refused, or called and failed"
)]
pub enum CallError<E> {
    /// The breaker refused; the future was not polled.
    Rejected(Rejected),
    /// The call's own error.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(_) => None,
            Self::Failed(error) => error.source(),
        }
    }
}
