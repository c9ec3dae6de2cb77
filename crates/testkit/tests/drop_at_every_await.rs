//! The driver reaches every point, and catches what it promises to catch.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Poll, Waker};

use testkit::{Gate, drop_at_every_await, drop_at_every_await_in};

#[test]
fn every_pending_poll_is_a_point_before_and_after_the_nudge() {
    struct AtDrop<'a, F: Fn()>(&'a F);
    impl<F: Fn()> Drop for AtDrop<'_, F> {
        fn drop(&mut self) {
            self.0();
        }
    }

    let gate = Gate::new();
    let (passed, opened) = (Cell::new(0), Cell::new(0));
    let seen = RefCell::new(Vec::new());
    let look = || seen.borrow_mut().push((passed.get(), opened.get()));
    let drops = drop_at_every_await(|| async {
        passed.set(0);
        opened.set(0);
        let _at_drop = AtDrop(&look);
        for _ in 0..2 {
            gate.pass().await;
            passed.set(passed.get() + 1);
        }
    })
    .nudge(|_| {
        gate.open_one();
        opened.set(opened.get() + 1);
    })
    .check(|_| assert_eq!(gate.waiting(), 0));
    assert_eq!(drops, 5);
    // The full run, then each point but the one without a poll.
    assert_eq!(*seen.borrow(), [(2, 2), (0, 0), (0, 1), (1, 1), (1, 2)]);
}

#[test]
fn a_future_that_wakes_itself_needs_no_nudge() {
    let checks = Cell::new(0);
    let drops = drop_at_every_await(|| {
        let mut polls = 0;
        poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls > 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    })
    .check(|_| checks.set(checks.get() + 1));
    assert_eq!((drops, checks.get()), (4, 5));
}

#[test]
fn each_run_can_have_a_world_of_its_own() {
    let drops = drop_at_every_await_in(|| {
        let filled = Arc::new(Gate::new());
        let future = {
            let filled = Arc::clone(&filled);
            async move {
                filled.pass().await;
                filled.stay_open();
            }
        };
        (filled, future)
    })
    .nudge(|filled| {
        filled.open_one();
    })
    .check(|filled| assert_eq!(filled.waiting(), 0));
    assert_eq!(drops, 3);
}

#[test]
#[should_panic(expected = "a permit leaked")]
fn what_only_the_drop_of_a_woken_future_leaks_is_caught() {
    // A waiter that was let through and is dropped before its next poll forgets to give back.
    let gate = Gate::new();
    let out = Cell::new(0);
    drop_at_every_await(|| async {
        gate.pass().await;
        out.set(out.get() - 1);
    })
    .nudge(|_| {
        gate.open_one();
        out.set(out.get() + 1);
    })
    .check(|_| assert_eq!(out.get(), 0, "a permit leaked"));
}

#[test]
#[should_panic(expected = "poll 1 was pending and left no waker")]
fn a_pending_poll_without_a_waker_is_caught() {
    drop_at_every_await(pending::<()>)
        .nudge(|_| {})
        .check(|_| {});
}

#[test]
#[should_panic(expected = "poll 2 was pending and left no waker")]
fn a_waker_kept_from_an_earlier_poll_does_not_count() {
    let first = RefCell::new(None::<Waker>);
    drop_at_every_await(|| {
        poll_fn(|cx| {
            first.borrow_mut().get_or_insert_with(|| cx.waker().clone());
            Poll::<()>::Pending
        })
    })
    .nudge(|_| first.borrow().iter().for_each(Waker::wake_by_ref))
    .check(|_| {});
}

#[test]
#[should_panic(expected = "was not woken by 10000 nudges")]
fn a_lost_wake_is_caught() {
    let kept = RefCell::new(None);
    drop_at_every_await(|| {
        poll_fn(|cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
    })
    .nudge(|_| {})
    .check(|_| {});
}

#[test]
#[should_panic(expected = "there is no nudge")]
fn a_future_that_needs_a_nudge_and_has_none_is_told_so() {
    let gate = Gate::new();
    drop_at_every_await(|| gate.pass()).check(|_| {});
}

#[test]
#[should_panic(expected = "still pending after 7 polls")]
fn a_future_that_never_ends_is_bounded() {
    drop_at_every_await(|| {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
    })
    .polls_max(7)
    .check(|_| {});
}

#[test]
#[should_panic(expected = "build each in a world of its own")]
fn a_shared_world_that_shortens_later_runs_is_told() {
    let gate = Gate::new();
    drop_at_every_await(|| gate.pass())
        .nudge(|_| gate.stay_open())
        .check(|_| {});
}
