use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of an endpoint: unique in its balancer, and the same in each process and at each start.
///
/// Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// The name as text; its bytes are what consistent hashing places an endpoint by.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EndpointId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for EndpointId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for EndpointId {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl AsRef<str> for EndpointId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for EndpointId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
