//! Calls of two kinds, by each way in which a body can be over.
#![cfg(feature = "http")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Response;
use http_body::Body;
use stanchion_core::{Classify, End, Outcome, Verdict};
use stanchion_judge::{AtEnd, Call, Judge, RetryAfter};
use testkit::{Part, Parts};

/// What a call heard.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Heard {
    Answered,
    Recorded(Outcome, Option<Duration>),
    Cancelled,
}

/// Writes down what it hears; `LASTS` as an endpoint's calls do.
struct Noted<'a, const LASTS: bool> {
    heard: &'a RefCell<Vec<Heard>>,
    over: bool,
}

impl<const LASTS: bool> Call for Noted<'_, LASTS> {
    const LASTS_TO_THE_END: bool = LASTS;

    fn answered(&mut self) {
        self.heard.borrow_mut().push(Heard::Answered);
    }

    fn record(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.over = true;
        let recorded = Heard::Recorded(outcome, retry_after);
        self.heard.borrow_mut().push(recorded);
    }
}

impl<const LASTS: bool> Drop for Noted<'_, LASTS> {
    fn drop(&mut self) {
        if !self.over {
            self.heard.borrow_mut().push(Heard::Cancelled);
        }
    }
}

/// Server errors are known by their heads; of a body that was dropped it says what it is told to.
struct Grpc {
    dropped: Outcome,
}

impl<B, Err> Classify<Response<B>, Err> for Grpc {
    fn classify(&self, result: Result<&Response<B>, &Err>) -> Verdict {
        match result {
            Ok(response) if response.status().is_server_error() => Outcome::Failure.into(),
            _ => Verdict::AtEnd,
        }
    }

    fn at_end(&self, end: End<'_>) -> Outcome {
        match end {
            End::Complete(trailers) => match trailers.get("grpc-status") {
                Some(b"0") | None => Outcome::Success,
                Some(b"8") => Outcome::Overload,
                Some(_) => Outcome::Failure,
            },
            End::Broken(error) => {
                assert_eq!(error.to_string(), "cut off");
                Outcome::Failure
            }
            _ => self.dropped,
        }
    }
}

/// Judges one response, reads of its body what comes at once, and says what was heard by then and
/// what was heard when the body was dropped.
fn heard<const LASTS: bool>(
    dropped: Outcome,
    status: u16,
    parts: &[Part],
) -> (Vec<Heard>, Vec<Heard>) {
    let heard = RefCell::default();
    let call = Noted::<LASTS> {
        heard: &heard,
        over: false,
    };
    let judge = AtEnd::new(Grpc { dropped });
    let mut response = Response::new(Parts::new(parts));
    *response.status_mut() = status.try_into().unwrap();
    let passed = Judge::<_, _, io::Error>::judge(&judge, call, None, response);
    let mut body = Box::pin(passed.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = 0;
    while let Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(&mut cx) {
        frames += 1;
    }
    let given = |part: &&Part| matches!(part, Part::Data | Part::Status(_));
    let given = parts.iter().filter(given).count();
    assert_eq!(frames, given, "all is passed on");
    let before = heard.take();
    drop(body);
    (before, heard.take())
}

const DONE: Heard = Heard::Recorded(Outcome::Success, None);
const FAILED: Heard = Heard::Recorded(Outcome::Failure, None);
const OVERLOADED: Heard = Heard::Recorded(Outcome::Overload, None);

#[test]
fn the_end_decides_what_the_head_left_open() {
    use Heard::Answered;
    use Part::{Break, Data, Status};
    for (parts, expected) in [
        (&[][..], &[DONE][..]),
        (&[Data, Data], &[Answered, DONE]),
        (&[Data, Status("0")], &[Answered, DONE]),
        (&[Status("8")], &[Answered, OVERLOADED]),
        (&[Data, Status("13")], &[Answered, FAILED]),
        (&[Break], &[Answered, FAILED]),
        (&[Data, Break], &[Answered, FAILED]),
    ] {
        for (before, after) in [
            heard::<false>(Outcome::Ignore, 200, parts),
            heard::<true>(Outcome::Ignore, 200, parts),
        ] {
            assert_eq!(before, expected, "{parts:?}");
            assert_eq!(after, [], "{parts:?}: a call ends once");
        }
    }
}

#[test]
fn a_dropped_body_ends_its_call() {
    use Heard::{Answered, Cancelled};
    use Part::{Data, Hang};
    for parts in [&[Hang][..], &[Data, Hang]] {
        for (dropped, expected) in [
            (Outcome::Ignore, Cancelled),
            (Outcome::Failure, FAILED),
            (Outcome::Success, DONE),
        ] {
            for (before, after) in [
                heard::<false>(dropped, 200, parts),
                heard::<true>(dropped, 200, parts),
            ] {
                assert_eq!(before, [Answered], "{parts:?}");
                assert_eq!(after, [expected], "{parts:?} {dropped:?}");
            }
        }
    }
}

#[test]
fn what_the_head_says_stands_and_a_lasting_call_goes_on() {
    use Heard::Answered;
    use Part::{Data, Hang, Status};
    for parts in [&[][..], &[Data, Status("0")], &[Data, Hang]] {
        let at_once = heard::<false>(Outcome::Success, 500, parts);
        assert_eq!(at_once, (vec![FAILED], vec![]), "{parts:?}");
    }
    let over = heard::<true>(Outcome::Success, 500, &[]);
    assert_eq!(over, (vec![FAILED], vec![]));
    let read = heard::<true>(Outcome::Success, 500, &[Data, Status("0")]);
    assert_eq!(read, (vec![Answered, FAILED], vec![]));
    let dropped = heard::<true>(Outcome::Success, 500, &[Data, Hang]);
    assert_eq!(dropped, (vec![Answered], vec![FAILED]));
}

#[test]
fn an_error_is_judged_at_once_and_what_was_asked_for_is_told() {
    let second = Duration::from_secs(1);
    let asked =
        move |result: Result<&Response<Parts>, &io::Error>| result.is_err().then_some(second);
    let grpc = Grpc {
        dropped: Outcome::Ignore,
    };
    let judge = RetryAfter::new(AtEnd::new(grpc), asked);
    let told = RefCell::default();
    let call = || Noted::<false> {
        heard: &told,
        over: false,
    };
    judge.fail(call(), None, &io::Error::other("no route"));
    let success = Heard::Recorded(Outcome::Success, Some(second));
    assert_eq!(
        told.take(),
        [success],
        "left to the end, of which there is none"
    );
    let minute = Some(Duration::from_secs(60));
    drop(judge.judge(call(), minute, Response::new(Parts::default())));
    assert_eq!(told.take(), [Heard::Recorded(Outcome::Success, minute)]);
}

/// An answer that came from no one, say of a layer that refuses, has the same kind of body.
#[test]
fn what_nobody_judges_is_passed_on() {
    let refusal = Response::new(Parts::new(&[Part::Data, Part::Break]));
    let passed = <AtEnd<Grpc> as Judge<Noted<'_, true>, Response<Parts>, io::Error>>::pass(refusal);
    let mut body = Box::pin(passed.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(
        body.as_mut().poll_frame(&mut cx),
        Poll::Ready(Some(Ok(_)))
    ));
    assert!(matches!(
        body.as_mut().poll_frame(&mut cx),
        Poll::Ready(Some(Err(_)))
    ));
}
