use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::Damage;

/// The file system failed; the journal is as before, and the same may be tried again.
#[derive(Debug)]
pub struct Failed {
    doing: &'static str,
    error: io::Error,
}

/// The journal takes nothing more, because the file system failed in a way after which nothing
/// can be trusted: a sync that failed may have lost what was written, and another one that
/// succeeds says nothing of it.
///
/// What was synced before stays. Records whose appends returned this error may or may not be
/// replayed when the journal is opened again. Clones copy.
#[derive(Clone, Debug)]
pub struct Poisoned {
    doing: &'static str,
    kind: io::ErrorKind,
    message: Arc<str>,
}

/// Why a journal cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody has it open, in this process or another.
    Locked,
    /// Records are damaged, or gone from the middle; nothing was changed. See
    /// [`OnDamage`](crate::OnDamage).
    Damaged(Damage),
    /// A segment was written by a later version of this library; nothing was changed.
    Version {
        /// Its number.
        segment: u64,
        /// The version of its format.
        version: u32,
    },
    /// The file system failed.
    Failed(Failed),
}

/// Why a record is not in the journal.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// It is longer than any record may be.
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// There is no room before others are acknowledged.
    Full {
        /// How large the journal may be.
        max_bytes: u64,
    },
    /// It could not be written, and no part of it is left.
    Failed(Failed),
    /// Nobody knows whether it is durable.
    Poisoned(Poisoned),
}

/// Why records are not acknowledged.
#[derive(Debug)]
#[non_exhaustive]
pub enum AckError {
    /// There is no such record yet.
    Unknown {
        /// The number that was given.
        seq: u64,
        /// That of the next record.
        next: u64,
    },
    /// It could not be written; they are as before.
    Failed(Failed),
    /// The journal takes nothing more.
    Poisoned(Poisoned),
}

/// Why a record cannot be replayed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// It was intact when the journal was opened, and is not any more.
    Damaged(Damage),
    /// The file system failed.
    Failed(Failed),
}

impl Failed {
    pub(crate) const fn new(doing: &'static str, error: io::Error) -> Self {
        Self { doing, error }
    }

    /// For `map_err`.
    pub(crate) fn at(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { doing, error }
    }

    /// What kind of error it was: [`io::ErrorKind::StorageFull`], for one.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

impl Poisoned {
    pub(crate) fn by(failed: &Failed) -> Self {
        Self {
            doing: failed.doing,
            kind: failed.kind(),
            message: failed.error.to_string().into(),
        }
    }

    /// What kind of error it was.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.doing)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl fmt::Display for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, message, .. } = self;
        write!(
            f,
            "the journal must be opened again: it could not {doing} ({message})"
        )
    }
}

impl Error for Poisoned {}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("the journal is open already"),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Version { segment, version } => write!(
                f,
                "segment {segment} has version {version} of the format, must be 1"
            ),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, max } => {
                write!(f, "the record has {bytes} bytes, must have at most {max}")
            }
            Self::Full { max_bytes } => write!(f, "the journal is full, of {max_bytes} bytes"),
            Self::Failed(failed) => failed.fmt(f),
            Self::Poisoned(poisoned) => poisoned.fmt(f),
        }
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { seq, next } => {
                write!(f, "record {seq} is acknowledged, must be below {next}")
            }
            Self::Failed(failed) => failed.fmt(f),
            Self::Poisoned(poisoned) => poisoned.fmt(f),
        }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(damage) => damage.fmt(f),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failed) => failed.source(),
            _ => None,
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failed) => failed.source(),
            _ => None,
        }
    }
}

impl Error for AckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failed) => failed.source(),
            _ => None,
        }
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failed) => failed.source(),
            Self::Damaged(_) => None,
        }
    }
}

impl From<Failed> for OpenError {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// What stops a write: it is undone, or nothing can be trusted any more.
#[derive(Debug)]
pub(crate) enum Stopped {
    Failed(Failed),
    Poisoned(Poisoned),
}

impl From<Stopped> for AppendError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(failed) => Self::Failed(failed),
            Stopped::Poisoned(poisoned) => Self::Poisoned(poisoned),
        }
    }
}

impl From<Stopped> for AckError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Failed(failed) => Self::Failed(failed),
            Stopped::Poisoned(poisoned) => Self::Poisoned(poisoned),
        }
    }
}

impl From<Poisoned> for Stopped {
    fn from(poisoned: Poisoned) -> Self {
        Self::Poisoned(poisoned)
    }
}

impl From<Poisoned> for AppendError {
    fn from(poisoned: Poisoned) -> Self {
        Self::Poisoned(poisoned)
    }
}

impl From<Poisoned> for AckError {
    fn from(poisoned: Poisoned) -> Self {
        Self::Poisoned(poisoned)
    }
}
