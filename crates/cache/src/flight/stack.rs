//! Which flights this thread is polling, each from within the one before; and, for loads that block
//! their threads, which flight waits for which.

use std::cell::RefCell;
use std::collections::BTreeMap;

use parking_lot::Mutex;

thread_local! {
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// For each flight of which a thread is polling the load and is parked: the one it is parked for.
/// As long as there are such flights, and touched only by loads that block within loads.
static PARKED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// Whether this thread is polling the load of `flight`.
pub(crate) fn is_polling(flight: usize) -> bool {
    STACK.with_borrow(|stack| stack.contains(&flight))
}

/// This thread polls a load, as long as this lives.
#[derive(Debug)]
pub(crate) struct Polling;

impl Polling {
    pub(crate) fn enter(flight: usize) -> Self {
        STACK.with_borrow_mut(|stack| stack.push(flight));
        Self
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        STACK.with_borrow_mut(|stack| stack.pop());
    }
}

/// This thread is parked for a flight, as long as this lives.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What was there before for each flight of the stack.
    before: Vec<(usize, Option<usize>)>,
}

impl Waiting {
    /// Says that this thread is going to park for `flight`; `None` if the way from there leads back
    /// to a load of this thread.
    pub(crate) fn enter(flight: usize) -> Option<Self> {
        STACK.with_borrow(|stack| {
            if stack.is_empty() {
                return Some(Self { before: Vec::new() });
            }
            let mut parked = PARKED.lock();
            let mut at = flight;
            // No circle was ever let in, so the way ends.
            loop {
                if stack.contains(&at) {
                    return None;
                }
                match parked.get(&at) {
                    Some(next) => at = *next,
                    None => break,
                }
            }
            let park = |from: &usize| (*from, parked.insert(*from, flight));
            let before = stack.iter().map(park).collect();
            Some(Self { before })
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.before.is_empty() {
            return;
        }
        let mut parked = PARKED.lock();
        for (flight, before) in &self.before {
            match before {
                Some(before) => parked.insert(*flight, *before),
                None => parked.remove(flight),
            };
        }
    }
}
