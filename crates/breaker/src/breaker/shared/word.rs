use crate::State;

/// What calls need to know of the machine.
///
/// | bits | meaning |
/// |---|---|
/// | 63–4 | generation |
/// | 3–0 | phase: the state; or `RAMP`, closed with a share of the calls |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

pub(super) const CLOSED: u64 = 0;
pub(super) const RAMP: u64 = 1;
pub(super) const HALF_OPEN: u64 = 2;
pub(super) const OPEN: u64 = 3;
pub(super) const FORCED_OPEN: u64 = 4;
pub(super) const DISABLED: u64 = 5;
pub(super) const METRICS_ONLY: u64 = 6;
const PHASE_BITS: u32 = 4;
const PHASE: u64 = (1 << PHASE_BITS) - 1;

impl Word {
    pub(super) fn new(generation: u64, state: State, ramps: bool) -> Self {
        let phase = match state {
            State::Closed if ramps => RAMP,
            State::Closed => CLOSED,
            State::HalfOpen => HALF_OPEN,
            State::Open => OPEN,
            State::ForcedOpen => FORCED_OPEN,
            State::Disabled => DISABLED,
            State::MetricsOnly => METRICS_ONLY,
        };
        Self(generation << PHASE_BITS | phase)
    }

    #[inline]
    pub(super) fn generation(self) -> u64 {
        self.0 >> PHASE_BITS
    }

    #[inline]
    pub(super) fn phase(self) -> u64 {
        self.0 & PHASE
    }

    pub(super) fn state(self) -> State {
        match self.phase() {
            CLOSED | RAMP => State::Closed,
            HALF_OPEN => State::HalfOpen,
            OPEN => State::Open,
            FORCED_OPEN => State::ForcedOpen,
            DISABLED => State::Disabled,
            _ => State::MetricsOnly,
        }
    }
}
