//! Sessions that stay at one endpoint.
//!
//! A [`SessionCookie`] writes and reads the cookie that names a session's endpoint. [`StickyLayer`] does
//! both around a [`Balance`](crate::Balance) made [`sticky`](crate::Balance::sticky).
//!
//! Where a client names its endpoint otherwise, by a header say,
//! [`Balance::affinity_by`](crate::Balance::affinity_by) finds it; and where it need not be one that the
//! balancer chose, a hash of its key does without any memory:
//! [`Balance::hash_by`](crate::Balance::hash_by).

mod bound;
mod cookie;
mod keys;
mod layer;
mod seal;

pub use bound::{BySession, Telling};
pub use cookie::{SameSite, Session, SessionCookie};
pub use keys::SessionKeys;
pub use layer::{Sticky, StickyFuture, StickyLayer};
