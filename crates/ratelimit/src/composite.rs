//! Several limits at once: a request passes all of them, or takes nothing from any.

mod change;
mod invalid;
mod member;
mod outcome;

use std::any::TypeId;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use stanchion_core::{Clock, Instant, KeyExtractor, Observe};

use crate::keyed::{InvalidMaxKeys, KeyHash, Place};
use crate::{Event, Policy, Rejected, Status, WhenFull};
pub use change::{InvalidChange, NoSuchLimit};
pub use invalid::InvalidComposite;
#[cfg(feature = "redis")]
pub(crate) use invalid::is_name;
pub(crate) use member::{Asked, Next, hold};
use member::{Member, keyed, shared};
use outcome::Violations;
pub use outcome::{Admitted, Refused, Standings};

/// The most limits of one composite.
const LIMITS_MAX: usize = 8;

/// Holds requests to several limits at once, all or nothing: what one limit refuses, no limit
/// counts; clones share what is used.
///
/// Each limit has a name, a [`Policy`], and either one state for all requests or one for each key,
/// by an extractor of its own: a quota per second and one per day of the same client, or one for
/// the service, one for each address and one for each API key. It may charge by a cost of its own.
///
/// All limits are looked at and taken from under their locks together, so threads cannot make one
/// count what another refuses, and the refusal names every limit that was violated.
///
/// Handles of other kinds share nothing with a composite: its states are its own.
///
/// # Examples
///
/// ```
/// use stanchion_ratelimit::{CompositeLimit, CompositeRateLimiter, Quota};
///
/// let limits = CompositeRateLimiter::new([
///     CompositeLimit::shared("second", "2/s".parse::<Quota>()?),
///     CompositeLimit::keyed("client", "1/m".parse::<Quota>()?, 10_000, |id: &u64| Some(*id)),
/// ])?;
/// assert!(limits.check(&1).is_ok());
///
/// let refused = limits.check(&1).unwrap_err();
/// assert!(refused.violated().eq(["client"]));
/// // The refusal took nothing from the other limit.
/// assert!(limits.check(&2).is_ok());
/// assert!(limits.check(&3).unwrap_err().violated().eq(["second"]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CompositeRateLimiter<Req: ?Sized> {
    shared: Arc<Shared<Req>>,
    clock: Clock,
    observer: Option<Arc<dyn Observe<Event> + Send + Sync>>,
}

struct Shared<Req: ?Sized> {
    limits: Box<[CompositeLimit<Req>]>,
    names: Arc<[Box<str>]>,
}

/// One limit of a [`CompositeRateLimiter`].
pub struct CompositeLimit<Req: ?Sized> {
    name: Box<str>,
    /// What it was built with.
    policy: Policy,
    member: Result<Box<dyn Member>, InvalidMaxKeys>,
    key: Arc<HashOf<Req>>,
    by_key: Option<ByKey>,
    cost: Option<Arc<CostOf<Req>>>,
    when_full: WhenFull,
}

/// What a limit knows of its keys.
#[derive(Clone)]
struct ByKey {
    max_keys: usize,
    hash: KeyHash,
    /// The type of the keys.
    kind: TypeId,
}

/// Hashes the key of a request.
type HashOf<Req> = dyn Fn(&Req) -> Option<u64> + Send + Sync;
/// Tells what a request costs one limit.
type CostOf<Req> = dyn Fn(&Req) -> u64 + Send + Sync;

/// One limit of a composite in plain numbers, to make metrics from. Numbers are since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompositeSnapshot {
    /// Requests that went to the shared state because their key found no place.
    pub overflowed: u64,
    /// Requests that were refused because their key found no place.
    pub denied: u64,
    /// Keys that lost their place to another while it was in use.
    pub evicted: u64,
}

