use std::error::Error;
use std::fmt;

/// A policy that makes no sense: which field, its value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicy {
    field: &'static str,
    value: String,
    allowed: &'static str,
}

impl InvalidPolicy {
    pub(crate) fn new(field: &'static str, value: impl fmt::Debug, allowed: &'static str) -> Self {
        Self {
            field,
            value: format!("{value:?}"),
            allowed,
        }
    }

    /// The field, named as its method without `with_`.
    #[must_use]
    pub fn field(&self) -> &str {
        self.field
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}, must be {}",
            self.field, self.value, self.allowed
        )
    }
}

impl Error for InvalidPolicy {}
