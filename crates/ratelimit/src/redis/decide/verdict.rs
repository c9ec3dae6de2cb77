//! What is told by the script's answers, against limiters of this process with the same policies: which
//! limits refused, for how long, and where each stands.

use std::cell::RefCell;

use ::redis::Value;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stanchion_core::{Clock, Instant, ManualClock};
use testkit::{Redis, Server};

use super::super::script::model::{KEEP, START, World};
use super::super::terms::Terms;
use super::*;
use crate::{
    CompositeLimit, CompositeRateLimiter, FixedWindow, Policy, Quota, Refused, SlidingWindowCounter,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The same limits on a server and in this process, by one clock.
struct Pair {
    names: Arc<[Box<str>]>,
    states: Vec<String>,
    clauses: Vec<Clause>,
    local: CompositeRateLimiter<()>,
    time: ManualClock,
}

impl Pair {
    fn new(policies: &[Policy], key: u64) -> Self {
        let (clock, time) = Clock::manual();
        time.advance(Duration::from_micros(START));
        let named = || NAMES.iter().zip(policies);
        let limits = named().map(|(name, policy)| CompositeLimit::shared(name, *policy));
        let terms = policies.iter().map(|policy| Terms::new(*policy).unwrap());
        Self {
            names: named().map(|(name, _)| Box::from(*name)).collect(),
            states: named()
                .map(|(name, _)| format!("{{{key}}}{name}"))
                .collect(),
            clauses: terms.map(|terms| Clause::new(terms, false)).collect(),
            local: CompositeRateLimiter::new(limits).unwrap().with_clock(clock),
            time,
        }
    }

    fn advance(&self, micros: u64) {
        self.time.advance(Duration::from_micros(micros));
    }

    fn ask(&self, world: &mut World, operation: Operation) -> Reply {
        let request = Request {
            operation,
            names: self.states.clone(),
            clauses: &self.clauses,
        };
        let now = self.time.now() - Instant::ZERO;
        let answer: Value = world.ask(&request, u64::try_from(now.as_micros()).unwrap());
        request.read(&answer).unwrap()
    }

    /// What a limiter on Redis tells of a request of this cost.
    fn judged(&self, world: &mut World, cost: u64) -> Result<Box<[Status]>, Refused> {
        let reply = self.ask(world, Operation::Take { cost, most: cost });
        let limits = self.clauses.iter().zip(&reply.answers);
        let statuses = limits.map(|(clause, answer)| clause.terms.status(*answer, cost));
        judge(&reply, statuses.collect(), cost)
            .map_err(|refusal| Refused::by_names(refusal, &self.names))
    }
}

/// All that an admission tells of one limit.
fn told(status: Status, cost: u64) -> (u64, u64, Duration, Option<Duration>) {
    (
        status.limit(),
        status.remaining(),
        status.reset_after(),
        status.available_after(cost),
    )
}

/// All that a refusal tells.
fn told_refusal(refused: &Refused) -> (Vec<&str>, &str, Option<Duration>, crate::Reason) {
    let rejected = refused.rejected();
    (
        refused.violated().collect(),
        refused.limit(),
        refused.retry_after(),
        rejected.reason(),
    )
}

/// Policies that whole microseconds tell exactly.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let second = 1_000_000_u64;
    let bucket =
        (1_u64..1_000, 1_u64..3_600 * second, 1_u64..20).prop_map(|(count, period, burst)| {
            let quota = Quota::new(count, Duration::from_micros(period)).unwrap();
            Policy::from(quota.with_burst(burst).unwrap())
        });
    let window = || {
        (
            1_u64..20,
            (1..3_600 * second).prop_map(Duration::from_micros),
        )
    };
    let fixed =
        window().prop_map(|(limit, window)| FixedWindow::new(limit, window).unwrap().into());
    let counter = window()
        .prop_map(|(limit, window)| SlidingWindowCounter::new(limit, window).unwrap().into());
    prop::collection::vec(prop_oneof![bucket, fixed, counter], 1..=NAMES.len())
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Refund(u64),
    Advance(u64),
    /// To the moment that the last refusal told, if there was one, or a microsecond before it.
    Return {
        early: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_u64..25).prop_map(Step::Take),
        8 => (1_u64..4).prop_map(Step::Take),
        1 => (1_u64..6).prop_map(Step::Refund),
        3 => (0_u64..7_200_000_000).prop_map(Step::Advance),
        2 => (0_u64..2_000_000).prop_map(Step::Advance),
        4 => any::<bool>().prop_map(|early| Step::Return { early }),
    ];
    prop::collection::vec(step, 1..60)
}

