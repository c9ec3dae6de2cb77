use std::error::Error;
use std::fmt;

/// A configuration that makes no sense: which field, its value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    field: &'static str,
    value: String,
    allowed: &'static str,
}

impl InvalidConfig {
    pub(crate) fn new(field: &'static str, value: impl ToString, allowed: &'static str) -> Self {
        Self {
            field,
            value: value.to_string(),
            allowed,
        }
    }

    /// The field, named as its method without `with_`.
    #[must_use]
    pub fn field(&self) -> &str {
        self.field
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}, must be {}",
            self.field, self.value, self.allowed
        )
    }
}

impl Error for InvalidConfig {}
