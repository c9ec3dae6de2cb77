//! Gives every request an id and a trace, and answers the id back.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::exchange::{Request, Response};
use crate::trace::Traces;

pub(crate) const NAME: HeaderName = HeaderName::from_static("x-request-id");
const LEN_MAX: usize = 128;

/// Makes ids that are unique, not secret: 64 random bits, then a count from a random start, hashed
/// so that neighbours do not look alike.
#[derive(Debug)]
pub(crate) struct Ids {
    prefix: u64,
    /// The digits of `prefix`.
    digits: [u8; 16],
    count: AtomicU64,
    texts: Texts,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let random = || RandomState::new().hash_one(0_u64);
        let prefix = random();
        let mut digits = [0; 16];
        write_hex(prefix, &mut digits);
        Self {
            prefix,
            digits,
            count: AtomicU64::new(random()),
            texts: Texts::default(),
        }
    }

    /// The bits of an id: first those that all ids have in common.
    pub(crate) fn next_bits(&self) -> (u64, u64) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        (self.prefix, scattered(count))
    }

    /// The hexadecimal digits of the bits that all ids have in common.
    pub(crate) fn prefix_digits(&self) -> &[u8; 16] {
        &self.digits
    }

    /// An id of 32 hexadecimal digits.
    pub(crate) fn next(&self) -> HeaderValue {
        let (_, low) = self.next_bits();
        let mut text = [0; 32];
        text[..16].copy_from_slice(self.prefix_digits());
        write_hex(low, &mut text[16..]);
        let id = self.texts.value(&text);
        id.unwrap_or(HeaderValue::from_static("unknown"))
    }
}

/// Makes values of short texts, several to an allocation: each request needs two of them, and what
/// is shared from the beginning is cloned for the price of counting.
///
/// A value keeps its block, so one that lives for long holds [`BLOCK`](Self::BLOCK) bytes.
#[derive(Debug, Default)]
pub(crate) struct Texts(Mutex<BytesMut>);

impl Texts {
    const BLOCK: usize = 1024;

    /// A value of a field, if the text can be one.
    pub(crate) fn value(&self, text: &[u8]) -> Option<HeaderValue> {
        // Of one thread, so never contended.
        let mut block = self.0.lock();
        if block.capacity() < text.len() {
            *block = BytesMut::with_capacity(Self::BLOCK.max(text.len()));
        }
        block.extend_from_slice(text);
        let text = block.split().freeze();
        HeaderValue::from_maybe_shared(text).ok()
    }
}

/// Fills 16 bytes with hexadecimal digits.
pub(crate) fn write_hex(bits: u64, out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// A bijection, so that different counts stay different.
///
/// Source: the finaliser of splitmix64, Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014.
fn scattered(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Takes the id that a trusted peer gave, or makes one; passes it on in `x-request-id`, and sets
/// it on the response. Leaves the request in its trace, or begins one.
#[derive(Clone, Debug)]
pub(crate) struct RequestIdLayer {
    names: Arc<Names>,
}

/// What requests are named with.
#[derive(Debug)]
struct Names {
    ids: Ids,
    traces: Traces,
}

impl RequestIdLayer {
    pub(crate) fn new(traces: Traces) -> Self {
        let ids = Ids::new();
        Self {
            names: Arc::new(Names { ids, traces }),
        }
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestId<S>;

    fn layer(&self, inner: S) -> RequestId<S> {
        RequestId {
            inner,
            names: self.names.clone(),
        }
    }
}

/// See [`RequestIdLayer`].
#[derive(Clone, Debug)]
pub(crate) struct RequestId<S> {
    inner: S,
    names: Arc<Names>,
}

impl<S> Service<Request> for RequestId<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let given = request.body().origin().peer.trusted;
        let given = given.then(|| request.headers().get(NAME).filter(|id| is_sound(id)));
        let id = match given.flatten() {
            Some(id) => id.clone(),
            None => {
                let id = self.names.ids.next();
                request.headers_mut().insert(NAME, id.clone());
                id
            }
        };
        request.body_mut().origin_mut().id = id.clone();
        self.names.traces.follow(&mut request);
        ResponseFuture {
            inner: self.inner.call(request),
            id: Some(id),
        }
    }
}

/// Visible ASCII that stands in JSON as it is, and not too long.
fn is_sound(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=LEN_MAX).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

pin_project! {
    /// What [`RequestId`] returns.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        id: Option<HeaderValue>,
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(id) = this.id.take() {
            response.headers_mut().insert(NAME, id);
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_32_hexadecimal_digits_and_do_not_repeat() {
        let ids = Ids::new();
        let made: HashSet<HeaderValue> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10_000);
        for id in made {
            assert!(id.len() == 32 && id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let texts = Texts::default();
        let long = "x".repeat(3 * Texts::BLOCK);
        let mut wanted: Vec<String> = (0..200).map(|number| format!("text-{number}")).collect();
        wanted.insert(100, long);
        let made: Vec<_> = wanted
            .iter()
            .map(|text| texts.value(text.as_bytes()))
            .collect();
        for (made, wanted) in made.iter().zip(&wanted) {
            assert_eq!(made.as_ref().unwrap(), wanted.as_str());
        }
        assert!(texts.value(b"a\nb").is_none());
        assert_eq!(texts.value(b"c").unwrap(), "c");
    }

    #[test]
    fn a_given_id_must_stand_in_json_as_it_is() {
        let long = "a".repeat(LEN_MAX + 1);
        for (id, sound) in [
            ("abc-1.2:3", true),
            ("", false),
            ("a\"b", false),
            ("a b", false),
            (&long, false),
        ] {
            assert_eq!(is_sound(&HeaderValue::from_str(id).unwrap()), sound, "{id}");
        }
    }
}
