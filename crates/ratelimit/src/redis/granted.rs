//! What became of a request: who admitted it, or which limits refused it.

use std::fmt;
use std::time::Duration;

use super::RedisRateLimiter;
use crate::{Rejected, Status};

/// Who admitted a request, and what is known of its limits then.
#[derive(Clone, Debug)]
pub(super) enum Granted {
    /// Nobody counted it.
    Uncounted,
    /// A lease, drawn when the limits stood so.
    Lease(Option<Tightest>),
    /// Redis; of each limit.
    Redis(Box<[Status]>),
    /// This instance's share, in an outage; of each limit.
    Share(Box<[Status]>),
}

/// The limit that had least left, by its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tightest {
    place: usize,
    pub(super) status: Status,
}

/// A refusal, and the limits that it is by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// Of the limit that has to be waited for the longest.
    pub(crate) rejected: Rejected,
    /// A bit for each limit that refused.
    pub(crate) violated: u8,
    /// The place of the limit whose refusal this is.
    pub(crate) worst: u8,
}

impl Granted {
    pub(super) fn tightest(&self) -> Option<Tightest> {
        match self {
            Self::Uncounted => None,
            Self::Lease(tightest) => *tightest,
            Self::Redis(statuses) | Self::Share(statuses) => Tightest::of(statuses),
        }
    }
}

impl Tightest {
    pub(super) fn of(statuses: &[Status]) -> Option<Self> {
        let statuses = statuses.iter().enumerate();
        let (place, status) = statuses.min_by_key(|(_, status)| status.remaining())?;
        Some(Self {
            place,
            status: *status,
        })
    }
}

impl Refusal {
    /// By the limits that have less left than `cost`.
    pub(super) fn of(statuses: &[Status], cost: u64) -> Option<Self> {
        let wait = |status: &Status| status.available_after(cost).unwrap_or(Duration::MAX);
        let limits = || statuses.iter().enumerate();
        let short = limits().filter(|(_, status)| status.remaining() < cost);
        let violated = short.fold(0, |bits, (place, _)| bits | 1 << place);
        let (worst, status) = limits().max_by_key(|(_, status)| wait(status))?;
        let rejected = if cost > status.limit() {
            Rejected::cost_above_burst(*status, cost)
        } else {
            Rejected::exceeded(*status, cost)
        };
        Some(Self {
            rejected,
            violated: violated | 1 << worst,
            worst: u8::try_from(worst).unwrap_or(0),
        })
    }

    /// By none of the limits: nobody decided.
    pub(super) fn unavailable(cost: u64) -> Self {
        Self {
            rejected: Rejected::unavailable(cost),
            violated: 0,
            worst: u8::MAX,
        }
    }

    /// The same refusal of a request that costs as much or more.
    pub(super) fn of_cost(self, cost: u64) -> Self {
        let rejected = match self.rejected.status() {
            Some(status) => Rejected::exceeded(status, cost),
            None => self.rejected,
        };
        Self { rejected, ..self }
    }
}

/// A request that a [`RedisRateLimiter`] admitted; dropping it changes nothing.
pub struct RedisAdmitted {
    limiter: RedisRateLimiter,
    key: Box<[u8]>,
    cost: u64,
    granted: Granted,
}

impl RedisAdmitted {
    pub(super) fn new(
        limiter: RedisRateLimiter,
        key: Box<[u8]>,
        cost: u64,
        granted: Granted,
    ) -> Self {
        Self {
            limiter,
            key,
            cost,
            granted,
        }
    }

    /// The names of the limits, and where each stands for this request's key: of all limits, where
    /// Redis or this instance's share decided; of the one that had least left at the last draw, where
    /// a lease paid; of none, where the request was admitted uncounted.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, Status)> {
        let (all, one) = match &self.granted {
            Granted::Uncounted => (&[][..], None),
            Granted::Lease(tightest) => (&[][..], *tightest),
            Granted::Redis(statuses) | Granted::Share(statuses) => (&**statuses, None),
        };
        let names = &self.limiter.shared.limit_names;
        let name = |place: usize| names.get(place).map_or("", |name| name);
        let one = one.map(|one| (one.place, one.status));
        let all = all.iter().copied().enumerate().chain(one);
        all.map(move |(place, status)| (name(place), status))
    }

    /// Where the limit stands that has least left; `None` where the request was admitted uncounted.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.granted.tightest().map(|tightest| tightest.status)
    }

    /// Gives back what the request took, to whoever it was taken from: the lease, Redis, or this
    /// instance's share.
    ///
    /// Nobody waits for it: Redis is told by a task on the store's runtime, for no longer than the
    /// deadline. What it does not hear in time stays taken.
    pub fn give_back(self) {
        self.limiter
            .shared
            .give_back(self.key, self.cost, &self.granted);
    }
}

impl fmt::Debug for RedisAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdmitted")
            .field("cost", &self.cost)
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}
