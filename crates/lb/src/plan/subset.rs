//! Which few of many endpoints one client uses.
//!
//! Each client ranks endpoints by a hash of both, and keeps the first. So clients spread evenly, and
//! when an endpoint comes or goes each replaces at most one of its own.
//!
//! Source: rendezvous hashing; gRPC proposal A68, *random subsetting*.

use stanchion_hashing::key_hash;

use crate::EndpointId;
use crate::config::Subset;

/// Which of these endpoints the client keeps; all, if they are not more than the subset.
pub(super) fn kept<'a>(
    ids: impl ExactSizeIterator<Item = &'a EndpointId>,
    subset: Subset,
) -> Vec<bool> {
    let size = subset.size.get() as usize;
    let mut kept = vec![true; ids.len()];
    if ids.len() <= size {
        return kept;
    }
    let rank = |(place, id): (usize, &EndpointId)| {
        let mut bytes = subset.client.to_le_bytes().to_vec();
        bytes.extend_from_slice(id.as_str().as_bytes());
        (key_hash(&bytes), place)
    };
    let mut ranks: Vec<(u64, usize)> = ids.enumerate().map(rank).collect();
    ranks.select_nth_unstable(size);
    for (_, place) in &ranks[size..] {
        kept[*place] = false;
    }
    kept
}

#[cfg(all(test, not(stanchion_loom)))]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn ids(count: usize) -> Vec<EndpointId> {
        (0..count).map(|place| format!("e{place}").into()).collect()
    }

    fn subset(client: u64, ids: &[EndpointId]) -> Vec<&EndpointId> {
        let size = NonZeroU32::new(8).unwrap_or(NonZeroU32::MIN);
        let kept = kept(ids.iter(), Subset { client, size });
        let kept = ids.iter().zip(kept).filter(|(_, kept)| *kept);
        kept.map(|(id, _)| id).collect()
    }

    #[test]
    fn one_that_goes_costs_each_client_one_at_most() {
        let all = ids(50);
        let fewer = [&all[..20], &all[21..]].concat();
        for client in 0..200 {
            let (before, after) = (subset(client, &all), subset(client, &fewer));
            assert_eq!((before.len(), after.len()), (8, 8));
            let stayed = before.iter().filter(|id| after.contains(id)).count();
            assert_eq!(stayed, if before.contains(&&all[20]) { 7 } else { 8 });
        }
    }

    #[test]
    fn clients_spread() {
        let all = ids(40);
        let mut clients = vec![0u32; 40];
        for client in 0..1000 {
            for id in subset(client, &all) {
                let place = all.iter().position(|other| other == id);
                clients[place.unwrap_or(0)] += 1;
            }
        }
        // 200 expected; 6 standard deviations are 76.
        assert!(
            clients.iter().all(|count| (124..276).contains(count)),
            "{clients:?}"
        );
    }

    #[test]
    fn few_are_all_kept() {
        let few = ids(8);
        assert_eq!(subset(3, &few).len(), 8);
    }
}