impl<Req> CompositeLimit<Req> {
    /// A limit for each key that `extractor` finds, for up to `max_keys` in use at once.
    ///
    /// A request without a key is refused, with [`Reason::NoKey`](crate::Reason::NoKey). What becomes
    /// of new keys once the table is full says [`with_when_full`](Self::with_when_full).
    pub fn keyed<E>(name: &str, policy: impl Into<Policy>, max_keys: usize, extractor: E) -> Self
    where
        E: KeyExtractor<Req> + Send + Sync + 'static,
        E::Key: Hash + 'static,
    {
        let hash_of =
            move |hash: &KeyHash, request: &Req| Some(hash.hash(&*extractor.extract(request)?));
        Self::by_key::<E::Key>(name, policy.into(), max_keys, hash_of)
    }
}

impl CompositeLimit<[u8]> {
    /// A limit for each key, where the request is nothing but its key.
    #[cfg(feature = "redis")]
    pub(crate) fn bytes(name: &str, policy: Policy, max_keys: usize) -> Self {
        let hash_of = |hash: &KeyHash, key: &[u8]| Some(hash.hash(key));
        Self::by_key::<[u8]>(name, policy, max_keys, hash_of)
    }
}

impl<Req: ?Sized> CompositeLimit<Req> {
    /// One limit for all requests together.
    pub fn shared(name: &str, policy: impl Into<Policy>) -> Self {
        let policy = policy.into();
        Self {
            name: name.into(),
            policy,
            member: Ok(shared(policy)),
            key: Arc::new(|_| Some(0)),
            by_key: None,
            cost: None,
            when_full: WhenFull::default(),
        }
    }

    fn by_key<K: ?Sized + 'static>(
        name: &str,
        policy: Policy,
        max_keys: usize,
        hash_of: impl Fn(&KeyHash, &Req) -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        let by_key = ByKey {
            max_keys,
            hash: KeyHash::new(),
            kind: TypeId::of::<K>(),
        };
        let hash = by_key.hash.clone();
        Self {
            name: name.into(),
            policy,
            member: keyed(policy, max_keys),
            key: Arc::new(move |request| hash_of(&hash, request)),
            by_key: Some(by_key),
            cost: None,
            when_full: WhenFull::default(),
        }
    }

    /// What becomes of new keys when there is no place. Default: [`WhenFull::Share`].
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Charges this limit by `cost_of(request)`, whatever cost is checked for. Default: the cost
    /// that is checked for.
    #[must_use]
    pub fn with_cost(mut self, cost_of: impl Fn(&Req) -> u64 + Send + Sync + 'static) -> Self {
        self.cost = Some(Arc::new(cost_of));
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys that it was built for; `None` if it is shared by all requests.
    #[must_use]
    pub fn max_keys(&self) -> Option<usize> {
        self.by_key.as_ref().map(|by_key| by_key.max_keys)
    }

    /// What each state is limited by now.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let member = self.member.as_ref();
        member.map_or(self.policy, |member| member.policy())
    }

    /// The limit in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> CompositeSnapshot {
        let member = self.member.as_ref();
        let [overflowed, denied, evicted] = member.map_or([0; 3], |member| member.counts());
        CompositeSnapshot {
            overflowed,
            denied,
            evicted,
        }
    }

    /// The same limit with nothing used.
    #[cfg(feature = "tower")]
    fn anew(&self) -> Self {
        let policy = self.policy();
        Self {
            name: self.name.clone(),
            policy,
            member: match &self.by_key {
                None => Ok(shared(policy)),
                Some(by_key) => keyed(policy, by_key.max_keys),
            },
            key: self.key.clone(),
            by_key: self.by_key.clone(),
            cost: self.cost.clone(),
            when_full: self.when_full,
        }
    }
}

