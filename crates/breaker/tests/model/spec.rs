use std::time::Duration;

use proptest::prelude::*;
use stanchion_breaker::{
    CancelPolicy, Config, Expiry, HalfOpen, OpenTime, OverloadPolicy, Ramp, Ratio, SlowCalls,
    State, Verdict, Window,
};
use stanchion_core::Outcome;

use super::some;

/// A configuration in plain numbers; times in nanoseconds, rates in percent.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    window: Option<WindowPlan>,
    failure_rate: Option<u32>,
    slow: Option<(u64, u32)>,
    consecutive: Option<u32>,
    min_calls: u32,
    trials: u32,
    at_once: u32,
    first_failure: bool,
    successes: u32,
    max_time: Option<(u64, Expiry)>,
    open: u64,
    growing: bool,
    decay: Option<u64>,
    heeds_wishes: bool,
    ramp: Option<u64>,
    cancel: CancelPolicy,
    overload: OverloadPolicy,
}

#[derive(Clone, Copy, Debug)]
enum WindowPlan {
    Calls(u32),
    Time { span: u64, buckets: u32 },
}

const CAP: u64 = 300;
const WISH_MAX: u64 = 250;

impl Arbitrary for Plan {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        use proptest::option::of;
        let window = of(prop_oneof![
            (1_u32..8).prop_map(WindowPlan::Calls),
            (20_u64..200, 1_u32..6).prop_map(|(span, buckets)| WindowPlan::Time { span, buckets }),
        ]);
        let percent = || prop_oneof![Just(10_u32), Just(50), Just(60), Just(100)];
        let trip = (
            window,
            of(percent()),
            of((5_u64..40, percent())),
            of(1_u32..5),
            1_u32..8,
        );
        let expiry = prop_oneof![Just(Expiry::Open), Just(Expiry::Close)];
        let trials = (
            1_u32..5,
            any::<u32>(),
            any::<bool>(),
            any::<u32>(),
            of((1_u64..100, expiry)),
        );
        let open = (
            1_u64..100,
            any::<bool>(),
            of(10_u64..200),
            any::<bool>(),
            of(1_u64..100),
        );
        let cancel = prop_oneof![
            Just(CancelPolicy::Ignore),
            Just(CancelPolicy::Failure),
            (0_u64..30).prop_map(|age| CancelPolicy::FailureIfOlderThan(ns(age))),
        ];
        let overload = prop_oneof![Just(OverloadPolicy::Failure), Just(OverloadPolicy::Ignore)];
        (trip, trials, open, cancel, overload)
            .prop_map(|(trip, trials, open, cancel, overload)| {
                let (window, failure_rate, slow, consecutive, min_calls) = trip;
                let (trials, at_once, first_failure, successes, max_time) = trials;
                let (open, growing, decay, heeds_wishes, ramp) = open;
                // Without a window, only failures in a row can count.
                let with_window = window.is_some();
                let min_calls = match window {
                    Some(WindowPlan::Calls(calls)) => min_calls.min(calls),
                    _ => min_calls,
                };
                Self {
                    window,
                    failure_rate: failure_rate.filter(|_| with_window),
                    slow: slow.filter(|_| with_window),
                    consecutive: consecutive.or((!with_window).then_some(2)),
                    min_calls: if with_window { min_calls } else { 0 },
                    trials,
                    at_once: at_once % trials + 1,
                    first_failure,
                    successes: successes % trials + 1,
                    max_time,
                    open,
                    growing,
                    decay,
                    heeds_wishes,
                    ramp,
                    cancel,
                    overload,
                }
            })
            .boxed()
    }
}

impl Plan {
    pub(super) fn config(&self) -> Config {
        let mut config = match self.window {
            None => Config::consecutive_failures(some(self.consecutive.unwrap())),
            Some(window) => {
                let window = match window {
                    WindowPlan::Calls(calls) => Window::calls(calls),
                    WindowPlan::Time { span, buckets } => {
                        Window::time(ns(span)).unwrap().with_buckets(buckets)
                    }
                };
                let config = Config::new(window.unwrap()).without_failure_rate();
                config.with_min_calls(self.min_calls).unwrap()
            }
        };
        if let Some(rate) = self.failure_rate {
            config = config.with_failure_rate(ratio(rate)).unwrap();
        }
        if let Some((threshold, rate)) = self.slow {
            let slow = SlowCalls::new(ns(threshold), ratio(rate)).unwrap();
            config = config.with_slow_calls(slow).unwrap();
        }
        if let Some(failures) = self.consecutive {
            config = config.with_consecutive_failures(some(failures));
        }
        let mut half_open = HalfOpen::new(self.trials).unwrap();
        half_open = half_open.with_at_once(self.at_once).unwrap();
        half_open = half_open.with_success_threshold(self.successes).unwrap();
        if self.first_failure {
            half_open = half_open.with_verdict(Verdict::FirstFailure);
        }
        if let Some((time, then)) = self.max_time {
            half_open = half_open.with_max_time(ns(time), then).unwrap();
        }
        let mut open = if self.growing {
            OpenTime::growing(ns(self.open), 2.0, ns(CAP)).unwrap()
        } else {
            OpenTime::fixed(ns(self.open)).unwrap()
        };
        if let Some(quiet) = self.decay {
            open = open.with_decay(ns(quiet)).unwrap();
        }
        if self.heeds_wishes {
            open = open.with_retry_after(ns(WISH_MAX)).unwrap();
        }
        if let Some(time) = self.ramp {
            config = config.with_ramp(Ramp::new(Ratio::HALF, ns(time)).unwrap());
        }
        config
            .with_half_open(half_open)
            .with_open_time(open)
            .with_cancel_policy(self.cancel)
            .with_overload_policy(self.overload)
    }
}

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn ratio(percent: u32) -> Ratio {
    Ratio::new(f64::from(percent) / 100.0).unwrap()
}

