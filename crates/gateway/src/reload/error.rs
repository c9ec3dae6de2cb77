use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::build_error::BuildError;
use crate::config::ReadError;

/// Why a configuration was not taken over; the one before it stays in force. Clones share.
#[derive(Clone, Debug)]
pub struct ReloadError {
    cause: Arc<Cause>,
}

#[derive(Debug)]
enum Cause {
    NoFile,
    Read(ReadError),
    Build(BuildError),
}

impl ReloadError {
    pub(super) fn no_file() -> Self {
        Self::new(Cause::NoFile)
    }

    pub(super) fn read(error: ReadError) -> Self {
        Self::new(Cause::Read(error))
    }

    pub(super) fn build(error: BuildError) -> Self {
        Self::new(Cause::Build(error))
    }

    fn new(cause: Cause) -> Self {
        Self {
            cause: Arc::new(cause),
        }
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.cause {
            Cause::NoFile => f.write_str("the configuration was not read from a file"),
            // Its text leads each mistake by file and line.
            Cause::Read(error) => error.fmt(f),
            Cause::Build(_) => f.write_str("cannot serve by the configuration"),
        }
    }
}

impl Error for ReloadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.cause {
            Cause::NoFile => None,
            Cause::Read(error) => error.source(),
            Cause::Build(error) => Some(error),
        }
    }
}
