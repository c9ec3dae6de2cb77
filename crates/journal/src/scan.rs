//! Reads the entries of a segment, and goes on behind what cannot be read.

use crate::entry::{Entry, HEAD_LEN, Head};

/// What stands next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// See [`Head::kept`]; 0 where there is no head.
    pub(crate) kept: usize,
    /// `None` where the bytes are no entry.
    pub(crate) entry: Option<Entry<'a>>,
}

/// All items from an offset on, without a hole between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    salt: u64,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8], salt: u64, at: usize) -> Self {
        Self { bytes, salt, at }
    }

    fn head(&self, at: usize) -> Option<Head> {
        Head::decode(self.salt, self.bytes.get(at..)?)
    }

    /// Where the next head is after `at`, or the end. Bytes × one short checksum: what bodies hold
    /// costs no more.
    fn next_head(&self, at: usize) -> usize {
        let mut later = at + 1..self.bytes.len();
        later
            .find(|&at| self.head(at).is_some())
            .unwrap_or(self.bytes.len())
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let from = self.at;
        if from >= self.bytes.len() {
            return None;
        }
        let Some(head) = self.head(from) else {
            self.at = self.next_head(from);
            return Some(Item {
                from,
                to: self.at,
                kept: 0,
                entry: None,
            });
        };
        let body = from + HEAD_LEN;
        let end = body.saturating_add(head.body_len);
        let body = self.bytes.get(body..end);
        self.at = end.min(self.bytes.len());
        Some(Item {
            from,
            to: self.at,
            kept: usize::try_from(head.kept).unwrap_or(usize::MAX),
            entry: body.and_then(|body| head.entry(self.salt, body)),
        })
    }
}

/// Where the end of a segment begins that a crash tore; the length of the segment if none did.
///
/// Before the offset that any entry says was kept, nothing is torn: what is wrong there is damage.
/// Behind it, what follows the first hole was promised to nobody, even where it can be read: the
/// disk may write later pages first.
pub(crate) fn torn_from(bytes: &[u8], salt: u64, at: usize) -> usize {
    let kept = Scan::new(bytes, salt, at).map(|item| item.kept);
    let kept = kept.max().unwrap_or(0);
    Scan::new(bytes, salt, at)
        .find(|item| item.entry.is_none() && item.from >= kept)
        .map_or(bytes.len(), |item| item.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 5;

    /// Records of two bytes, each of which says that what lies before `kept` of it was kept.
    fn segment(kept: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (seq, &kept) in (0..).zip(kept) {
            let record = Entry::Record { seq, bytes: b"ab" };
            record.encode(SALT, kept, &mut bytes);
        }
        bytes
    }

    fn seqs(bytes: &[u8]) -> Vec<Option<u64>> {
        let seq = |item: Item<'_>| match item.entry? {
            Entry::Record { seq, .. } => Some(seq),
            Entry::Ack { .. } => None,
        };
        Scan::new(bytes, SALT, 0).map(seq).collect()
    }

    const LEN: usize = HEAD_LEN + 2;

    #[test]
    fn it_goes_on_behind_a_bad_body_and_a_bad_head() {
        let mut bytes = segment(&[0; 4]);
        bytes[2 * LEN - 1] ^= 1;
        assert_eq!(seqs(&bytes), [Some(0), None, Some(2), Some(3)]);
        bytes[2 * LEN] ^= 1;
        assert_eq!(seqs(&bytes), [Some(0), None, None, Some(3)]);
        assert_eq!(seqs(&bytes[..4 * LEN - 1]), [Some(0), None, None, None]);
        let items: Vec<_> = Scan::new(&bytes, SALT, 0).collect();
        assert!(items.windows(2).all(|two| two[0].to == two[1].from));
    }

    #[test]
    fn a_hole_behind_what_was_kept_is_torn_and_before_it_is_damage() {
        let two = u32::try_from(2 * LEN).unwrap();
        let bytes = segment(&[0, 0, 0, two]);
        assert_eq!(torn_from(&bytes, SALT, 0), 4 * LEN);
        for (hole, torn) in [(0, 4), (1, 4), (2, 2), (3, 3)] {
            let mut bytes = bytes.clone();
            bytes[hole * LEN + 3] ^= 1;
            // Without its head, the last entry does not tell what was kept.
            assert_eq!(torn_from(&bytes, SALT, 0), torn * LEN, "hole {hole}");
        }
    }

    #[test]
    fn what_a_body_holds_passes_for_no_entry() {
        let inner = segment(&[0; 3]);
        let mut bytes = Vec::new();
        let outer = Entry::Record {
            seq: 0,
            bytes: &inner,
        };
        outer.encode(SALT + 1, 0, &mut bytes);
        bytes[0] ^= 1;
        let items: Vec<_> = Scan::new(&bytes, SALT + 1, 0).collect();
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].entry, None);
    }
}
