//! A change of what picks read, made under the lock and told of after it.

use std::sync::Arc;

use parking_lot::MutexGuard;
use stanchion_core::Instant;

use super::shared::{Settings, Shared};
use crate::counted::{Kept, Waited};
use crate::health::Known;
use crate::node::Node;
use crate::outlier;
use crate::plan::{Basis, Level, Plan};
use crate::policy::{InvalidTable, Policy};
use crate::{Attributes, Draw, EjectionCause, Event, Health, Mark, ReadmissionCause};

/// What one who holds the lock may do.
pub(super) struct Change<'a, A> {
    shared: &'a Shared<A>,
    pub(super) settings: MutexGuard<'a, Settings<A>>,
    pub(super) plan: Arc<Plan<A>>,
    pub(super) now: Instant,
    events: Vec<Event>,
}

/// Endpoints that are to be planned for.
pub(super) struct Listed<A> {
    pub(super) nodes: Box<[Kept<Node<A>>]>,
    /// Places in `nodes`, by id.
    pub(super) by_id: Box<[u32]>,
    /// What is told of each from now on, if it is told.
    pub(super) attributes: Option<Vec<Arc<Attributes>>>,
}

impl<A> Shared<A> {
    /// Makes a change, and tells of it once the lock is released.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Change<'_, A>) -> R) -> R {
        self.change_under(self.settings.lock(), change)
    }

    pub(super) fn change_under<'a, R>(
        &'a self,
        settings: MutexGuard<'a, Settings<A>>,
        change: impl FnOnce(&mut Change<'a, A>) -> R,
    ) -> R {
        let mut made = Change {
            shared: self,
            settings,
            plan: self.plan.load_full(),
            now: self.clock.now(),
            events: Vec::new(),
        };
        let result = change(&mut made);
        let Change {
            settings, events, ..
        } = made;
        drop(settings);
        for event in &events {
            self.tell(event);
        }
        result
    }
}

