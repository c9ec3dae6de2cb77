use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::Balancer;
use super::shared::Shared;
use crate::plan::Plan;
use crate::{PickContext, Picked, Unavailable};

/// One thread's, or one connection's, own way to a [`Balancer`], which picks in fewer steps; clones
/// share the same endpoints and counts.
///
/// It remembers the plan that it read last, and only looks whether there is a newer one. So it keeps
/// alive what that plan lists, addresses that were removed since among them, until it picks again or is
/// dropped: keep none that is not used.
///
/// # Examples
///
/// ```
/// use stanchion_lb::policy::P2c;
/// use stanchion_lb::{Balancer, Endpoint, PickContext};
///
/// let balancer = Balancer::new(P2c::new());
/// let mut picker = balancer.picker();
/// balancer.update([Endpoint::new("web-1", "10.0.0.1:80")])?;
/// assert_eq!(*picker.pick(&PickContext::new())?.address(), "10.0.0.1:80");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Picker<A> {
    shared: Arc<Shared<A>>,
    plan: Cache<PlanOf<A>, Arc<Plan<A>>>,
}

struct PlanOf<A>(Arc<Shared<A>>);

impl<A> Picker<A> {
    pub(super) fn new(shared: Arc<Shared<A>>) -> Self {
        Self {
            plan: Cache::new(PlanOf(shared.clone())),
            shared,
        }
    }

    /// As [`Balancer::pick`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn pick(&mut self, context: &PickContext<'_>) -> Result<Picked<A>, Unavailable> {
        self.plan.load().pick(context, &self.shared.clock)
    }

    /// The balancer that it picks for.
    #[must_use]
    pub fn balancer(&self) -> Balancer<A> {
        Balancer {
            shared: self.shared.clone(),
        }
    }
}

impl<A> Clone for Picker<A> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
    }
}

impl<A> Clone for PlanOf<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> Deref for PlanOf<A> {
    type Target = ArcSwap<Plan<A>>;

    fn deref(&self) -> &Self::Target {
        &self.0.plan
    }
}

impl<A> fmt::Debug for Picker<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picker")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
