//! A balancer whose observer writes down what it hears.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion_core::{Clock, Instant, ManualClock, Outcome};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Config, Endpoint, Event, Health, Mark, Outliers, PickContext};

pub(super) struct Heard {
    pub(super) balancer: Balancer<u32>,
    pub(super) time: ManualClock,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Heard {
    /// Endpoints with the numbers from 0 on as their names.
    pub(super) fn new(outliers: Outliers, endpoints: u32) -> Self {
        let (clock, time) = Clock::manual();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let balancer = Balancer::new(RoundRobin::new())
            .with_clock(clock)
            .with_observer(move |event: &Event| {
                heard.lock().expect("no test panicked").push(event.clone())
            })
            .with_config(Config::default().with_outliers(outliers));
        let endpoint = |place: u32| Endpoint::new(place.to_string(), place);
        balancer
            .update((0..endpoints).map(endpoint))
            .expect("names differ");
        Self {
            balancer,
            time,
            events,
        }
    }

    /// Ends so many calls to one endpoint, with affinity so that it need not be its turn.
    pub(super) fn calls(&self, place: u32, outcome: Outcome, count: u32) {
        let id = place.to_string();
        let calls = (0..count).map(|_| {
            let context = PickContext::new().with_affinity(&id);
            let picked = self.balancer.pick(&context).expect("one is fit");
            assert_eq!(picked.id().as_str(), id, "it is out already");
            picked
        });
        // All at once, so that one that is taken out does not miss the rest.
        let calls: Vec<_> = calls.collect();
        for call in calls {
            call.record(outcome);
        }
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.time.advance(Duration::from_secs(seconds));
    }

    pub(super) fn health(&self, place: u32) -> Health {
        self.balancer
            .health(&place.to_string())
            .expect("it is there")
    }

    pub(super) fn is_out(&self, place: u32) -> bool {
        self.health(place) == Health::Ejected
    }

    /// What was told since the last time, in short.
    pub(super) fn told(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().expect("no test panicked"));
        let short = |event: Event| match event {
            Event::HealthChanged { id, from, to, mark } => {
                format!("{id}: {from} to {to}, {mark:?}")
            }
            Event::Ejected {
                id, time, recent, ..
            } => format!("{id}: out for {time:?}, {recent}"),
            Event::EjectionSkipped { id, .. } => format!("{id}: skipped"),
            Event::Readmitted { id, cause } => format!("{id}: in, {cause:?}"),
            other => format!("{other:?}"),
        };
        events.into_iter().map(short).collect()
    }
}

const FAILURE: Outcome = Outcome::Failure;

#[test]
fn five_failures_in_a_row_take_an_endpoint_out_for_half_a_minute() {
    let heard = Heard::new(Outliers::default(), 3);
    heard.calls(1, FAILURE, 4);
    heard.calls(1, Outcome::Success, 1);
    heard.calls(1, FAILURE, 4);
    assert_eq!(heard.told(), [""; 0]);
    heard.calls(1, FAILURE, 1);
    assert_eq!(
        heard.told(),
        ["1: out for 30s, 1", "1: unknown to ejected, Eject"]
    );
    for _ in 0..6 {
        let picked = heard.balancer.pick(&PickContext::new()).unwrap();
        assert_ne!(*picked.address(), 1);
    }
    let seen = &heard.balancer.snapshot().endpoints[1];
    assert_eq!(
        (seen.ejections, seen.ejected_for),
        (1, Some(Duration::from_secs(30)))
    );

    heard.pass(29);
    let _ = heard.balancer.pick(&PickContext::new());
    assert!(heard.is_out(1));
    heard.pass(1);
    // Nobody drives the upkeep, so a pick lets it in, and may pick it at once.
    let picked: Vec<u32> = (0..3)
        .map(|_| *heard.balancer.pick(&PickContext::new()).unwrap().address())
        .collect();
    assert!(picked.contains(&1), "{picked:?}");
    assert_eq!(
        heard.told(),
        ["1: in, TimePassed", "1: ejected to unknown, Readmit"]
    );
    assert_eq!(heard.balancer.snapshot().endpoints[1].ejected_for, None);
}

#[test]
fn who_has_a_timer_needs_no_future() {
    let heard = Heard::new(Outliers::default(), 5);
    let start = heard.time.now();
    assert_eq!(heard.balancer.catch_up(), start + Duration::from_secs(10));
    heard.calls(2, FAILURE, 5);
    assert!(heard.is_out(2));
    heard.pass(30);
    assert_eq!(heard.balancer.catch_up(), start + Duration::from_secs(40));
    assert!(!heard.is_out(2));

    let off = Heard::new(Outliers::default().without_success_rate(), 5);
    assert_eq!(off.balancer.catch_up(), Instant::MAX);
}

#[test]
fn who_fails_again_is_out_for_longer() {
    let heard = Heard::new(Outliers::default(), 3);
    for seconds in [30, 60, 90] {
        heard.calls(0, FAILURE, 5);
        let told = heard.told();
        assert!(
            told[0].starts_with(&format!("0: out for {seconds}s")),
            "{told:?}"
        );
        heard.pass(seconds);
        let _ = heard.balancer.pick(&PickContext::new());
        heard.told();
    }
    heard.pass(20);
    heard.calls(0, FAILURE, 5);
    assert_eq!(heard.told()[0], "0: out for 60s, 2");
}

