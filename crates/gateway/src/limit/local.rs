//! The buckets of a policy that are counted in this process.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stanchion_core::Clock;
use stanchion_ratelimit::{InvalidMaxKeys, KeyedRateLimiter, Policy, Rejected, Status};

/// How many policies back a key's use is looked for.
const GENERATIONS_MAX: usize = 4;

/// The buckets of all keys, by one policy; clones share.
///
/// Where the policy came in the place of another one, it goes on from that: a key that had used a
/// part of its budget has used the same part of the new one. It is carried over when the key comes
/// next, so a change costs nothing by itself. A key that does not come keeps its old bucket, until
/// the next change but three.
#[derive(Clone, Debug)]
pub(super) struct Local {
    limiter: KeyedRateLimiter<[u8]>,
    before: Option<Arc<Before>>,
}

#[derive(Debug)]
struct Before {
    buckets: Local,
    /// Held while a key is carried over, so that it is once.
    carrying: Mutex<()>,
}

impl Local {
    pub(super) fn new(
        policy: Policy,
        keys_max: usize,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, InvalidMaxKeys> {
        let limiter = KeyedRateLimiter::new(policy, keys_max)?.with_clock(clock.clone());
        let before = before.and_then(|before| before.last(GENERATIONS_MAX));
        Ok(Self {
            limiter,
            before: before.map(|buckets| {
                Arc::new(Before {
                    buckets,
                    carrying: Mutex::new(()),
                })
            }),
        })
    }

    /// Admits a request of `key`, or refuses it.
    pub(super) fn check(&self, key: &[u8]) -> Result<Status, Rejected> {
        self.carry(key);
        self.limiter.check(key)
    }

    /// The next slot for a request of `key`, no later than in `wait_max`, and where `key` stands then.
    /// Dropping it gives the slot back, as far as nobody stands behind it.
    pub(super) async fn wait(self, key: Vec<u8>, wait_max: Duration) -> Result<Status, Rejected> {
        self.limiter.acquire(&key, 1, wait_max).await?;
        Ok(self.limiter.peek(&key))
    }

    /// Gives one permit of `key` back.
    pub(super) fn refund(&self, key: &[u8]) {
        self.limiter.refund(key, 1);
    }

    /// Where `key` stands.
    pub(super) fn peek(&self, key: &[u8]) -> Status {
        self.carry(key);
        self.limiter.peek(key)
    }

    /// Forgets what `key` has used.
    pub(super) fn reset(&self, key: &[u8]) {
        if let Some(before) = &self.before {
            before.buckets.reset(key);
        }
        self.limiter.reset(key);
    }

    /// Requests that found no place for their key, and shared one.
    pub(super) fn overflowed(&self) -> u64 {
        self.limiter.snapshot().overflowed
    }

    /// These buckets with at most `count - 1` generations before them.
    fn last(&self, count: usize) -> Option<Self> {
        let count = count.checked_sub(1)?;
        let before = self.before.as_ref();
        Some(Self {
            limiter: self.limiter.clone(),
            before: before.and_then(|before| {
                Some(Arc::new(Before {
                    buckets: before.buckets.last(count)?,
                    carrying: Mutex::new(()),
                }))
            }),
        })
    }

    /// Has `key` used as large a part of its budget as by the policy before.
    fn carry(&self, key: &[u8]) {
        let Some(before) = &self.before else {
            return;
        };
        if used(before.buckets.peek(key)) == 0 {
            return;
        }
        let _carrying = before.carrying.lock();
        let old = before.buckets.peek(key);
        before.buckets.reset(key);
        let new = self.limiter.peek(key);
        let part = u128::from(used(old)) * u128::from(new.limit());
        let part = part.div_ceil(u128::from(old.limit().max(1)));
        let part = u64::try_from(part).unwrap_or(u64::MAX).min(new.remaining());
        if part > 0 {
            // No more than there is, unless another request was quicker: then that is the rest.
            let _ = self.limiter.check_n(key, part);
        }
    }
}

fn used(status: Status) -> u64 {
    status.limit().saturating_sub(status.remaining())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local(text: &str, clock: &Clock, before: Option<&Local>) -> Local {
        Local::new(text.parse().unwrap(), 100, clock, before).unwrap()
    }

    fn spend(local: &Local, key: &[u8], count: u64) {
        for _ in 0..count {
            local.check(key).unwrap();
        }
    }

    #[test]
    fn the_same_part_is_left_by_another_policy_and_no_change_is_a_gift() {
        let (clock, _time) = Clock::manual();
        let first = local("100/h", &clock, None);
        spend(&first, b"anna", 30);
        let second = local("200/h", &clock, Some(&first));
        assert_eq!(second.peek(b"anna").remaining(), 140);
        assert_eq!(second.peek(b"bob").remaining(), 200);
        spend(&second, b"anna", 40);
        let third = local("fixed-window 10/h", &clock, Some(&second));
        assert_eq!(third.peek(b"anna").remaining(), 5);
        spend(&third, b"anna", 5);
        assert!(third.check(b"anna").is_err());
        third.reset(b"anna");
        assert_eq!(third.peek(b"anna").remaining(), 10);
    }

    #[test]
    fn who_does_not_come_keeps_its_use_for_four_changes() {
        let (clock, _time) = Clock::manual();
        let mut buckets = local("10/h", &clock, None);
        spend(&buckets, b"anna", 5);
        spend(&buckets, b"bob", 5);
        for _ in 0..4 {
            buckets = local("10/h", &clock, Some(&buckets));
        }
        assert_eq!(buckets.peek(b"anna").remaining(), 5);
        buckets = local("10/h", &clock, Some(&buckets));
        assert_eq!(buckets.peek(b"anna").remaining(), 5);
        assert_eq!(buckets.peek(b"bob").remaining(), 10);
    }

    proptest! {
        #[test]
        fn no_more_is_admitted_than_the_larger_budget(
            limits in proptest::collection::vec(1..50_u64, 1..6),
            asked in proptest::collection::vec(0..60_u64, 6),
        ) {
            let (clock, _time) = Clock::manual();
            let mut buckets: Option<Local> = None;
            let mut admitted = 0;
            for (limit, asked) in limits.iter().zip(asked) {
                let next = local(&format!("{limit}/h"), &clock, buckets.as_ref());
                for _ in 0..asked {
                    admitted += u64::from(next.check(b"anna").is_ok());
                }
                buckets = Some(next);
            }
            // Each change may only scale what is left.
            prop_assert!(admitted <= limits.iter().copied().max().unwrap());
        }
    }
}
