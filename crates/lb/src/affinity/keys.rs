use std::fmt;

use super::seal::Sealer;
use crate::InvalidConfig;

/// The secrets that session cookies are sealed with.
///
/// They come from your configuration, so that cookies are good after a restart and on each server.
/// To change the secret, put the new one first and keep the old one for as long as sessions last: what
/// is sealed with an old one is read, and written anew with the first.
#[derive(Clone)]
pub struct SessionKeys {
    first: Sealer,
    others: Vec<Sealer>,
}

/// Old keys that are tried for each cookie.
const OTHERS_MAX: usize = 8;

impl SessionKeys {
    /// Seals with this secret.
    ///
    /// # Errors
    ///
    /// If it has less than 32 bytes. They should be random.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, InvalidConfig> {
        Ok(Self {
            first: sealer(secret.as_ref())?,
            others: Vec::new(),
        })
    }

    /// Reads also what was sealed with this secret.
    ///
    /// # Errors
    ///
    /// If it has less than 32 bytes, or there are eight of them already.
    pub fn with_old(mut self, secret: impl AsRef<[u8]>) -> Result<Self, InvalidConfig> {
        if self.others.len() == OTHERS_MAX {
            let allowed = "at most 8 beside the first";
            return Err(InvalidConfig::new("old", OTHERS_MAX + 1, allowed));
        }
        self.others.push(sealer(secret.as_ref())?);
        Ok(self)
    }

    pub(super) fn seal(&self, name: &str, plain: &[u8]) -> String {
        self.first.seal(name, plain)
    }

    /// What was sealed, and whether by the first key.
    pub(super) fn open(&self, name: &str, text: &str) -> Option<(Vec<u8>, bool)> {
        let first = self.first.open(name, text).map(|plain| (plain, true));
        first.or_else(|| {
            let plain = self.others.iter().find_map(|key| key.open(name, text));
            Some((plain?, false))
        })
    }
}

fn sealer(secret: &[u8]) -> Result<Sealer, InvalidConfig> {
    if secret.len() < 32 {
        let value = format!("{} bytes long", secret.len());
        return Err(InvalidConfig::new("secret", value, "32 bytes or more"));
    }
    Ok(Sealer::new(secret))
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKeys")
            .field("old", &self.others.len())
            .finish_non_exhaustive()
    }
}
