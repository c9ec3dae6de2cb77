use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use stanchion_core::{Clock, Instant};

/// What a client's connection is doing, and since when.
///
/// Written by the connection's service and its input, read by both: all of them run in one thread,
/// so the words need no ordering.
#[derive(Debug)]
pub(crate) struct Activity {
    clock: Clock,
    phase: AtomicU8,
    since: AtomicU64,
    input: AtomicU8,
    body_coming: AtomicBool,
    /// Whether this is HTTP/2, where what comes in and goes out may belong to no request at all.
    multiplexed: AtomicBool,
    /// Streams open, in HTTP/2.
    streams: AtomicU32,
    /// Parts of responses that went to the client, in HTTP/2.
    parts_sent: AtomicU64,
}

/// Whether requests come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum InputState {
    Open,
    /// The next one is to be refused, once those before it are answered.
    Refused,
    /// The body of the one under way is broken.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing came in yet.
    Fresh,
    /// A head is coming in.
    Head,
    /// A request is being answered.
    Busy,
    /// The response is over, and no further byte came in.
    Idle,
}

impl Activity {
    pub(crate) fn new(clock: Clock) -> Self {
        let since = AtomicU64::new(clock.now().as_nanos());
        Self {
            clock,
            phase: AtomicU8::new(Phase::Fresh as u8),
            since,
            input: AtomicU8::new(InputState::Open as u8),
            body_coming: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            streams: AtomicU32::new(0),
            parts_sent: AtomicU64::new(0),
        }
    }

    /// From here on only streams make a connection busy or idle.
    pub(super) fn is_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Fresh,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    /// When the phase began; of a busy connection, nothing of use.
    pub(crate) fn since(&self) -> Instant {
        Instant::from_nanos(self.since.load(Ordering::Relaxed))
    }

    pub(super) fn input(&self) -> InputState {
        match self.input.load(Ordering::Relaxed) {
            0 => InputState::Open,
            1 => InputState::Refused,
            _ => InputState::Broken,
        }
    }

    pub(super) fn set_input(&self, state: InputState) {
        self.input.store(state as u8, Ordering::Relaxed);
    }

    /// Whether some of the body of the last request did not come in yet.
    pub(super) fn is_body_coming(&self) -> bool {
        self.body_coming.load(Ordering::Relaxed)
    }

    pub(super) fn set_body_coming(&self, coming: bool) {
        self.body_coming.store(coming, Ordering::Relaxed);
    }

    pub(crate) fn bytes_arrived(&self) {
        match self.phase() {
            Phase::Fresh => self.enter(Phase::Head),
            Phase::Idle if !self.multiplexed() => self.enter(Phase::Head),
            _ => {}
        }
    }

    /// Bytes went out: the end of a response that is over for us, if the connection is idle.
    pub(crate) fn bytes_left(&self) {
        if self.phase() == Phase::Idle && !self.multiplexed() {
            self.enter(Phase::Idle);
        }
    }

    pub(crate) fn request_begins(&self) {
        self.phase.store(Phase::Busy as u8, Ordering::Relaxed);
    }

    pub(crate) fn response_ended(&self) {
        self.enter(Phase::Idle);
    }

    pub(super) fn stream_begins(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.request_begins();
    }

    pub(super) fn stream_ends(&self) {
        if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enter(Phase::Idle);
        }
    }

    /// The head of a response, or a part of its body, goes to the client.
    pub(super) fn part_sent(&self) {
        self.parts_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn parts_sent(&self) -> u64 {
        self.parts_sent.load(Ordering::Relaxed)
    }

    pub(super) fn multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    fn enter(&self, phase: Phase) {
        self.since
            .store(self.clock.now().as_nanos(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_head_is_timed_from_its_first_byte() {
        let (clock, time) = Clock::manual();
        let activity = Activity::new(clock);
        time.advance(Duration::from_secs(1));
        activity.bytes_arrived();
        let began = activity.since();
        time.advance(Duration::from_secs(1));
        activity.bytes_arrived();
        assert_eq!(activity.phase(), Phase::Head);
        assert_eq!(activity.since(), began);
    }

    #[test]
    fn an_idle_connection_is_timed_from_the_last_byte_out() {
        let (clock, time) = Clock::manual();
        let activity = Activity::new(clock.clone());
        activity.request_begins();
        activity.response_ended();
        time.advance(Duration::from_secs(1));
        activity.bytes_left();
        assert_eq!(activity.since(), clock.now());
        activity.bytes_arrived();
        activity.request_begins();
        activity.bytes_left();
        assert_eq!(activity.phase(), Phase::Busy);
    }

    #[test]
    fn a_connection_of_http_2_is_idle_from_the_end_of_its_last_stream() {
        let (clock, time) = Clock::manual();
        let activity = Activity::new(clock.clone());
        activity.bytes_arrived();
        assert_eq!(activity.phase(), Phase::Head);
        activity.is_multiplexed();
        activity.stream_begins();
        activity.stream_begins();
        activity.stream_ends();
        assert_eq!(activity.phase(), Phase::Busy);
        activity.stream_ends();
        let ended = clock.now();
        time.advance(Duration::from_secs(1));
        // A ping and its answer.
        activity.bytes_arrived();
        activity.bytes_left();
        assert_eq!(activity.phase(), Phase::Idle);
        assert_eq!(activity.since(), ended);
    }
}
