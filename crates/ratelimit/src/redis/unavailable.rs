//! What is said of Redis where nothing stands in for it.

use std::error::Error;
use std::fmt;

use super::link::Silence;

/// Redis did not do what it was asked, in time or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    silence: Silence,
}

impl Unavailable {
    /// It was asked, and may have done it.
    #[must_use]
    pub fn may_have_been_done(&self) -> bool {
        self.silence != Silence::Away
    }
}

impl From<Silence> for Unavailable {
    fn from(silence: Silence) -> Self {
        Self { silence }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.silence {
            Silence::Away => "redis is away",
            Silence::TimedOut => "redis did not answer in time",
            Silence::Failed => "redis failed to answer",
        })
    }
}

impl Error for Unavailable {}
