use std::borrow::Cow;

/// Says which client, tenant, route or shard a request belongs to.
///
/// A key that already stands in the request is lent (`Cow::Borrowed`), so reading a header costs
/// no allocation. `None` means that the request carries no such key; what then happens is for the
/// pattern that asked to say.
///
/// Closures from a request to an optional owned key are extractors:
///
/// ```
/// use stanchion_core::KeyExtractor;
///
/// struct Request { tenant: u64 }
/// fn keyed(by: impl KeyExtractor<Request, Key = u64>) -> Option<u64> {
///     by.extract(&Request { tenant: 7 }).map(|key| key.into_owned())
/// }
/// assert_eq!(keyed(|request: &Request| Some(request.tenant)), Some(7));
/// ```
pub trait KeyExtractor<Req> {
    /// The borrowed form of the key: `u64`, `IpAddr`, `str`, `[u8]` …
    type Key: ToOwned + ?Sized;

    /// Reads the key of `request`; `None` when it has none.
    fn extract<'a>(&'a self, request: &'a Req) -> Option<Cow<'a, Self::Key>>;
}

impl<F, Req, K> KeyExtractor<Req> for F
where
    F: Fn(&Req) -> Option<K>,
    K: Clone,
{
    type Key = K;

    fn extract<'a>(&'a self, request: &'a Req) -> Option<Cow<'a, K>> {
        self(request).map(Cow::Owned)
    }
}
