use std::future::poll_fn;
use std::sync::atomic::AtomicBool;
use std::task::Wake;

use super::*;

/// Knows whether it was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Bell {
    fn rang(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A load that counts its polls, and is done when it is told to.
#[derive(Clone, Default)]
struct Script {
    polls: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Script {
    fn load(&self) -> Load<u32> {
        let script = self.clone();
        Box::pin(poll_fn(move |cx| {
            script.polls.fetch_add(1, Ordering::SeqCst);
            *script.waker.lock() = Some(cx.waker().clone());
            match script.done.load(Ordering::SeqCst) {
                true => Poll::Ready(Ok(7)),
                false => Poll::Pending,
            }
        }))
    }

    fn wake(&self) {
        let waker = self.waker.lock().take();
        waker.expect("it was polled").wake();
    }

    fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }
}

/// A waiter that is polled by hand.
#[derive(Default)]
struct Hand {
    seat: Seat,
    bell: Arc<Bell>,
}

impl Hand {
    fn poll(&mut self, flight: &Flight<u32>) -> Poll<Outcome<u32>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        flight.poll(&mut self.seat, &Context::from_waker(&waker), |_| {})
    }
}

#[test]
fn any_waiter_goes_on_with_a_load_that_was_woken() {
    let (flight, script) = (Flight::new(), Script::default());
    flight.begin(script.load());
    let (mut held, mut other) = (Hand::default(), Hand::default());
    assert!(held.poll(&flight).is_pending());
    assert!(other.poll(&flight).is_pending());
    script.done.store(true, Ordering::SeqCst);
    script.wake();
    assert!(held.bell.rang() && other.bell.rang());
    // The first is never polled again.
    assert!(matches!(other.poll(&flight), Poll::Ready(Ok(7))));
}

#[test]
fn a_waiter_who_wakes_for_nothing_leaves_the_load_alone() {
    let (flight, script) = (Flight::new(), Script::default());
    flight.begin(script.load());
    let mut waiter = Hand::default();
    assert!(waiter.poll(&flight).is_pending());
    assert!(waiter.poll(&flight).is_pending());
    assert_eq!(script.polls(), 1);
    script.wake();
    assert!(waiter.poll(&flight).is_pending());
    assert_eq!(script.polls(), 2);
}

#[test]
fn who_came_while_the_load_was_polled_is_woken_when_it_rests_and_looks_for_itself() {
    let (flight, late) = (
        Arc::new(Flight::new()),
        Arc::new(Mutex::new(Hand::default())),
    );
    let polls = Arc::new(AtomicUsize::new(0));
    flight.begin({
        // Another thread's poll, as if it came in the middle of this one.
        let (flight, late, polls) = (Arc::downgrade(&flight), late.clone(), polls.clone());
        Box::pin(poll_fn(move |_| {
            if polls.fetch_add(1, Ordering::SeqCst) == 0 {
                let flight = flight.upgrade().expect("it is being polled");
                std::thread::scope(|scope| {
                    scope.spawn(|| assert!(late.lock().poll(&flight).is_pending()));
                });
            }
            Poll::Pending
        }))
    });
    let mut first = Hand::default();
    assert!(first.poll(&flight).is_pending());
    assert!(late.lock().bell.rang());
    assert!(!first.bell.rang());
    assert!(late.lock().poll(&flight).is_pending());
    assert_eq!(polls.load(Ordering::SeqCst), 2);
    flight.cancel();
}

#[test]
fn a_seat_that_is_given_up_is_used_again() {
    let (flight, script) = (Flight::new(), Script::default());
    flight.begin(script.load());
    for _ in 0..3 {
        let mut waiter = Hand::default();
        assert!(waiter.poll(&flight).is_pending());
        assert_eq!(waiter.seat.place.index(), 0);
        flight.stand_up(&mut waiter.seat);
        assert_eq!(Arc::strong_count(&waiter.bell), 1, "no waker is kept");
    }
}
