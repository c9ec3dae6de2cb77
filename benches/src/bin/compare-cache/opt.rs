//! What no bounded cache can exceed.

use std::collections::{BTreeSet, HashMap};

/// The hits of Belady's algorithm with bypass on `keys`: out goes what is asked for last, be it the
/// newcomer.
pub(crate) fn hits(keys: &[u64], capacity: usize) -> usize {
    let next = next_uses(keys);
    // By next use, which no two keys share; and the next use of each key that is in.
    let mut kept = BTreeSet::new();
    let mut hits = 0;
    for (now, next) in next.into_iter().enumerate() {
        hits += usize::from(kept.remove(&now));
        if next != usize::MAX {
            kept.insert(next);
            if kept.len() > capacity {
                kept.pop_last();
            }
        }
    }
    hits
}

/// When each request's key is asked for again; `usize::MAX` for never.
fn next_uses(keys: &[u64]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let mut next = vec![usize::MAX; keys.len()];
    for (now, key) in keys.iter().enumerate().rev() {
        if let Some(later) = seen.insert(*key, now) {
            next[now] = later;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All ways to run a cache of `capacity`, the best of which counts.
    fn best(keys: &[u64], capacity: usize, kept: &mut Vec<u64>) -> usize {
        let Some((key, rest)) = keys.split_first() else {
            return 0;
        };
        if kept.contains(key) {
            return 1 + best(rest, capacity, kept);
        }
        let mut most = best(rest, capacity, kept);
        if kept.len() < capacity {
            kept.push(*key);
            most = most.max(best(rest, capacity, kept));
            kept.pop();
        } else {
            for at in 0..kept.len() {
                let out = std::mem::replace(&mut kept[at], *key);
                most = most.max(best(rest, capacity, kept));
                kept[at] = out;
            }
        }
        most
    }

    #[test]
    fn no_way_to_run_a_cache_hits_more() {
        let mut random = stanchion_benches::Random::new(1);
        for _ in 0..50 {
            let keys: Vec<u64> = (0..9).map(|_| random.below(5) as u64).collect();
            for capacity in 1..4 {
                assert_eq!(
                    hits(&keys, capacity),
                    best(&keys, capacity, &mut Vec::new())
                );
            }
        }
    }
}
