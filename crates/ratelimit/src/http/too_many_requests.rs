use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};

use super::fields;
use crate::layer::{Answer, AsyncRateLimitLayer, Closure, Fail, Quoted, RateLimitLayer, Sealed};
use crate::{Policy, Reason, Rejected, Status};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl<L: Quoted, R> RateLimitLayer<L, Fail, R> {
    /// Answers in HTTP's terms, and tells every client where it stands.
    ///
    /// A refused request gets 429 (400 where it has no key to be limited by) with an empty body
    /// and `Retry-After`; the answers to admitted and refused ones carry `RateLimit` and
    /// `RateLimit-Policy`, under the policy name `default`. See [`TooManyRequests`].
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
        let answer = TooManyRequests::new(self.limit().policy());
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
    /// Answers a refused request in HTTP's terms, and tells each client where it stands.
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
/// The fields are appended, so several limits in one stack each tell their policy.
pub struct TooManyRequests<F = Empty> {
    told: Arc<Told>,
    respond: Arc<F>,
}

#[derive(Debug)]
struct Told {
    name: String,
    policy: Policy,
    field: Option<HeaderValue>,
}

/// Answers with an empty body.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Empty;

impl TooManyRequests {
    /// Answers for a limit by this policy, with an empty body, under the policy name `default`.
    #[must_use]
    pub fn new(policy: impl Into<Policy>) -> Self {
        Self {
            told: Arc::new(Told::new("default", policy.into())),
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
    /// Names the policy. Default: `default`.
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
        let told = Arc::new(Told::new(name, self.told.policy));
        Ok(Self { told, ..self })
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

impl Told {
    fn new(name: &str, policy: Policy) -> Self {
        let field = fields::policy(name, &policy);
        // The first clone of a value moves it into a shared allocation: here, and not in an answer.
        drop(field.clone());
        Self {
            name: name.to_owned(),
            policy,
            field,
        }
    }

    fn tell(&self, status: &Status, after: std::time::Duration, headers: &mut HeaderMap) {
        if let Some(field) = &self.field {
            headers.append(RATELIMIT_POLICY, field.clone());
        }
        if let Some(field) = fields::remaining(&self.name, status, after) {
            headers.append(RATELIMIT, field);
        }
    }

    fn tell_refused(&self, rejected: &Rejected, headers: &mut HeaderMap) {
        let Some(status) = rejected.status() else {
            return;
        };
        let after = rejected.retry_after();
        // `t` must not lie beyond `Retry-After`, so on a refusal both tell the same moment.
        self.tell(
            &status,
            after.unwrap_or_else(|| status.reset_after()),
            headers,
        );
        if let Some(field) = after.and_then(fields::retry_after) {
            headers.insert(header::RETRY_AFTER, field);
        }
    }
}

/// Makes the response to a refused request: a closure, or [`Empty`].
pub trait Respond<Req, Res> {
    /// The response; the fields are added afterwards.
    fn respond(&self, rejected: &Rejected, request: Req) -> Res;
}

impl<Req, B: Default> Respond<Req, Response<B>> for Empty {
    fn respond(&self, rejected: &Rejected, _request: Req) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = TooManyRequests::status(rejected);
        response
    }
}

impl<F, Req, Res> Respond<Req, Res> for F
where
    F: Fn(&Rejected, Req) -> Res,
{
    fn respond(&self, rejected: &Rejected, request: Req) -> Res {
        self(rejected, request)
    }
}

/// What is kept from an admission, to be told with the response.
#[derive(Debug)]
pub struct Note(Option<(Arc<Told>, Status)>);

impl<F> Sealed for TooManyRequests<F> {}

impl<F, ReqBody, ResBody, Err> Answer<Request<ReqBody>, Response<ResBody>, Err>
    for TooManyRequests<F>
where
    F: Respond<Request<ReqBody>, Response<ResBody>>,
{
    type Error = Err;
    type Note = Note;

    fn refuse(
        &self,
        rejected: &Rejected,
        request: Request<ReqBody>,
    ) -> Result<Response<ResBody>, Err> {
        let mut response = self.respond.respond(rejected, request);
        self.told.tell_refused(rejected, response.headers_mut());
        Ok(response)
    }

    fn note(&self, status: Option<Status>) -> Note {
        Note(status.map(|status| (self.told.clone(), status)))
    }

    fn complete(note: Note, mut response: Response<ResBody>) -> Response<ResBody> {
        if let Some((told, status)) = note.0 {
            told.tell(&status, status.reset_after(), response.headers_mut());
        }
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
