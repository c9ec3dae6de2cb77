//! Where the servers of an upstream are found.

use std::path::PathBuf;

use serde::Serialize;

/// How the servers of an upstream are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Discovery {
    /// In a list that is read again and again.
    File {
        /// Its path.
        file: PathBuf,
    },
}
