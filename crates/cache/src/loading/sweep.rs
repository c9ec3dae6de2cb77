use std::hash::{BuildHasher, Hash};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use stanchion_core::{Clock, Sleep};

use super::{Parts, Start};
use crate::refresh::Age;

/// Goes through the cache, again and again, for entries whose time to be loaded anew has come.
pub(super) struct Sweep<K> {
    clock: Clock,
    pause: Duration,
    at: At,
    /// Entries for which there was no place.
    found: Vec<(K, Age)>,
}

enum At {
    Pause(Pin<Box<Sleep>>),
    Entry(usize, u32),
}

/// How often it goes through the cache in one period.
const SWEEPS_PER_PERIOD: u32 = 8;

/// How many entries it looks at under one lock, and in one poll.
const STEPS: usize = 1024;

impl<K> Sweep<K> {
    pub(super) fn new(clock: Clock, period: Duration) -> Self {
        let pause = period / SWEEPS_PER_PERIOD;
        Self {
            at: At::Pause(Box::pin(clock.sleep(pause))),
            clock,
            pause,
            found: Vec::new(),
        }
    }

    /// Starts what is due, as far as there are places for it; polled again, as it is after the end of
    /// each load, it goes on.
    pub(super) fn poll<V, S>(&mut self, cx: &mut Context<'_>, parts: &Parts<K, V, S>)
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        S: BuildHasher + Send + Sync + 'static,
    {
        loop {
            while let Some((key, age)) = self.found.pop() {
                if parts.start(&key, Some(age)) == Start::Full {
                    self.found.push((key, age));
                    return;
                }
            }
            match &mut self.at {
                At::Pause(sleep) => match sleep.as_mut().poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(()) => self.at = At::Entry(0, 0),
                },
                At::Entry(shard, slot) => {
                    let at = (*shard, *slot);
                    self.at = match parts.cache.overdue(at, STEPS, &mut self.found) {
                        Some((shard, slot)) => At::Entry(shard, slot),
                        None => At::Pause(Box::pin(self.clock.sleep(self.pause))),
                    };
                    if self.found.is_empty() && matches!(self.at, At::Entry(..)) {
                        // Others get their turn.
                        cx.waker().wake_by_ref();
                        return;
                    }
                }
            }
        }
    }
}
