use std::fmt;
use std::ops::RangeInclusive;

use http::{HeaderName, Request, Response, StatusCode};
use tower_service::Service;

use super::service::ask;
use super::{Checked, Probe, Probed};
use crate::InvalidConfig;

/// Asks by a request over HTTP, and passes where the status of the answer is as expected.
///
/// The client is a tower service that you bring, such as hyper's; each check calls a clone of it.
/// The body of the answer is dropped unread, so a client over HTTP/1 may close the connection.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use stanchion_lb::check::{HttpProbe, Probe, Probed};
///
/// fn probe() -> impl Probe<String> {
///     // In place of a client.
///     let client = tower::service_fn(async |_: Request<()>| Ok::<_, ()>(Response::new(())));
///     HttpProbe::new(client, |endpoint: &Probed<String>| {
///         Request::get(format!("http://{}/health", endpoint.address())).body(())
///     })
/// }
/// # let _ = probe();
/// ```
pub struct HttpProbe<S, A, B> {
    client: S,
    request: Box<MakeRequest<A, B>>,
    expected: RangeInclusive<StatusCode>,
    degraded: Option<HeaderName>,
}

type MakeRequest<A, B> = dyn Fn(&Probed<A>) -> Result<Request<B>, http::Error> + Send + Sync;

impl<S, A, B> HttpProbe<S, A, B> {
    /// Asks `client` by what `request` makes for each endpoint. Where it makes none, the check has
    /// failed.
    pub fn new(
        client: S,
        request: impl Fn(&Probed<A>) -> Result<Request<B>, http::Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            client,
            request: Box::new(request),
            expected: StatusCode::OK..=StatusCode::OK,
            degraded: None,
        }
    }

    /// The statuses of an endpoint that is well. Default: 200 alone.
    ///
    /// Envoy's `expected_statuses`.
    ///
    /// # Errors
    ///
    /// If the range is empty.
    pub fn with_expected(
        mut self,
        statuses: RangeInclusive<StatusCode>,
    ) -> Result<Self, InvalidConfig> {
        if statuses.is_empty() {
            let (from, to) = (statuses.start().as_u16(), statuses.end().as_u16());
            return Err(InvalidConfig::new(
                "expected",
                format_args!("{from} to {to}"),
                "a range that is not empty",
            ));
        }
        self.expected = statuses;
        Ok(self)
    }

    /// An answer as expected that has the header `name` says that the endpoint is degraded. Default:
    /// none does.
    ///
    /// Envoy's is `x-envoy-degraded`.
    #[must_use]
    pub fn with_degraded_header(mut self, name: HeaderName) -> Self {
        self.degraded = Some(name);
        self
    }

    fn judge<R>(&self, response: &Response<R>) -> Checked {
        let headers = response.headers();
        if !self.expected.contains(&response.status()) {
            Checked::Failed
        } else if self
            .degraded
            .as_ref()
            .is_some_and(|name| headers.contains_key(name))
        {
            Checked::Degraded
        } else {
            Checked::Passed
        }
    }
}

impl<S, A, B, R> Probe<A> for HttpProbe<S, A, B>
where
    A: Send + Sync,
    B: Send,
    S: Service<Request<B>, Response = Response<R>, Error: Send, Future: Send> + Clone + Send + Sync,
    R: Send,
{
    async fn probe(&self, endpoint: Probed<A>) -> Checked {
        let Ok(request) = (self.request)(&endpoint) else {
            return Checked::Failed;
        };
        let answer = ask(self.client.clone(), request).await;
        answer.map(|response| self.judge(&response)).into()
    }
}

impl<S, A, B> fmt::Debug for HttpProbe<S, A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProbe")
            .field("expected", &self.expected)
            .field("degraded", &self.degraded)
            .finish_non_exhaustive()
    }
}
