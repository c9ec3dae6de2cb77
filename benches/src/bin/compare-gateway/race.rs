//! Bursts of load, proxy against proxy by turns; one burst serves four cases.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use stanchion_benches::{Case, Contestant, Measure, Options, Target, Unit, figure};

use crate::load::{self, Load};
use crate::process::cpu_ns;
use crate::proxy::{Kind, Proxy, Route};

const CPU: Unit = Unit::lower("us of the proxy's processor/request");
const LATENCY: Unit = Unit::lower("us");

/// The cases of one route: the first one makes the load, the others tell what else it showed.
pub(crate) fn cases(
    name: &'static str,
    route: Route,
    cpu_max: f64,
    options: &Options,
) -> Vec<Case> {
    let (rounds, seconds) = (if options.quick { 3 } else { 9 }, 1);
    let kinds = [Kind::Stanchion, Kind::Nginx, Kind::Floor];
    let bursts = kinds.map(|kind| Bursts::new(kind, route, seconds));
    let case = |what: &str, unit, read: fn(&Burst) -> f64, targets: &[Target]| {
        let [ours, nginx, floor] = &bursts;
        let name: &'static str = format!("{name}, {what}").leak();
        let ours = Contestant::ours("stanchion", ours.measure(read));
        let ours = targets.iter().fold(ours, |ours, target| ours.must(*target));
        let case = Case::new(name, unit)
            .rounds(rounds)
            .burst(Duration::from_secs(seconds.into()))
            .with(ours)
            .with(Contestant::peer("nginx", nginx.measure(read)));
        match route {
            Route::Bare => case.with(Contestant::peer("hyper floor", floor.measure(read))),
            // The floor does none of that.
            Route::Full => case,
        }
    };
    let most = Target::AtMost {
        ratio: cpu_max,
        versus: "nginx",
    };
    vec![
        case("processor time", CPU, |burst| burst.cpu_us, &[most]),
        case(
            "requests",
            Unit::OPS_PER_SECOND,
            |burst| burst.load.per_second,
            &[],
        ),
        case("latency p50", LATENCY, |burst| burst.load.p50_us, &[]),
        case("latency p99", LATENCY, |burst| burst.load.p99_us, &[]),
    ]
}

#[derive(Clone, Copy)]
struct Burst {
    load: Load,
    cpu_us: f64,
}

/// The bursts of one proxy. Each reader has a queue of those that it has not told yet, so that the
/// first reader of a round makes the load and the others tell of the same round.
struct Bursts {
    shared: Rc<Shared>,
}

struct Shared {
    kind: Kind,
    route: Route,
    seconds: u32,
    proxy: RefCell<Option<Proxy>>,
    queues: RefCell<Vec<VecDeque<Burst>>>,
}

impl Bursts {
    fn new(kind: Kind, route: Route, seconds: u32) -> Self {
        Self {
            shared: Rc::new(Shared {
                kind,
                route,
                seconds,
                proxy: RefCell::new(None),
                queues: RefCell::default(),
            }),
        }
    }

    fn measure(&self, read: fn(&Burst) -> f64) -> Measure {
        let shared = self.shared.clone();
        let mut queues = shared.queues.borrow_mut();
        let own = queues.len();
        queues.push(VecDeque::new());
        drop(queues);
        figure(move || read(&shared.next(own)))
    }
}

impl Shared {
    fn next(&self, own: usize) -> Burst {
        let told = self.queues.borrow_mut()[own].pop_front();
        told.unwrap_or_else(|| {
            let burst = self.burst();
            let mut queues = self.queues.borrow_mut();
            let others = queues
                .iter_mut()
                .enumerate()
                .filter(|(index, _)| *index != own);
            others.for_each(|(_, queue)| queue.push_back(burst));
            burst
        })
    }

    fn burst(&self) -> Burst {
        let mut proxy = self.proxy.borrow_mut();
        let proxy = proxy.get_or_insert_with(|| {
            let proxy = Proxy::start(self.kind, self.route);
            load::burst(proxy.server.addr(), 1);
            proxy
        });
        let before = cpu_ns(proxy.pid());
        let load = load::burst(proxy.server.addr(), self.seconds);
        let cpu_ns = cpu_ns(proxy.pid()) - before;
        proxy.empty_log();
        Burst {
            load,
            cpu_us: cpu_ns / 1e3 / load.requests,
        }
    }
}
