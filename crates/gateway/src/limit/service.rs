//! The step of a route's limits.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use stanchion_ratelimit::http::{Note, TooManyRequests};
use stanchion_ratelimit::{Answer, MissingKey, Rejected, Status};
use tower_layer::Layer;
use tower_service::Service;

use super::bucket::{Asked, Decided};
use super::{Grade, Limit, Refuse, SHARED, TierId};
use crate::exchange::{Request, Response};

/// Holds requests to the limits of a route, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct LimitsLayer {
    limits: Arc<[Limit]>,
}

impl LimitsLayer {
    pub(crate) fn new(limits: &[Limit]) -> Self {
        Self {
            limits: limits.into(),
        }
    }
}

impl<S> Layer<S> for LimitsLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited {
            inner,
            limits: self.limits.clone(),
        }
    }
}

/// See [`LimitsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Limited<S> {
    inner: S,
    limits: Arc<[Limit]>,
}

impl<S> Service<Request> for Limited<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut passage = Passage::new(self.limits.clone());
        match passage.advance(&request) {
            Advance::Through => ResponseFuture::Called {
                future: self.inner.call(request),
                passage,
            },
            Advance::Refused(rejected) => ResponseFuture::Refused {
                response: Some(passage.refuse(&rejected, request)),
            },
            Advance::Waiting(waiting) => {
                // The instance that was readied goes with the request.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                ResponseFuture::Waiting {
                    future: Box::pin(wait(passage, waiting, request, inner)),
                }
            }
        }
    }
}

type Waiting = Pin<Box<dyn Future<Output = Decided> + Send>>;

async fn wait<S>(
    mut passage: Passage,
    mut waiting: Waiting,
    request: Request,
    mut inner: S,
) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    loop {
        let decided = waiting.await;
        match passage.go_on(decided, &request) {
            Advance::Through => {
                let response = inner.call(request).await?;
                return Ok(passage.complete(response));
            }
            Advance::Refused(rejected) => return Ok(passage.refuse(&rejected, request)),
            Advance::Waiting(next) => waiting = next,
        }
    }
}

/// One request on its way through the limits.
pub(crate) struct Passage {
    limits: Arc<[Limit]>,
    /// The limit that decides.
    place: usize,
    /// Once it was looked for.
    tier: Option<Option<TierId>>,
    /// What those say that admitted it, in the order of the limits.
    notes: Vec<Note>,
}

enum Advance {
    Through,
    Refused(Rejected),
    Waiting(Waiting),
}

impl Passage {
    fn new(limits: Arc<[Limit]>) -> Self {
        Self {
            notes: Vec::with_capacity(limits.len()),
            limits,
            place: 0,
            tier: None,
        }
    }

    /// Asks the limits from here on, as far as they decide at once.
    fn advance(&mut self, request: &Request) -> Advance {
        while let Some(limit) = self.limits.get(self.place) {
            let tier = limit.0.needs_tier().then(|| {
                let tiers = &limit.0.tiers;
                *self.tier.get_or_insert_with(|| tiers.of(request))
            });
            match limit.ask(request, tier.flatten()) {
                Asked::Known(Ok(status)) => self.admitted(status, tier.flatten()),
                Asked::Known(Err(rejected)) => return Advance::Refused(rejected),
                Asked::Waiting(waiting) => return Advance::Waiting(waiting),
            }
        }
        Advance::Through
    }

    /// Hears what the limit decided that was waited for.
    fn go_on(&mut self, decided: Decided, request: &Request) -> Advance {
        match decided {
            Ok(status) => {
                self.admitted(status, self.tier.flatten());
                self.advance(request)
            }
            Err(rejected) => Advance::Refused(rejected),
        }
    }

    fn admitted(&mut self, status: Option<Status>, tier: Option<TierId>) {
        let answer = &self.grade(tier).answer;
        let note = Answer::<Request, Response, Infallible>::note(answer, status);
        self.notes.push(note);
        self.place += 1;
    }

    fn grade(&self, tier: Option<TierId>) -> &Grade {
        self.limits[self.place].0.grade(tier)
    }

    fn refuse(mut self, rejected: &Rejected, request: Request) -> Response {
        self.limits[self.place].0.metrics.inc();
        let answer = &self.grade(self.tier.flatten()).answer;
        let Ok(response) = Answer::<_, _, Infallible>::refuse(answer, rejected, request);
        self.complete(response)
    }

    /// Tells where the limits stand that admitted the request.
    fn complete(&mut self, response: Response) -> Response {
        let notes = std::mem::take(&mut self.notes).into_iter();
        notes.fold(response, |response, note| complete(note, response))
    }
}

fn complete(note: Note, response: Response) -> Response {
    <TooManyRequests<Refuse> as Answer<Request, Response, Infallible>>::complete(note, response)
}

impl Limit {
    fn ask(&self, request: &Request, tier: Option<TierId>) -> Asked {
        let limit = &*self.0;
        let client = &request.body().origin().client;
        let listed = !limit.config.listed_only || tier.is_some();
        let key = listed.then(|| limit.key.find(request, client)).flatten();
        let bucket = &limit.grade(tier).bucket;
        let wait_max = limit.config.wait_max;
        match key {
            Some(key) => bucket.ask(&key, wait_max),
            None => match limit.config.missing {
                MissingKey::Pass => Asked::Known(Ok(None)),
                MissingKey::Share => bucket.ask(SHARED, wait_max),
                _ => Asked::Known(Err(Rejected::no_key())),
            },
        }
    }
}

pin_project! {
    /// What [`Limited`] returns.
    #[project = Projection]
    pub(crate) enum ResponseFuture<F> {
        /// The inner service was called.
        Called { #[pin] future: F, passage: Passage },
        Refused { response: Option<Response> },
        /// The decision is elsewhere; in a box, since most are not.
        Waiting { future: Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>> },
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Called { future, passage } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(passage.complete(response)))
            }
            Projection::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
            Projection::Waiting { future } => future.as_mut().poll(cx),
        }
    }
}
