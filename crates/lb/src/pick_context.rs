use stanchion_core::Instant;

use crate::EndpointId;

/// What a pick may depend on, beside the endpoints.
///
/// # Examples
///
/// ```
/// use stanchion_lb::PickContext;
///
/// let tried = ["web-1".into()];
/// let context = PickContext::new().with_avoid(&tried);
/// # let _ = context;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    pub(crate) hash: Option<u64>,
    pub(crate) affinity: Option<&'a str>,
    pub(crate) avoid: &'a [EndpointId],
    pub(crate) now: Option<Instant>,
    pub(crate) random: Option<u64>,
}

impl<'a> PickContext<'a> {
    /// Of a call that is like any other.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            hash: None,
            affinity: None,
            avoid: &[],
            now: None,
            random: None,
        }
    }

    /// The hash of the call's key, for policies that go by it. Without one they pick at random.
    #[must_use]
    pub const fn with_hash(mut self, hash: u64) -> Self {
        self.hash = Some(hash);
        self
    }

    /// The endpoint that the call's session is bound to, by its id. It is picked before all others
    /// unless it is unhealthy, ejected, disabled, full, to be avoided, or gone; that it is draining or
    /// has weight 0 does not matter.
    #[must_use]
    pub const fn with_affinity(mut self, id: &'a str) -> Self {
        self.affinity = Some(id);
        self
    }

    /// Endpoints that are not to be picked while there is another, such as those that failed this
    /// call before.
    #[must_use]
    pub const fn with_avoid(mut self, avoid: &'a [EndpointId]) -> Self {
        self.avoid = avoid;
        self
    }

    /// The time, by the balancer's clock. Default: the clock is read where a policy needs it.
    #[must_use]
    pub const fn with_now(mut self, now: Instant) -> Self {
        self.now = Some(now);
        self
    }

    /// Where the random bits of this pick begin, so that it can be repeated. Default: a sequence of
    /// the thread.
    #[must_use]
    pub const fn with_random(mut self, seed: u64) -> Self {
        self.random = Some(seed);
        self
    }
}
