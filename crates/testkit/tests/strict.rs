//! Each breach of tower's contract is caught, and a caller that keeps it is left alone.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use testkit::{Gate, Probe, Strict, StrictHandle};
use tower::{Service, ServiceExt};

type Echo = Probe<u32, u32, Infallible>;

fn strict() -> (Strict<Echo>, StrictHandle) {
    let strict = Strict::new(Echo::answering(Ok));
    let handle = strict.handle();
    (strict, handle)
}

fn poll_ready<S: Service<u32>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// What the panic said that `code` must end in.
fn panic_of(code: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(code)).expect_err("it did not panic");
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().expect("a text").to_string(),
    }
}

#[tokio::test]
async fn a_caller_that_keeps_the_contract_is_served() {
    let (mut strict, handle) = strict();
    for request in 0..40 {
        let answer = strict.ready().await.unwrap().call(request).await;
        assert_eq!(answer, Ok(request));
    }
    assert_eq!((handle.calls(), handle.reservations()), (40, 40));
    handle.assert_idle();
}

#[test]
fn an_unreadied_call_panics_and_is_kept() {
    let (mut strict, handle) = strict();
    let said = panic_of(|| drop(strict.call(1)));
    assert!(
        said.contains("instance 1, which was not made ready"),
        "{said}"
    );
    assert!(said.contains("tests/strict.rs"), "{said}");
    assert_eq!(handle.calls(), 0);
    assert_eq!(handle.breaches().len(), 1);
    assert!(panic_of(|| handle.assert_clean()).contains("was not made ready"));
    assert!(panic_of(|| handle.assert_idle()).contains("was not made ready"));
}

#[test]
fn a_clone_of_a_ready_instance_is_not_ready() {
    let (mut strict, handle) = strict();
    assert!(poll_ready(&mut strict).is_ready());
    let mut clone = strict.clone();
    assert_eq!(handle.permits_out(), 1, "the reservation was copied");
    let said = panic_of(|| drop(clone.call(1)));
    assert!(
        said.contains("instance 2 (a clone of instance 1)"),
        "{said}"
    );
}

#[test]
fn a_call_uses_readiness_up() {
    let (mut strict, handle) = strict();
    assert!(poll_ready(&mut strict).is_ready());
    drop(strict.call(1));
    panic_of(|| drop(strict.call(2)));
    assert_eq!((handle.calls(), handle.breaches().len()), (1, 1));
}

#[test]
fn an_instance_whose_readiness_failed_or_is_pending_is_not_ready() {
    let probe = Probe::<u32, u32, &str>::answering(Ok);
    let mut strict = Strict::new(probe.clone());
    let handle = strict.handle();
    probe.not_ready();
    assert!(poll_ready(&mut strict).is_pending());
    panic_of(|| drop(strict.call(1)));
    assert_eq!(handle.permits_out(), 0);

    assert!(poll_ready(&mut strict).is_pending());
    probe.fail_readiness(|| "broken");
    assert_eq!(poll_ready(&mut strict), Poll::Ready(Err("broken")));
    assert_eq!(handle.permits_out(), 0);
    panic_of(|| drop(strict.call(1)));
    assert_eq!((handle.calls(), handle.breaches().len()), (0, 2));
}

#[tokio::test]
async fn a_breach_in_a_task_is_seen_after_its_panic_was_swallowed() {
    let (mut strict, handle) = strict();
    let task = tokio::spawn(async move { strict.call(1).await });
    assert!(task.await.is_err());
    assert!(panic_of(|| handle.assert_clean()).contains("was not made ready"));
}

#[test]
fn permits_move_from_the_instance_to_the_future_and_back() {
    let (mut strict, handle) = strict();
    assert!(poll_ready(&mut strict).is_ready());
    assert!(poll_ready(&mut strict).is_ready());
    assert_eq!((handle.reserved(), handle.in_flight()), (1, 0));
    let response = strict.call(1);
    assert_eq!((handle.reserved(), handle.in_flight()), (0, 1));
    drop(response);
    assert!(poll_ready(&mut strict).is_ready());
    drop(strict);
    assert_eq!(handle.permits_out(), 0);
    assert_eq!((handle.reservations(), handle.calls()), (2, 1));
    handle.assert_idle();
}

#[test]
fn a_lost_permit_is_told_with_who_holds_it() {
    let (mut strict, handle) = strict();
    assert!(poll_ready(&mut strict).is_ready());
    mem::forget(strict.call(1));
    assert!(poll_ready(&mut strict).is_ready());
    let said = panic_of(|| handle.assert_idle());
    assert!(said.contains("2 of 16 permits did not come back"), "{said}");
    assert!(said.contains("1 reserved by instances"), "{said}");
    assert!(said.contains("1 held by response futures"), "{said}");
}

#[tokio::test]
async fn without_a_permit_left_readiness_waits_and_is_woken() {
    let gate = Gate::new();
    let mut first = Strict::new(gate.before(Echo::answering(Ok))).with_permits(1);
    let handle = first.handle();
    let second = first.clone();
    let held = first.ready().await.unwrap().call(1);
    let waiting = tokio::spawn(second.oneshot(2));
    tokio::task::yield_now().await;
    assert_eq!(handle.calls(), 1);
    gate.stay_open();
    assert_eq!(held.await, Ok(1));
    assert_eq!(waiting.await.unwrap(), Ok(2));
    handle.assert_idle();
}

#[tokio::test]
async fn polling_an_answered_response_again_is_a_breach() {
    let (mut strict, handle) = strict();
    let mut response = Box::pin(strict.ready().await.unwrap().call(1));
    assert_eq!((&mut response).await, Ok(1));
    let mut cx = Context::from_waker(Waker::noop());
    panic_of(|| assert!(response.as_mut().poll(&mut cx).is_ready()));
    assert_eq!(handle.breaches().len(), 1);
}

#[test]
fn a_panic_of_the_wrapped_service_gives_the_permit_back() {
    let mut strict = Strict::new(Echo::answering(|_| panic!("inner")));
    let handle = strict.handle();
    assert!(poll_ready(&mut strict).is_ready());
    assert_eq!(panic_of(|| drop(strict.call(1))), "inner");
    handle.assert_idle();
}

#[test]
fn services_that_are_neither_send_nor_static_can_be_wrapped() {
    struct Local<'a>(&'a Cell<u32>);
    impl<'a> Service<Rc<u32>> for Local<'a> {
        type Response = &'a Cell<u32>;
        type Error = Infallible;
        type Future = Ready<Result<&'a Cell<u32>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: Rc<u32>) -> Self::Future {
            self.0.set(*request);
            ready(Ok(self.0))
        }
    }

    let cell = Cell::new(0);
    let mut strict = Strict::new(Local(&cell));
    assert!(
        strict
            .poll_ready(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
    drop(strict.call(Rc::new(5)));
    assert_eq!(cell.get(), 5);
}

#[test]
#[should_panic(expected = "permits is 0")]
fn zero_permits_are_refused() {
    let _ = strict().0.with_permits(0);
}
