use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::LIMITS_MAX;
#[cfg(feature = "redis")]
use crate::redis::Refusal;
use crate::{Rejected, Status};

/// All limits admitted a request: where each stands.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    names: &'a [Box<str>],
    standings: Standings,
}

/// Where each of several limits stands, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Standings {
    pub(super) statuses: [Option<Status>; LIMITS_MAX],
}

impl<'a> Admitted<'a> {
    pub(super) fn new(names: &'a [Box<str>], standings: Standings) -> Self {
        Self { names, standings }
    }

    /// Each limit's name, and where it stands for this request's key.
    pub fn statuses(&self) -> impl Iterator<Item = (&'a str, Status)> {
        let statuses = self.standings.statuses.into_iter().flatten();
        self.names.iter().map(|name| &**name).zip(statuses)
    }

    /// What would be admitted by all limits now, at once: the least of them.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.standings.remaining()
    }
}

impl Standings {
    /// Of no limit.
    pub(super) const NONE: Self = Self {
        statuses: [None; LIMITS_MAX],
    };

    /// Where each limit stands, in the order of the limits.
    pub fn iter(&self) -> impl Iterator<Item = Status> + Clone {
        self.statuses.into_iter().flatten()
    }

    /// What would be admitted by all limits now, at once: the least of them.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.iter()
            .map(|status| status.remaining())
            .min()
            .unwrap_or(0)
    }
}

/// What limits refused so far.
pub(super) struct Violations {
    /// A bit for each limit that refused.
    violated: u8,
    /// Of those the one that has to be waited for the longest, and its place.
    worst: Option<(usize, Rejected)>,
}

impl Violations {
    pub(super) const NONE: Self = Self {
        violated: 0,
        worst: None,
    };

    pub(super) fn is_none(&self) -> bool {
        self.violated == 0
    }

    /// The limit at this place refuses, too.
    pub(super) fn add(&mut self, index: usize, rejected: Rejected) {
        self.violated |= 1 << index;
        // What waiting does not help outweighs any wait.
        let wait = |rejected: &Rejected| rejected.retry_after().unwrap_or(Duration::MAX);
        let worst = self.worst.as_ref();
        if worst.is_none_or(|(_, worst)| wait(worst) <= wait(&rejected)) {
            self.worst = Some((index, rejected));
        }
    }

    /// As it is told, if any limit refused.
    pub(super) fn by(self, names: &Arc<[Box<str>]>) -> Option<Refused> {
        let (worst, rejected) = self.worst?;
        Some(Refused {
            rejected,
            violated: self.violated,
            worst: u8::try_from(worst).unwrap_or(0),
            names: names.clone(),
        })
    }
}

/// A request was refused by at least one of several limits; nothing was taken from any.
#[derive(Clone, Debug)]
pub struct Refused {
    rejected: Rejected,
    /// A bit for each limit that refused.
    violated: u8,
    /// The place of the limit whose refusal this is.
    worst: u8,
    names: Arc<[Box<str>]>,
}

impl Refused {
    /// A refusal of limits by these names, decided elsewhere.
    #[cfg(feature = "redis")]
    pub(crate) fn by_names(refusal: Refusal, names: &Arc<[Box<str>]>) -> Self {
        let Refusal {
            rejected,
            violated,
            worst,
        } = refusal;
        Self {
            rejected,
            violated,
            worst,
            names: names.clone(),
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn into_refusal(self) -> Refusal {
        Refusal {
            rejected: self.rejected,
            violated: self.violated,
            worst: self.worst,
        }
    }

    /// The names of the limits that refused.
    pub fn violated(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().enumerate();
        names
            .filter(|(index, _)| self.violated & (1 << index) != 0)
            .map(|(_, name)| &**name)
    }

    /// The refusal of the limit that has to be waited for the longest.
    #[must_use]
    pub fn rejected(&self) -> &Rejected {
        &self.rejected
    }

    /// The same, with the place of that limit.
    #[cfg(feature = "http")]
    pub(crate) fn worst(&self) -> (usize, &Rejected) {
        (self.worst.into(), &self.rejected)
    }

    /// The name of the limit that has to be waited for the longest.
    #[must_use]
    pub fn limit(&self) -> &str {
        let name = self.names.get(usize::from(self.worst));
        name.map_or("", |name| name)
    }

    /// How long until the same request would be admitted by all limits, if nothing else is: the
    /// longest of their waits. `None` when waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.rejected.retry_after()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.violated == 0 {
            return fmt::Display::fmt(&self.rejected, f);
        }
        f.write_str("refused by limit ")?;
        for (index, name) in self.violated().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name:?}")?;
        }
        Ok(())
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.rejected)
    }
}
