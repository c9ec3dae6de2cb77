mod id;
mod invalid;
mod locality;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use id::EndpointId;
pub use invalid::InvalidEndpoints;
pub use locality::Locality;

/// One server that may be picked, as configuration or discovery describes it.
///
/// Its identity is its id with its incarnation and its address: as long as these stay, what is
/// known of it (calls in flight, latency, health) stays too, whatever else changes.
///
/// # Examples
///
/// ```
/// use stanchion_lb::{Endpoint, Locality};
///
/// let endpoint = Endpoint::new("web-1", "10.0.0.1:8080")
///     .with_weight(3)
///     .with_priority(1)
///     .with_locality(Locality::zone("eu-1a"))
///     .with_metadata("version", "7");
/// assert_eq!(endpoint.attributes().weight, 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint<A> {
    id: EndpointId,
    incarnation: u64,
    address: A,
    attributes: Attributes,
}

/// What may change of an [`Endpoint`] while it stays the same server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributes {
    /// Its share beside others, from 0 to 65,535. Default: 1. With 0 it is only drained: nothing
    /// new goes there but what is bound to it by affinity.
    pub weight: u16,
    /// The level that it belongs to; the lowest is used first. Default: 0.
    pub priority: u8,
    /// Where it stands. Default: unknown.
    pub locality: Locality,
    /// The most calls that it is sent at once. Default: any number.
    pub in_flight_max: Option<NonZeroU32>,
    /// What else is said of it. Default: nothing.
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

impl<A> Endpoint<A> {
    /// A server of weight 1 at the first priority.
    pub fn new(id: impl Into<EndpointId>, address: A) -> Self {
        Self {
            id: id.into(),
            incarnation: 0,
            address,
            attributes: Attributes::default(),
        }
    }

    /// Tells this server from an earlier one of the same id, such as a container that was made
    /// anew at the address of another. Default: 0.
    #[must_use]
    pub fn with_incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = incarnation;
        self
    }

    /// Its share beside others; 0 only drains. Default: 1.
    #[must_use]
    pub fn with_weight(mut self, weight: u16) -> Self {
        self.attributes.weight = weight;
        self
    }

    /// The level that it belongs to; the lowest is used first. Default: 0.
    #[must_use]
    pub fn with_priority(mut self, priority: u8) -> Self {
        self.attributes.priority = priority;
        self
    }

    /// Where it stands. Default: unknown.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.attributes.locality = locality;
        self
    }

    /// The most calls that it is sent at once (nginx's `max_conns`). Default: any number.
    #[must_use]
    pub fn with_in_flight_max(mut self, max: NonZeroU32) -> Self {
        self.attributes.in_flight_max = Some(max);
        self
    }

    /// Something else to know of it, found again by [`Picked::attributes`](crate::Picked::attributes).
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.attributes.metadata.insert(name.into(), value.into());
        self
    }

    /// The same server, reached at another address: by its client, say.
    #[must_use]
    pub fn map<B>(self, address: impl FnOnce(A) -> B) -> Endpoint<B> {
        Endpoint {
            id: self.id,
            incarnation: self.incarnation,
            address: address(self.address),
            attributes: self.attributes,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// Which server of that id it is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> &A {
        &self.address
    }

    /// What may change of it.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    pub(crate) fn into_parts(self) -> (EndpointId, u64, A, Attributes) {
        (self.id, self.incarnation, self.address, self.attributes)
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            weight: 1,
            priority: 0,
            locality: Locality::default(),
            in_flight_max: None,
            metadata: BTreeMap::new(),
        }
    }
}
