use stanchion_core::Instant;

use crate::Rejected;

/// What a permit holds, in two words, which stay in registers.
///
/// | bits | meaning |
/// |---|---|
/// | 127–64 | when the call began, in nanoseconds; 0 where calls are not timed |
/// | 63–2 | generation |
/// | 1–0 | what it has to give back |
#[derive(Clone, Copy)]
pub(crate) struct Token {
    low: u64,
    high: u64,
}

/// What a permit has to give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    /// One of the trials.
    Trial,
    /// Its place among the calls under way.
    Place,
}

/// A token or a refusal: a function can return two words in registers, but not a `Result` of them.
/// They are told apart by the lowest two bits, which are both set in a refusal.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    low: u64,
    high: u64,
}

const HELD_BITS: u32 = 2;
const HELD: u64 = (1 << HELD_BITS) - 1;

impl Token {
    #[inline(always)]
    pub(super) fn new(generation: u64, held: Held, started: Instant) -> Self {
        let held = match held {
            Held::Nothing => 0,
            Held::Trial => 1,
            Held::Place => 2,
        };
        Self {
            low: generation << HELD_BITS | held,
            high: started.as_nanos(),
        }
    }

    pub(crate) fn is_trial(self) -> bool {
        self.held() == Held::Trial
    }

    /// Of a call that will not be slow, however late its outcome comes: it began after any moment.
    pub(super) fn never_slow(self) -> Self {
        Self {
            high: u64::MAX,
            ..self
        }
    }

    pub(super) fn without_place(self) -> Self {
        match self.held() {
            Held::Place => Self::new(self.generation(), Held::Nothing, self.started()),
            Held::Nothing | Held::Trial => self,
        }
    }

    /// Of no breaker.
    pub(crate) fn of_nothing() -> Self {
        Self::new(0, Held::Nothing, Instant::ZERO)
    }

    #[inline(always)]
    pub(super) fn generation(self) -> u64 {
        self.low >> HELD_BITS
    }

    #[inline(always)]
    pub(super) fn held(self) -> Held {
        match self.low & HELD {
            0 => Held::Nothing,
            1 => Held::Trial,
            _ => Held::Place,
        }
    }

    #[inline(always)]
    pub(super) fn started(self) -> Instant {
        Instant::from_nanos(self.high)
    }
}

impl Answer {
    #[inline(always)]
    pub(super) fn into_result(self) -> Result<Token, Rejected> {
        let Self { low, high } = self;
        if low & Rejected::MARK == Rejected::MARK {
            Err(Rejected::from_words(low, high))
        } else {
            Ok(Token { low, high })
        }
    }
}

impl From<Token> for Answer {
    fn from(token: Token) -> Self {
        let Token { low, high } = token;
        Self { low, high }
    }
}

impl From<Rejected> for Answer {
    fn from(rejected: Rejected) -> Self {
        let (low, high) = rejected.into_words();
        Self { low, high }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("generation", &self.generation())
            .field("held", &self.held())
            .field("started", &self.started())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, State};

    #[test]
    fn a_token_and_a_refusal_come_back_from_their_words() {
        for held in [Held::Nothing, Held::Trial, Held::Place] {
            let token = Token::new(7, held, Instant::from_nanos(9));
            let token = Answer::from(token).into_result().unwrap();
            assert_eq!((token.generation(), token.held()), (7, held));
            assert_eq!(token.started(), Instant::from_nanos(9));
        }
        let cause = Cause::FailureRate(0.6);
        for state in [
            State::Closed,
            State::Open,
            State::HalfOpen,
            State::ForcedOpen,
        ] {
            let rejected = Rejected::new(state, cause.pack(), 9);
            let again = Answer::from(rejected).into_result().unwrap_err();
            assert_eq!((again.state(), again.cause()), (state, cause));
            assert_eq!(again, rejected);
        }
    }
}
