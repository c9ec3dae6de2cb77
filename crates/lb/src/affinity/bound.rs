//! What passes between a [`StickyLayer`](super::StickyLayer) and the balance under it.

use std::borrow::Cow;
use std::time::Duration;

use http::{Request, Response};
use stanchion_core::KeyExtractor;

use super::Session;
use crate::{Judge, Picked};

/// Finds the [`Session`] among a request's extensions.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct BySession;

impl<B> KeyExtractor<Request<B>> for BySession {
    type Key = str;

    fn extract<'a>(&'a self, request: &'a Request<B>) -> Option<Cow<'a, str>> {
        let session = request.extensions().get::<Session>()?;
        Some(Cow::Borrowed(session.id()))
    }
}

/// Tells the endpoint that answered: its [`EndpointId`](crate::EndpointId) is among the response's
/// extensions.
#[derive(Clone, Copy, Debug)]
pub struct Telling<J> {
    judge: J,
}

impl<J> Telling<J> {
    pub(crate) fn new(judge: J) -> Self {
        Self { judge }
    }
}

impl<J, A, B, Err> Judge<Picked<A>, Response<B>, Err> for Telling<J>
where
    J: Judge<Picked<A>, Response<B>, Err>,
{
    type Response = J::Response;

    fn judge(
        &self,
        picked: Picked<A>,
        retry_after: Option<Duration>,
        mut response: Response<B>,
    ) -> J::Response {
        response.extensions_mut().insert(picked.id().clone());
        self.judge.judge(picked, retry_after, response)
    }

    fn fail(&self, picked: Picked<A>, retry_after: Option<Duration>, error: &Err) {
        self.judge.fail(picked, retry_after, error);
    }

    fn pass(response: Response<B>) -> J::Response {
        J::pass(response)
    }
}
