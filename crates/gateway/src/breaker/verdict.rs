//! What a response says of the server: by its status, else by the end of its body.

use std::mem;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use stanchion_core::Outcome;

use super::Admitted;
use crate::exchange::Response;

/// A verdict that is out until the body of a response ends. Dropped before, the client had left, which
/// says nothing of the server.
#[derive(Debug)]
pub(crate) struct Pending {
    admitted: Admitted,
    /// What the head told; a body can make it worse only.
    head: Outcome,
    /// How long the server asked to be left alone.
    retry_after: Option<Duration>,
    /// The end must tell a status of gRPC.
    grpc: bool,
}

const GRPC_STATUS: &str = "grpc-status";

/// Has a server's response judged for who let the request through: a failure at once, all else when
/// the body ends. Until then the request counts for the balancer.
pub(crate) fn judge(admitted: Admitted, response: &mut Response) {
    if !admitted.is_empty() {
        let known = by_status(response.status());
        defer(admitted, known, response);
    }
}

/// The same for all that a route leads to; what the gateway refuses because of the client says nothing.
pub(super) fn judge_of_route(admitted: Admitted, response: &mut Response) {
    let status = response.status();
    if response.body().note().cause.is_some() {
        // Its own answer, which has no body to wait for.
        let outcome = match status {
            status if status.is_client_error() => Outcome::Ignore,
            status => by_status(status),
        };
        admitted.record(outcome);
    } else {
        defer(admitted, by_status(status), response);
    }
}

fn defer(mut admitted: Admitted, known: Outcome, response: &mut Response) {
    let mut grpc = known == Outcome::Success && is_grpc(response.headers());
    let (mut head, mut retry_after) = (known, None);
    // Of a call without a message, the status stands in the head.
    if grpc && response.headers().contains_key(GRPC_STATUS) {
        head = by_grpc_status(Some(response.headers()));
        grpc = false;
    }
    if head == Outcome::Success {
        admitted.answered();
    } else {
        retry_after = self::retry_after(response.headers());
        admitted.record_by_guards(head, retry_after);
        if admitted.is_empty() {
            return;
        }
    }
    response.body_mut().judged_at_end(Pending {
        admitted,
        head,
        retry_after,
        grpc,
    });
}

fn by_status(status: StatusCode) -> Outcome {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Overload,
        status if status.is_server_error() => Outcome::Failure,
        _ => Outcome::Success,
    }
}

/// How long the server asks to be left alone. Dates are not read: they take both clocks to agree.
///
/// Source: RFC 9110, section 10.2.3.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    // What is too large to be a number is more than the most.
    digits.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
}

/// Whether the messages of the body are gRPC's; those of gRPC-Web have their status in the body.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    let rest = content.and_then(|content| content.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// What a status of gRPC says of the server. `None` where there is none, which no server that works
/// leaves out.
///
/// Source: the gRPC project's list of status codes.
fn by_grpc_status(fields: Option<&HeaderMap>) -> Outcome {
    let status = fields.and_then(|fields| fields.get(GRPC_STATUS));
    let status = status.and_then(|status| status.to_str().ok()?.parse().ok());
    match status {
        Some(CANCELLED) => Outcome::Ignore,
        Some(RESOURCE_EXHAUSTED) => Outcome::Overload,
        Some(UNKNOWN | DEADLINE_EXCEEDED | INTERNAL | UNAVAILABLE | DATA_LOSS) => Outcome::Failure,
        // The server did its work, whether the caller likes the answer or not.
        Some(0..=16) => Outcome::Success,
        Some(_) | None => Outcome::Failure,
    }
}

const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const RESOURCE_EXHAUSTED: u8 = 8;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const DATA_LOSS: u8 = 15;

impl Pending {
    /// The body is complete; with its trailers, if there were any.
    pub(crate) fn complete(mut self, trailers: Option<&HeaderMap>) {
        let outcome = match self.grpc {
            true => by_grpc_status(trailers),
            false => self.head,
        };
        let retry_after = self.retry_after;
        self.take().record_with(outcome, retry_after);
    }

    /// The server broke off.
    pub(crate) fn broken(mut self) {
        self.take().record(Outcome::Failure);
    }

    /// A part of the body came, which is enough for a verdict if it took long.
    pub(crate) fn moved(&mut self) {
        if self.admitted.is_due() {
            self.admitted.record_by_guards(Outcome::Success, None);
        }
    }

