use std::fmt;
use std::sync::Arc;

/// Where an endpoint, or a client, stands. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Locality {
    /// Data centres near each other.
    pub region: Arc<str>,
    /// One of them, or a part of one that fails as a whole.
    pub zone: Arc<str>,
    /// A part of the zone.
    pub sub_zone: Arc<str>,
}

impl Locality {
    /// A zone whose region is not told.
    pub fn zone(zone: impl Into<Arc<str>>) -> Self {
        Self {
            zone: zone.into(),
            ..Self::default()
        }
    }

    /// The region that the zone belongs to.
    #[must_use]
    pub fn with_region(mut self, region: impl Into<Arc<str>>) -> Self {
        self.region = region.into();
        self
    }

    /// The part of the zone.
    #[must_use]
    pub fn with_sub_zone(mut self, sub_zone: impl Into<Arc<str>>) -> Self {
        self.sub_zone = sub_zone.into();
        self
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.region, self.zone, self.sub_zone)
    }
}
