use std::collections::{BTreeMap, HashSet};

use stanchion_core::Instant;

use super::Checks;
use super::machine::Machine;
use crate::Draw;
use crate::counted::Kept;
use crate::node::Node;

/// One server that is checked.
pub(super) struct Watched<A> {
    pub(super) node: Kept<Node<A>>,
    pub(super) machine: Machine,
}

/// Which server is checked when. It holds those that wait; one whose check is under way is with that.
pub(super) struct Schedule<A> {
    checks: Checks,
    draw: Draw,
    /// The servers as they were last seen. While they are held here, no other has their address in
    /// memory, which is what `known` goes by.
    nodes: Box<[Kept<Node<A>>]>,
    known: HashSet<usize>,
    /// By when they are due, and then in the order in which they came to wait.
    waiting: BTreeMap<(Instant, u64), Watched<A>>,
    came: u64,
}

impl<A> Schedule<A> {
    pub(super) fn new(checks: Checks, draw: Draw) -> Self {
        Self {
            checks,
            draw,
            nodes: Box::default(),
            known: HashSet::new(),
            waiting: BTreeMap::new(),
            came: 0,
        }
    }

    /// Goes on with these servers: new ones are due soon, those that are gone never.
    pub(super) fn follow(&mut self, nodes: &[Kept<Node<A>>], now: Instant) {
        let same = |(one, other): (&Kept<Node<A>>, &Kept<Node<A>>)| one.is_same(other);
        if nodes.len() == self.nodes.len() && nodes.iter().zip(&self.nodes).all(same) {
            return;
        }
        let known: HashSet<usize> = nodes.iter().map(Kept::place).collect();
        self.waiting
            .retain(|_, watched| known.contains(&watched.node.place()));
        let before = std::mem::replace(&mut self.known, known);
        for node in nodes.iter().filter(|node| !before.contains(&node.place())) {
            let due = self.checks.first(now, &mut self.draw);
            let machine = Machine::resumed(node.health.read().checks());
            let node = node.clone();
            self.wait(due, Watched { node, machine });
        }
        self.nodes = nodes.into();
    }

    /// When the next is due.
    pub(super) fn due(&self) -> Instant {
        let first = self.waiting.first_key_value();
        first.map_or(Instant::MAX, |((due, _), _)| *due)
    }

    /// One that is due; it does not wait any more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Watched<A>> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Has one wait whose check began at `began`, unless it is gone.
    pub(super) fn give_back(&mut self, watched: Watched<A>, began: Instant) {
        if self.known.contains(&watched.node.place()) {
            let due = self.checks.next(began, &mut self.draw);
            self.wait(due, watched);
        }
    }

    fn wait(&mut self, due: Instant, watched: Watched<A>) {
        self.came += 1;
        self.waiting.insert((due, self.came), watched);
    }
}
