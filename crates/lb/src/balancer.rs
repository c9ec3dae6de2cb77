mod change;
mod picker;
mod shared;
mod snapshot;
#[cfg(feature = "tokio")]
mod upkeep;

use std::fmt;
use std::sync::Arc;

use stanchion_core::{Clock, Instant, Observe};

use crate::policy::{InvalidTable, Policy};
use crate::{
    Config, Endpoint, Event, Health, InvalidEndpoints, Mark, PickContext, Picked, Unavailable,
};
pub use picker::Picker;
pub(crate) use shared::Shared;
pub use shared::Updated;
pub use snapshot::{EndpointSnapshot, LevelSnapshot, Snapshot};

/// Picks an endpoint for each call; clones share the same endpoints and counts.
///
/// `A` is where an endpoint is reached: a socket address, a pool of connections, a service.
///
/// A pick takes no lock and allocates nothing. What a pick reads is one plan, which changes of
/// endpoints, their health, the policy or the configuration build anew and swap in whole, on the
/// thread that makes the change. What is running (calls in flight, latencies, health) stays with its
/// endpoint.
///
/// # Examples
///
/// ```
/// use stanchion_core::Outcome;
/// use stanchion_lb::policy::P2c;
/// use stanchion_lb::{Balancer, Endpoint, Mark, PickContext, Unavailable};
///
/// let balancer = Balancer::new(P2c::new());
/// balancer.update([
///     Endpoint::new("web-1", "10.0.0.1:80"),
///     Endpoint::new("web-2", "10.0.0.2:80"),
/// ])?;
/// let picked = balancer.pick(&PickContext::new())?;
/// // … call picked.address() …
/// picked.record(Outcome::Success);
///
/// balancer.mark("web-1", Mark::Drain);
/// assert_eq!(balancer.pick(&PickContext::new())?.id().as_str(), "web-2");
/// balancer.mark("web-2", Mark::Disable);
/// let unavailable = balancer.pick(&PickContext::new()).unwrap_err();
/// assert_eq!(unavailable, Unavailable::NoEndpoints);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Balancer<A> {
    shared: Arc<Shared<A>>,
}

impl<A> Balancer<A> {
    /// A balancer without endpoints, on the system's clock, with the default configuration.
    #[must_use]
    pub fn new(policy: impl Policy<A> + 'static) -> Self {
        Self {
            shared: Arc::new(Shared::new(
                Arc::new(policy),
                Config::default(),
                Clock::system(),
                None,
            )),
        }
    }