#[test]
fn what_redis_says_is_told_as_limits_of_this_process_tell_it() {
    let Some(server) = Server::start(Redis::new()) else {
        return;
    };
    let world = RefCell::new((World::new(&server, KEEP), 0));
    let mut runner = TestRunner::new(Config {
        // Set by hand: a runner of its own does not know this file.
        source_file: Some(file!()),
        ..Config::with_cases(200)
    });
    let outcome = runner.run(&(policies(), steps()), |(policies, steps)| {
        let (world, keys) = &mut *world.borrow_mut();
        *keys += 1;
        let pair = Pair::new(&policies, *keys);
        let mut come_back = None;
        for step in steps {
            match step {
                Step::Take(cost) => match (pair.judged(world, cost), pair.local.check_n(&(), cost))
                {
                    (Ok(statuses), Ok(admitted)) => {
                        let ours = statuses.iter().map(|status| told(*status, cost));
                        let theirs = admitted.statuses().map(|(_, status)| told(status, cost));
                        prop_assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
                        come_back = None;
                    }
                    (Err(ours), Err(theirs)) => {
                        prop_assert_eq!(told_refusal(&ours), told_refusal(&theirs));
                        come_back = ours.retry_after();
                    }
                    (ours, theirs) => {
                        prop_assert!(false, "Redis: {:?}, here: {:?}", ours, theirs);
                    }
                },
                Step::Refund(cost) => {
                    pair.ask(world, Operation::Refund { cost });
                    pair.local.refund(&(), cost);
                }
                Step::Advance(micros) => pair.advance(micros),
                Step::Return { early } => {
                    let wait = come_back
                        .take()
                        .unwrap_or_default()
                        .as_nanos()
                        .div_ceil(1_000);
                    let micros = u64::try_from(wait).unwrap();
                    pair.advance(micros.saturating_sub(early.into()));
                }
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

/// Quotas and windows that are rounded for Redis: it refuses no longer than it told, to a microsecond.
/// A counter that is weighed by grains once told a moment up to a grain too early.
#[test]
fn who_comes_back_when_redis_said_is_admitted_by_rounded_limits_too() {
    let Some(server) = Server::start(Redis::new()) else {
        return;
    };
    let mut world = World::new(&server, KEEP);
    let texts = [
        "1000003/s burst 7",
        "999983/s burst 1000",
        "1021/365d burst 3",
        "7/1us burst 9",
        "fixed-window 9/1234567ns",
        "sliding-window-counter 9/1234567ns",
        "sliding-window-counter 100000000/d",
    ];
    for (key, text) in texts.into_iter().enumerate() {
        let pair = Pair::new(&[text.parse().unwrap()], key as u64);
        let limit = pair.clauses[0].terms.capacity();
        for cost in [limit, limit, 1, 1, limit / 2 + 1, limit, 1] {
            if let Err(refused) = pair.judged(&mut world, cost) {
                let wait = refused.retry_after().expect("it fits");
                pair.advance(u64::try_from(wait.as_nanos().div_ceil(1_000)).unwrap());
                let come_back = pair.judged(&mut world, cost);
                assert!(come_back.is_ok(), "{text}: {cost} after {wait:?}");
            }
        }
    }
}
