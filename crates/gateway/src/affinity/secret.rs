use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::config::keys::Secret;

/// A secret that cannot be had.
#[derive(Debug)]
pub(crate) struct InvalidSecret {
    from: Secret,
    why: String,
}

/// The longest that is read.
const BYTES_MAX: u64 = 64 * 1024;

/// Reads a secret, without the line end that editors put behind it.
pub(super) fn read(secret: &Secret) -> Result<Vec<u8>, InvalidSecret> {
    let bytes = match secret {
        Secret::File(path) => file(path).map_err(|error| error.to_string()),
        Secret::Env(name) => match std::env::var_os(&**name) {
            Some(value) => Ok(value.into_encoded_bytes()),
            None => Err("it is not set".to_owned()),
        },
    };
    bytes
        .map(|bytes| bytes.trim_ascii_end().to_vec())
        .map_err(|why| InvalidSecret {
            from: secret.clone(),
            why,
        })
}

fn file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = &self.why;
        match &self.from {
            Secret::File(path) => {
                let path = path.display();
                write!(f, "the secret in the file {path} cannot be read: {why}")
            }
            Secret::Env(name) => {
                write!(f, "the secret in the variable {name} cannot be read: {why}")
            }
        }
    }
}