    /// A balancer with this one's policy and configuration that reads `clock`, and has no endpoints
    /// yet. Default: [`Clock::system`].
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let (policy, config) = self.shared.settings();
        let observer = self.shared.observer.clone();
        Self {
            shared: Arc::new(Shared::new(policy, config, clock, observer)),
        }
    }

    /// A balancer with this one's policy and configuration that tells `observer` what happens, and
    /// has no endpoints yet. Default: nobody.
    #[must_use]
    pub fn with_observer(self, observer: impl Observe<Event> + Send + Sync + 'static) -> Self {
        let (policy, config) = self.shared.settings();
        let (clock, observer) = (self.shared.clock.clone(), Arc::new(observer));
        Self {
            shared: Arc::new(Shared::new(policy, config, clock, Some(observer))),
        }
    }

    /// This balancer, for all who share it, with another configuration from now on. Default: as
    /// [`Config::default`].
    #[must_use]
    pub fn with_config(self, config: Config) -> Self {
        self.set_config(config);
        self
    }

    /// Picks the endpoint that a call goes to, and counts the call there until the
    /// [`Picked`] is dropped. Never waits.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], if nothing can be picked. While any endpoint is fit and not full, one is.
    ///
    /// # Complexity
    ///
    /// That of the policy, and no lock and no allocation; a scan of all endpoints only where the
    /// policy's choice is refused several times, because endpoints are full or to be avoided. While an
    /// endpoint is ejected or starts slowly, and nobody drives [`upkeep`](Self::upkeep), a pick reads
    /// the clock too, and the first one after the time plans anew.
    #[inline]
    pub fn pick(&self, context: &PickContext<'_>) -> Result<Picked<A>, Unavailable> {
        self.shared.pick(context)
    }

    /// A way to this balancer that picks in fewer steps, for one thread or one connection.
    #[must_use]
    pub fn picker(&self) -> Picker<A> {
        Picker::new(self.shared.clone())
    }

    /// Replaces all endpoints. Those that are there already (by id, incarnation and address) keep
    /// their calls in flight, latency and health; calls to those that are gone end as they would.
    ///
    /// No endpoints at all are allowed; picks then tell [`Unavailable::NoEndpoints`].
    ///
    /// # Errors
    ///
    /// If two have the same id, there are more than [`ENDPOINTS_MAX`](crate::ENDPOINTS_MAX), or the
    /// policy can make no table of them; nothing has changed then.
    ///
    /// # Complexity
    ///
    /// O(n log n), and what the policy takes to build its table; picks go on meanwhile.
    pub fn update(
        &self,
        endpoints: impl IntoIterator<Item = Endpoint<A>>,
    ) -> Result<Updated, InvalidEndpoints>
    where
        A: PartialEq,
    {
        self.shared.update(endpoints.into_iter().collect(), None)
    }

    /// Replaces all endpoints, as [`update`](Self::update) does, and the policy, in one change.
    ///
    /// # Errors
    ///
    /// As there; then the policy has not changed either.
    pub fn update_with_policy(
        &self,
        endpoints: impl IntoIterator<Item = Endpoint<A>>,
        policy: impl Policy<A> + 'static,
    ) -> Result<Updated, InvalidEndpoints>
    where
        A: PartialEq,
    {
        let endpoints = endpoints.into_iter().collect();
        self.shared.update(endpoints, Some(Arc::new(policy)))
    }

    /// Tells what one party knows, or wants, of the endpoint `id`; the parties do not undo each
    /// other's marks. Returns its health as it is now, or `None` if there is no such endpoint.
    #[expect(clippy::must_use_candidate, reason = "most who mark know the rest")]
    pub fn mark(&self, id: &str, mark: Mark) -> Option<Health> {
        self.shared.mark(id, mark)
    }

    /// The health of the endpoint `id`, or `None` if there is no such endpoint.
    #[must_use]
    pub fn health(&self, id: &str) -> Option<Health> {
        self.shared.health(id)
    }

    /// Goes on by another policy.
    ///
    /// # Errors
    ///
    /// If that can make no table of the endpoints; nothing has changed then.
    pub fn set_policy(&self, policy: impl Policy<A> + 'static) -> Result<(), InvalidTable> {
        self.shared.set_policy(Arc::new(policy))
    }

    /// Goes on by another configuration.
    pub fn set_config(&self, config: Config) {
        self.shared.set_config(config);
    }

    /// The clock that it reads.
    #[cfg(any(feature = "discover", feature = "tower"))]
    pub(crate) fn clock(&self) -> &Clock {
        self.shared.clock()
    }

    /// Does what has become due by time alone, and tells when something will be next, unless endpoints,
    /// their health or the configuration change before: lets ejected endpoints in again, has those
    /// that start slowly go on, and applies those rules of [`Outliers`](crate::Outliers) that go by
    /// interval. For who has a loop of his own, or no tokio; else there is `upkeep`.
    ///
    /// # Complexity
    ///
    /// O(1) while nothing is due; else O(n).
    #[expect(
        clippy::must_use_candidate,
        reason = "a loop may have times of its own"
    )]
    pub fn catch_up(&self) -> Instant {
        self.shared.catch_up()
    }

    /// A handle that does not keep it alive.
    #[cfg(feature = "discover")]
    pub(crate) fn downgrade(&self) -> WeakBalancer<A> {
        WeakBalancer {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// All endpoints and levels in plain numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn shared(&self) -> &Arc<Shared<A>> {
        &self.shared
    }
}

/// A balancer that this does not keep alive.
#[cfg(feature = "discover")]
pub(crate) struct WeakBalancer<A> {
    shared: std::sync::Weak<Shared<A>>,
}

#[cfg(feature = "discover")]
impl<A> WeakBalancer<A> {
    /// The balancer, while anybody else has a handle of it.
    pub(crate) fn upgrade(&self) -> Option<Balancer<A>> {
        let shared = self.shared.upgrade()?;
        Some(Balancer { shared })
    }
}

impl<A> Clone for Balancer<A> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<A> fmt::Debug for Balancer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("shared", &self.shared)
            .finish()
    }
}