    fn take(&mut self) -> Admitted {
        mem::take(&mut self.admitted)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.take().record(Outcome::Ignore);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bytes::Bytes;
    use http::HeaderValue;
    use stanchion_breaker::{
        Breaker, Config, HalfOpen, Ratio, SlowCalls, State, Throttle, ThrottleConfig, Window,
    };
    use stanchion_core::{Clock, ManualClock};

    use super::super::guards::{Gate, Guards, Refusal};
    use super::*;
    use crate::exchange::Outbound;

    const SECOND: Duration = Duration::from_secs(1);

    fn guarded(config: Config) -> (Guards, Breaker, ManualClock) {
        let (clock, time) = Clock::manual();
        let breaker = Breaker::new(config).with_clock(clock.clone());
        let guards = Guards {
            breaker: Some(Gate {
                breaker: breaker.clone(),
                clock,
                patience: SECOND,
            }),
            throttle: None,
        };
        (guards, breaker, time)
    }

    fn response() -> Response {
        Response::new(Outbound::full(Bytes::from_static(b"hello")))
    }

    /// The client's time, or a client could have servers cut off.
    #[test]
    fn how_long_a_body_takes_makes_no_server_slow() {
        let slow = SlowCalls::new(SECOND, Ratio::ALL).unwrap();
        let config =
            Config::new(Window::calls(4).unwrap()).with_slow_calls(slow.counting_in_flight());
        let (guards, breaker, time) = guarded(config.unwrap());
        for (before, after, slow) in [(2, 0, 1), (0, 20, 1)] {
            let admitted = guards.admit().unwrap();
            time.advance(before * SECOND);
            let mut response = response();
            judge(admitted, &mut response);
            time.advance(after * SECOND);
            assert_eq!(breaker.snapshot().hanging, 0);
            drop(response);
            assert_eq!(breaker.snapshot().slow, slow);
        }
        assert_eq!(breaker.snapshot().calls, 2);
    }

    #[test]
    fn a_trial_is_due_when_its_body_has_gone_on_for_long_enough() {
        let (guards, breaker, time) = guarded(Config::default());
        let call = guards.admit().unwrap();
        time.advance(10 * SECOND);
        assert!(!call.is_due(), "nobody waits for it");
        call.record(Outcome::Ignore);
        breaker.open();
        breaker.half_open().unwrap();
        let trial = guards.admit().unwrap();
        assert!(!trial.is_due());
        time.advance(SECOND);
        assert!(trial.is_due());
    }

    #[test]
    fn a_trial_that_the_throttle_refuses_is_given_back() {
        let config = Config::consecutive_failures(NonZeroU32::MIN);
        let (mut guards, breaker, _time) =
            guarded(config.with_half_open(HalfOpen::new(1).unwrap()));
        // Draws 0: it refuses wherever it may.
        let throttle = Throttle::new(ThrottleConfig::default()).with_random(|| 0);
        throttle.try_acquire().unwrap().record(Outcome::Failure);
        guards.throttle = Some(throttle);
        breaker.open();
        breaker.half_open().unwrap();
        assert!(matches!(guards.admit(), Err(Refusal::Throttled)));
        let snapshot = breaker.snapshot();
        assert_eq!(
            (snapshot.state, snapshot.trials_in_flight),
            (State::HalfOpen, 0)
        );
        guards.throttle = None;
        guards.admit().unwrap().record(Outcome::Success);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn a_server_asks_for_a_rest_in_whole_seconds() {
        for (value, expected) in [
            ("120", Some(Duration::from_secs(120))),
            ("0", Some(Duration::ZERO)),
            ("99999999999999999999", Some(Duration::from_secs(u64::MAX))),
            ("1.5", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            assert_eq!(retry_after(&headers), expected, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_server_is_judged_by_its_status() {
        for (status, expected) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (429, Outcome::Success),
            (500, Outcome::Failure),
            (503, Outcome::Overload),
            (504, Outcome::Failure),
        ] {
            assert_eq!(by_status(StatusCode::from_u16(status).unwrap()), expected);
        }
    }

    #[test]
    fn a_server_of_grpc_is_judged_by_what_it_tells_of_itself_and_not_of_the_caller() {
        for (status, expected) in [
            ("0", Outcome::Success),
            ("1", Outcome::Ignore),
            ("3", Outcome::Success),
            ("5", Outcome::Success),
            ("8", Outcome::Overload),
            ("12", Outcome::Success),
            ("13", Outcome::Failure),
            ("14", Outcome::Failure),
            ("17", Outcome::Failure),
            ("ok", Outcome::Failure),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(GRPC_STATUS, HeaderValue::from_static(status));
            assert_eq!(by_grpc_status(Some(&fields)), expected, "{status}");
        }
        assert_eq!(by_grpc_status(None), Outcome::Failure);
    }

    #[test]
    fn grpc_is_told_from_what_only_begins_like_it() {
        for (content, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
            assert_eq!(is_grpc(&headers), expected, "{content}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
