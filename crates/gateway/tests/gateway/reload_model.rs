//! Random reloads against a model of what they keep.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use stanchion_gateway::Config;

use crate::setup::{Origin, admin, client, eventually, start};

const RATES: [Option<u64>; 4] = [None, Some(4), Some(8), Some(10)];

/// A configuration: routes r0 to r2, of which some are there, each with its rate and upstream; and
/// at which origin each upstream is.
#[derive(Clone, Debug)]
struct Plan {
    routes: [Option<(usize, usize)>; 3],
    origins: [usize; 2],
    /// How often each route is asked for.
    asks: [usize; 3],
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let route = proptest::option::weighted(0.8, (0..RATES.len(), 0..2_usize));
    let plan = (
        prop::array::uniform3(route),
        prop::array::uniform2(0..2_usize),
        prop::array::uniform3(1..5_usize),
    );
    let plan = plan.prop_map(|(routes, origins, asks)| Plan {
        routes,
        origins,
        asks,
    });
    proptest::collection::vec(plan, 2..8)
}

fn text(plan: &Plan, origins: &[Origin; 2]) -> String {
    let mut text = "workers = 1\naccess_log = \"off\"\nlisten.address = \"127.0.0.1:0\"\n\
                    admin.address = \"127.0.0.1:0\"\nshutdown.idle_grace = \"50ms\"\n"
        .to_owned();
    for (number, origin) in plan.origins.iter().enumerate() {
        let url = origins[*origin].url();
        text += &format!("upstream.u{number}.endpoints = [\"{url}\"]\n");
    }
    text += "[[route]]\nid = \"rest\"\nupstream = \"u0\"\npath_prefix = \"/rest\"\n";
    for (number, route) in plan.routes.iter().enumerate() {
        let Some((rate, upstream)) = route else {
            continue;
        };
        text += &format!(
            "[[route]]\nid = \"r{number}\"\nupstream = \"u{upstream}\"\npath_prefix = \"/r{number}\"\n"
        );
        if let Some(rate) = RATES[*rate] {
            text += &format!("limit = [{{ by = \"address\", rate = \"{rate}/h\" }}]\n");
        }
    }
    text
}

/// What is kept, by what the documentation says.
#[derive(Default)]
struct Model {
    /// Of each route with a limit, what is used of how much.
    used: HashMap<usize, (u64, u64)>,
    /// Upstreams with a connection to an origin.
    connected: HashSet<(usize, usize)>,
    connections: usize,
}

impl Model {
    fn reload(&mut self, plan: &Plan) {
        self.connected
            .retain(|(upstream, origin)| plan.origins[*upstream] == *origin);
        for (number, route) in plan.routes.iter().enumerate() {
            match route.and_then(|(rate, _)| RATES[rate]) {
                None => drop(self.used.remove(&number)),
                Some(new) => {
                    let (used, old) = self.used.get(&number).copied().unwrap_or((0, new));
                    let used = (used * new).div_ceil(old);
                    self.used.insert(number, (used, new));
                }
            }
        }
    }

    fn ask(&mut self, plan: &Plan, number: usize) -> u16 {
        let Some((_, upstream)) = plan.routes[number] else {
            return 404;
        };
        if let Some((used, limit)) = self.used.get_mut(&number) {
            if used == limit {
                return 429;
            }
            *used += 1;
        }
        if self.connected.insert((upstream, plan.origins[upstream])) {
            self.connections += 1;
        }
        200
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_stays_keeps_its_state_and_what_goes_leaves_none(plans in plans()) {
        let origins = [Origin::saying("0"), Origin::saying("1")];
        let gateway = start(&text(&plans[0], &origins));
        let mut client = client(&gateway);
        let mut model = Model::default();
        for (turn, plan) in plans.iter().enumerate() {
            if turn > 0 {
                gateway.apply(Config::from_toml(&text(plan, &origins)).unwrap()).unwrap();
            }
            model.reload(plan);
            for (number, asks) in plan.asks.iter().enumerate() {
                for _ in 0..*asks {
                    let wanted = model.ask(plan, number);
                    let reply = client.get(&format!("/r{number}"), &[]);
                    prop_assert_eq!(reply.status, wanted, "r{} in turn {}", number, turn);
                    if let (200, Some((_, upstream))) = (wanted, plan.routes[number]) {
                        prop_assert_eq!(reply.text(), plan.origins[upstream].to_string());
                    }
                }
            }
            let connections: usize = origins.iter().map(Origin::connections).sum();
            prop_assert_eq!(connections, model.connections, "in turn {}", turn);
            eventually("the series are those of the routes that there are", || {
                let (_, metrics) = admin(&gateway, "/metrics");
                (0..3).all(|number| {
                    let there = metrics.contains(&format!("route=\"r{number}\""));
                    there == plan.routes[number].is_some()
                })
            });
        }
        drop(client);
        gateway.shutdown();
    }
}
