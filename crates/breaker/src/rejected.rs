use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::{Cause, State};

/// The breaker let no call through, and nothing was called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// | bits | meaning |
    /// |---|---|
    /// | 63–8 | why the state was entered, as [`Cause::pack`] has it |
    /// | 7–2 | the state, as [`State::code`] has it |
    /// | 1–0 | both set: [`MARK`](Self::MARK) |
    word: u64,
    /// In nanoseconds; 0 where no time decides.
    retry_after: u64,
}

impl Rejected {
    pub(crate) const MARK: u64 = 3;

    pub(crate) fn new(state: State, cause: u64, retry_after: u64) -> Self {
        Self {
            word: cause | state.code() << 2 | Self::MARK,
            retry_after,
        }
    }

    pub(crate) const fn into_words(self) -> (u64, u64) {
        (self.word, self.retry_after)
    }

    pub(crate) const fn from_words(word: u64, retry_after: u64) -> Self {
        Self { word, retry_after }
    }

    /// The state that refused: open, forced open, half-open with all trials taken, or closed while
    /// traffic comes back little by little.
    #[must_use]
    pub const fn state(&self) -> State {
        State::from_code(self.word >> 2 & 7)
    }

    /// Why that state was entered.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause::unpack(self.word)
    }

    /// How long the breaker stays open: each call is refused before, and the first one then is a
    /// trial. Never 0; `None` where no time decides.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.retry_after {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("state", &self.state())
            .field("cause", &self.cause())
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            State::Closed => f.write_str("circuit breaker lets traffic back little by little"),
            State::HalfOpen => f.write_str("circuit breaker is half-open, all trials are taken"),
            state => {
                write!(f, "circuit breaker is {state}: {}", self.cause())?;
                match self.retry_after() {
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
