//! The balancer as a tower service.

mod answer;
mod call;
pub(crate) mod connect;
mod future;
mod patience;
mod route;
mod waiting;

use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_core::KeyExtractor;
use tower_service::Service;

#[cfg(feature = "http")]
use crate::affinity::{BySession, Telling};
use crate::{Balancer, Picked};

pub use answer::{Answer, BoxError, Fail, Rejected, RespondWith};
pub use connect::{Backend, Connect, Connecting, FromBackend};
pub use future::ResponseFuture;
pub use patience::Patience;
pub use route::{Anywhere, ByAffinity, ByHash, Route};
use stanchion_judge::Closure;
#[cfg(feature = "http")]
pub use stanchion_judge::{AtEnd, JudgedBody};
pub use stanchion_judge::{ByResult, Classified, Judge, RetryAfter};
use waiting::Places;

/// Sends each request to the endpoint that a [`Balancer`] picks for it; clones share the balancer.
///
/// `call` picks, takes a clone of the endpoint's service and calls that: by `&self`, without a lock,
/// and without an allocation beside what the clone may need. So the service must be `Clone`, and
/// clones of it must share their connections.
///
/// The service is always ready; back-pressure stops here, and a refusal is an answer to the request,
/// never a wait. Where the clone is not ready at once, the response future awaits it, as long as its
/// [`Patience`] allows, and then picks another endpoint: nothing was sent yet, so that is safe. The
/// same where its `poll_ready` fails. Once the endpoint's service was called, its answer stands.
///
/// The call counts as in flight at its endpoint until the response is there, or with
/// `classify_body` (feature `http`) until its body has ended.
///
/// # Errors
///
/// The inner service's error, or [`Rejected`], found in the [`BoxError`] with `downcast_ref`;
/// [`respond_with`](Self::respond_with) answers instead.
///
/// # Examples
///
/// ```
/// use stanchion_lb::policy::P2c;
/// use stanchion_lb::{Backend, Balance, Balancer, Endpoint, Rejected};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let client = service_fn(|request: u32| async move { Ok::<u32, std::io::Error>(request * 2) });
/// let balancer = Balancer::new(P2c::new());
/// let balance = Balance::new(balancer.clone());
///
/// let error = balance.clone().oneshot(21).await.unwrap_err();
/// assert!(error.downcast_ref::<Rejected>().is_some());
///
/// balancer.update([
///     Endpoint::new("web-1", Backend::new("10.0.0.1:80", client)),
///     Endpoint::new("web-2", Backend::new("10.0.0.2:80", client)),
/// ])?;
/// assert_eq!(balance.oneshot(21).await?, 42);
/// # Ok(())
/// # }
/// ```
pub struct Balance<A, C = FromBackend, R = Anywhere, J = ByResult, W = Fail> {
    balancer: Balancer<A>,
    connect: C,
    route: R,
    judge: J,
    answer: W,
    patience: Patience,
    places: Places,
}

impl<A, S> Balance<Backend<A, S>> {
    /// Calls the service that each endpoint's address brings with it.
    #[must_use]
    pub fn new(balancer: Balancer<Backend<A, S>>) -> Self {
        Self::over(balancer, FromBackend)
    }
}

impl<A, F> Balance<A, Connecting<F>> {
    /// Calls the service that `connect` makes for an endpoint's address, at each call anew: a pool's
    /// handle, say, that knows where to go.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_lb::policy::P2c;
    /// use stanchion_lb::{Balance, Balancer, Endpoint};
    /// use tower::{ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let balancer = Balancer::new(P2c::new());
    /// balancer.update([Endpoint::new("web-1", "10.0.0.1:80")])?;
    /// let balance = Balance::connecting(balancer, |address: &&'static str| {
    ///     let address = *address;
    ///     service_fn(move |path: &str| {
    ///         let url = format!("http://{address}{path}");
    ///         async move { Ok::<String, std::io::Error>(url) }
    ///     })
    /// });
    /// assert_eq!(balance.oneshot("/").await?, "http://10.0.0.1:80/");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connecting<S>(balancer: Balancer<A>, connect: F) -> Self
    where
        F: Fn(&A) -> S,
    {
        Self::over(balancer, Connecting::new(connect))
    }
}

