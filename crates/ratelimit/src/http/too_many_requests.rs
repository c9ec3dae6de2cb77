use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};

use super::told::{Named, Standing, Told};
use crate::jitter::Jitter;
use crate::layer::{Answer, AsyncRateLimitLayer, Closure, Fail, Quoted, RateLimitLayer, Sealed};
use crate::{Policy, Reason, Refused, Rejected, Standings, Status};

impl<L: Quoted, R> RateLimitLayer<L, Fail, R> {
    /// Answers in HTTP's terms, and tells every client where it stands.
    ///
    /// A refused request gets 429 (400 where it has no key to be limited by) with an empty body
    /// and `Retry-After`; the answers to admitted and refused ones carry `RateLimit` and
    /// `RateLimit-Policy`, under the policy name `default`, or under the names of the limits of a
    /// composite. See [`TooManyRequests`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, Response, StatusCode};
    /// use stanchion_ratelimit::{Quota, RateLimitLayer};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let service = ServiceBuilder::new()
    ///     .layer(RateLimitLayer::new(Quota::new(1, Duration::from_secs(60))?).http())
    ///     .service(service_fn(|_: Request<()>| async {
    ///         Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
    ///     }));
    ///
    /// let first = service.clone().oneshot(Request::new(())).await?;
    /// assert_eq!(first.headers()["ratelimit"], "\"default\";r=0;t=60");
    /// let second = service.oneshot(Request::new(())).await?;
    /// assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    /// assert_eq!(second.headers()["retry-after"], "60");
    /// assert_eq!(second.headers()["ratelimit-policy"], "\"default\";q=1;w=60");
    /// # Ok(())
    /// # }
    /// ```
    pub fn http(self) -> RateLimitLayer<L, TooManyRequests, R> {
        let answer = TooManyRequests::of_policies(self.limit().policies());
        self.answer(answer)
    }

    /// The same with an answer of your own making: another policy name, or another body.
    pub fn http_with<F>(
        self,
        answer: TooManyRequests<F>,
    ) -> RateLimitLayer<L, TooManyRequests<F>, R> {
        self.answer(answer)
    }
}

impl<L, E, R> AsyncRateLimitLayer<L, E, Fail, R> {
    /// Answers a refused request in HTTP's terms, and tells each client where it stands, and by which
    /// policy: its own where the limiter knows one ([`AsyncLimiter::policy_of`]), or the answer's.
    ///
    /// [`AsyncLimiter::policy_of`]: crate::AsyncLimiter::policy_of
    pub fn http_with<F>(
        self,
        answer: TooManyRequests<F>,
    ) -> AsyncRateLimitLayer<L, E, TooManyRequests<F>, R> {
        self.answer(answer)
    }
}

/// Answers a refused request in HTTP's terms; clones share all.
///
/// | field | on | value |
/// |---|---|---|
/// | `RateLimit-Policy` | every counted request | `"name";q=count;w=seconds` |
/// | `RateLimit` | every counted request | `"name";r=remaining;t=seconds` until the full limit is there again, or on a refusal until this request would pass |
/// | `Retry-After` | refusals that waiting helps | whole seconds, rounded up, at least 1 |
///
/// The fields are appended, so several limits in one stack each tell their policy. A composite tells all
/// of its policies, where all its limits stand, and on a refusal the one to be waited for. A key with
/// a quota of its own ([`KeyedRateLimiter::per_key`](crate::KeyedRateLimiter::per_key)) is told that one.
pub struct TooManyRequests<F = Empty> {
    told: Arc<Told>,
    respond: Arc<F>,
}

/// Answers with an empty body.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Empty;

impl TooManyRequests {
    /// Answers for a limit by this policy, with an empty body, under the policy name `default`.
    #[must_use]
    pub fn new(policy: impl Into<Policy>) -> Self {
        Self::of_policies(vec![(None, policy.into())])
    }