/// A call that was let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    generation: u64,
    started: u64,
    trial: bool,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    at: u64,
    failed: bool,
    slow: bool,
}

/// What a breaker does, call by call.
#[derive(Debug)]
pub(super) struct Spec {
    plan: Plan,
    now: u64,
    state: State,
    generation: u64,
    since: u64,
    /// When trials are let through.
    until: u64,
    openings: u32,
    ramp_since: Option<u64>,
    /// Of shares of calls, admitted or not, that came while traffic comes back: in 2⁻³².
    shares: u64,
    trials_in_flight: u32,
    /// Calls, or trials, of this generation.
    calls: Vec<Call>,
    rejected: u64,
    late: u64,
}

impl Spec {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            now: 0,
            state: State::Closed,
            generation: 1,
            since: 0,
            until: 0,
            openings: 0,
            ramp_since: None,
            shares: 0,
            trials_in_flight: 0,
            calls: Vec::new(),
            rejected: 0,
            late: 0,
        }
    }

    /// `Err` with how long it stays open, if that is what refuses.
    pub(super) fn acquire(&mut self) -> Result<Ticket, Option<u64>> {
        if self.state == State::Open && self.now >= self.until {
            self.enter(State::HalfOpen);
        }
        if self.state == State::HalfOpen
            && let Some((max, then)) = self.plan.max_time
            && self.now - self.since > max
        {
            match then {
                Expiry::Close => self.close(),
                _ => self.open(None),
            }
        }
        let admitted = match self.state {
            State::Open | State::ForcedOpen => false,
            State::HalfOpen => {
                let over = u32::try_from(self.calls.len()).unwrap();
                self.trials_in_flight < self.plan.at_once
                    && self.trials_in_flight + over < self.plan.trials
            }
            State::Closed => self.admits_share(),
            _ => true,
        };
        if !admitted {
            self.rejected += 1;
            return Err((self.state == State::Open).then(|| self.until - self.now));
        }
        let trial = self.state == State::HalfOpen;
        self.trials_in_flight += u32::from(trial);
        Ok(Ticket {
            generation: self.generation,
            started: self.now,
            trial,
        })
    }

    fn admits_share(&mut self) -> bool {
        let (Some(since), Some(time)) = (self.ramp_since, self.plan.ramp) else {
            return true;
        };
        if self.now - since >= time {
            self.ramp_since = None;
            return true;
        }
        let done = Duration::from_nanos(self.now - since).as_secs_f64() / ns(time).as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of at most 1 times 2³²"
        )]
        let share = ((0.5 + 0.5 * done) * 4_294_967_296.0) as u64;
        let before = self.shares >> 32;
        self.shares += share;
        self.shares >> 32 != before
    }

    pub(super) fn finish(&mut self, ticket: Ticket, outcome: Outcome, wish: Option<u64>) {
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure => true,
            Outcome::Overload if self.plan.overload == OverloadPolicy::Failure => true,
            _ => {
                self.give_back(ticket);
                return;
            }
        };
        if ticket.generation != self.generation {
            self.late += 1;
            return;
        }
        self.give_back(ticket);
        let took = self.now - ticket.started;
        let slow = self
            .plan
            .slow
            .is_some_and(|(threshold, _)| took > threshold);
        let at = self.now;
        match self.state {
            State::Disabled => {}
            State::HalfOpen => {
                self.calls.push(Call { at, failed, slow });
                self.judge_trials(wish);
            }
            _ => {
                self.calls.push(Call { at, failed, slow });
                if self.state == State::Closed && self.trips() {
                    self.open(wish);
                }
            }
        }
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        let failed = match self.plan.cancel {
            CancelPolicy::Failure => true,
            CancelPolicy::FailureIfOlderThan(age) => ns(self.now - ticket.started) > age,
            _ => false,
        };
        if failed {
            self.finish(ticket, Outcome::Failure, None);
        } else {
            self.give_back(ticket);
        }
    }

    fn give_back(&mut self, ticket: Ticket) {
        if ticket.trial && ticket.generation == self.generation {
            self.trials_in_flight -= 1;
        }
    }

    pub(super) fn wait(&mut self, nanos: u64) {
        self.now += nanos;
    }

    pub(super) fn go(&mut self, to: State) -> bool {
        let from = self.state;
        if from == to {
            return true;
        }
        match to {
            State::HalfOpen if from != State::Open && from != State::ForcedOpen => return false,
            State::Open => self.open(None),
            State::Closed => {
                self.openings = 0;
                self.enter(to);
            }
            _ => self.enter(to),
        }
        true
    }

    pub(super) fn reset(&mut self) {
        self.openings = 0;
        self.enter(State::Closed);
    }

    fn trips(&self) -> bool {
        let (total, failed, slow) = self.counts();
        let reached = |rate: u32, part: u64| part * 100 >= u64::from(rate) * total;
        let rates = self.knows_rates();
        let by_failures = self
            .plan
            .failure_rate
            .is_some_and(|rate| reached(rate, failed));
        let by_slow = self.plan.slow.is_some_and(|(_, rate)| reached(rate, slow));
        let row = self
            .calls
            .iter()
            .rev()
            .take_while(|call| call.failed)
            .count();
        let by_row = self
            .plan
            .consecutive
            .is_some_and(|most| row >= most as usize);
        rates && (by_failures || by_slow) || by_row && self.calls.last().unwrap().failed
    }

    fn judge_trials(&mut self, wish: Option<u64>) {
        let all = self.calls.len() == self.plan.trials as usize;
        let (total, failed, slow) = self.counts();
        let reached = |rate: u32, part: u64| part * 100 >= u64::from(rate) * total;
        let bad = if self.plan.first_failure {
            failed + slow > 0
        } else {
            let slow_rate = self.plan.slow.map(|(_, rate)| rate);
            let failure_rate = match (self.plan.failure_rate, slow_rate) {
                (None, None) => Some(50),
                (rate, _) => rate,
            };
            all && (failure_rate.is_some_and(|rate| reached(rate, failed))
                || slow_rate.is_some_and(|rate| reached(rate, slow)))
        };
        let good = self
            .calls
            .iter()
            .filter(|call| !call.failed && !call.slow)
            .count();
        if bad {
            self.open(wish);
        } else if all || good >= self.plan.successes as usize {
            self.close();
        }
    }

    fn open(&mut self, wish: Option<u64>) {
        if self.state == State::Closed {
            let quiet = self.now - self.since;
            self.openings = match self.plan.decay {
                None => 0,
                Some(decay) => self
                    .openings
                    .saturating_sub(u32::try_from(quiet / decay).unwrap()),
            };
        }
        let own = if self.plan.growing {
            (0..self.openings).fold(self.plan.open, |time, _| (2 * time).min(CAP))
        } else {
            self.plan.open
        };
        let wish = wish.filter(|wish| self.plan.heeds_wishes && *wish > 0);
        let time = wish.map_or(own, |wish| wish.min(WISH_MAX));
        self.openings += 1;
        self.until = self.now + time + 1;
        self.enter(State::Open);
    }

    fn close(&mut self) {
        self.enter(State::Closed);
        self.ramp_since = self.plan.ramp.map(|_| self.now);
    }

    fn enter(&mut self, to: State) {
        self.state = to;
        self.generation += 1;
        self.since = self.now;
        self.ramp_since = None;
        self.trials_in_flight = 0;
        self.calls.clear();
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// All calls in the window, those that failed, those that were slow.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let inside: Vec<&Call> = match (self.state, self.plan.window) {
            (State::HalfOpen, _) => self.calls.iter().collect(),
            (_, None) => Vec::new(),
            (_, Some(WindowPlan::Calls(calls))) => {
                self.calls.iter().rev().take(calls as usize).collect()
            }
            (_, Some(WindowPlan::Time { span, buckets })) => {
                let width = span.div_ceil(u64::from(buckets));
                let slice = |at: u64| at / width;
                let is_inside =
                    |call: &&Call| slice(call.at) + u64::from(buckets) > slice(self.now);
                self.calls.iter().filter(is_inside).collect()
            }
        };
        let count = |of: fn(&Call) -> bool| inside.iter().filter(|call| of(call)).count() as u64;
        (
            inside.len() as u64,
            count(|call| call.failed),
            count(|call| call.slow),
        )
    }

    pub(super) fn knows_rates(&self) -> bool {
        let (total, ..) = self.counts();
        let enough = total > 0 && total >= u64::from(self.plan.min_calls);
        self.state != State::HalfOpen && enough
    }

    pub(super) fn trials_in_flight(&self) -> u32 {
        self.trials_in_flight
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected
    }

    pub(super) fn late(&self) -> u64 {
        self.late
    }
}
