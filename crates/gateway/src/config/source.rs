use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReadError;

/// The file that a configuration was read from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// What it said then.
    pub(crate) text: Arc<str>,
    /// Whether changes of the file are taken over by themselves.
    pub(crate) watched: bool,
}

/// The most that a configuration file may take, in bytes.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Source {
    /// What the file says now.
    pub(crate) fn text(path: &Path) -> Result<Arc<str>, ReadError> {
        read(path)
            .map(Arc::from)
            .map_err(|error| ReadError::io(path, error))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(BYTES_MAX + 1);
    let len = file.read_to_string(&mut text)?;
    if len as u64 > BYTES_MAX {
        let message = format!("more than {BYTES_MAX} bytes, which is the most that is allowed");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}
