use super::Evict;
use super::ghost::Ghost;
use super::list::{Links, List};
use super::marks::Marks;

/// S3-FIFO: a small queue for newcomers, a main one for what was hit there more than once, and the
/// hashes of what left the small queue, which go straight into the main one when they come back.
///
/// Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1.
#[derive(Debug, Default)]
pub(crate) struct S3Fifo {
    links: Links,
    marks: Marks,
    small: List,
    main: List,
    ghost: Ghost,
}

const SMALL: u8 = 0;
const MAIN: u8 = 1;

/// The small queue gets one part in ten of the cache.
const SMALL_PART: usize = 10;

/// Hits in the small queue after which an entry moves to the main one.
const HITS_TO_MOVE: u8 = 2;

impl S3Fifo {
    fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    fn evict_small(&mut self, hashes: &[u32]) -> Option<u32> {
        let oldest = self.small.tail()?;
        let stays = self.marks.hits(oldest) >= HITS_TO_MOVE;
        self.links.unlink(&mut self.small, oldest);
        if stays {
            self.marks.set(oldest, MAIN);
            self.links.push_head(&mut self.main, oldest);
            return None;
        }
        let len_max = self.len() - self.len() / SMALL_PART;
        self.ghost.remember(hashes[oldest as usize], len_max);
        Some(oldest)
    }

    fn evict_main(&mut self) -> Option<u32> {
        let oldest = self.main.tail()?;
        self.links.unlink(&mut self.main, oldest);
        if self.marks.hits(oldest) == 0 {
            return Some(oldest);
        }
        self.marks.forget_one(oldest);
        self.links.push_head(&mut self.main, oldest);
        None
    }
}

impl Evict for S3Fifo {
    #[inline]
    fn touch(&self, slot: u32) {
        self.marks.touch(slot);
    }

    fn insert(&mut self, slot: u32, hash: u32) {
        if self.ghost.take(hash) {
            self.marks.set(slot, MAIN);
            self.links.push_head(&mut self.main, slot);
        } else {
            self.marks.set(slot, SMALL);
            self.links.push_head(&mut self.small, slot);
        }
    }

    fn remove(&mut self, slot: u32) {
        let list = match self.marks.queue(slot) {
            SMALL => &mut self.small,
            _ => &mut self.main,
        };
        self.links.unlink(list, slot);
    }

    /// Each turn takes an entry out of the small queue or a hit off one in the main queue, so there
    /// are at most `len × (1 + HITS_MAX)` of them.
    fn evict(&mut self, hashes: &[u32]) -> Option<u32> {
        while self.len() > 0 {
            let small_is_full = self.small.len() >= (self.len() / SMALL_PART).max(1);
            let victim = if small_is_full || self.main.is_empty() {
                self.evict_small(hashes)
            } else {
                self.evict_main()
            };
            if victim.is_some() {
                return victim;
            }
        }
        None
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        self.marks.reserve(slots);
    }
}
