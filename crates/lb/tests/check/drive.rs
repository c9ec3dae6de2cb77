//! The driver, with probes that answer what the test says.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stanchion_core::{Clock, ManualClock, Outcome};
use stanchion_lb::check::{Checked, Checks, Probed};
use stanchion_lb::policy::RoundRobin;
use stanchion_lb::{Balancer, Config, Endpoint, Health, Mark, Outliers, PickContext};
use testkit::{Gate, drop_at_every_await_in};

/// What each endpoint answers to a check, and how often it was asked.
#[derive(Clone, Default)]
struct Answers {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    failing: BTreeMap<String, bool>,
    asked: BTreeMap<String, u32>,
}

impl Answers {
    fn answer(&self, id: &str) -> bool {
        let mut state = self.state.lock().expect("no test panicked");
        *state.asked.entry(id.to_owned()).or_default() += 1;
        !state.failing.get(id).copied().unwrap_or_default()
    }

    fn fail(&self, id: &str, failing: bool) {
        self.state
            .lock()
            .expect("as it should be")
            .failing
            .insert(id.to_owned(), failing);
    }

    fn asked(&self, id: &str) -> u32 {
        self.state
            .lock()
            .expect("as it should be")
            .asked
            .get(id)
            .copied()
            .unwrap_or_default()
    }
}

fn balancer(endpoints: u32) -> (Balancer<u32>, ManualClock) {
    let (clock, time) = Clock::manual();
    let balancer = Balancer::new(RoundRobin::new()).with_clock(clock);
    balancer
        .update((0..endpoints).map(endpoint))
        .expect("as it should be");
    (balancer, time)
}

fn endpoint(place: u32) -> Endpoint<u32> {
    Endpoint::new(place.to_string(), place)
}

fn poll(checking: &mut Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    // Until it has nothing to do any more: what one poll does may let the next do more.
    (0..20)
        .map(|_| checking.as_mut().poll(&mut cx))
        .find(Poll::is_ready)
        .unwrap_or(Poll::Pending)
}

/// Every second, all at the same moment.
fn each_second() -> Checks {
    let checks = Checks::every(Duration::from_secs(1)).expect("as it should be");
    checks.with_jitter_percent(0).expect("as it should be")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn endpoints_are_marked_by_what_their_checks_find() {
    let (balancer, time) = balancer(3);
    let answers = Answers::default();
    answers.fail("2", true);
    let probe = {
        let answers = answers.clone();
        move |endpoint: Probed<u32>| {
            let answer = answers.answer(endpoint.id().as_str());
            async move { answer }
        }
    };
    let mut checking = pin!(balancer.check(each_second(), probe));
    let health = |id| balancer.health(id).unwrap();
    assert_eq!(health("0"), Health::Unknown);
    assert_eq!(poll(&mut checking), Poll::Pending);
    // The first result decides.
    assert_eq!(
        [health("0"), health("2")],
        [Health::Healthy, Health::Unhealthy]
    );

    answers.fail("0", true);
    for expected in [Health::Healthy, Health::Healthy, Health::Unhealthy] {
        time.advance(SECOND);
        assert_eq!(poll(&mut checking), Poll::Pending);
        assert_eq!(health("0"), expected);
    }
    answers.fail("0", false);
    for expected in [Health::Unhealthy, Health::Healthy] {
        time.advance(SECOND);
        assert_eq!(poll(&mut checking), Poll::Pending);
        assert_eq!(health("0"), expected);
    }
    assert_eq!([answers.asked("0"), answers.asked("1")], [6, 6]);

    // One that comes is checked at once, one that goes no more.
    balancer.update([endpoint(0), endpoint(7)]).unwrap();
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(health("7"), Health::Healthy);
    time.advance(SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!([answers.asked("1"), answers.asked("7")], [6, 2]);
}

#[test]
fn a_check_that_takes_too_long_has_failed() {
    let (balancer, time) = balancer(1);
    let checks = each_second().with_timeout(SECOND / 4).unwrap();
    let mut checking = pin!(balancer.check(checks, |_| std::future::pending::<Checked>()));
    assert_eq!(poll(&mut checking), Poll::Pending);
    time.advance(SECOND / 4 - Duration::from_nanos(1));
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Unknown));
    time.advance(Duration::from_nanos(1));
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Unhealthy));
}

#[test]
fn what_was_asked_of_a_server_that_is_gone_marks_none() {
    let (balancer, time) = balancer(1);
    let gate = Gate::new();
    let probe = {
        let gate = gate.clone();
        move |_: Probed<u32>| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                false
            }
        }
    };
    let mut checking = pin!(balancer.check(each_second(), probe));
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(gate.waiting(), 1);
    // Another server takes the id while the check is under way.
    balancer.update([endpoint(0).with_incarnation(1)]).unwrap();
    assert_eq!(poll(&mut checking), Poll::Pending);
    // And has a check of its own, behind the other.
    assert_eq!(gate.waiting(), 2);
    gate.open_one();
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Unknown));
    assert_eq!(gate.waiting(), 1);
    gate.open_one();
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Unhealthy));

    // The one that is gone is not asked again: one is waiting, not two.
    time.advance(SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(gate.waiting(), 1);

    // Gone and back with nothing changed is another server, too.
    balancer.update([]).unwrap();
    balancer.update([endpoint(0).with_incarnation(1)]).unwrap();
    assert_eq!(balancer.health("0"), Some(Health::Unknown));
}

