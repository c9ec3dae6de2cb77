//! A service that answers what the test says and remembers what it was asked.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tower_service::Service;

use crate::waiters::{Waiter, Waiters};

/// Requests kept by a recording probe.
const REQUESTS_MAX: usize = 65_536;

type Answer<Req, Res, Err> = Arc<dyn Fn(Req) -> Result<Res, Err> + Send + Sync>;

/// Answers at once with what the test says, counts its calls, and records requests when asked.
///
/// Clones share everything. It does not mind how it is called: wrap it in
/// [`Strict`](crate::Strict) for that. A call allocates nothing, except to record.
pub struct Probe<Req, Res, Err> {
    shared: Arc<Mutex<Shared<Req, Res, Err>>>,
    waiters: Waiters,
    waiter: Waiter,
}

struct Shared<Req, Res, Err> {
    calls: usize,
    /// How to copy a request for the records; `None` when none are kept.
    copy: Option<fn(&Req) -> Req>,
    requests: Vec<Req>,
    answer: Answer<Req, Res, Err>,
    readiness: Readiness<Err>,
}

enum Readiness<Err> {
    Ready,
    NotReady,
    Failed(Arc<dyn Fn() -> Err + Send + Sync>),
}

impl<Req, Res, Err> Probe<Req, Res, Err> {
    /// Answers each request with what `answer` says.
    pub fn answering(answer: impl Fn(Req) -> Result<Res, Err> + Send + Sync + 'static) -> Self {
        let waiters = Waiters::default();
        Self {
            shared: Arc::new(Mutex::new(Shared {
                calls: 0,
                copy: None,
                requests: Vec::new(),
                answer: Arc::new(answer),
                readiness: Readiness::Ready,
            })),
            waiter: waiters.waiter(),
            waiters,
        }
    }

    /// Answers each request with `response`.
    pub fn replying(response: Res) -> Self
    where
        Res: Clone + Send + Sync + 'static,
    {
        Self::answering(move |_| Ok(response.clone()))
    }

    /// Fails each request with what `error` makes.
    pub fn failing(error: impl Fn() -> Err + Send + Sync + 'static) -> Self {
        Self::answering(move |_| Err(error()))
    }

    /// Keeps a copy of each request from now on, 65,536 at most; none by default.
    #[must_use]
    pub fn recording(self) -> Self
    where
        Req: Clone,
    {
        self.shared.lock().copy = Some(Req::clone);
        self
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.lock().calls
    }

    /// Takes the requests out that were [recorded](Self::recording), oldest first.
    ///
    /// # Panics
    /// When the probe does not record.
    #[must_use]
    pub fn take_requests(&self) -> Vec<Req> {
        let mut shared = self.shared.lock();
        assert!(
            shared.copy.is_some(),
            "the probe keeps no requests: make it with `.recording()`"
        );
        std::mem::take(&mut shared.requests)
    }

    /// Answers with what `answer` says from now on.
    pub fn answer_with(&self, answer: impl Fn(Req) -> Result<Res, Err> + Send + Sync + 'static) {
        let answer: Answer<Req, Res, Err> = Arc::new(answer);
        let old = std::mem::replace(&mut self.shared.lock().answer, answer);
        drop(old);
    }

    /// Makes `poll_ready` wait until [`ready`](Self::ready).
    pub fn not_ready(&self) {
        self.set(Readiness::NotReady);
    }

    /// Makes `poll_ready` ready again and wakes who waited.
    pub fn ready(&self) {
        self.set(Readiness::Ready);
    }

    /// Makes `poll_ready` fail with what `error` makes, and wakes who waited.
    pub fn fail_readiness(&self, error: impl Fn() -> Err + Send + Sync + 'static) {
        self.set(Readiness::Failed(Arc::new(error)));
    }

    fn set(&self, readiness: Readiness<Err>) {
        let old = std::mem::replace(&mut self.shared.lock().readiness, readiness);
        drop(old);
        self.waiters.wake_all();
    }
}

impl<Req, Res, Err> Clone for Probe<Req, Res, Err> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            waiter: self.waiters.waiter(),
            waiters: self.waiters.clone(),
        }
    }
}

impl<Req, Res, Err> fmt::Debug for Probe<Req, Res, Err> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl<Req, Res, Err> Service<Req> for Probe<Req, Res, Err> {
    type Response = Res;
    type Error = Err;
    type Future = Ready<Result<Res, Err>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Err>> {
        // The waker is left while the lock is held, so that no change falls in between.
        let shared = self.shared.lock();
        let error = match &shared.readiness {
            Readiness::Ready => return Poll::Ready(Ok(())),
            Readiness::NotReady => {
                self.waiter.wait(cx.waker());
                return Poll::Pending;
            }
            Readiness::Failed(error) => Arc::clone(error),
        };
        drop(shared);
        Poll::Ready(Err(error()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut shared = self.shared.lock();
        shared.calls += 1;
        if let Some(copy) = shared.copy
            && shared.requests.len() < REQUESTS_MAX
        {
            shared.requests.push(copy(&request));
        }
        let answer = Arc::clone(&shared.answer);
        drop(shared);
        ready(answer(request))
    }
}
