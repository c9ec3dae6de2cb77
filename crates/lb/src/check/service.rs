use std::future::poll_fn;

use tower_service::Service;

use super::{Checked, Probe, Probed};

/// Asks by a tower service, which gets the endpoint as its request. An error is a failed check, and so
/// is a service that is not ready in time.
///
/// Each check calls a clone of the service.
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use stanchion_lb::check::{Probe, Probed, ServiceProbe};
///
/// fn probe() -> impl Probe<u16> {
///     ServiceProbe::new(tower::service_fn(|endpoint: Probed<u16>| async move {
///         Ok::<_, Infallible>(*endpoint.address() == 80)
///     }))
/// }
/// # let _ = probe();
/// ```
#[derive(Clone, Debug)]
pub struct ServiceProbe<S> {
    service: S,
}

impl<S> ServiceProbe<S> {
    /// Asks by `service`.
    #[must_use]
    pub const fn new(service: S) -> Self {
        Self { service }
    }
}

impl<A, S> Probe<A> for ServiceProbe<S>
where
    A: Send + Sync,
    S: Service<Probed<A>, Response: Into<Checked>, Error: Send, Future: Send> + Clone + Send + Sync,
{
    async fn probe(&self, endpoint: Probed<A>) -> Checked {
        ask(self.service.clone(), endpoint).await.into()
    }
}

/// Calls the service when it is ready.
pub(super) async fn ask<S: Service<R>, R>(
    mut service: S,
    request: R,
) -> Result<S::Response, S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}