impl<Req: ?Sized> CompositeRateLimiter<Req> {
    /// Holds requests to all these limits, with nothing used, on the system's clock.
    ///
    /// # Errors
    ///
    /// There must be 1 to 8 limits; their names must differ and be printable ASCII without `"` and
    /// `\`, and not empty; `max_keys` must be from 1 to 2³¹.
    pub fn new(
        limits: impl IntoIterator<Item = CompositeLimit<Req>>,
    ) -> Result<Self, InvalidComposite> {
        let limits: Box<[_]> = limits.into_iter().collect();
        if !(1..=LIMITS_MAX).contains(&limits.len()) {
            return Err(InvalidComposite::count(limits.len()));
        }
        for (index, limit) in limits.iter().enumerate() {
            InvalidComposite::unless_name(&limit.name)?;
            if limits[..index].iter().any(|other| other.name == limit.name) {
                return Err(InvalidComposite::twice(&limit.name));
            }
            if let Err(invalid) = &limit.member {
                return Err(InvalidComposite::max_keys(&limit.name, *invalid));
            }
        }
        let names = limits.iter().map(|limit| limit.name.clone()).collect();
        Ok(Self {
            shared: Arc::new(Shared { limits, names }),
            clock: Clock::system(),
            observer: None,
        })
    }

    /// Reads `clock` from now on. Default: [`Clock::system`]. All clones of one limiter must read
    /// the same clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Tells `observer` of refusals, by the limit with the longest wait. Default: nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observe<Event> + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The limits, in the order in which they were given.
    #[must_use]
    pub fn limits(&self) -> &[CompositeLimit<Req>] {
        &self.shared.limits
    }

    /// Admits one request by all limits, or refuses it.
    ///
    /// # Errors
    ///
    /// [`Refused`] when any limit refuses; nothing was taken from any.
    ///
    /// # Complexity
    ///
    /// O(limits), no allocation but a sliding log's notes. Holds a short lock for each limit, all
    /// at once; the extractors and costs run before.
    pub fn check(&self, request: &Req) -> Result<Admitted<'_>, Refused> {
        self.check_n(request, 1)
    }

    /// Admits a request of this cost by all limits, whole or not at all. A limit that is charged
    /// nothing admits it.
    ///
    /// # Errors
    ///
    /// [`Refused`] when any limit refuses; nothing was taken from any.
    pub fn check_n(&self, request: &Req, cost: u64) -> Result<Admitted<'_>, Refused> {
        let standings = self.decide(request, cost)?;
        Ok(Admitted::new(&self.shared.names, standings))
    }

    /// The same, without the names.
    #[inline]
    pub(crate) fn decide(&self, request: &Req, cost: u64) -> Result<Standings, Refused> {
        // Filled in its place, since it is wide.
        let mut standings = Standings::NONE;
        match self.refuse(request, cost, &mut standings) {
            None => Ok(standings),
            Some(refused) => Err(refused),
        }
    }

    /// Decides; tells where the limits stand, and which refused.
    fn refuse(&self, request: &Req, cost: u64, standings: &mut Standings) -> Option<Refused> {
        let shared = &*self.shared;
        let mut asked = [(0, 0); LIMITS_MAX];
        let mut violations = Violations::NONE;
        for (index, limit) in shared.limits.iter().enumerate() {
            match limit.key(request) {
                Some(hash) => asked[index] = (hash, limit.cost(request, cost)),
                None => violations.add(index, Rejected::no_key()),
            }
        }
        if violations.is_none() {
            let mut checks = Checks {
                now: self.clock.now(),
                asked,
                violations,
            };
            checks.visit(&shared.limits, 0, &mut standings.statuses);
            violations = checks.violations;
        }
        let refused = violations.by(&shared.names)?;
        if let Some(observer) = &self.observer {
            observer.observe(&Event::Rejected(*refused.rejected()));
        }
        Some(refused)
    }

    /// Gives back to each limit what a request of this cost took and did not need: no more than was
    /// used. What it took from the state that keys without a place share stays taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_ratelimit::{CompositeLimit, CompositeRateLimiter, Quota};
    ///
    /// let limits = CompositeRateLimiter::new([
    ///     CompositeLimit::shared("second", "5/s".parse::<Quota>()?),
    ///     CompositeLimit::shared("minute", "9/m".parse::<Quota>()?),
    /// ])?;
    /// limits.check_n(&(), 4)?;
    /// limits.refund(&(), 3);
    /// assert_eq!(limits.check(&())?.remaining(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refund(&self, request: &Req, cost: u64) {
        let now = self.clock.now();
        for (member, hash, cost) in self.asked(request, cost) {
            member.refund(hash, now, cost);
        }
    }

    /// Takes of each limit by itself, as far as it admits: what was decided elsewhere is counted here.
    #[cfg(feature = "redis")]
    pub(crate) fn take_from_each(&self, request: &Req, cost: u64) {
        let now = self.clock.now();
        for (member, hash, cost) in self.asked(request, cost) {
            let mut admits = |verdict: Result<(), Rejected>| verdict.is_ok();
            let asked = Asked {
                hash,
                now,
                cost,
                when_full: WhenFull::default(),
            };
            member.hold(&asked, &mut None, &mut admits);
        }
    }

    /// What is asked of each limit: the hash of the key, and the cost.
    fn asked<'a>(
        &'a self,
        request: &'a Req,
        cost: u64,
    ) -> impl Iterator<Item = (&'a dyn Member, u64, u64)> {
        self.limits().iter().filter_map(move |limit| {
            let member = &**limit.member.as_ref().ok()?;
            Some((member, limit.key(request)?, limit.cost(request, cost)))
        })
    }

    /// The same limiter with nothing used.
    #[cfg(feature = "tower")]
    pub(crate) fn anew(&self) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits: self.limits().iter().map(CompositeLimit::anew).collect(),
                names: self.shared.names.clone(),
            }),
            ..self.clone()
        }
    }
}

