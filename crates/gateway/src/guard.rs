//! Reads along with what a client sends, and stops what two readers could understand differently.
//!
//! hyper parses every request, but it repairs some of what it parses: it drops a length that
//! contradicts the chunks, joins fields that may stand once only, cuts a fragment off. What was
//! repaired is passed on looking sound, so nobody behind can tell. The guard stands before hyper and
//! lets through only what needs no repair. It looks at heads, at the lines around chunks and at
//! trailers; bodies it counts.
//!
//! It is pure: bytes in, a verdict out. What it lets through, hyper accepts, and divides into the
//! same messages; `tests/guard` and a fuzzer check that against hyper itself.
//!
//! Source: RFC 9112, and its sections on smuggling and splitting (11.1, 11.2), each ambiguity
//! resolved by refusing.

mod chunked;
mod field;
mod head;
mod refusal;
mod request_line;

use chunked::Chunked;
use head::{Body, Head};
pub(crate) use refusal::Refusal;

/// How much of a request is looked at before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of a whole head, and of the trailers of a body.
    pub(crate) head_bytes_max: usize,
    /// Fields in a head, and in the trailers of a body.
    pub(crate) fields_max: usize,
    /// Of a request's target.
    pub(crate) uri_bytes_max: usize,
}

/// The guard of one connection.
///
/// Its size is fixed: of what it saw, it keeps where it is and a few facts.
#[derive(Debug)]
pub(crate) struct Guard {
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In a head, or before one.
    Head(Head),
    /// This many bytes of the body are to come.
    Length(u64),
    Chunked(Chunked),
}

/// What may become of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// So many of them are sound, and pass on.
    pub(crate) pass: usize,
    /// What is to be done with the others.
    pub(crate) rest: Rest,
}

/// See [`Verdict::rest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They begin a head, and are to be shown again together with what follows them.
    Wait,
    /// The request that they begin is to be answered with this, and nothing behind it is read.
    Refuse(Refusal),
    /// They break the body of a request whose head has passed: both sides are to be closed.
    Break(Refusal),
}

impl Guard {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head(Head::new()),
        }
    }

    /// Whether all that passed so far were whole messages.
    pub(crate) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head(_))
    }

    /// Looks at bytes that came in: all that did not pass yet, from the first. After anything but
    /// [`Rest::Wait`] it is not to be asked again.
    ///
    /// A request whose body is broken within the same bytes as its head is refused as a whole.
    ///
    /// Complexity: it looks at each byte of a head once, however the bytes are cut; of a body, only
    /// at the lines around chunks.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Verdict {
        let mut pass = 0;
        // Where the request begins whose body is being read, if its head is among the bytes.
        let mut start = None;
        loop {
            let left = &bytes[pass..];
            match &mut self.state {
                State::Head(head) => match head.read(left, &self.limits) {
                    Ok(None) => break,
                    Ok(Some((len, body))) => {
                        start = Some(pass);
                        pass += len;
                        self.state = match body {
                            Body::None => State::Head(Head::new()),
                            Body::Length(length) => State::Length(length),
                            Body::Chunked => State::Chunked(Chunked::new(&self.limits)),
                        };
                    }
                    Err(refusal) => {
                        let rest = Rest::Refuse(refusal);
                        return Verdict { pass, rest };
                    }
                },
                State::Length(length) => {
                    let here = usize::try_from(*length).unwrap_or(usize::MAX);
                    let here = here.min(left.len());
                    pass += here;
                    *length -= here as u64;
                    if *length > 0 {
                        break;
                    }
                    self.state = State::Head(Head::new());
                }
                State::Chunked(chunked) => match chunked.read(left) {
                    Ok((len, ended)) => {
                        pass += len;
                        if !ended {
                            break;
                        }
                        self.state = State::Head(Head::new());
                    }
                    Err(refusal) => {
                        return match start {
                            Some(pass) => Verdict {
                                pass,
                                rest: Rest::Refuse(refusal),
                            },
                            None => Verdict {
                                pass: 0,
                                rest: Rest::Break(refusal),
                            },
                        };
                    }
                },
            }
        }
        Verdict {
            pass,
            rest: Rest::Wait,
        }
    }
}

#[cfg(test)]
mod tests;
