//! Looking at single limits, and changing them while all run.

use std::any::TypeId;
use std::error::Error;
use std::fmt;
use std::hash::Hash;

use super::member::Member;
use super::{CompositeLimit, CompositeRateLimiter};
use crate::{Inherit, Policy, Status};

impl<Req: ?Sized> CompositeRateLimiter<Req> {
    /// Where each limit stands for this request, in their order; takes nothing. `None` where the
    /// request has no key.
    pub fn peek(&self, request: &Req) -> impl Iterator<Item = (&str, Option<Status>)> {
        let now = self.clock.now();
        self.limits().iter().map(move |limit| {
            let hash = (limit.key)(request);
            let status = |hash| Some(limit.member.as_ref().ok()?.peek(hash, now));
            (limit.name(), hash.and_then(status))
        })
    }

    /// Where `key` stands in the limit of this name; takes nothing.
    ///
    /// # Errors
    ///
    /// When there is no such limit, or its keys are of another type.
    pub fn peek_key<K>(&self, limit: &str, key: &K) -> Result<Status, NoSuchLimit>
    where
        K: Hash + ?Sized + 'static,
    {
        let (member, hash) = self.find(limit, key)?;
        Ok(member.peek(hash, self.clock.now()))
    }

    /// Forgets what `key` has used of the limit of this name, and of no other. What it took from the
    /// state that keys without a place share stays taken.
    ///
    /// # Errors
    ///
    /// When there is no such limit, or its keys are of another type.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_ratelimit::{CompositeLimit, CompositeRateLimiter, Quota};
    ///
    /// let client = |id: &u64| Some(*id);
    /// let limits = CompositeRateLimiter::new([
    ///     CompositeLimit::keyed("client", "1/m".parse::<Quota>()?, 10_000, client),
    /// ])?;
    /// assert!(limits.check(&1).is_ok());
    /// assert!(limits.check(&1).is_err());
    /// limits.reset_key("client", &1_u64)?;
    /// assert!(limits.check(&1).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset_key<K>(&self, limit: &str, key: &K) -> Result<(), NoSuchLimit>
    where
        K: Hash + ?Sized + 'static,
    {
        let (member, hash) = self.find(limit, key)?;
        member.reset(hash);
        Ok(())
    }

    /// Limits by other numbers in the limit of this name from now on; all clones do. `inherit` says
    /// what becomes of what is left and what is used. Each check is decided by the old numbers or the
    /// new ones, whole.
    ///
    /// # Errors
    ///
    /// When there is no such limit, or `policy` is another algorithm than before; nothing changed.
    ///
    /// # Complexity
    ///
    /// Of a limit by key O(`max_keys`), and checks wait meanwhile: what each key has used is told in
    /// the new numbers.
    pub fn set_policy(
        &self,
        limit: &str,
        policy: impl Into<Policy>,
        inherit: Inherit,
    ) -> Result<(), InvalidChange> {
        let policy = policy.into();
        let found = self.limit(limit).ok_or_else(|| NoSuchLimit::named(limit));
        let (limit, member) = found.map_err(|none| InvalidChange { problem: Err(none) })?;
        if member.set_policy(policy, self.clock.now(), inherit) {
            return Ok(());
        }
        Err(InvalidChange {
            problem: Ok((policy.algorithm(), limit.policy().algorithm())),
        })
    }

    fn limit(&self, name: &str) -> Option<(&CompositeLimit<Req>, &dyn Member)> {
        let mut limits = self.limits().iter();
        let limit = limits.find(|limit| limit.name() == name)?;
        Some((limit, &**limit.member.as_ref().ok()?))
    }

    fn find<K>(&self, limit: &str, key: &K) -> Result<(&dyn Member, u64), NoSuchLimit>
    where
        K: Hash + ?Sized + 'static,
    {
        let (found, member) = self.limit(limit).ok_or_else(|| NoSuchLimit::named(limit))?;
        let by_key = found.by_key.as_ref();
        let by_key = by_key.filter(|by_key| by_key.kind == TypeId::of::<K>());
        let by_key = by_key.ok_or_else(|| NoSuchLimit {
            limit: limit.to_owned(),
            key: Some(std::any::type_name::<K>()),
        })?;
        Ok((member, by_key.hash.hash(key)))
    }
}

/// There is no limit of this name, or not by such keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchLimit {
    limit: String,
    /// The type of the key, where that is wrong.
    key: Option<&'static str>,
}

impl NoSuchLimit {
    fn named(limit: &str) -> Self {
        Self {
            limit: limit.to_owned(),
            key: None,
        }
    }
}

impl fmt::Display for NoSuchLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, key } = self;
        match key {
            None => write!(f, "limit is {limit:?}, must be the name of one"),
            Some(key) => write!(
                f,
                "key is a {key}, must be of the type by which limit {limit:?} tells its keys"
            ),
        }
    }
}

impl Error for NoSuchLimit {}

/// Numbers that a limit of a composite cannot change to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidChange {
    /// The algorithm that was asked for and that of the limit, or that there is none.
    problem: Result<(&'static str, &'static str), NoSuchLimit>,
}

impl fmt::Display for InvalidChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Ok((asked, running)) => {
                write!(f, "policy is a {asked}, must be a {running} as before")
            }
            Err(none) => fmt::Display::fmt(none, f),
        }
    }
}

impl Error for InvalidChange {}
