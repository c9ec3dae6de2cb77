use http::Request;
use stanchion_core::KeyExtractor;

use crate::KeyedRateLimiter;
use crate::layer::{Keyed, RateLimitLayer};

impl<E, K: ?Sized> RateLimitLayer<Keyed<E, K>> {
    /// A limit for each key that `extractor` finds in HTTP requests, whatever their bodies.
    ///
    /// For [`ClientAddr`](super::ClientAddr), [`HeaderKey`](super::HeaderKey),
    /// [`ApiKey`](super::ApiKey) and extractors of your own that read requests with any body:
    /// [`keyed`](Self::keyed) would have to be told one. A closure reads one type of request, and
    /// goes to `keyed`.
    ///
    /// # Examples
    ///
    /// ```
    /// use stanchion_ratelimit::http::ClientAddr;
    /// use stanchion_ratelimit::{KeyedRateLimiter, Quota, RateLimitLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let quota: Quota = "20/m".parse()?;
    /// let addresses = KeyedRateLimiter::new(quota, 100_000)?;
    /// let layer = RateLimitLayer::keyed_http(addresses, ClientAddr::new()).http();
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn keyed_http(limiter: KeyedRateLimiter<K>, extractor: E) -> Self
    where
        E: KeyExtractor<Request<()>, Key = K>,
    {
        Self::keyed(limiter, extractor)
    }
}
