//! How often a key was asked for lately, whether or not it is in the cache.

/// A count-min sketch of four rows over one array of 4-bit counters, halved now and then.
///
/// It never counts less than was added since the last halving, up to 15; with 12 counters to an
/// entry it rarely counts more. 6 bytes to an entry.
///
/// Source: Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy",
/// ACM TOS 2017, section 3. We increase only the smallest of a key's counters ("conservative
/// update") and halve after 8 additions to an entry, not 10.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    /// Two counters to a byte.
    bytes: Vec<u8>,
    added: usize,
    halve_after: usize,
}

/// One odd number for each row, that hashes into it.
const ROWS: [u64; 4] = [
    0x9E37_79B9_7F4A_7C15,
    0xC2B2_AE3D_27D4_EB4F,
    0xD6E8_FEB8_6659_FD93,
    0xA076_1D64_78BD_642F,
];
const BYTES_PER_ENTRY: usize = 6;
const COUNT_MAX: u8 = 15;
const ADDITIONS_PER_ENTRY: usize = 8;
/// Below this many entries the counters of so small a sketch would meet too often.
const ENTRIES_MIN: usize = 16;

impl Sketch {
    /// Starts anew, sized for `entries`.
    pub(crate) fn resize(&mut self, entries: usize) {
        let entries = entries.max(ENTRIES_MIN);
        self.bytes = vec![0; entries * BYTES_PER_ENTRY];
        self.added = 0;
        self.halve_after = entries * ADDITIONS_PER_ENTRY;
    }

    pub(crate) fn count(&self, hash: u32) -> u8 {
        if self.bytes.is_empty() {
            return 0;
        }
        let [a, b, c, d] = self.places(hash).map(|place| self.get(place));
        a.min(b).min(c.min(d))
    }

    /// Adds one.
    pub(crate) fn add(&mut self, hash: u32) {
        if self.bytes.is_empty() {
            return;
        }
        let count = self.count(hash);
        if count < COUNT_MAX {
            for place in self.places(hash) {
                // Two rows may have the same place, which the first of them has increased.
                if self.get(place) == count {
                    self.bytes[place / 2] += 1 << (place % 2 * 4);
                }
            }
        }
        self.added += 1;
        if self.added >= self.halve_after {
            for byte in &mut self.bytes {
                *byte = *byte >> 1 & 0x77;
            }
            self.added /= 2;
        }
    }

    fn get(&self, place: usize) -> u8 {
        self.bytes[place / 2] >> (place % 2 * 4) & COUNT_MAX
    }

    /// The places of the counters of `hash`, of which there must be some.
    fn places(&self, hash: u32) -> [usize; 4] {
        let counters = self.bytes.len() as u64 * 2;
        ROWS.map(|row| {
            let spread = u64::from(hash).wrapping_mul(row) >> 32;
            ((spread * counters) >> 32) as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_counts_less_than_was_added() {
        let mut sketch = Sketch::default();
        sketch.resize(1000);
        for hash in 0..500_u32 {
            for _ in 0..hash % 10 {
                sketch.add(hash.wrapping_mul(0x9E37_79B1));
            }
        }
        let counts =
            (0..500_u32).map(|hash| (hash % 10, sketch.count(hash.wrapping_mul(0x9E37_79B1))));
        let mut exact = 0;
        for (added, counted) in counts {
            assert!(u32::from(counted) >= added);
            exact += usize::from(u32::from(counted) == added);
        }
        assert!(exact > 490, "{exact} of 500 counts are exact");
    }

    #[test]
    fn counts_are_halved_after_eight_additions_to_an_entry() {
        let mut sketch = Sketch::default();
        sketch.resize(16);
        for _ in 0..127 {
            sketch.add(7);
        }
        assert_eq!(sketch.count(7), 15);
        sketch.add(7);
        assert_eq!(sketch.count(7), 7);
    }

    #[test]
    fn without_counters_nothing_is_counted() {
        let mut sketch = Sketch::default();
        sketch.add(1);
        assert_eq!(sketch.count(1), 0);
    }
}