impl<A> Change<'_, A> {
    /// Plans anew for the same endpoints.
    pub(super) fn plan_anew(&mut self) {
        let (plan, invalid) = self.planned(self.listed(), self.settings.policy.clone());
        if let Some(invalid) = invalid {
            self.tell(Event::TableFailed(invalid));
        }
        self.swap(plan);
    }

    /// Plans for these endpoints, by this policy from now on; or changes nothing.
    pub(super) fn plan_for(
        &mut self,
        listed: Listed<A>,
        policy: Arc<dyn Policy<A>>,
    ) -> Result<(), InvalidTable> {
        let attributes = listed.attributes.clone();
        let (plan, invalid) = self.planned(listed, policy.clone());
        if let Some(invalid) = invalid {
            return Err(invalid);
        }
        self.settings.policy = policy;
        for (node, attributes) in plan.nodes.iter().zip(attributes.unwrap_or_default()) {
            // Mostly they are what they were, and a look costs less than to let go of them.
            if !Arc::ptr_eq(&node.attributes.load(), &attributes) {
                node.attributes.store(attributes);
            }
        }
        self.swap(plan);
        self.plan.adopted();
        Ok(())
    }

    /// The endpoints as they are.
    pub(super) fn listed(&self) -> Listed<A> {
        Listed {
            nodes: self.plan.nodes.clone(),
            by_id: self.plan.by_id.clone(),
            attributes: None,
        }
    }

    fn planned(
        &self,
        listed: Listed<A>,
        policy: Arc<dyn Policy<A>>,
    ) -> (Plan<A>, Option<InvalidTable>) {
        let same_policy = Arc::ptr_eq(&policy, &self.settings.policy);
        let basis = Basis {
            nodes: listed.nodes,
            by_id: listed.by_id,
            attributes: listed.attributes.as_deref(),
            policy: &*policy,
            config: &self.settings.config,
            now: self.now,
            before: same_policy.then_some(&*self.plan),
        };
        Plan::new(basis, &mut Draw::of_thread())
    }

    /// Has each endpoint heed what is wanted now.
    pub(super) fn heed_anew(&self) {
        let heed = self.settings.heed();
        for node in &self.plan.nodes {
            node.samples.set_heed(heed);
        }
    }

    /// Has picks read this plan.
    fn swap(&mut self, plan: Plan<A>) {
        if let Some(metering) = plan.metering() {
            for node in &plan.nodes {
                node.set_metering(metering);
            }
        }
        let plan = Arc::new(plan);
        self.shared.plan.store(plan.clone());
        self.shared.signal.change();
        let before = std::mem::replace(&mut self.plan, plan);
        self.tell_of_panic(&before.levels);
    }

    fn tell_of_panic(&mut self, before: &[Level]) {
        let panics = |levels: &[Level], priority: u8| {
            let mut levels = levels.iter();
            levels.any(|level| level.priority == priority && level.load.panic)
        };
        let plan = self.plan.clone();
        let entered = plan.levels.iter().map(|level| level.priority);
        for priority in entered.filter(|&priority| !panics(before, priority)) {
            if panics(&plan.levels, priority) {
                self.tell(Event::PanicEntered { priority });
            }
        }
        let left = before.iter().map(|level| level.priority);
        for priority in left.filter(|&priority| !panics(&plan.levels, priority)) {
            if panics(before, priority) {
                self.tell(Event::PanicLeft { priority });
            }
        }
    }

    /// Has those that are new start slowly, where there are others.
    pub(super) fn start_new(&self, nodes: &[Kept<Node<A>>]) {
        for node in nodes.iter().filter(|node| !self.knows(node)) {
            node.started.set(self.now);
        }
    }

    /// Whether the server is one of the balancer's, and not one that is gone.
    pub(super) fn knows(&self, node: &Kept<Node<A>>) -> bool {
        let same = self.plan.node(node.id.as_str());
        same.is_some_and(|same| same.is_same(node))
    }

    /// Tells what a mark changed, and whether that is to be planned for.
    pub(super) fn marked(
        &mut self,
        node: &Node<A>,
        (before, after): (Known, Known),
        mark: Mark,
    ) -> bool {
        let is_back = !before.is_fit() && after.is_fit();
        // The first check tells when one that is new is fit; of those that were there from the
        // beginning none is.
        let is_new = node.started.get().is_some() && !before.is_checked() && after.is_checked();
        if before.health() == Health::Draining || before.health() == Health::Disabled {
            // Who waits for its last call may want to know that it is used again.
            node.tell_idle();
        }
        if is_back || is_new {
            node.started.set(self.now);
        }
        let (from, to) = (before.health(), after.health());
        if from != to {
            self.tell(Event::HealthChanged {
                id: node.id.clone(),
                from,
                to,
                mark,
            });
        }
        from != to
            || before.is_held() != after.is_held()
            || before.is_ejected() != after.is_ejected()
    }

    /// Takes the endpoint out, unless it is out or gone, or as many as may be are out; tells whether
    /// that is to be planned for.
    pub(super) fn eject(&mut self, node: &Node<A>, cause: EjectionCause) -> bool {
        let Some(outliers) = &self.settings.config.outliers else {
            return false;
        };
        if node.health.read().is_ejected() {
            return false;
        }
        let id = node.id.clone();
        let nodes = self.plan.nodes.iter();
        let ejected = nodes.filter(|node| node.health.read().is_ejected()).count();
        if ejected >= outliers.ejected_max(self.plan.nodes.len()) {
            self.tell(Event::EjectionSkipped { id, cause });
            return false;
        }
        let random = Draw::of_thread().bits();
        let mut ejection = node.ejection.lock();
        let time = ejection.eject(self.now, outliers, random);
        let recent = ejection.recent_at(self.now, outliers.interval);
        drop(ejection);
        self.tell(Event::Ejected {
            id,
            cause,
            time,
            recent,
        });
        let change = node.health.mark(Mark::Eject);
        self.marked(node, change, Mark::Eject)
    }

    /// Lets in what outlier detection took out; tells whether that is to be planned for.
    pub(super) fn readmit(&mut self, node: &Node<A>, cause: ReadmissionCause) -> bool {
        if !node.ejection.lock().readmit(self.now) {
            return false;
        }
        node.samples.clear();
        let id = node.id.clone();
        self.tell(Event::Readmitted { id, cause });
        let change = node.health.mark(Mark::Readmit);
        self.marked(node, change, Mark::Readmit)
    }

    /// Lets in all that outlier detection took out until now.
    pub(super) fn readmit_due(&mut self) -> bool {
        let now = self.now;
        let is_due = |node: &Node<A>| {
            node.ejection
                .lock()
                .until()
                .is_some_and(|until| until <= now)
        };
        self.readmit_if(is_due, ReadmissionCause::TimePassed)
    }

    /// Lets in all that are out.
    pub(super) fn readmit_all(&mut self) -> bool {
        self.readmit_if(|_| true, ReadmissionCause::TurnedOff)
    }

    fn readmit_if(&mut self, is_due: impl Fn(&Node<A>) -> bool, cause: ReadmissionCause) -> bool {
        let plan = self.plan.clone();
        let mut changed = false;
        for node in plan.nodes.iter().filter(|node| is_due(node)) {
            changed |= self.readmit(node, cause);
        }
        changed
    }

    /// Applies the rules by interval, if it is over.
    pub(super) fn sweep_due(&mut self) -> bool {
        let (now, due) = (self.now, self.next_sweep());
        if now < due {
            return false;
        }
        // What was counted for two intervals, while nobody looked, is not one interval's.
        let late = now - due >= due - self.settings.swept;
        self.settings.swept = now;
        self.sweep(late)
    }

    /// When the rules by interval are to be applied next.
    pub(super) fn next_sweep(&self) -> Instant {
        let outliers = self.settings.config.outliers.as_ref();
        let sweeping = outliers.filter(|outliers| outliers.goes_by_interval());
        sweeping.map_or(Instant::MAX, |outliers| {
            self.settings.swept + outliers.interval
        })
    }

    /// Takes out what the calls since the last sweep show to be outliers; or only forgets those calls.
    fn sweep(&mut self, forget: bool) -> bool {
        let plan = self.plan.clone();
        let taken = plan.nodes.iter().map(|node| {
            let counts = node.samples.take();
            (!node.health.read().is_ejected()).then_some(counts)
        });
        let taken: Vec<_> = taken.collect();
        let Some(rules) = self.settings.config.outliers.as_ref().filter(|_| !forget) else {
            return false;
        };
        let mut changed = false;
        for (place, cause) in outlier::outliers(rules, &taken) {
            changed |= self.eject(&plan.nodes[place], cause);
        }
        changed
    }

    fn tell(&mut self, event: Event) {
        if self.shared.observer.is_some() {
            self.events.push(event);
        }
    }
}
