//! HTTP: answers in its terms, and keys read from requests.
//!
//! | key | reads | can a client invent it? |
//! |---|---|---|
//! | [`ClientAddr`] | the peer's address, or through proxies that you trust the address they saw | no |
//! | [`HeaderKey`] | one header field, whole | yes |
//! | [`ApiKey`] | `x-api-key`, or a bearer token | yes, until it is checked |
//! | a closure | what you like | your call |
//!
//! A key that the client can invent is no limit on its own: every invented key brings its own
//! burst. Stack a limit by [`ClientAddr`] in front of it, or check the key first.

mod api_key;
mod client_addr;
mod fields;
mod forwarded;
mod header_key;
mod layer;
mod told;
mod too_many_requests;

pub use api_key::ApiKey;
pub use client_addr::{ClientAddr, ForwardedField, InvalidPrefix, PeerAddr};
pub use header_key::HeaderKey;
pub use too_many_requests::{Empty, InvalidPolicyName, Note, Notes, Respond, TooManyRequests};
