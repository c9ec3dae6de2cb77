use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a list of endpoints could not be used: where it stands, the line and the field.
#[derive(Debug)]
pub struct FileError {
    path: Option<PathBuf>,
    line: Option<usize>,
    field: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Unread(io::Error),
    Wrong(String),
}

impl FileError {
    pub(super) fn unread(path: PathBuf, error: io::Error) -> Self {
        Self {
            path: Some(path),
            line: None,
            field: None,
            what: What::Unread(error),
        }
    }

    pub(super) fn wrong(line: Option<usize>, field: Option<String>, message: String) -> Self {
        Self {
            path: None,
            line,
            field,
            what: What::Wrong(message),
        }
    }

    pub(super) fn in_file(mut self, path: PathBuf) -> Self {
        self.path = Some(path);
        self
    }

    /// The file, unless a text was given.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line, from 1, if one is to blame.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The field, such as `endpoint[1].weight`, if one is to blame.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        match &self.what {
            What::Unread(_) => f.write_str("the list cannot be read"),
            What::Wrong(message) => f.write_str(message),
        }
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.what {
            What::Unread(error) => Some(error),
            What::Wrong(_) => None,
        }
    }
}