impl<A, C> Balance<A, C> {
    pub(crate) fn over(balancer: Balancer<A>, connect: C) -> Self {
        Self {
            balancer,
            connect,
            route: Anywhere,
            judge: ByResult,
            answer: Fail,
            patience: Patience::default(),
            places: Places::default(),
        }
    }
}

impl<A, C, R, J, W> Balance<A, C, R, J, W> {
    /// How long, how many and how often calls wait for an endpoint that is not ready. The number of
    /// those who wait is counted over all clones. Default: as [`Patience::default`].
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The balancer that picks.
    #[must_use]
    pub fn balancer(&self) -> &Balancer<A> {
        &self.balancer
    }

    /// How many calls wait now for their endpoint to become ready, of all clones together.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.taken()
    }

    /// Hashes the key that `extractor` finds in a request, for policies that go by it; clones share
    /// the extractor. A request without a key goes where the policy sends such.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_lb::policy::P2c;
    /// use stanchion_lb::{Backend, Balance, Balancer};
    ///
    /// struct Request { user: String }
    /// # type Client = ();
    /// let balancer: Balancer<Backend<&str, Client>> = Balancer::new(P2c::new());
    /// let balance = Balance::new(balancer).hash_by(|request: &Request| Some(request.user.clone()));
    /// # let _ = balance;
    /// ```
    #[must_use]
    pub fn hash_by<E, Req>(self, extractor: E) -> Balance<A, C, ByHash<E, R>, J, W>
    where
        E: KeyExtractor<Req, Key: AsRef<[u8]>>,
    {
        self.route(|route| ByHash::new(extractor, route))
    }

    /// Binds a request to the endpoint whose id `extractor` finds in it, while that is there and
    /// fit; clones share the extractor.
    #[must_use]
    pub fn affinity_by<E, Req>(self, extractor: E) -> Balance<A, C, ByAffinity<E, R>, J, W>
    where
        E: KeyExtractor<Req, Key: AsRef<str>>,
    {
        self.route(|route| ByAffinity::new(extractor, route))
    }

    /// Reads from a response or an error how long the endpoint asks to be left alone
    /// (`Retry-After`); policies that go by latency heed it. Comes after the classifier.
    #[must_use]
    pub fn retry_after<F, Res, Err>(self, read: F) -> Balance<A, C, R, RetryAfter<J, F>, W>
    where
        F: Fn(Result<&Res, &Err>) -> Option<Duration>,
    {
        self.judge(|judge| RetryAfter::new(judge, read))
    }

    /// Binds requests to the endpoints of their sessions, which a
    /// [`StickyLayer`](crate::affinity::StickyLayer) around it finds in their cookies, and tells that
    /// layer who answered. Comes after the classifier.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn sticky(self) -> Balance<A, C, ByAffinity<BySession, R>, Telling<J>, W> {
        self.route(|route| ByAffinity::new(BySession, route))
            .judge(Telling::new)
    }

    /// Answers a refused request with `respond(&rejected, request)` instead of an error, and leaves
    /// the inner service's error type as it is; clones share the closure.
    #[must_use]
    pub fn respond_with<F>(self, respond: F) -> Balance<A, C, R, J, RespondWith<F>> {
        Balance {
            balancer: self.balancer,
            connect: self.connect,
            route: self.route,
            judge: self.judge,
            answer: RespondWith::new(respond),
            patience: self.patience,
            places: self.places,
        }
    }

    fn route<T>(self, make: impl FnOnce(R) -> T) -> Balance<A, C, T, J, W> {
        Balance {
            balancer: self.balancer,
            connect: self.connect,
            route: make(self.route),
            judge: self.judge,
            answer: self.answer,
            patience: self.patience,
            places: self.places,
        }
    }

    fn judge<K>(self, make: impl FnOnce(J) -> K) -> Balance<A, C, R, K, W> {
        Balance {
            balancer: self.balancer,
            connect: self.connect,
            route: self.route,
            judge: make(self.judge),
            answer: self.answer,
            patience: self.patience,
            places: self.places,
        }
    }
}

