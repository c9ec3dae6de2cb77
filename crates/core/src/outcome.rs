use std::fmt;

/// The verdict on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The dependency did its work, even if the caller dislikes the answer (a 404, say).
    Success,
    /// The dependency failed: an error, a 5xx, a broken body.
    Failure,
    /// The dependency refused for want of capacity: 429, 503 with `Retry-After`,
    /// `RESOURCE_EXHAUSTED`. It is alive; it should be asked less.
    Overload,
    /// Says nothing about the dependency: the caller cancelled, or sent nonsense.
    Ignore,
}

/// What a classifier answers when it sees the head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete by nature: known now, or at the end"
)]
pub enum Verdict {
    /// The head, or the error, says it all.
    Known(Outcome),
    /// The body decides: [`Classify::at_end`] is asked when it is over.
    AtEnd,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self::Known(outcome)
    }
}

/// Trailing fields, by name. `()` stands for a body that has none.
pub trait Trailers {
    /// The first value of the field `name` (lower case), as bytes.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

impl Trailers for () {
    fn get(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

#[cfg(feature = "http")]
impl Trailers for http::HeaderMap {
    fn get(&self, name: &str) -> Option<&[u8]> {
        Self::get(self, name).map(http::HeaderValue::as_bytes)
    }
}

/// How a response body ended.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum End<'a> {
    /// The body was read to its end; with the trailers, if any came.
    Complete(&'a dyn Trailers),
    /// The body broke with an error.
    Broken(&'a (dyn std::error::Error + 'static)),
    /// The body was dropped before its end, by a caller who lost interest or timed out.
    Dropped,
}

impl fmt::Debug for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete(_) => f.write_str("Complete"),
            Self::Broken(error) => f.debug_tuple("Broken").field(error).finish(),
            Self::Dropped => f.write_str("Dropped"),
        }
    }
}

/// Gives the verdict on one call from its response head or its error, or defers it to the end of
/// the body.
///
/// Closures are classifiers; they answer an [`Outcome`] or a [`Verdict`]:
///
/// ```
/// use stanchion_core::{Classify, Outcome, Verdict};
///
/// let by_status = |result: Result<&u16, &std::io::Error>| match result {
///     Ok(429) => Outcome::Overload,
///     Ok(status) if *status < 500 => Outcome::Success,
///     _ => Outcome::Failure,
/// };
/// assert_eq!(by_status.classify(Ok(&404)), Verdict::Known(Outcome::Success));
/// ```
///
/// One that reads gRPC trailers implements both methods:
///
/// ```
/// use stanchion_core::{Classify, End, Outcome, Verdict};
///
/// struct GrpcStatus;
/// impl<Res, Err> Classify<Res, Err> for GrpcStatus {
///     fn classify(&self, result: Result<&Res, &Err>) -> Verdict {
///         match result {
///             Ok(_) => Verdict::AtEnd,
///             Err(_) => Outcome::Failure.into(),
///         }
///     }
///     fn at_end(&self, end: End<'_>) -> Outcome {
///         match end {
///             End::Complete(trailers) => match trailers.get("grpc-status") {
///                 Some(b"0") => Outcome::Success,
///                 Some(b"8") => Outcome::Overload,
///                 _ => Outcome::Failure,
///             },
///             End::Dropped => Outcome::Ignore,
///             _ => Outcome::Failure,
///         }
///     }
/// }
/// let classifier: &dyn Classify<(), ()> = &GrpcStatus;
/// assert_eq!(classifier.classify(Ok(&())), Verdict::AtEnd);
/// assert_eq!(classifier.at_end(End::Complete(&())), Outcome::Failure);
/// ```
pub trait Classify<Res, Err> {
    /// Judges the head of a response, or the error that came instead of one.
    fn classify(&self, result: Result<&Res, &Err>) -> Verdict;

    /// Judges the end of the body. Asked once, and only after [`Verdict::AtEnd`].
    ///
    /// By default a complete body is a success, a broken one a failure, and a dropped one says
    /// nothing.
    fn at_end(&self, end: End<'_>) -> Outcome {
        match end {
            End::Complete(_) => Outcome::Success,
            End::Broken(_) => Outcome::Failure,
            End::Dropped => Outcome::Ignore,
        }
    }
}

impl<F, Res, Err, V> Classify<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> V,
    V: Into<Verdict>,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Verdict {
        self(result).into()
    }
}
