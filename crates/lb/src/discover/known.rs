//! The endpoints as the updates so far left them; pure.

use std::collections::{HashMap, HashSet};

use super::Update;
use crate::{ENDPOINTS_MAX, Endpoint, EndpointId, InvalidEndpoints};

/// The endpoints that are known, in the order in which they were told.
#[derive(Debug)]
pub(super) struct Known<A> {
    endpoints: Vec<Endpoint<A>>,
    /// How often in a row the answer was that there are none.
    empty: u32,
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// There are said to be no endpoints, for the `n`th time, and that is not believed yet.
    Unconfirmed(u32),
}

impl<A> Known<A> {
    pub(super) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            empty: 0,
        }
    }

    pub(super) fn endpoints(&self) -> &[Endpoint<A>] {
        &self.endpoints
    }

    /// Takes an update over; one that is wrong changes nothing. That there are no endpoints at all
    /// is believed when it was told `confirmations` times in a row.
    pub(super) fn take(
        &mut self,
        update: Update<A>,
        confirmations: u32,
    ) -> Result<Taken, InvalidEndpoints> {
        match update {
            Update::Full(endpoints) if endpoints.is_empty() => {
                self.empty = self.empty.saturating_add(1);
                if self.empty < confirmations && !self.endpoints.is_empty() {
                    return Ok(Taken::Unconfirmed(self.empty));
                }
                self.endpoints = endpoints;
            }
            Update::Full(endpoints) => {
                check(endpoints.len())?;
                let mut ids = HashSet::with_capacity(endpoints.len());
                let twice = endpoints.iter().find(|endpoint| !ids.insert(endpoint.id()));
                if let Some(endpoint) = twice {
                    return Err(InvalidEndpoints::Duplicate(endpoint.id().clone()));
                }
                self.endpoints = endpoints;
                self.empty = 0;
            }
            Update::Delta { removed, upserted } => {
                self.change(&removed, upserted)?;
                self.empty = 0;
            }
        }
        Ok(Taken::Yes)
    }

    fn change(
        &mut self,
        removed: &[EndpointId],
        upserted: Vec<Endpoint<A>>,
    ) -> Result<(), InvalidEndpoints> {
        let removed: HashSet<&EndpointId> = removed.iter().collect();
        // A server that is removed and told again keeps its place, as it keeps what it is doing.
        let mut last = HashMap::with_capacity(upserted.len());
        for (place, endpoint) in upserted.iter().enumerate() {
            last.insert(endpoint.id().clone(), place);
        }
        let stays = |endpoint: &Endpoint<A>| {
            !removed.contains(endpoint.id()) || last.contains_key(endpoint.id())
        };
        let old = self.endpoints.iter().filter(|endpoint| stays(endpoint));
        let place = |(place, endpoint): (usize, &Endpoint<A>)| (endpoint.id().clone(), place);
        let places: HashMap<EndpointId, usize> = old.enumerate().map(place).collect();
        let new = last.keys().filter(|&id| !places.contains_key(id));
        check(places.len() + new.count())?;

        self.endpoints.retain(stays);
        for (place, endpoint) in upserted.into_iter().enumerate() {
            if last.get(endpoint.id()) != Some(&place) {
                continue;
            }
            match places.get(endpoint.id()) {
                Some(&old) => self.endpoints[old] = endpoint,
                None => self.endpoints.push(endpoint),
            }
        }
        Ok(())
    }
}