impl<Req: ?Sized> CompositeLimit<Req> {
    /// The hash of the request's key; all are alike where the limit is shared.
    #[inline]
    fn key(&self, request: &Req) -> Option<u64> {
        match &self.by_key {
            Some(_) => (self.key)(request),
            None => Some(0),
        }
    }

    /// What the request costs this limit, where it is checked for `cost`.
    #[inline]
    fn cost(&self, request: &Req, cost: u64) -> u64 {
        match &self.cost {
            Some(cost_of) => cost_of(request),
            None => cost,
        }
    }
}

/// One request before all limits.
struct Checks {
    now: Instant,
    /// The hash of the key, and the cost.
    asked: [(u64, u64); LIMITS_MAX],
    violations: Violations,
}

impl Checks {
    /// Holds the limits from `index` on, one within the other, and tells whether all admit. The
    /// order is that of the limits for every request, so nobody waits in a circle.
    fn visit<Req: ?Sized>(
        &mut self,
        limits: &[CompositeLimit<Req>],
        index: usize,
        told: &mut [Option<Status>],
    ) -> bool {
        let (Some(limit), Some((told, rest))) = (limits.get(index), told.split_first_mut()) else {
            return self.violations.is_none();
        };
        let Ok(member) = &limit.member else {
            return false;
        };
        let (hash, cost) = self.asked[index];
        let asked = Asked {
            hash,
            now: self.now,
            cost,
            when_full: limit.when_full,
        };
        let mut taken = false;
        let place = member.hold(&asked, told, &mut |verdict| {
            if let Err(rejected) = verdict {
                self.violations.add(index, rejected);
            }
            taken = self.visit(limits, index + 1, rest);
            taken
        });
        if place != Place::Own {
            member.count(place);
        }
        taken
    }
}

impl<Req: ?Sized> Clone for CompositeRateLimiter<Req> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            clock: self.clock.clone(),
            observer: self.observer.clone(),
        }
    }
}

impl<Req: ?Sized> fmt::Debug for CompositeRateLimiter<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompositeRateLimiter")
            .field(&self.shared.limits)
            .finish()
    }
}

impl<Req: ?Sized> fmt::Debug for CompositeLimit<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompositeLimit")
            .field("name", &self.name)
            .field("policy", &self.policy())
            .finish_non_exhaustive()
    }
}
