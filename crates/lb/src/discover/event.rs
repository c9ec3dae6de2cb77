use crate::{InvalidEndpoints, Updated};

/// An error of whatever is discovered by.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an observer of a [`Discovery`](super::Discovery) hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The balancer has other endpoints now, or the same ones with other attributes.
    Updated(Updated),
    /// It could not be found out which endpoints there are; those that were found last stay.
    Failed(BoxError),
    /// The update makes no sense; the endpoints that were found last stay.
    Invalid(InvalidEndpoints),
    /// It was told, so many times in a row, that there are no endpoints, which is not believed yet.
    Unconfirmed(u32),
}