#[test]
fn not_more_than_a_tenth_is_out_but_always_one() {
    let heard = Heard::new(Outliers::default(), 20);
    for place in 0..20 {
        heard.calls(place, FAILURE, 5);
    }
    let out = (0..20).filter(|place| heard.is_out(*place)).count();
    assert_eq!(out, 2);
    let skipped = heard
        .told()
        .into_iter()
        .filter(|told| told.ends_with("skipped"));
    assert_eq!(skipped.count(), 18);

    let few = Heard::new(Outliers::default(), 2);
    few.calls(0, FAILURE, 5);
    few.calls(1, FAILURE, 5);
    assert_eq!([few.is_out(0), few.is_out(1)], [true, false]);
}

#[test]
fn the_last_one_is_picked_in_panic_and_panic_is_told() {
    let heard = Heard::new(Outliers::default(), 1);
    heard.calls(0, FAILURE, 5);
    assert_eq!(
        heard.told(),
        [
            "0: out for 30s, 1",
            "0: unknown to ejected, Eject",
            "PanicEntered { priority: 0 }"
        ]
    );
    assert!(heard.balancer.pick(&PickContext::new()).is_ok());
    heard.balancer.mark("0", Mark::Readmit);
    assert_eq!(
        heard.told(),
        [
            "0: ejected to unknown, Readmit",
            "0: in, Marked",
            "PanicLeft { priority: 0 }"
        ]
    );
    // All of it is forgotten, and does not come back with time.
    heard.pass(60);
    let _ = heard.balancer.pick(&PickContext::new());
    assert_eq!(heard.told(), [""; 0]);
}

#[test]
fn load_refusals_and_cancelled_calls_take_nobody_out() {
    let heard = Heard::new(Outliers::default(), 2);
    heard.calls(0, Outcome::Overload, 20);
    heard.calls(0, Outcome::Ignore, 20);
    assert_eq!(heard.told(), [""; 0]);
    // Nor do they end a streak.
    heard.calls(0, FAILURE, 4);
    heard.calls(0, Outcome::Ignore, 1);
    heard.calls(0, FAILURE, 1);
    assert!(heard.is_out(0));

    let outliers = Outliers::default().with_overload_as_failure();
    let strict = Heard::new(outliers, 2);
    strict.calls(0, Outcome::Overload, 5);
    assert!(strict.is_out(0));
}

#[test]
fn a_check_that_passes_lets_in_unless_told_otherwise() {
    let heard = Heard::new(Outliers::default(), 2);
    heard.balancer.mark("0", Mark::Healthy);
    heard.calls(0, FAILURE, 5);
    heard.told();
    assert_eq!(
        heard.balancer.mark("0", Mark::Unhealthy),
        Some(Health::Ejected)
    );
    assert_eq!(
        heard.balancer.mark("0", Mark::Healthy),
        Some(Health::Healthy)
    );
    assert_eq!(
        heard.told(),
        ["0: in, CheckPassed", "0: ejected to healthy, Readmit"]
    );

    let firm = Heard::new(Outliers::default().without_readmission_by_checks(), 2);
    firm.calls(0, FAILURE, 5);
    assert_eq!(
        firm.balancer.mark("0", Mark::Healthy),
        Some(Health::Ejected)
    );
}

#[test]
fn what_somebody_else_ejected_is_left_out() {
    let heard = Heard::new(Outliers::default(), 2);
    heard.balancer.mark("0", Mark::Eject);
    heard.balancer.mark("0", Mark::Healthy);
    heard.pass(1_000_000);
    let _ = heard.balancer.pick(&PickContext::new());
    assert!(heard.is_out(0));
    // And counts among those that are out.
    heard.calls(1, FAILURE, 5);
    assert!(!heard.is_out(1));
}

#[test]
fn a_call_to_a_server_that_is_gone_says_nothing_of_its_successor() {
    let heard = Heard::new(Outliers::default(), 2);
    let picks = (0..5).map(|_| {
        let context = PickContext::new().with_affinity("0");
        heard.balancer.pick(&context).unwrap()
    });
    let picks: Vec<_> = picks.collect();
    let replaced = Endpoint::new("0", 0).with_incarnation(1);
    heard
        .balancer
        .update([replaced, Endpoint::new("1", 1)])
        .unwrap();
    for picked in picks {
        picked.record(FAILURE);
    }
    assert_eq!(heard.health(0), Health::Unknown);
    assert_eq!(heard.told(), [""; 0]);
}

#[test]
fn who_turns_it_off_lets_all_in() {
    let heard = Heard::new(Outliers::default(), 2);
    heard.calls(0, FAILURE, 5);
    heard.told();
    heard.balancer.set_config(Config::default());
    assert_eq!(
        heard.told(),
        ["0: in, TurnedOff", "0: ejected to unknown, Readmit"]
    );
    heard.calls(0, FAILURE, 50);
    assert!(!heard.is_out(0));
    // And on again.
    heard
        .balancer
        .set_config(Config::default().with_outliers(Outliers::default()));
    heard.calls(0, FAILURE, 5);
    assert!(heard.is_out(0));
}

#[test]
fn a_drained_endpoint_may_be_ejected_without_another_health() {
    let heard = Heard::new(Outliers::default(), 2);
    heard.balancer.mark("0", Mark::Drain);
    heard.told();
    heard.calls(0, FAILURE, 5);
    assert_eq!(heard.told(), ["0: out for 30s, 1"]);
    assert_eq!(heard.health(0), Health::Draining);
    heard.balancer.mark("0", Mark::Enable);
    assert!(heard.is_out(0));
}
