//! A disk in memory that loses power, and fails when it is told to.
//!
//! What is written is in the file at once, as in the page cache, and durable when it is synced. A sync
//! that fails leaves the pages clean, as Linux does: a later one does not write them.

#![allow(dead_code, reason = "each test uses some of it")]

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use stanchion_journal::folder::{File, Folder};

/// Clones share the disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    before_sync: Arc<Mutex<Option<Arc<Hook>>>>,
}

type Hook = dyn Fn() + Send + Sync;

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// Where in `files` each is that there is, and that there surely is after a loss of power.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    locked: bool,
    /// How many operations there were that may fail.
    operations: usize,
    syncs: usize,
    /// As long as all files ever were together.
    peak_bytes: usize,
    fault: Option<(usize, Fault)>,
    dead: bool,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Which bytes of `now` the next sync writes.
    dirty: Vec<bool>,
}

/// What happens at the operation that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and those after it work again. A write leaves half of itself.
    Once,
    /// A write takes but one byte, and says so; others work.
    Short,
    /// It and all after it fail. A write leaves half of itself.
    Dead,
}

/// The sector of a disk, but smaller: what is written as one.
const SECTOR: usize = 8;

impl Disk {
    /// From now on, at the operation `at`.
    pub(crate) fn fail(&self, at: usize, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + at, fault));
    }

    pub(crate) fn operations(&self) -> usize {
        self.state().operations
    }

    /// Calls `hook` before each sync of a file.
    pub(crate) fn before_sync(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.before_sync.lock().expect("no panic under this lock") = Some(Arc::new(hook));
    }

    pub(crate) fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub(crate) fn peak_bytes(&self) -> usize {
        self.state().peak_bytes
    }

    /// The process dies: others may have the folder, and what was written stays.
    pub(crate) fn killed(&self) -> Self {
        let state = self.state();
        let names = state.names.clone();
        let state = State {
            files: state.files.clone(),
            durable_names: state.durable_names.clone(),
            names,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            ..Self::default()
        }
    }

    /// The power fails. Of what was not synced, `random` says what has reached the disk.
    pub(crate) fn without_power(&self, random: &mut impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut survives = |name: &str| match (state.names.get(name), state.durable_names.get(name))
        {
            (Some(&now), Some(&before)) if now == before => Some(now),
            (now, before) => [now, before][usize::from(random())].copied(),
        };
        let all = state.names.keys().chain(state.durable_names.keys());
        let names: BTreeMap<_, _> = all
            .filter_map(|name| Some((name.clone(), survives(name)?)))
            .collect();
        let files = state.files.iter().map(|file| file.after_loss(random));
        let state = State {
            files: files.collect(),
            durable_names: names.clone(),
            names,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            ..Self::default()
        }
    }

    /// The files of the journal, in order.
    pub(crate) fn segments(&self) -> Vec<String> {
        let state = self.state();
        let names = state.names.keys();
        names
            .filter(|name| name.ends_with(".segment"))
            .cloned()
            .collect()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].now.clone()
    }

    /// Replaces or makes a file, behind the journal's back.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let at = state.files.len();
        state.files.push(Content {
            now: bytes.to_vec(),
            durable: bytes.to_vec(),
            dirty: vec![false; bytes.len()],
        });
        state.names.insert(name.to_owned(), at);
        state.durable_names.insert(name.to_owned(), at);
    }

    /// Removes a file behind the journal's back.
    pub(crate) fn take(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Disk").finish_non_exhaustive()
    }
}

impl State {
    /// Counts an operation, and fails if its time has come; a write may be cut.
    fn operation(&mut self) -> io::Result<Option<Fault>> {
        let at = self.operations;
        self.operations += 1;
        if self.dead {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.fault {
            Some((when, fault)) if when == at => {
                self.dead = fault == Fault::Dead;
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }

    fn fails(&mut self) -> io::Result<()> {
        match self.operation()? {
            Some(Fault::Once | Fault::Dead) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Short) | None => Ok(()),
        }
    }

    fn at(&self, name: &str) -> io::Result<usize> {
        let at = self.names.get(name).copied();
        at.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
            self.dirty.resize(end, true);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.dirty[offset..end].fill(true);
    }

    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for (at, dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(dirty) {
                self.durable[at] = self.now[at];
            }
        }
    }

    /// Each sector that is dirty has reached the disk, or not; and so has the length.
    fn after_loss(&self, random: &mut impl FnMut() -> bool) -> Self {
        let mut left = self.durable.clone();
        if self.now.len() != self.durable.len() && random() {
            left.resize(self.now.len(), 0);
        }
        for (sector, dirty) in self.dirty.chunks(SECTOR).enumerate() {
            if random() {
                continue;
            }
            for at in (sector * SECTOR..).take(dirty.len()) {
                if self.dirty[at]
                    && let Some(byte) = left.get_mut(at)
                {
                    *byte = self.now[at];
                }
            }
        }
        Self {
            dirty: vec![false; left.len()],
            durable: left.clone(),
            now: left,
        }
    }
}

impl Folder for Disk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        if std::mem::replace(&mut self.state().locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.fails()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.fails()?;
        let at = state.at(name)?;
        Ok(state.files[at].now.clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.fails()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = state.files.len();
        state.files.push(Content::default());
        state.names.insert(name.to_owned(), at);
        Ok(Box::new(Handle(self.clone(), at)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.fails()?;
        Ok(Box::new(Handle(self.clone(), state.at(name)?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.fails()?;
        state.at(name)?;
        state.names.remove(name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.fails()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct Lock(Disk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

#[derive(Debug)]
struct Handle(Disk, usize);

impl File for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.state();
        let fault = state.operation()?;
        let offset = usize::try_from(offset).expect("a small file");
        let written = match fault {
            None => bytes.len(),
            Some(Fault::Short) => 1,
            Some(Fault::Once | Fault::Dead) => bytes.len() / 2,
        };
        state.files[self.1].write(&bytes[..written], offset);
        let bytes = state.names.values().map(|&at| state.files[at].now.len());
        state.peak_bytes = state.peak_bytes.max(bytes.sum());
        match fault {
            Some(Fault::Once | Fault::Dead) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Short) | None => Ok(written),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.fails()?;
        let len = usize::try_from(len).expect("a small file");
        let file = &mut state.files[self.1];
        file.now.resize(len, 0);
        file.dirty.resize(len, true);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let hook = self.0.before_sync.lock();
        let hook = hook.expect("no panic under this lock").clone();
        if let Some(hook) = hook {
            hook();
        }
        let mut state = self.0.state();
        state.syncs += 1;
        let fails = state.fails();
        let file = &mut state.files[self.1];
        if fails.is_ok() {
            file.sync();
        } else {
            file.dirty.fill(false);
        }
        fails
    }
}
