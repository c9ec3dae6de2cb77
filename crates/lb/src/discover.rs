//! Which endpoints there are, from elsewhere: streams of updates, and what applies them.
//!
//! A [`Discover`] is any stream of [`Update`]s. A [`Discovery`] is a future that applies them to a
//! balancer, in batches, and keeps the last good endpoints where the stream fails.
//!
//! | where from | feature | what it is |
//! |---|---|---|
//! | a list that does not change | `discover` | [`Fixed`] |
//! | a file, read again and again | `file` | `FileWatch` |
//! | names in DNS, by address or SRV | `dns` | `DnsWatch` |
//! | tower's `Discover` | `discover` with `tower` | `FromTower`, and `Balance::from_discover` |
//! | anything else | `discover` | your own stream |

mod discovery;
#[cfg(feature = "dns")]
mod dns;
mod event;
#[cfg(feature = "file")]
mod file;
mod fixed;
mod known;
#[cfg(feature = "tower")]
mod tower;
mod update;

use futures_core::Stream;

pub use discovery::Discovery;
#[cfg(feature = "dns")]
pub use dns::{DnsError, DnsResolver, DnsWatch, Family, InvalidDns};
pub use event::{BoxError, Event};
#[cfg(feature = "file")]
pub use file::{FileError, FileWatch, Format, parse};
pub use fixed::Fixed;
#[cfg(feature = "tower")]
pub use tower::{Discovered, FromDiscovered, FromTower};
pub use update::Update;

/// Tells which endpoints there are: each stream of updates does.
///
/// An error does not end it: the stream tells when it failed to look, goes on, and paces itself. An
/// answer without endpoints is an update, not an error.
pub trait Discover<A>: Stream<Item = Result<Update<A>, Self::Error>> {
    /// Why it could not look.
    type Error: Into<BoxError>;
}

impl<A, E, D> Discover<A> for D
where
    D: Stream<Item = Result<Update<A>, E>> + ?Sized,
    E: Into<BoxError>,
{
    type Error = E;
}
