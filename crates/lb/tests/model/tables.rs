//! Endpoints of which a policy can make no table.

use std::error::Error;
use std::sync::{Arc, Mutex};

use stanchion_lb::policy::{
    Choice, ConsistentHash, InvalidTable, Member, Policy, RoundRobin, Table,
};
use stanchion_lb::{
    Balancer, Config, Draw, Endpoint, Event, InvalidEndpoints, Mark, PickContext, Snapshot,
};

use crate::fleet::name;

fn endpoints(count: usize) -> impl Iterator<Item = Endpoint<usize>> {
    (0..count).map(|place| Endpoint::new(name(place), place))
}

fn maglev_of_three() -> ConsistentHash {
    ConsistentHash::maglev_of_size(3).expect("a prime")
}

fn owners(balancer: &Balancer<usize>) -> Vec<usize> {
    let owner = |key: u64| {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let context = PickContext::new().with_hash(hash);
        *balancer
            .pick(&context)
            .expect("there is an endpoint")
            .address()
    };
    (0..100).map(owner).collect()
}

fn said(error: &dyn Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

const TOO_MANY: &str = "the policy can make no table of the endpoints at priority 1: \
    4 nodes have a weight, must be at most one for each of the 3 places";

/// More endpoints than places, at the second level.
fn two_levels() -> impl Iterator<Item = Endpoint<usize>> {
    endpoints(7).map(|endpoint| {
        let second = *endpoint.address() > 2;
        endpoint.with_priority(u8::from(second)).with_weight(2)
    })
}

#[test]
fn an_update_that_makes_no_table_changes_nothing() {
    let balancer = Balancer::new(maglev_of_three());
    balancer.update(endpoints(3)).unwrap();
    let (before, keys): (Snapshot, _) = (balancer.snapshot(), owners(&balancer));
    let error = balancer.update(two_levels()).unwrap_err();
    assert!(matches!(&error, InvalidEndpoints::Table(table) if table.priority() == 1));
    assert_eq!(said(&error), TOO_MANY);
    assert_eq!(balancer.snapshot(), before);
    assert_eq!(owners(&balancer), keys);
}

#[test]
fn weights_that_are_too_great_are_named() {
    let balancer = Balancer::new(ConsistentHash::ring());
    let heavy = |endpoint: Endpoint<usize>| endpoint.with_weight(u16::MAX);
    let error = balancer.update(endpoints(3).map(heavy)).unwrap_err();
    let said = said(&error);
    assert!(
        said.ends_with("the ring has 31456800 points, must be at most 8388608"),
        "{said}"
    );
}

/// Health is no reason for a table to fail later: that of a level is made of all its endpoints.
#[test]
fn it_is_told_at_once_even_where_no_endpoint_is_fit() {
    let config = Config::default().with_panic_threshold(0).unwrap();
    let balancer = Balancer::new(RoundRobin::new()).with_config(config);
    balancer.update(two_levels()).unwrap();
    for place in 0..7 {
        balancer.mark(&name(place), Mark::Unhealthy);
    }
    let error = balancer.set_policy(maglev_of_three()).unwrap_err();
    assert_eq!(said(&error), TOO_MANY);
    for place in 0..7 {
        balancer.mark(&name(place), Mark::Disable);
    }
    let error = balancer.set_policy(maglev_of_three()).unwrap_err();
    assert_eq!(said(&error), TOO_MANY);
    for place in 0..3 {
        balancer.mark(&name(place), Mark::Enable);
        balancer.mark(&name(place), Mark::Healthy);
    }
    // The policy of before goes on.
    let picks: Vec<usize> = (0..6)
        .map(|_| *balancer.pick(&PickContext::new()).unwrap().address())
        .collect();
    assert_eq!(picks[..3], picks[3..]);
}

#[test]
fn endpoints_and_a_policy_for_them_come_together_or_not_at_all() {
    let balancer = Balancer::new(maglev_of_three());
    balancer.update(endpoints(3)).unwrap();
    let keys = owners(&balancer);
    let error = balancer.update_with_policy(two_levels(), maglev_of_three());
    assert_eq!(said(&error.unwrap_err()), TOO_MANY);
    assert_eq!(owners(&balancer), keys);
    let updated = balancer.update_with_policy(two_levels(), ConsistentHash::rendezvous());
    assert_eq!(updated.unwrap().kept, 3);
    assert!(balancer.update(two_levels()).is_ok());
}

/// Chooses the last; makes no table of less than three.
#[derive(Debug)]
struct Three;

impl Policy<usize> for Three {
    fn table(
        &self,
        members: &[Member<usize>],
        _draw: &mut Draw,
    ) -> Result<Box<dyn Table<usize>>, InvalidTable> {
        match members.len() {
            3.. => Ok(Box::new(Self)),
            count => Err(InvalidTable::new(format!("{count} members, must be 3"))),
        }
    }
}

impl Table<usize> for Three {
    fn choose(&self, choice: &mut Choice<'_, usize>) -> Option<usize> {
        choice.members().len().checked_sub(1)
    }
}

#[test]
fn chance_chooses_where_health_leaves_an_own_policy_no_table() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let balancer = Balancer::new(Three).with_observer({
        let heard = heard.clone();
        move |event: &Event| {
            if let Event::TableFailed(invalid) = event {
                heard.lock().unwrap().push(invalid.to_string());
            }
        }
    });
    balancer.update(endpoints(3)).unwrap();
    assert!(owners(&balancer).iter().all(|place| *place == 2));
    balancer.mark("e2", Mark::Unhealthy);
    let owners_now = owners(&balancer);
    assert!(owners_now.contains(&0) && owners_now.contains(&1));
    assert!(
        !owners_now.contains(&2),
        "a mark holds whatever the policy says"
    );
    let said = "the policy can make no table of the endpoints at priority 0: 2 members, must be 3";
    assert_eq!(*heard.lock().unwrap(), [said]);
    balancer.mark("e2", Mark::Healthy);
    balancer.mark("e0", Mark::Healthy);
    balancer.mark("e1", Mark::Healthy);
    assert!(owners(&balancer).iter().all(|place| *place == 2));
}

/// A change of health makes no table of a level anew.
#[test]
fn tables_of_levels_stay_while_ids_and_weights_do() {
    #[derive(Debug)]
    struct Counted(Arc<Mutex<Vec<usize>>>);

    impl Policy<usize> for Counted {
        fn table(
            &self,
            members: &[Member<usize>],
            draw: &mut Draw,
        ) -> Result<Box<dyn Table<usize>>, InvalidTable> {
            self.0.lock().unwrap().push(members.len());
            ConsistentHash::rendezvous().table(members, draw)
        }

        fn needs(&self) -> stanchion_lb::policy::Needs {
            Policy::<usize>::needs(&ConsistentHash::rendezvous())
        }
    }

    let made = Arc::new(Mutex::new(Vec::new()));
    let balancer = Balancer::new(Counted(made.clone()));
    balancer.update(two_levels()).unwrap();
    assert_eq!(*made.lock().unwrap(), [3, 4]);
    for mark in [Mark::Unhealthy, Mark::Eject, Mark::Drain, Mark::Disable] {
        balancer.mark("e1", mark);
    }
    balancer
        .update(two_levels().map(|each| each.with_metadata("version", "2")))
        .unwrap();
    assert_eq!(*made.lock().unwrap(), [3, 4]);
    balancer
        .update(two_levels().chain([Endpoint::new("e7", 7)]))
        .unwrap();
    assert_eq!(*made.lock().unwrap(), [3, 4, 4]);
}
