use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why there is no value after a load. Nothing was put into the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError<E = Infallible> {
    /// The load failed. All who waited for it share the error; nobody later does.
    Failed(Arc<E>),
    /// The load panicked, with this message. Where a blocking load panics, its own caller gets the
    /// panic and the others this.
    Panicked(Arc<str>),
    /// The load asked for the key that it loads, by itself or by way of others.
    Reentrant,
    /// The load took longer than the cache allows.
    TimedOut,
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
            Self::Reentrant => Self::Reentrant,
            Self::TimedOut => Self::TimedOut,
        }
    }
}

impl<E> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => write!(f, "the load failed"),
            Self::Panicked(message) => write!(f, "the load panicked: {message}"),
            Self::Reentrant => write!(f, "the load asked for the key that it loads"),
            Self::TimedOut => write!(f, "the load took longer than the cache allows"),
        }
    }
}

impl<E: Error + 'static> Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}

/// A [`LoadError`] whose type of error is left open, as callers of one key may have different ones.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Failed(Arc<dyn Any + Send + Sync>),
    Panicked(Arc<str>),
    Reentrant,
    /// The load of many keys did not bring this one: who asked for it alone loads it alone.
    Absent,
    #[cfg(feature = "tokio")]
    TimedOut,
}

impl Failure {
    pub(crate) fn of<E: Send + Sync + 'static>(error: E) -> Self {
        Self::Failed(Arc::new(error))
    }

    /// The failure as an error of type `E`; `None` if it is one of another type.
    pub(crate) fn into_error<E: Send + Sync + 'static>(self) -> Option<LoadError<E>> {
        match self {
            Self::Failed(error) => error.downcast().ok().map(LoadError::Failed),
            Self::Panicked(message) => Some(LoadError::Panicked(message)),
            Self::Reentrant => Some(LoadError::Reentrant),
            Self::Absent => None,
            #[cfg(feature = "tokio")]
            Self::TimedOut => Some(LoadError::TimedOut),
        }
    }
}

/// The message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Arc<str> {
    let text = payload.downcast_ref::<&str>().copied();
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(owned).unwrap_or("(no message)").into()
}
