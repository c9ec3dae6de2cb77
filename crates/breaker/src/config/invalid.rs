use std::error::Error;
use std::fmt;

/// A value that makes no sense; the message names the field, the value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    field: &'static str,
    value: String,
    allowed: String,
}

impl InvalidConfig {
    pub(crate) fn new(
        field: &'static str,
        value: impl fmt::Debug,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            field,
            value: format!("{value:?}"),
            allowed: allowed.into(),
        }
    }

    /// The same of the field that this value was for.
    #[cfg(feature = "serde")]
    pub(crate) fn of(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    /// The field that is wrong.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            allowed,
        } = self;
        write!(f, "{field} is {value}, must be {allowed}")
    }
}

impl Error for InvalidConfig {}
