use std::borrow::Cow;

use http::{HeaderName, Request};
use stanchion_core::KeyExtractor;

/// Finds the key in one header field: the bytes of its first value, lent without a copy.
///
/// An empty value is no key. A client can send what it likes: put a limit by address in front.
#[derive(Clone, Debug)]
pub struct HeaderKey {
    name: HeaderName,
}

impl HeaderKey {
    /// The key is the value of the field `name`.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self { name }
    }
}

impl<B> KeyExtractor<Request<B>> for HeaderKey {
    type Key = [u8];

    fn extract<'a>(&'a self, request: &'a Request<B>) -> Option<Cow<'a, [u8]>> {
        let value = request.headers().get(&self.name)?.as_bytes();
        (!value.is_empty()).then_some(Cow::Borrowed(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_lent_and_an_empty_one_is_no_key() {
        let key = HeaderKey::new(HeaderName::from_static("x-tenant"));
        let request = |value| {
            Request::builder()
                .header("x-tenant", value)
                .body(())
                .unwrap()
        };
        assert!(matches!(
            key.extract(&request("a")),
            Some(Cow::Borrowed(b"a"))
        ));
        assert_eq!(key.extract(&request("")), None);
        assert_eq!(key.extract(&Request::new(())), None);
    }
}
