//! Runs a scenario: the events of a fleet, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::chooser::{Chooser, Ticket, World};
use super::demand::MEAN;
use super::server::{Done, Server};
use super::speed::Speed;
use super::{Change, Nanos, SECOND, Scenario, Tally};
use crate::Random;

/// The part of the calls that brings the fleet to where it stays, and is not counted.
const WARM_UP: usize = 5;

/// Plays `scenario` with `chooser`, from `seed`.
///
/// `progress` is told now and then how many calls were made.
pub fn play(
    scenario: &Scenario,
    seed: u64,
    chooser: &mut dyn Chooser,
    progress: &mut dyn FnMut(usize),
) -> Tally {
    Play::new(scenario, seed).run(chooser, progress)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Clients learn of the change of this index.
    Learn(usize),
    /// A call goes out.
    Out,
    /// A call reaches its server.
    Reaches(usize),
    /// Its server is done with it.
    Done(usize),
    /// Its client has the answer, or gives up.
    Ends(usize),
}

#[derive(Debug)]
struct Call {
    ticket: Ticket,
    number: usize,
    out: Nanos,
    work: f64,
    /// How it ends, once its server has it; `None` if it is given up.
    answer: Option<bool>,
    /// Ends that are still to come: at the server, at the client.
    ends: u8,
    latency: Nanos,
}

#[derive(Debug)]
struct Play<'a> {
    scenario: &'a Scenario,
    servers: Vec<Server>,
    present: Vec<u32>,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    events_made: u64,
    calls: Vec<Option<Call>>,
    free: Vec<usize>,
    made: usize,
    tally: Tally,
    /// When calls go out, who makes them, and what they are.
    arrivals: Random,
    /// What choosers draw.
    choices: Random,
    between: f64,
}

impl<'a> Play<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut speeds = Random::new(random.next_u64());
        let bases = (0..scenario.servers).map(|server| scenario.base_speed(server));
        let share = if scenario.antagonist {
            Speed::share_under_antagonist()
        } else {
            1.0
        };
        // Calls per nanosecond that all servers can do in the mean.
        let capacity = bases.sum::<f64>() * share * scenario.cores as f64 / MEAN;
        let between = 1.0 / (capacity * scenario.load);
        let end = to_nanos(between * scenario.calls as f64 * 1.1) + 10 * SECOND;
        let server = |index: usize| {
            let base = scenario.base_speed(index);
            let speed = if scenario.antagonist {
                Speed::with_antagonist(base, end, &mut speeds)
            } else {
                Speed::steady(base)
            };
            let faults = scenario.faults.iter();
            let own = faults.filter(|fault| fault.server == index).copied();
            Server::new(scenario.cores, speed, own.collect())
        };
        let mut play = Self {
            scenario,
            servers: (0..scenario.servers).map(server).collect(),
            present: vec![0; scenario.servers],
            events: BinaryHeap::new(),
            events_made: 0,
            calls: Vec::new(),
            free: Vec::new(),
            made: 0,
            tally: Tally::new(scenario.servers),
            choices: Random::new(random.next_u64()),
            between,
            arrivals: Random::new(random.next_u64()),
        };
        for (index, (at, _)) in scenario.changes.iter().enumerate() {
            play.plan(*at, Event::Learn(index));
        }
        play.plan(0, Event::Out);
        play
    }

    fn plan(&mut self, at: Nanos, event: Event) {
        // Of events at one moment, what was planned first comes first.
        self.events.push(Reverse((at, self.events_made, event)));
        self.events_made += 1;
    }

    fn run(mut self, chooser: &mut dyn Chooser, progress: &mut dyn FnMut(usize)) -> Tally {
        let mut last = 0;
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            last = now;
            match event {
                Event::Learn(index) => chooser.learn(self.change(index), now),
                Event::Out => {
                    self.send(now, chooser);
                    if self.made.is_multiple_of(10_000) {
                        progress(self.made);
                    }
                }
                Event::Reaches(index) => self.reach(now, index),
                Event::Done(index) => {
                    let server = self.call(index).ticket.server;
                    self.present[server] -= 1;
                    self.end(now, index, false, chooser);
                }
                Event::Ends(index) => self.end(now, index, true, chooser),
            }
        }
        let cores = self.scenario.cores as f64;
        let busy = |server: &Server| server.worked as f64 / cores / last.max(1) as f64;
        let busy = self.servers.iter().map(busy).collect();
        self.tally.finish(busy)
    }

    fn change(&self, index: usize) -> Change {
        self.scenario.changes[index].1
    }

    fn call(&mut self, index: usize) -> &mut Call {
        self.calls[index].as_mut().expect("a call that is not over")
    }

    /// A call goes out, and the next one is planned.
    fn send(&mut self, now: Nanos, chooser: &mut dyn Chooser) {
        let number = self.made;
        self.made += 1;
        if self.made < self.scenario.calls {
            let next = now + to_nanos(-self.between * self.arrivals.unit().ln());
            self.plan(next, Event::Out);
        }
        let client = self.arrivals.below(self.scenario.clients);
        let work = self.scenario.demand.draw(&mut self.arrivals);
        let world = World {
            now,
            present: &self.present,
        };
        let Some(ticket) = chooser.choose(client, &world, &mut self.choices) else {
            self.count(number, None);
            return;
        };
        self.tally.sent(ticket.server, now);
        let call = Call {
            ticket,
            number,
            out: now,
            work,
            answer: None,
            ends: 2,
            latency: 0,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[index] = Some(call);
        self.plan(now + self.scenario.one_way, Event::Reaches(index));
    }

    fn reach(&mut self, now: Nanos, index: usize) {
        let (deadline, one_way) = (self.scenario.deadline, self.scenario.one_way);
        let (server, work, out) = {
            let call = self.call(index);
            (call.ticket.server, call.work, call.out)
        };
        self.present[server] += 1;
        self.tally.present(server, self.present[server]);
        let Done { at, failed } = self.servers[server].take(now, work);
        let (answered, given_up) = (at + one_way, out + deadline);
        let call = self.call(index);
        if answered <= given_up {
            call.answer = Some(!failed);
            call.latency = answered - out;
        }
        self.plan(at, Event::Done(index));
        self.plan(answered.min(given_up).max(now), Event::Ends(index));
    }

    /// One of the two ends of a call: the server's, or the client's.
    fn end(&mut self, now: Nanos, index: usize, at_client: bool, chooser: &mut dyn Chooser) {
        if at_client {
            self.end_at_client(now, index, chooser);
        }
        let call = self.call(index);
        call.ends -= 1;
        if call.ends == 0 {
            self.calls[index] = None;
            self.free.push(index);
        }
    }

    fn end_at_client(&mut self, now: Nanos, index: usize, chooser: &mut dyn Chooser) {
        let call = self.call(index);
        let (number, answer, latency) = (call.number, call.answer, call.latency);
        let ticket = call.ticket.take();
        chooser.end(ticket, now, answer);
        self.count(number, (answer == Some(true)).then_some(latency));
    }

    fn count(&mut self, number: usize, latency: Option<Nanos>) {
        if number >= self.scenario.calls / WARM_UP {
            self.tally.ended(latency);
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "virtual time, far below 2^53"
)]
fn to_nanos(nanos: f64) -> Nanos {
    nanos as Nanos
}
