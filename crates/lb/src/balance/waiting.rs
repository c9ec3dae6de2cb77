//! Calls whose endpoint is not ready yet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use stanchion_core::{Outcome, Sleep};
use tower_service::Service;

use super::{Answer, Balance, Connect, Error, Judge, Rejected, Response, Route};
use crate::{EndpointId, Picked};

pin_project! {
    /// Awaits the readiness of the picked endpoint, and of others after it.
    pub(super) struct Waiting<A, C, R, J, W, Req>
    where
        C: Connect<A>,
        C::Service: Service<Req>,
    {
        balance: Balance<A, C, R, J, W>,
        service: C::Service,
        // Taken when the service is called, or the request refused.
        request: Option<Req>,
        // Taken when the endpoint is given up, or called.
        picked: Option<Picked<A>>,
        // What the service failed with when it was asked before this future was polled.
        failed: Option<<C::Service as Service<Req>>::Error>,
        // Those that were given up.
        tried: Vec<EndpointId>,
        place: Option<Place>,
        // How long this endpoint may still take.
        #[pin]
        sleep: Option<Sleep>,
    }
}

/// How the wait ended.
pub(super) enum Waited<A, F, Res, E> {
    /// The request was sent there.
    Called(F, Picked<A>),
    /// It was not sent.
    Over(Result<Res, E>),
}

impl<A, C, R, J, W, Req> Waiting<A, C, R, J, W, Req>
where
    C: Connect<A, Service: Service<Req>>,
{
    pub(super) fn new(
        balance: Balance<A, C, R, J, W>,
        service: C::Service,
        request: Req,
        picked: Picked<A>,
        failed: Option<Error<C, A, Req>>,
    ) -> Self {
        Self {
            balance,
            service,
            request: Some(request),
            picked: Some(picked),
            failed,
            tried: Vec::new(),
            place: None,
            sleep: None,
        }
    }

    pub(super) fn judge(&self) -> &J {
        &self.balance.judge
    }

    #[expect(clippy::type_complexity, reason = "each part is a named one")]
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Waited<A, <C::Service as Service<Req>>::Future, Response<C, A, Req>, W::Error>>
    where
        R: Route<Req>,
        J: Judge<Picked<A>, Response<C, A, Req>, Error<C, A, Req>>,
        W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>>,
    {
        let mut this = self.project();
        loop {
            let readiness = match this.failed.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => this.service.poll_ready(cx),
            };
            let gave_up = match readiness {
                Poll::Ready(Ok(())) => {
                    let request = this.request.take().expect("a request is called once");
                    let picked = this.picked.take().expect("an endpoint is called once");
                    let future = this.service.call(request);
                    return Poll::Ready(Waited::Called(future, picked));
                }
                Poll::Ready(Err(error)) => Some(error),
                Poll::Pending => {
                    if this.place.is_none() {
                        *this.place = this.balance.places.take(this.balance.patience.max_pending);
                    }
                    if this.place.is_none() {
                        let request = this.request.take().expect("a request is refused once");
                        let refused = this
                            .balance
                            .answer
                            .refuse(&Rejected::TooManyPending, request);
                        drop(this.picked.take());
                        return Poll::Ready(Waited::Over(refused));
                    }
                    if this.sleep.is_none() {
                        let within = this.balance.patience.ready_within;
                        let sleep = this.balance.balancer.clock().sleep(within);
                        this.sleep.set(Some(sleep));
                    }
                    let sleep = this.sleep.as_mut().as_pin_mut();
                    ready!(sleep.expect("it was set above").poll(cx));
                    None
                }
            };
            this.sleep.set(None);

            let picked = this.picked.take().expect("an endpoint is given up once");
            this.tried.push(picked.id().clone());
            match &gave_up {
                Some(error) => this.balance.judge.fail(picked, None, error),
                // It may be busy; it did not fail.
                None => picked.record(Outcome::Overload),
            }
            let request = this.request.as_ref().expect("the request was not sent yet");
            match next(this.balance, request, this.tried) {
                Some(picked) => {
                    *this.service = this.balance.connect.connect(picked.address());
                    *this.picked = Some(picked);
                }
                None => {
                    let request = this.request.take().expect("a request is refused once");
                    let refused = match gave_up {
                        Some(error) => Err(W::error(error)),
                        None => this.balance.answer.refuse(&Rejected::NotReady, request),
                    };
                    return Poll::Ready(Waited::Over(refused));
                }
            }
        }
    }
}

/// An endpoint that was not tried yet, if there is one and the patience allows.
fn next<A, C, R, J, W, Req>(
    balance: &Balance<A, C, R, J, W>,
    request: &Req,
    tried: &[EndpointId],
) -> Option<Picked<A>>
where
    R: Route<Req>,
{
    if tried.len() >= usize::from(balance.patience.picks_max) {
        return None;
    }
    let picked = balance.route.pick(&balance.balancer, request, tried).ok()?;
    // Where there is no other, a pick takes what was to be avoided.
    (!tried.contains(picked.id())).then_some(picked)
}

/// Counts those who wait; clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
}

impl Places {
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, max: usize) -> Option<Place> {
        let one_more = |taken: usize| (taken < max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Place {
            taken: self.taken.clone(),
        })
    }
}

/// The place of one who waits, given back on drop.
#[derive(Debug)]
struct Place {
    taken: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
