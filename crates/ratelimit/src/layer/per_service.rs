use tower_layer::Layer;

use super::{AsyncRateLimitLayer, RateLimitLayer};
use private::Anew;

/// Makes services that share nothing with each other, from
/// [`RateLimitLayer::per_service`] or [`AsyncRateLimitLayer::per_service`].
///
/// Each call of `layer` begins with a limiter of its own: the same policy, clock and observer, with
/// nothing used. Clones of one service share it.
#[must_use = "a layer does nothing until it wraps a service"]
#[derive(Clone, Debug)]
pub struct PerService<T> {
    layer: T,
}

impl<L: Anew, A, R> RateLimitLayer<L, A, R> {
    /// Gives each service that is made from here on a limiter of its own. Default: all share one.
    ///
    /// axum makes a service for each route, so that is a limit for each route.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use stanchion_ratelimit::{Quota, RateLimitLayer};
    /// use tower::Layer;
    ///
    /// let quota = Quota::new(1, Duration::from_secs(60))?;
    /// let layer = RateLimitLayer::new(quota).per_service();
    /// let (one, other) = (layer.layer("one"), layer.layer("other"));
    /// # let _ = (one, other);
    /// # Ok::<(), stanchion_ratelimit::InvalidQuota>(())
    /// ```
    pub fn per_service(self) -> PerService<Self> {
        PerService { layer: self }
    }
}

impl<L: Anew, E, A, R> AsyncRateLimitLayer<L, E, A, R> {
    /// Gives each service that is made from here on a limiter of its own; see
    /// [`RateLimitLayer::per_service`].
    pub fn per_service(self) -> PerService<Self> {
        PerService { layer: self }
    }
}

impl<S, T: Anew + Layer<S>> Layer<S> for PerService<T> {
    type Service = T::Service;

    fn layer(&self, inner: S) -> T::Service {
        self.layer.anew().layer(inner)
    }
}

pub(crate) mod private {
    /// What can begin again with nothing used.
    #[expect(unnameable_types, reason = "what seals a trait cannot be named")]
    pub trait Anew {
        /// The same with state of its own.
        #[must_use]
        fn anew(&self) -> Self;
    }
}

impl<L: Anew, A: Clone, R: Clone> Anew for RateLimitLayer<L, A, R> {
    fn anew(&self) -> Self {
        Self {
            limit: self.limit.anew(),
            answer: self.answer.clone(),
            readiness: self.readiness.clone(),
        }
    }
}

impl<L: Anew, E, A: Clone, R: Clone> Anew for AsyncRateLimitLayer<L, E, A, R> {
    fn anew(&self) -> Self {
        self.with_limiter(self.limiter().anew())
    }
}