impl<A, C, R, W> Balance<A, C, R, ByResult, W> {
    /// Judges responses and errors by `classifier`; clones share it. Default: responses are
    /// successes, errors failures.
    ///
    /// What it defers to the end of the body is asked when the head is there, as of a body that was
    /// complete; `classify_body` (feature `http`) waits for that end.
    #[must_use]
    pub fn classify<K>(self, classifier: K) -> Balance<A, C, R, Classified<K>, W> {
        self.judge(|_| Classified::new(classifier))
    }

    /// Judges responses and errors by `classifier`; clones share it. The call counts as in flight
    /// until the response's body has ended, broken or been dropped; what the classifier defers is
    /// asked then.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Response;
    /// use stanchion_core::{Classify, Outcome, Verdict};
    /// use stanchion_lb::policy::P2c;
    /// use stanchion_lb::{Backend, Balance, Balancer};
    ///
    /// struct ByStatus;
    /// impl<B, E> Classify<Response<B>, E> for ByStatus {
    ///     fn classify(&self, result: Result<&Response<B>, &E>) -> Verdict {
    ///         match result {
    ///             Ok(response) if response.status().is_server_error() => Outcome::Failure.into(),
    ///             Ok(_) => Verdict::AtEnd,
    ///             Err(_) => Outcome::Failure.into(),
    ///         }
    ///     }
    /// }
    /// # type Client = ();
    /// let balancer: Balancer<Backend<&str, Client>> = Balancer::new(P2c::new());
    /// let balance = Balance::new(balancer).classify_body(ByStatus);
    /// # let _ = balance;
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn classify_body<K>(self, classifier: K) -> Balance<A, C, R, AtEnd<K>, W> {
        self.judge(|_| AtEnd::new(classifier))
    }
}

impl<A, C, R, J, W, Req> Service<Req> for Balance<A, C, R, J, W>
where
    C: Connect<A, Service: Service<Req>> + Clone,
    R: Route<Req> + Clone,
    J: Judge<Picked<A>, Response<C, A, Req>, Error<C, A, Req>> + Clone,
    W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>> + Clone,
{
    type Response = J::Response;
    type Error = W::Error;
    type Future = ResponseFuture<A, C, R, J, W, Req>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), W::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let picked = match self.route.pick(&self.balancer, &request, &[]) {
            Ok(picked) => picked,
            Err(unavailable) => {
                let rejected = Rejected::Unavailable(unavailable);
                return ResponseFuture::refused(self.answer.refuse(&rejected, request));
            }
        };
        let mut service = self.connect.connect(picked.address());
        // Nobody is woken by this one: what is not ready is asked again by the future.
        let readiness = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        match readiness {
            Poll::Ready(Ok(())) => {
                ResponseFuture::calling(service.call(request), picked, self.judge.clone())
            }
            Poll::Ready(Err(error)) => {
                ResponseFuture::waiting(self.clone(), service, request, picked, Some(error))
            }
            Poll::Pending => ResponseFuture::waiting(self.clone(), service, request, picked, None),
        }
    }
}

/// What the service of an endpoint answers.
type Response<C, A, Req> = <<C as Connect<A>>::Service as Service<Req>>::Response;

/// What the service of an endpoint fails with.
type Error<C, A, Req> = <<C as Connect<A>>::Service as Service<Req>>::Error;

impl<A, C: Clone, R: Clone, J: Clone, W: Clone> Clone for Balance<A, C, R, J, W> {
    fn clone(&self) -> Self {
        Self {
            balancer: self.balancer.clone(),
            connect: self.connect.clone(),
            route: self.route.clone(),
            judge: self.judge.clone(),
            answer: self.answer.clone(),
            patience: self.patience,
            places: self.places.clone(),
        }
    }
}

impl<A, C, R, J, W> fmt::Debug for Balance<A, C, R, J, W>
where
    C: fmt::Debug,
    R: fmt::Debug,
    J: fmt::Debug,
    W: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("balancer", &self.balancer)
            .field("connect", &self.connect)
            .field("route", &self.route)
            .field("judge", &self.judge)
            .field("answer", &self.answer)
            .field("patience", &self.patience)
            .field("waiting", &self.waiting())
            .finish()
    }
}
