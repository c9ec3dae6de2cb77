//! Keys, and XXH3 in the forms that the peers take.

use std::hash::{BuildHasher, Hash, Hasher};

use stanchion_benches::Random;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A key of 16 bytes, fed to a hasher at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u8; 16]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// A power of two.
pub(crate) const KEYS: usize = 1 << 16;

pub(crate) fn keys() -> Vec<Key> {
    let mut random = Random::new(1);
    let key = |_| {
        let halves = [
            random.next_u64().to_le_bytes(),
            random.next_u64().to_le_bytes(),
        ];
        Key(halves.concat().try_into().expect("twice 8 bytes"))
    };
    (0..KEYS).map(key).collect()
}

/// One point of a node, fed to a hasher at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) node: u32,
    pub(crate) number: u32,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.node) << 32 | u64::from(self.number));
    }
}

/// Makes hashers that hash by XXH3 what they are fed at once.
#[derive(Clone, Copy, Default)]
pub(crate) struct Xxh3;

impl BuildHasher for Xxh3 {
    type Hasher = AtOnce;

    #[inline]
    fn build_hasher(&self) -> AtOnce {
        AtOnce {
            hash: 0,
            fed: false,
        }
    }
}

pub(crate) struct AtOnce {
    hash: u64,
    fed: bool,
}

impl Hasher for AtOnce {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.hash = if self.fed {
            xxh3_64_with_seed(bytes, self.hash)
        } else {
            xxh3_64(bytes)
        };
        self.fed = true;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

impl consistent_hash::RingHash for Xxh3 {
    #[inline]
    fn hash_item<T: Hash>(&self, item: &T) -> u64 {
        self.hash_one(item)
    }
}

impl rendezvous_hash::NodeHasher<Point> for Xxh3 {
    #[inline]
    fn hash<T: Hash>(&self, node: &Point, item: &T) -> u64 {
        let mut hasher = self.build_hasher();
        item.hash(&mut hasher);
        node.hash(&mut hasher);
        hasher.finish()
    }
}
