//! Where a journal keeps its files.

#![allow(
    clippy::missing_errors_doc,
    reason = "they fail as the system does, which each trait says once"
)]

use std::any::Any;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fs4::TryLockError;

/// The few things that a journal does with a folder, of which [`Disk`] is the real one; a test
/// brings one that fails. They fail as the system does.
pub trait Folder: fmt::Debug + Send + Sync {
    /// Keeps others out until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if somebody else has it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// The names of all files in it.
    fn list(&self) -> io::Result<Vec<String>>;

    /// All that a file holds.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// A new file, which must not be there yet.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// A file that is there, to be written.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Deletes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is written. All fails as the system does.
pub trait File: fmt::Debug + Send + Sync {
    /// Writes some of `bytes` at `offset`, and says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes durable what the file holds, and its length.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Clone, Debug)]
pub struct Disk {
    path: PathBuf,
}

/// Never deleted: who deletes it races with who locks it.
const LOCK: &str = "lock";

impl Disk {
    /// The folder at `path`, made durable with those above it if it is not there yet.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let missing = path.ancestors().take_while(|folder| !folder.exists());
        let missing: Vec<_> = missing.collect();
        fs::create_dir_all(&path)?;
        for parent in missing.into_iter().filter_map(Path::parent) {
            sync_folder(parent)?;
        }
        Ok(Self { path })
    }
}

impl Folder for Disk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.path.join(LOCK))?;
        // The trait's, which older versions of Rust have too.
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true);
        Ok(Box::new(file.open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(options.write(true).open(self.path.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }
}

/// A relative path of one part has the empty path as its parent.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let here = path.as_os_str().is_empty();
    fs::File::open(if here { Path::new(".") } else { path })?.sync_all()
}

/// Elsewhere a folder is no file that could be synced.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

impl File for fs::File {
    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        use std::io::{Seek, SeekFrom, Write};
        // Nobody else moves it: a journal writes under its lock.
        let mut file = self;
        file.seek(SeekFrom::Start(offset))?;
        file.write(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes all of `bytes`; where that fails, some of them may be there.
pub(crate) fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