#[test]
fn first_checks_are_spread_and_only_so_many_are_under_way() {
    let (balancer, time) = balancer(100);
    let answers = Answers::default();
    let asked = || {
        (0..100)
            .map(|id: u32| answers.asked(&id.to_string()))
            .sum::<u32>()
    };
    let probe = {
        let answers = answers.clone();
        move |endpoint: Probed<u32>| {
            answers.answer(endpoint.id().as_str());
            std::future::pending::<Checked>()
        }
    };
    let checks = Checks::every(10 * SECOND)
        .and_then(|checks| checks.with_timeout(5 * SECOND))
        .unwrap()
        .with_at_once_max(NonZeroUsize::new(60).unwrap());
    let mut checking = pin!(balancer.check(checks, probe));
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(asked(), 0);
    time.advance(SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    // Half of the two seconds; 50 expected, 7 standard deviations are 35.
    assert!((15..=60).contains(&asked()), "{}", asked());
    time.advance(SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(asked(), 60);
    time.advance(5 * SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(asked(), 100);
}

#[test]
fn calls_that_went_well_save_a_check_if_they_may() {
    let (balancer, time) = balancer(2);
    let answers = Answers::default();
    let probe = {
        let answers = answers.clone();
        move |endpoint: Probed<u32>| {
            let answer = answers.answer(endpoint.id().as_str());
            async move { answer }
        }
    };
    let call = |id: &str, outcome| {
        let context = PickContext::new().with_affinity(id);
        balancer.pick(&context).unwrap().record(outcome);
    };
    let mut checking = pin!(balancer.check(each_second().skipping_proven(), probe));
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!([answers.asked("0"), answers.asked("1")], [1, 1]);
    for (outcomes, asked) in [
        (&[Outcome::Success][..], 1),
        (&[Outcome::Success, Outcome::Failure], 2),
        (&[Outcome::Ignore, Outcome::Overload], 3),
        (&[], 4),
        (&[Outcome::Success], 4),
    ] {
        for outcome in outcomes {
            call("0", *outcome);
        }
        time.advance(SECOND);
        assert_eq!(poll(&mut checking), Poll::Pending);
        assert_eq!(answers.asked("0"), asked, "{outcomes:?}");
    }
    assert_eq!(answers.asked("1"), 6);
    // Two failed checks do not wait for a third behind calls that went well.
    answers.fail("0", true);
    for _ in 0..2 {
        time.advance(SECOND);
        assert_eq!(poll(&mut checking), Poll::Pending);
    }
    call("0", Outcome::Success);
    for _ in 0..3 {
        assert_eq!(balancer.health("0"), Some(Health::Healthy));
        time.advance(SECOND);
        assert_eq!(poll(&mut checking), Poll::Pending);
    }
    assert_eq!(balancer.health("0"), Some(Health::Healthy));
}

#[test]
fn a_check_that_passes_lets_an_ejected_endpoint_in() {
    let (balancer, time) = balancer(2);
    balancer.set_config(Config::default().with_outliers(Outliers::default()));
    let mut checking = pin!(balancer.check(each_second(), |_| async { Checked::Passed }));
    assert_eq!(poll(&mut checking), Poll::Pending);
    let context = PickContext::new().with_affinity("0");
    for _ in 0..5 {
        balancer.pick(&context).unwrap().record(Outcome::Failure);
    }
    assert_eq!(balancer.health("0"), Some(Health::Ejected));
    time.advance(SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Healthy));
}

#[test]
fn others_that_check_go_on_where_one_left_off() {
    let (balancer, time) = balancer(1);
    let failing = |_: Probed<u32>| async { Checked::Failed };
    balancer.mark("0", Mark::Healthy);
    let checks = each_second().with_fall(NonZeroU32::new(2).unwrap());
    let mut checking = pin!(balancer.check(checks, failing));
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Healthy));
    time.advance(SECOND);
    assert_eq!(poll(&mut checking), Poll::Pending);
    assert_eq!(balancer.health("0"), Some(Health::Unhealthy));
}

#[test]
fn it_ends_with_the_last_handle_and_can_be_dropped_anywhere() {
    let drops = drop_at_every_await_in(|| {
        let (balancer, time) = balancer(2);
        let gate = Gate::new();
        let probe = {
            let gate = gate.clone();
            move |_: Probed<u32>| gate.pass()
        };
        let checking = balancer.check(each_second(), probe);
        let world = (Some(balancer), time, gate, 0);
        (std::cell::RefCell::new(world), checking)
    })
    .nudge(|world| {
        let (balancer, time, gate, nudges) = &mut *world.borrow_mut();
        *nudges += 1;
        if *nudges > 20 {
            *balancer = None;
        } else {
            gate.open_one();
            time.advance(SECOND / 8);
        }
    })
    .check(|world| {
        // What was under way is dropped with it.
        assert_eq!(world.borrow().2.waiting(), 0);
    });
    assert!(drops > 10, "{drops}");
}