fn check(count: usize) -> Result<(), InvalidEndpoints> {
    match count > ENDPOINTS_MAX {
        true => Err(InvalidEndpoints::TooMany(count)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(ids: &[&str]) -> Update<u32> {
        Update::Full(ids.iter().map(|&id| Endpoint::new(id, 0)).collect())
    }

    fn ids(known: &Known<u32>) -> Vec<&str> {
        known
            .endpoints()
            .iter()
            .map(|each| each.id().as_str())
            .collect()
    }

    #[test]
    fn that_there_are_none_is_believed_when_it_was_told_so_often_in_a_row() {
        let mut known = Known::new();
        assert_eq!(known.take(full(&[]), 3), Ok(Taken::Yes), "nothing is lost");
        for (update, taken) in [
            (full(&["a"]), Taken::Yes),
            (full(&[]), Taken::Unconfirmed(1)),
            (full(&[]), Taken::Unconfirmed(2)),
            (full(&["a"]), Taken::Yes),
            (full(&[]), Taken::Unconfirmed(1)),
            (full(&[]), Taken::Unconfirmed(2)),
        ] {
            assert_eq!(known.take(update, 3), Ok(taken));
            assert_eq!(ids(&known), ["a"]);
        }
        assert_eq!(known.take(full(&[]), 3), Ok(Taken::Yes));
        assert!(known.endpoints().is_empty());
    }

    #[test]
    fn a_wrong_update_changes_nothing() {
        let mut known = Known::new();
        known.take(full(&["a", "b"]), 1).unwrap();
        let twice = known.take(full(&["c", "d", "c"]), 1);
        assert_eq!(twice, Err(InvalidEndpoints::Duplicate("c".into())));
        let many = |first: usize| {
            let endpoint = |id: usize| Endpoint::new(id.to_string(), 0);
            (first..first + ENDPOINTS_MAX).map(endpoint).collect()
        };
        let too_many = Update::Delta {
            removed: vec!["b".into()],
            upserted: many(0),
        };
        let error = InvalidEndpoints::TooMany(ENDPOINTS_MAX + 1);
        assert_eq!(known.take(too_many, 1), Err(error));
        assert_eq!(ids(&known), ["a", "b"]);
    }

    /// The order may mean something: nearer addresses come first.
    #[test]
    fn an_endpoint_that_is_told_again_keeps_its_place() {
        let mut known = Known::new();
        known.take(full(&["c", "a", "b"]), 1).unwrap();
        let delta = Update::Delta {
            removed: vec!["c".into(), "a".into()],
            upserted: vec![
                Endpoint::new("d", 0),
                Endpoint::new("b", 7),
                Endpoint::new("c", 0),
            ],
        };
        known.take(delta, 1).unwrap();
        assert_eq!(ids(&known), ["c", "b", "d"]);
        assert_eq!(*known.endpoints()[1].address(), 7);
    }

    /// One update, as names that become endpoints.
    #[derive(Clone, Debug)]
    enum Step {
        Full(Vec<u8>),
        Delta(Vec<u8>, Vec<(u8, u32)>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let names = || prop::collection::vec(0..6_u8, 0..5);
        let step = prop_oneof![
            names().prop_map(Step::Full),
            (names(), prop::collection::vec((0..6_u8, 0..9_u32), 0..5))
                .prop_map(|(removed, upserted)| Step::Delta(removed, upserted)),
        ];
        prop::collection::vec(step, 0..20)
    }

    proptest! {
        /// A map from names to addresses does the same, one change at a time.
        #[test]
        fn updates_do_what_a_map_does(steps in steps()) {
            let mut known = Known::new();
            let mut map = std::collections::BTreeMap::new();
            for step in steps {
                match step {
                    Step::Full(names) => {
                        let endpoint = |name: &u8| Endpoint::new(name.to_string(), 100);
                        let update = Update::Full(names.iter().map(endpoint).collect());
                        if known.take(update, 1).is_ok() {
                            map = names.iter().map(|name| (name.to_string(), 100)).collect();
                        } else {
                            let mut names = names;
                            let count = names.len();
                            names.sort_unstable();
                            names.dedup();
                            prop_assert!(names.len() < count);
                        }
                    }
                    Step::Delta(removed, upserted) => {
                        for name in &removed {
                            map.remove(&name.to_string());
                        }
                        for (name, address) in &upserted {
                            map.insert(name.to_string(), *address);
                        }
                        let endpoint =
                            |&(name, address): &(u8, u32)| Endpoint::new(name.to_string(), address);
                        let update = Update::Delta {
                            removed: removed.iter().map(|name| name.to_string().into()).collect(),
                            upserted: upserted.iter().map(endpoint).collect(),
                        };
                        prop_assert_eq!(known.take(update, 1), Ok(Taken::Yes));
                    }
                }
                let found: std::collections::BTreeMap<String, u32> = known
                    .endpoints()
                    .iter()
                    .map(|each| (each.id().to_string(), *each.address()))
                    .collect();
                prop_assert_eq!(found.len(), known.endpoints().len(), "each id once");
                prop_assert_eq!(&found, &map);
            }
        }
    }
}
