//! Active checks: endpoints are asked, in intervals, whether they are well.
//!
//! [`Balancer::check`](crate::Balancer::check) asks by a [`Probe`]: [`TcpProbe`] (feature `tokio`),
//! [`ServiceProbe`] (`tower`), [`HttpProbe`] (`http`), or a closure.
//!
//! ```text
//! unknown    the first result decides
//! up         `fall` failures in a row  -> unhealthy
//! down       `rise` passes in a row    -> healthy, or degraded as the last one says
//! ```

mod config;
mod driver;
#[cfg(feature = "http")]
mod http;
mod machine;
mod schedule;
#[cfg(feature = "tower")]
mod service;
mod tcp;

use std::fmt;
use std::sync::Arc;

pub use config::Checks;
#[cfg(feature = "http")]
pub use http::HttpProbe;
#[cfg(feature = "tower")]
pub use service::ServiceProbe;
pub use tcp::TcpProbe;

use crate::counted::Kept;
use crate::node::Node;
use crate::{Attributes, EndpointId};

/// Asks an endpoint whether it is well.
///
/// Closures are probes; they answer a [`Checked`], a `Result`, or a `bool`:
///
/// ```
/// use stanchion_lb::check::{Probe, Probed};
///
/// fn probe() -> impl Probe<String> {
///     |endpoint: Probed<String>| async move { endpoint.address().ends_with(":80") }
/// }
/// # let _ = probe();
/// ```
pub trait Probe<A> {
    /// Asks once. When it takes longer than [`Checks::with_timeout`], it is dropped, and the check has
    /// failed.
    fn probe(&self, endpoint: Probed<A>) -> impl Future<Output = Checked> + Send;
}

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete by nature: what is used, used last, or not"
)]
pub enum Checked {
    /// The endpoint is well.
    Passed,
    /// The endpoint works, and says that it is not at its best.
    Degraded,
    /// The endpoint is not well, did not answer, or not in time.
    Failed,
}

/// The endpoint that a probe asks; clones are of the same.
pub struct Probed<A> {
    node: Kept<Node<A>>,
}

impl<A, F, Answer, C> Probe<A> for F
where
    F: Fn(Probed<A>) -> Answer,
    Answer: Future<Output = C> + Send,
    C: Into<Checked>,
{
    fn probe(&self, endpoint: Probed<A>) -> impl Future<Output = Checked> + Send {
        let answer = self(endpoint);
        async { answer.await.into() }
    }
}

impl<A> Probed<A> {
    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.node.id
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> &A {
        &self.node.address
    }

    /// What else is known of it, as it was described last.
    #[must_use]
    pub fn attributes(&self) -> Arc<Attributes> {
        self.node.attributes.load_full()
    }
}

impl From<()> for Checked {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

impl From<bool> for Checked {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

impl<C: Into<Self>, E> From<Result<C, E>> for Checked {
    fn from(result: Result<C, E>) -> Self {
        result.map_or(Self::Failed, Into::into)
    }
}

impl<A> Clone for Probed<A> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
        }
    }
}

impl<A> fmt::Debug for Probed<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probed").field(self.id()).finish()
    }
}