    /// Answers for these policies, each under its name or `default`.
    fn of_policies(policies: Vec<(Option<String>, Policy)>) -> Self {
        let named = policies.into_iter().map(|(name, policy)| Named {
            name: name.unwrap_or_else(|| "default".to_owned()),
            policy,
        });
        Self {
            told: Arc::new(Told::new(named.collect())),
            respond: Arc::new(Empty),
        }
    }

    /// The status that tells a refusal: 429, or 400 where the request has no key, or 503 where a
    /// store of limits could not be asked.
    #[must_use]
    pub fn status(rejected: &Rejected) -> StatusCode {
        match rejected.reason() {
            Reason::NoKey => StatusCode::BAD_REQUEST,
            #[cfg(feature = "redis")]
            Reason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl<F> TooManyRequests<F> {
    /// Names the policy. Default: `default`. The limits of a composite have names of their own.
    ///
    /// # Errors
    ///
    /// `name` must be printable ASCII without `"` and `\`, and not empty.
    pub fn with_name(self, name: &str) -> Result<Self, InvalidPolicyName> {
        let allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(InvalidPolicyName {
                name: name.to_owned(),
            });
        }
        let limits = self.told.limits.iter().map(|limit| Named {
            name: name.to_owned(),
            policy: limit.policy,
        });
        let told = Told {
            legacy: self.told.legacy,
            jitter: self.told.jitter.clone(),
            ..Told::new(limits.collect())
        };
        Ok(Self {
            told: Arc::new(told),
            ..self
        })
    }

    /// Tells clients that know only those also `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
    /// `X-RateLimit-Reset`, in seconds from now. Default: not.
    ///
    /// There is one of each in an answer: that of the limit with the least left.
    #[must_use]
    pub fn with_legacy_fields(self) -> Self {
        let told = Told {
            legacy: true,
            ..(*self.told).clone()
        };
        Self {
            told: Arc::new(told),
            ..self
        }
    }

    /// Lengthens `Retry-After` by chance, by up to `max`, so that clients who were told the same
    /// moment do not come back together. It is never shortened; `t` of `RateLimit` stays exact.
    /// Default: nothing.
    #[must_use]
    pub fn with_retry_jitter(self, max: Duration) -> Self {
        let told = Told {
            jitter: Some(Arc::new(Jitter::new(max))),
            ..(*self.told).clone()
        };
        Self {
            told: Arc::new(told),
            ..self
        }
    }

    /// Tells the policies alone, in an answer to a request that something else refused: nothing was
    /// taken, so there is no news of where they stand.
    pub fn tell_policy(&self, headers: &mut HeaderMap) {
        self.told.tell_policy(None, headers);
    }

    /// Takes the response to a refused request from `respond(&rejected, request)`, and adds the
    /// fields to it.
    #[must_use]
    pub fn with_response<G>(self, respond: G) -> TooManyRequests<G> {
        TooManyRequests {
            told: self.told,
            respond: Arc::new(respond),
        }
    }
}

/// Makes the response to a refused request: a closure, or [`Empty`]. A composite's refusal is a
/// [`Refused`].
pub trait Respond<Req, Res, No = Rejected> {
    /// The response; the fields are added afterwards.
    fn respond(&self, refused: &No, request: Req) -> Res;
}

impl<Req, B: Default> Respond<Req, Response<B>> for Empty {
    fn respond(&self, rejected: &Rejected, _request: Req) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = TooManyRequests::status(rejected);
        response
    }
}

impl<Req, B: Default> Respond<Req, Response<B>, Refused> for Empty {
    fn respond(&self, refused: &Refused, request: Req) -> Response<B> {
        self.respond(refused.rejected(), request)
    }
}

impl<F, Req, Res, No> Respond<Req, Res, No> for F
where
    F: Fn(&No, Req) -> Res,
{
    fn respond(&self, refused: &No, request: Req) -> Res {
        self(refused, request)
    }
}

/// What is kept from an admission, to be told with the response.
#[derive(Debug)]
pub struct Note(Option<(Arc<Told>, Status, Option<Policy>)>);

/// What is kept from an admission by several limits.
#[derive(Debug)]
pub struct Notes(Arc<Told>, Standings);

impl<F> Sealed for TooManyRequests<F> {}

impl<F, ReqBody, ResBody, Err> Answer<Request<ReqBody>, Response<ResBody>, Err>
    for TooManyRequests<F>
where
    F: Respond<Request<ReqBody>, Response<ResBody>>,
{
    type Error = Err;
    type Note = Note;

    const TELLS_POLICY: bool = true;

    fn refuse(
        &self,
        rejected: &Rejected,
        request: Request<ReqBody>,
    ) -> Result<Response<ResBody>, Err> {
        self.refuse_by(None, rejected, request)
    }

    fn refuse_by(
        &self,
        own: Option<Policy>,
        rejected: &Rejected,
        request: Request<ReqBody>,
    ) -> Result<Response<ResBody>, Err> {
        let mut response = self.respond.respond(rejected, request);
        let headers = response.headers_mut();
        if let Some(standing) = Standing::refused(self.told.name(0), rejected) {
            self.told.tell(own, [standing].into_iter(), headers);
            self.told.tell_retry(rejected, headers);
        }
        Ok(response)
    }

    fn note(&self, status: Option<Status>) -> Note {
        Note(status.map(|status| (self.told.clone(), status, None)))
    }

    fn note_by(&self, own: Option<Policy>, status: Option<Status>) -> Note {
        Note(status.map(|status| (self.told.clone(), status, own)))
    }

    fn complete(note: Note, mut response: Response<ResBody>) -> Response<ResBody> {
        if let Some((told, status, own)) = note.0 {
            let standing = Standing::admitted(told.name(0), status);
            told.tell(own, [standing].into_iter(), response.headers_mut());
        }
        response
    }

    fn error(error: Err) -> Err {
        error
    }
}

impl<F, ReqBody, ResBody, Err> Answer<Request<ReqBody>, Response<ResBody>, Err, Standings, Refused>
    for TooManyRequests<F>
where
    F: Respond<Request<ReqBody>, Response<ResBody>, Refused>,
{
    type Error = Err;
    type Note = Notes;

    fn refuse(
        &self,
        refused: &Refused,
        request: Request<ReqBody>,
    ) -> Result<Response<ResBody>, Err> {
        let mut response = self.respond.respond(refused, request);
        let headers = response.headers_mut();
        let (place, rejected) = refused.worst();
        if let Some(standing) = Standing::refused(self.told.name(place), rejected) {
            self.told.tell(None, [standing].into_iter(), headers);
            self.told.tell_retry(rejected, headers);
        }
        Ok(response)
    }

    fn note(&self, standings: Standings) -> Notes {
        Notes(self.told.clone(), standings)
    }

    fn complete(note: Notes, mut response: Response<ResBody>) -> Response<ResBody> {
        let Notes(told, standings) = note;
        let named = standings.iter().enumerate();
        let named = named.map(|(place, status)| Standing::admitted(told.name(place), status));
        told.tell(None, named, response.headers_mut());
        response
    }

    fn error(error: Err) -> Err {
        error
    }
}

impl<F> Clone for TooManyRequests<F> {
    fn clone(&self) -> Self {
        Self {
            told: self.told.clone(),
            respond: self.respond.clone(),
        }
    }
}

impl<F> fmt::Debug for TooManyRequests<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TooManyRequests")
            .field("told", &self.told)
            .field("respond", &Closure::of(&*self.respond))
            .finish()
    }
}

/// A policy name that no field can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicyName {
    name: String,
}

impl fmt::Display for InvalidPolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        write!(
            f,
            "policy name is {name:?}, must be printable ASCII without quotes and backslashes"
        )
    }
}

impl Error for InvalidPolicyName {}
