use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::waiting::{Waited, Waiting};
use super::{Answer, Balance, Connect, Error, Judge, Response, Route};
use crate::Picked;

pin_project! {
    /// The response of a [`Balance`].
    ///
    /// A call whose endpoint is ready at once allocates nothing here; one that has to wait does so in
    /// a box.
    ///
    /// # Panics
    ///
    /// When polled again after it is complete; and, where a call has to wait, when polled outside a
    /// tokio runtime with its timer enabled (not on a manual clock).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner call, which is over then and says nothing of its endpoint, or
    /// gives up the place of one who waits.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<A, C, R, J, W, Req>
    where
        C: Connect<A>,
        C::Service: Service<Req>,
        W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>>,
    {
        #[pin]
        state: State<A, C, R, J, W, Req>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<A, C, R, J, W, Req>
    where
        C: Connect<A>,
        C::Service: Service<Req>,
        W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>>,
    {
        Refused { answer: Option<Result<Response<C, A, Req>, W::Error>> },
        Waiting { waiting: Pin<Box<Waiting<A, C, R, J, W, Req>>> },
        Calling {
            #[pin]
            future: <C::Service as Service<Req>>::Future,
            call: Option<(Picked<A>, J)>,
        },
    }
}

impl<A, C, R, J, W, Req> ResponseFuture<A, C, R, J, W, Req>
where
    C: Connect<A, Service: Service<Req>>,
    W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>>,
{
    pub(super) fn refused(answer: Result<Response<C, A, Req>, W::Error>) -> Self {
        let answer = Some(answer);
        Self {
            state: State::Refused { answer },
        }
    }

    #[inline]
    pub(super) fn calling(
        future: <C::Service as Service<Req>>::Future,
        picked: Picked<A>,
        judge: J,
    ) -> Self {
        let call = Some((picked, judge));
        Self {
            state: State::Calling { future, call },
        }
    }

    #[cold]
    pub(super) fn waiting(
        balance: Balance<A, C, R, J, W>,
        service: C::Service,
        request: Req,
        picked: Picked<A>,
        failed: Option<Error<C, A, Req>>,
    ) -> Self {
        let waiting = Waiting::new(balance, service, request, picked, failed);
        let waiting = Box::pin(waiting);
        Self {
            state: State::Waiting { waiting },
        }
    }
}

impl<A, C, R, J, W, Req> Future for ResponseFuture<A, C, R, J, W, Req>
where
    C: Connect<A, Service: Service<Req>>,
    R: Route<Req>,
    J: Judge<Picked<A>, Response<C, A, Req>, Error<C, A, Req>> + Clone,
    W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>>,
{
    type Output = Result<J::Response, W::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { future, call } => {
                    let result = ready!(future.poll(cx));
                    let (picked, judge) = call.take().expect("polled after completion");
                    return Poll::Ready(match result {
                        Ok(response) => Ok(judge.judge(picked, None, response)),
                        Err(error) => {
                            judge.fail(picked, None, &error);
                            Err(W::error(error))
                        }
                    });
                }
                StateProjection::Waiting { waiting } => match ready!(waiting.as_mut().poll(cx)) {
                    Waited::Called(future, picked) => {
                        let call = Some((picked, waiting.judge().clone()));
                        this.state.set(State::Calling { future, call });
                    }
                    Waited::Over(answer) => {
                        let answer = Some(answer);
                        this.state.set(State::Refused { answer });
                    }
                },
                StateProjection::Refused { answer } => {
                    let answer = answer.take().expect("polled after completion");
                    return Poll::Ready(answer.map(J::pass));
                }
            }
        }
    }
}

impl<A, C, R, J, W, Req> fmt::Debug for ResponseFuture<A, C, R, J, W, Req>
where
    C: Connect<A, Service: Service<Req>>,
    W: Answer<Req, Response<C, A, Req>, Error<C, A, Req>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Refused { .. } => "Refused",
            State::Waiting { .. } => "Waiting",
            State::Calling { .. } => "Calling",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
