//! What all handles of one keyed limiter share.

use std::sync::atomic::{AtomicU64, Ordering};

use super::key_hash::KeyHash;
use super::keys::Keys;
use super::when_full::Place;
use crate::Event;

pub(super) struct Shared<K: ?Sized> {
    pub(super) key_hash: KeyHash,
    pub(super) max_keys: usize,
    pub(super) keys: Keys<K>,
    overflowed: AtomicU64,
    denied: AtomicU64,
    evicted: AtomicU64,
}

/// A keyed limiter in plain numbers, to make metrics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedSnapshot {
    /// Keys that the limiter was built for.
    pub max_keys: usize,
    /// Bytes that the places take; fixed. What a sliding log or a strict window has noted of a key
    /// comes on top: at most 32 bytes for each of a log's limit, 32 KiB for a strict window.
    pub bytes: usize,
    /// Requests that went to the shared state because their key found no place, since the start.
    pub overflowed: u64,
    /// Requests that were refused because their key found no place, since the start.
    pub denied: u64,
    /// Keys that lost their place to another while it was in use, since the start.
    pub evicted: u64,
}

impl<K: ?Sized> Shared<K> {
    pub(super) fn new(keys: Keys<K>, max_keys: usize) -> Self {
        Self {
            key_hash: KeyHash::new(),
            max_keys,
            keys,
            overflowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Counts how a key came to its place; with what an observer is to hear of it.
    pub(super) fn count(&self, place: Place) -> Option<Event> {
        let (counter, event) = match place {
            Place::Own => return None,
            Place::Shared => (&self.overflowed, Some(Event::Overflowed)),
            Place::Evicted => (&self.evicted, Some(Event::Evicted)),
            // Told as a refusal.
            Place::Denied => (&self.denied, None),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        event
    }

    pub(super) fn snapshot(&self) -> KeyedSnapshot {
        KeyedSnapshot {
            max_keys: self.max_keys,
            bytes: self.keys.bytes(),
            overflowed: self.overflowed.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }
}
