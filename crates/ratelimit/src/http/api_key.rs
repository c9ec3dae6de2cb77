use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Request, header};
use stanchion_core::KeyExtractor;

/// Finds an API key: the field `x-api-key` (or one that you name), else the token of
/// `Authorization: Bearer`. The bytes are lent without a copy.
///
/// It only reads the key, it does not check it: before that, a client can invent keys.
#[derive(Clone, Debug)]
pub struct ApiKey {
    name: HeaderName,
}

impl ApiKey {
    /// The key is in `x-api-key`, or a bearer token.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            name: HeaderName::from_static("x-api-key"),
        }
    }

    /// Looks for the key in the field `name` instead of `x-api-key`.
    #[must_use]
    pub fn with_field(mut self, name: HeaderName) -> Self {
        self.name = name;
        self
    }

    fn find<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let named = headers.get(&self.name).map(|value| value.as_bytes());
        named
            .or_else(|| bearer(headers))
            .filter(|key| !key.is_empty())
    }
}

impl Default for ApiKey {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> KeyExtractor<Request<B>> for ApiKey {
    type Key = [u8];

    fn extract<'a>(&'a self, request: &'a Request<B>) -> Option<Cow<'a, [u8]>> {
        self.find(request.headers()).map(Cow::Borrowed)
    }
}

/// The token of RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_in_its_field_or_a_bearer_token() {
        for (name, value, key) in [
            ("x-api-key", "k1", Some("k1")),
            ("authorization", "Bearer k2", Some("k2")),
            ("authorization", "bEARER  k2 ", Some("k2")),
            ("authorization", "Basic k2", None),
            ("authorization", "Bearer", None),
            ("authorization", "Bearer ", None),
            ("x-api-key", "", None),
        ] {
            let request = Request::builder().header(name, value).body(()).unwrap();
            let api_key = ApiKey::new();
            let found = api_key.extract(&request);
            assert_eq!(found.as_deref(), key.map(str::as_bytes), "{name}: {value}");
        }
    }
}
