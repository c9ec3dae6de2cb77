//! The token that changes need.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

/// The shortest token: 16 characters of 6 bits cannot be guessed.
const LEN_MIN: usize = 16;
const LEN_MAX: usize = 4096;

/// A token in a file, which is read at each use, so that a new token counts at once.
#[derive(Debug)]
pub(super) struct Token {
    file: PathBuf,
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) struct TokenError {
    file: PathBuf,
    cause: Option<io::Error>,
}

impl Token {
    pub(super) fn new(file: &Path) -> Result<Self, TokenError> {
        let token = Self {
            file: file.to_owned(),
        };
        token.read()?;
        Ok(token)
    }

    /// Compares in a time that tells the length at most.
    pub(super) fn is(&self, given: &[u8]) -> Result<bool, TokenError> {
        Ok(self.read()?.ct_eq(given).into())
    }

    fn read(&self) -> Result<Vec<u8>, TokenError> {
        let failed = |cause| TokenError {
            file: self.file.clone(),
            cause,
        };
        let file = File::open(&self.file).map_err(|error| failed(Some(error)))?;
        let mut bytes = Vec::new();
        file.take(LEN_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(Some(error)))?;
        let token = bytes.trim_ascii();
        let sound = (LEN_MIN..=LEN_MAX).contains(&token.len());
        if !sound || !token.iter().all(u8::is_ascii_graphic) {
            return Err(failed(None));
        }
        Ok(token.to_owned())
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.cause {
            Some(_) => write!(f, "admin.token_file: {file} cannot be read"),
            None => write!(
                f,
                "admin.token_file: {file} holds no token, which is {LEN_MIN} to {LEN_MAX} visible \
                 characters of ASCII on one line"
            ),
        }
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_that_cannot_be_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Token::new(&file).map_err(|error| error.to_string())
        };
        assert!(
            read("0123456789abcdef\r\n")
                .unwrap()
                .is(b"0123456789abcdef")
                .unwrap()
        );
        let long = "x".repeat(4097);
        for text in [
            "",
            "0123456789abcde",
            "0123456789abcdef 0",
            "0123456789abcdéf",
            &long,
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("holds no token"), "{text}: {error}");
        }
        let error = Token::new(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "admin.token_file: /nonexistent cannot be read"
        );
        assert!(error.source().is_some());
    }
}
