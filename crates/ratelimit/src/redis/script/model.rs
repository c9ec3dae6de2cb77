//! The script on a real server, at times of the test's choosing, against the definitions.

use std::collections::HashMap;

use ::redis::{Client, Connection, Value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::{Redis, RedisServer, Server};

use super::{DECIDE, Request};

/// Stands where the server's clock is read otherwise.
const NOW: &str = "local now = tonumber(ARGV[#ARGV])\n";
/// Keeps state for good: it would expire by the server's own clock, which knows nothing of ours.
pub(in crate::redis) const KEEP: &str = "
local server = redis
local redis = { call = function(name, key, value)
  if name == 'SET' then return server.call(name, key, value) end
  return server.call(name, key)
end }
";

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
/// Some moment in 2026.
pub(in crate::redis) const START: u64 = 1_780_000_000 * SECOND;

/// A limit by its definition: all that was taken, and when.
#[derive(Clone, Debug)]
struct Reference {
    kind: &'static str,
    numbers: [u64; 3],
    /// For `gcra`: the moment at which the bucket is full again, in units.
    full_at: i128,
    /// For windows: what was taken in each.
    taken: HashMap<u64, i128>,
    /// The latest window that was written.
    written: Option<u64>,
}

impl Reference {
    fn new(kind: &'static str, numbers: [u64; 3]) -> Self {
        Self {
            kind,
            numbers,
            full_at: 0,
            taken: HashMap::new(),
            written: None,
        }
    }

    fn ahead(&self, now: u64) -> i128 {
        let [scale, step, burst] = self.numbers.map(i128::from);
        let ahead = self.full_at - i128::from(now) * scale;
        ahead.clamp(0, step * burst)
    }

    /// The window of `now`, and how far into it that is: never before what was written.
    fn window(&self, now: u64) -> (u64, u64) {
        let period = self.numbers[0];
        let index = now / period;
        match self.written {
            Some(written) if written > index => (written, 0),
            _ => (index, now % period),
        }
    }

    fn window_by_grains(&self, now: u64) -> (u64, u64) {
        let (index, into) = self.window(now);
        (index, into - into % self.numbers[2])
    }

    fn in_window(&self, index: u64) -> i128 {
        // Only the latest two are kept.
        let kept = self.written.is_some_and(|written| index + 1 >= written);
        if kept {
            *self.taken.get(&index).unwrap_or(&0)
        } else {
            0
        }
    }

    /// What may be taken now.
    fn fits(&self, now: u64) -> i128 {
        match self.kind {
            "gcra" => {
                let [_, step, burst] = self.numbers.map(i128::from);
                (step * burst - self.ahead(now)) / step
            }
            "fixed" => {
                let (index, _) = self.window(now);
                i128::from(self.numbers[1]) - self.in_window(index)
            }
            _ => {
                let [period, limit, _] = self.numbers.map(i128::from);
                let (index, into) = self.window_by_grains(now);
                // The part of the last window that lies within one period of now, by its share.
                let last = self.in_window(index - 1) * (period - i128::from(into));
                (limit * period - last - self.in_window(index) * period).max(0) / period
            }
        }
    }

    fn take(&mut self, now: u64, n: i128) {
        if self.kind == "gcra" {
            let [scale, step, _] = self.numbers.map(i128::from);
            let ahead = (self.ahead(now) + n * step).max(0);
            // A full bucket is forgotten.
            self.full_at = if ahead == 0 {
                0
            } else {
                i128::from(now) * scale + ahead
            };
            return;
        }
        let (index, _) = self.window(now);
        if self.written.is_some_and(|written| written < index) {
            self.taken.retain(|window, _| window + 1 >= index);
        }
        self.written = Some(index);
        let taken = self.taken.entry(index).or_default();
        *taken = (*taken + n).max(0);
    }

    fn answer(&self, now: u64) -> [i128; 3] {
        match self.kind {
            "gcra" => [self.ahead(now), 0, 0],
            "fixed" => {
                let (index, into) = self.window(now);
                [self.in_window(index), i128::from(into), 0]
            }
            _ => {
                let (index, into) = self.window_by_grains(now);
                [
                    self.in_window(index - 1),
                    self.in_window(index),
                    i128::from(into),
                ]
            }
        }
    }
}

/// One call: how the clock moves first, and what is asked.
#[derive(Clone, Debug)]
enum Step {
    Take { cost: u64, more: u64 },
    Refund { cost: u64 },
}

fn limits() -> impl Strategy<Value = Vec<Reference>> {
    let even = (1_u64..2_000, 1_u64..HOUR).prop_map(|(scale, step)| (scale, step * scale));
    let odd = (1_u64..2_000, 1_u64..2 * HOUR);
    let gcra = (prop_oneof![even, odd], 1_u64..20)
        .prop_map(|((scale, step), burst)| Reference::new("gcra", [scale, step, burst]));
    let fixed = (1_u64..3 * HOUR, 1_u64..20)
        .prop_map(|(period, limit)| Reference::new("fixed", [period, limit, 0]));
    let counter = (
        1_u64..3_000,
        1_u64..20,
        prop_oneof![Just(1), 2..HOUR / 1_000],
    )
        .prop_map(|(grains, limit, grain)| {
            Reference::new("counter", [grains * grain, limit, grain])
        });
    let limit = prop_oneof![gcra, fixed, counter];
    prop::collection::vec(limit, 1..4)
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let clock = prop_oneof![
        4 => 0..HOUR.cast_signed(),
        2 => Just(0),
        1 => 0..10 * HOUR.cast_signed(),
        1 => -3 * HOUR.cast_signed()..0,
    ];
    let step = prop_oneof![
        6 => (0_u64..5, 0_u64..3).prop_map(|(cost, more)| {
            Step::Take { cost, more: if cost == 0 { 0 } else { more } }
        }),
        1 => (1_u64..5).prop_map(|cost| Step::Refund { cost }),
    ];
    prop::collection::vec((clock, step), 1..60)
}

pub(in crate::redis) struct World {
    connection: Connection,
    names: u64,
    script: String,
}

impl World {
    pub(in crate::redis) fn new(server: &RedisServer, head: &str) -> Self {
        let client = Client::open(server.url()).unwrap();
        Self {
            connection: client.get_connection().unwrap(),
            names: 0,
            script: format!("{NOW}{head}{DECIDE}"),
        }
    }

    /// Runs a limiter's own request at this time.
    pub(in crate::redis) fn ask(&mut self, request: &Request<'_>, now: u64) -> Value {
        let mut command = request.command("EVAL", &self.script);
        command.arg(now).query(&mut self.connection).unwrap()
    }

    fn run(
        &mut self,
        limits: &[Reference],
        operation: &str,
        cost: u64,
        most: u64,
        now: u64,
    ) -> Vec<i128> {
        let mut command = ::redis::cmd("EVAL");
        command.arg(&self.script).arg(limits.len());
        for index in 0..limits.len() {
            command.arg(format!("{{{}}}{index}", self.names));
        }
        command.arg(operation).arg(cost).arg(most);
        for limit in limits {
            command.arg(limit.kind).arg(&limit.numbers);
        }
        command.arg(now);
        let Value::Array(answer) = command.query(&mut self.connection).unwrap() else {
            panic!("an answer is a list");
        };
        let numbers = answer.into_iter().map(|number| match number {
            Value::Int(number) => i128::from(number),
            other => panic!("{other:?}"),
        });
        numbers.collect()
    }
}

/// Runs the same steps through the script and the definitions.
fn compare(world: &mut World, mut limits: Vec<Reference>, steps: Vec<(i64, Step)>) {
    world.names += 1;
    let mut now = START;
    for (moved, step) in steps {
        now = now.saturating_add_signed(moved);
        let fits = limits
            .iter()
            .map(|limit| limit.fits(now))
            .min()
            .unwrap_or(0);
        let (operation, cost, most, taken) = match step {
            Step::Take { cost, more } => {
                let most = cost + more;
                let taken = if fits >= i128::from(cost) {
                    fits.min(most.into())
                } else {
                    0
                };
                ("take", cost, most, taken)
            }
            Step::Refund { cost } => ("refund", cost, cost, -i128::from(cost)),
        };
        if taken != 0 {
            for limit in &mut limits {
                limit.take(now, taken);
            }
        }
        let answer = world.run(&limits, operation, cost, most, now);
        let mut expected = vec![taken.max(0)];
        expected.extend(limits.iter().flat_map(|limit| limit.answer(now)));
        assert_eq!(answer, expected, "{operation} {cost} to {most} at {now}");
    }
}

#[test]
fn the_script_decides_by_the_definitions_at_any_times() {
    let Some(server) = Server::start(Redis::new()) else {
        return;
    };
    let world = std::cell::RefCell::new(World::new(&server, KEEP));
    let mut runner = TestRunner::new(Config {
        // Set by hand: a runner of its own does not know this file.
        source_file: Some(file!()),
        ..Config::with_cases(200)
    });
    runner
        .run(&(limits(), steps()), |(limits, steps)| {
            compare(&mut world.borrow_mut(), limits, steps);
            Ok(())
        })
        .unwrap();
}

#[test]
fn numbers_are_exact_up_to_the_largest() {
    let Some(server) = Server::start(Redis::new()) else {
        return;
    };
    let mut world = World::new(&server, KEEP);
    let largest = 1_u64 << 52;
    // Full to the last unit, and one unit more at each microsecond after.
    let limits = vec![Reference::new("gcra", [1, 1, largest])];
    let mut steps = vec![(
        0,
        Step::Take {
            cost: largest - 1,
            more: 0,
        },
    )];
    steps.extend((0..20).map(|_| (1, Step::Take { cost: 1, more: 1 })));
    compare(&mut world, limits, steps);
    // A third of a microsecond is kept.
    let limits = vec![Reference::new("gcra", [3, 1 << 48, 16])];
    let steps = (0..40)
        .map(|_| (1, Step::Take { cost: 1, more: 0 }))
        .collect();
    compare(&mut world, limits, steps);
    let limits = vec![Reference::new("counter", [HOUR, largest / HOUR / 2, 1])];
    let steps = (0..40)
        .map(|_| {
            (
                SECOND.cast_signed(),
                Step::Take {
                    cost: 99_999,
                    more: 7,
                },
            )
        })
        .collect();
    compare(&mut world, limits, steps);
}

/// The time to idle, in whole milliseconds and one more.
#[test]
fn state_expires_when_it_is_as_good_as_none() {
    let Some(server) = Server::start(Redis::new()) else {
        return;
    };
    let mut world = World::new(&server, "");
    let into = START % HOUR;
    for (limit, idle) in [
        (Reference::new("gcra", [3, HOUR, 5]), HOUR * 2 / 3),
        (Reference::new("fixed", [HOUR, 5, 0]), HOUR - into),
        (Reference::new("counter", [HOUR, 5, 1]), 2 * HOUR - into),
    ] {
        world.names += 1;
        let taken = world.run(std::slice::from_ref(&limit), "take", 2, 2, START);
        assert_eq!(taken[0], 2);
        let key = format!("{{{}}}0", world.names);
        let left: u64 = server.ask(&format!("PTTL {key}")).unwrap().parse().unwrap();
        assert!(
            left <= idle / 1_000 + 1 && left > idle / 1_000 - 60_000,
            "{limit:?} {left}"
        );
        let refunded = world.run(std::slice::from_ref(&limit), "refund", 2, 2, START);
        assert_eq!(refunded[0], 0);
        if limit.kind == "gcra" {
            assert_eq!(server.ask(&format!("EXISTS {key}")).unwrap(), "0");
        }
    }
}
