use super::Evict;
use super::list::{Links, List};
use super::marks::Marks;
use super::sketch::Sketch;

/// W-TinyLFU with lazy order: a window for newcomers, and a main queue that a newcomer enters only
/// if it was asked for more often than the entry that would leave for it.
///
/// A hit sets bits and no more. What the original does at a hit is done when an entry comes to the
/// tail of its queue: if it was hit since, it goes back to the head (in the window with all its hits
/// spent, in the main queue with one), and its hits go into the sketch. So the window is CLOCK
/// instead of LRU, the main queue is CLOCK with two bits instead of segmented LRU; measured, neither
/// loses hits, and scans and loops gain.
///
/// An entry that leaves the window enters the main queue if its count beats the other's by **two**:
/// the sketch has the newcomer's own arrival, and the other's next one may be due. With one, each
/// round of a loop evicts what the next round needs.
///
/// Source: Einziger, Friedman and Manes, "TinyLFU", ACM TOS 2017, section 4, and the differences
/// above.
#[derive(Debug)]
pub(crate) struct WTinyLfu {
    links: Links,
    marks: Marks,
    window: List,
    main: List,
    sketch: Sketch,
    /// The window's part of the entries, in per cent.
    window_percent: u8,
    /// How many entries have yet to move since the window was made smaller.
    to_move: usize,
    /// How many entries there were at the last eviction.
    full_len: usize,
}

const WINDOW: u8 = 0;
const MAIN: u8 = 1;

/// By how much the count of a newcomer must be larger.
const LEAD: u8 = 2;

/// How many entries move from the window to the main queue at one eviction, without a contest, after
/// the window was made smaller.
const MOVES_MAX: usize = 4;

impl WTinyLfu {
    pub(crate) fn new(window_percent: u8) -> Self {
        Self {
            links: Links::default(),
            marks: Marks::default(),
            window: List::default(),
            main: List::default(),
            sketch: Sketch::default(),
            window_percent,
            to_move: 0,
            full_len: usize::MAX,
        }
    }

    pub(crate) fn set_window(&mut self, percent: u8) {
        if percent != self.window_percent {
            self.window_percent = percent;
            self.to_move = self.window.len().saturating_sub(self.window_max());
        }
    }

    fn len(&self) -> usize {
        self.window.len() + self.main.len()
    }

    fn window_max(&self) -> usize {
        let len = self.len();
        let wanted = (len * usize::from(self.window_percent) + 50) / 100;
        wanted.clamp(1, len.saturating_sub(1).max(1))
    }

    /// Moves the oldest of the window into the main queue, without a contest.
    fn move_one(&mut self) {
        if let Some(oldest) = self.window.tail() {
            self.links.unlink(&mut self.window, oldest);
            self.marks.set(oldest, MAIN);
            self.links.push_head(&mut self.main, oldest);
        }
    }

    /// The oldest entry of the window that was not hit; those that were go back to the head.
    fn newcomer(&mut self, hashes: &[u32]) -> Option<u32> {
        loop {
            let oldest = self.window.tail()?;
            let hits = self.marks.hits(oldest);
            if hits == 0 {
                return Some(oldest);
            }
            for _ in 0..hits {
                self.sketch.add(hashes[oldest as usize]);
            }
            self.links.unlink(&mut self.window, oldest);
            self.marks.set(oldest, WINDOW);
            self.links.push_head(&mut self.window, oldest);
        }
    }

    /// The oldest entry of the main queue that was not hit; those that were go back to the head.
    fn victim(&mut self, hashes: &[u32]) -> Option<u32> {
        loop {
            let oldest = self.main.tail()?;
            if self.marks.hits(oldest) == 0 {
                return Some(oldest);
            }
            self.sketch.add(hashes[oldest as usize]);
            self.marks.forget_one(oldest);
            self.links.unlink(&mut self.main, oldest);
            self.links.push_head(&mut self.main, oldest);
        }
    }

    fn beats(&self, newcomer: u32, victim: u32, hashes: &[u32]) -> bool {
        let count = |slot: u32| self.sketch.count(hashes[slot as usize]);
        count(newcomer) >= count(victim) + LEAD
    }
}

impl Evict for WTinyLfu {
    #[inline]
    fn touch(&self, slot: u32) {
        self.marks.touch(slot);
    }

    fn insert(&mut self, slot: u32, hash: u32) {
        self.sketch.add(hash);
        self.marks.set(slot, WINDOW);
        self.links.push_head(&mut self.window, slot);
    }

    fn remove(&mut self, slot: u32) {
        let list = match self.marks.queue(slot) {
            WINDOW => &mut self.window,
            _ => &mut self.main,
        };
        self.links.unlink(list, slot);
    }

    fn evict(&mut self, hashes: &[u32]) -> Option<u32> {
        self.full_len = self.len();
        let moves = self.to_move.min(MOVES_MAX);
        self.to_move -= moves;
        for _ in 0..moves {
            self.move_one();
        }
        let window_max = self.window_max();
        if self.window.len() <= window_max && !self.main.is_empty() {
            let victim = self.victim(hashes)?;
            self.links.unlink(&mut self.main, victim);
            return Some(victim);
        }
        let newcomer = self.newcomer(hashes)?;
        self.links.unlink(&mut self.window, newcomer);
        match self.victim(hashes) {
            Some(victim) if self.beats(newcomer, victim, hashes) => {
                self.links.unlink(&mut self.main, victim);
                self.marks.set(newcomer, MAIN);
                self.links.push_head(&mut self.main, newcomer);
                Some(victim)
            }
            _ => Some(newcomer),
        }
    }

    /// While the cache fills up, entries pass from the window into the main queue without a contest.
    /// Not when it was full a moment ago and has a gap: then the next eviction holds the contest.
    fn make_room(&mut self) {
        let is_filling = self.len() < self.full_len - self.full_len / 8;
        if is_filling && self.window.len() >= self.window_max() {
            self.move_one();
        }
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        self.marks.reserve(slots);
        self.sketch.resize(slots);
    }
}
